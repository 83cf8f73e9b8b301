//! From a build file to a finished image: build files, toolchains, checks, assembly, delivery.
//!
//! This crate prints nothing, exits nowhere and reads no environment variable: what depends on
//! them comes in as a value, what happens goes out as an [`event::Event`]. It opens no connection
//! of its own; `registry-client` does.

#![allow(clippy::result_large_err, clippy::large_enum_variant, reason = "errors are rare, and bases few")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod base;
pub mod build;
pub mod bundle;
pub mod check;
pub mod error;
pub mod event;
pub mod facts;
pub mod image;
pub mod index;
pub mod lock;
pub mod offline;
mod pipeline;
pub mod plan;
pub mod process;
pub mod result;
pub mod sandbox;
pub mod spec;
pub mod target;
mod toml_text;
pub mod toolchain;
pub mod transfer;
mod work;

/// The directory that a build file's relative paths start from.
pub(crate) use image::context as image_context;
