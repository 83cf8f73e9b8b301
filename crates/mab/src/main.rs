//! The command line of mab.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg_attr(not(test), allow(dead_code, reason = "no command reads a build file yet"))]
mod diagnostics;

fn main() {}
