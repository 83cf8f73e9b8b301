//! The client against the strict in-process registry. Tests of a fault row are named after it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod download_faults;
mod manifests;
mod publishing;
mod support;
mod transfers;
mod upload_faults;
