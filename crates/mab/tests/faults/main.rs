//! What goes wrong, as a user meets it: the program itself with a registry that misbehaves, fake
//! compilers, signals. Each test looks at message, exit code, and that the old result is whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bad_build;
mod interrupts;
mod left;
mod refusals;
mod stdout;
mod support;
