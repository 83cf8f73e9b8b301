//! Bundles: everything that an offline build takes from outside, in one file.
//!
//! A bundle is an OCI layout, as a tar or a directory. Its `index.json` names first the bundle
//! itself, an artifact whose config is the table of contents ([`Contents`]), then the images; so
//! other tools find the images in it, too. Crates are layers of the artifact, one each, as
//! `cargo vendor` lays them out; Go modules are the files of a module proxy. Everything is a blob
//! with a digest, so that an update holds what an earlier bundle lacks and nothing else.
//!
//! The same contents give the same bytes, and a tar is taken in that one form only
//! ([`oci_layout::archive::SeriesReader`]). Names in the table are checked before anything is
//! written under them; what is unpacked lands in one directory of mab's own ([`unpack`]).

mod contents;
mod crates;
mod error;
mod images;
mod lockfile;
mod modules;
mod read;
mod unpack;
pub mod vendor;
mod write;

pub use contents::{Contents, CrateEntry, ImageEntry, ModuleEntry, VERSION};
pub use error::BundleError;
pub(crate) use modules::is_vendored as has_vendored_modules;

pub use lockfile::{LockedCrate, locked_crates};
pub use read::{Bundle, Bundles};
pub use unpack::{CrateSources, ModuleProxy, Vendored};

/// Whether this entry of an `index.json` says that all of it is a bundle.
pub(crate) fn is_bundle(first: &oci_layout::Descriptor) -> bool {
    first.artifact_type.as_ref().is_some_and(|kind| kind.starts_with(ARTIFACT))
}

/// What an artifact of this kind is called; the version of the table of contents stands behind it.
const ARTIFACT: &str = "application/vnd.mab.bundle.v";
/// Type of the table of contents.
const CONTENTS: &str = "application/vnd.mab.bundle.contents+json";
/// Type of a file of a Go module proxy.
const MODULE: &str = "application/vnd.mab.bundle.module";
/// Largest table of contents that is read, in bytes.
const MAX_CONTENTS: u64 = 64 << 20;
