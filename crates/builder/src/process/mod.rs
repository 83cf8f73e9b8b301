//! Child processes, and the environment they get.
//!
//! The one place that knows all child processes: each runs in a process group of its own, so
//! that an interrupt ends compilers together with whatever they started. Blocking code; nothing
//! here reads the environment of mab itself, it comes in as an [`Environment`].

mod environment;
mod lines;
mod run;

pub use environment::{Environment, resolve_program};
pub use run::{Children, Command, Output, ProcessError, describe_status};

/// Which pipe of a child a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
