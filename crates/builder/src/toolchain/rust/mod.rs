//! Rust: what cargo and rustc say, what the user has configured, and calling them.

pub(super) mod build;
pub(super) mod compiler;
pub(super) mod config;
mod environment;
mod flags;
pub(super) mod linker;
pub(super) mod package;
pub(super) mod site;
pub mod wrapper;

use environment::prefix_maps;

pub(super) use environment::Uses;
pub(super) use flags::{remaps, salt};
