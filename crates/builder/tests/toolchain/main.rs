//! The toolchain with real compilers: those of this machine, for this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod go;
mod missing;
mod rust;
mod support;
