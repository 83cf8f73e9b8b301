//! The client against the strict in-process registry. Tests of a fault row are named after it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod answer_faults;
mod authentication;
mod copying;
mod download_faults;
mod habits;
mod manifests;
mod mirrors;
mod names;
mod proxies;
mod publishing;
mod redirects;
mod referrers;
mod secrets;
mod support;
mod tls;
mod transfers;
mod unreachable;
mod upload_faults;
