//! Moving images, against a strict registry that says what it was asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod copy;
mod index;
mod referrers;
mod support;
