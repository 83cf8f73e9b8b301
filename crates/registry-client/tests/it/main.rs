//! The client against the strict in-process registry. Tests of a fault row are named after it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod answer_faults;
mod authentication;
mod download_faults;
mod manifests;
mod publishing;
mod redirects;
mod support;
mod transfers;
mod upload_faults;
