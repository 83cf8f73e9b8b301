//! Documents, digests, layers and directories of OCI images.
//!
//! This crate knows what an image is made of and how it lies on a disk. It never sees a socket,
//! a clock or an environment variable: what depends on them comes in as an argument.

#![allow(clippy::result_large_err, reason = "errors are rare, and a digest in one says more than a box saves")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod archive;
pub mod blob;
pub mod cache;
pub mod descriptor;
pub mod digest;
pub mod document;
pub mod json;
pub mod layer;
pub mod layout;
pub mod lock;
pub mod media_type;
pub mod path;
pub mod platform;
pub mod scratch;
pub mod store;
pub mod verify;

pub use blob::BlobSource;
pub use cache::{Cache, CacheError};
pub use descriptor::Descriptor;
pub use digest::Digest;
pub use layout::{Layout, LayoutError, Selector};
pub use media_type::MediaType;
pub use path::ImagePath;
pub use platform::Platform;
pub use scratch::ScratchDirectory;
pub use store::{BlobStore, StoreError};
