//! The gate: checks of programs against platform and image, before a layer is written.
//!
//! [`elf`] reads what files say, [`loader`] follows what they load in the image's merged files,
//! [`image`] asks the questions of [`CheckId`] and takes the answers down in a [`Report`].
//! [`finished`] does so for an image that exists.
//! Nothing is run, nothing is unpacked, and whatever a file holds, the worst is an answer.

pub mod elf;
mod files;
pub mod finished;
mod id;
pub mod image;
mod loader;
mod report;

pub use id::{CheckId, UnknownCheck, table};
pub use report::{Answer, Detail, Finding, Report};
