//! What can be wrong with a bundle.

use std::path::PathBuf;

use oci_layout::Digest;
use oci_layout::archive::{ArchiveError, SeriesError};

use super::VERSION;
use crate::error::ErrorClass;
use crate::process::ProcessError;

/// Why a bundle was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bundle's own form.
    #[error("bundle {}: {source}", path.display())]
    Form {
        /// The bundle.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SeriesError,
    },
    /// Something else.
    #[error("{} is not a bundle: {reason}", path.display())]
    NotBundle {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A newer mab's.
    #[error("bundle {} has version {version}; this mab reads version {VERSION}", path.display())]
    Newer {
        /// The bundle.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// Its parts do not fit together.
    #[error("bundle {} was changed: {reason}", path.display())]
    Changed {
        /// The bundle.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// A blob that is not what its digest says, or cannot be read.
    #[error("bundle {}: {what} is damaged", path.display())]
    Content {
        /// The bundle.
        path: PathBuf,
        /// What it is.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// An update without what it updates.
    #[error("bundle {} is an update of bundle {earlier}, which is not here", path.display())]
    Earlier {
        /// The update.
        path: PathBuf,
        /// What it needs.
        earlier: Digest,
    },
    /// A file or directory of this machine.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Bundles that lack something.
    #[error("{bundles}: {digest} is not in there")]
    NotIn {
        /// What was looked for.
        digest: Digest,
        /// Where.
        bundles: String,
    },
    /// There is something that is no bundle where one was to be written.
    #[error("{} exists and is not a bundle", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// Writing.
    #[error("cannot write bundle {}", path.display())]
    Write {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// A layer with a crate in it could not be written.
    #[error("cannot pack {name}")]
    Pack {
        /// The crate.
        name: String,
        /// Why.
        source: oci_layout::layer::LayerError,
    },
    /// A lock file of cargo's that cannot be read.
    #[error("{} cannot be read: {reason}", path.display())]
    CargoLock {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// cargo or go did not do their part.
    #[error("{tool} failed in {}:\n{said}", directory.display())]
    Tool {
        /// What was run.
        tool: &'static str,
        /// Where.
        directory: PathBuf,
        /// What it said, indented.
        said: String,
    },
    /// A program that is not there.
    #[error("there is no {0} on PATH")]
    NoTool(&'static str),
    /// Two things of one name that are not the same.
    #[error("two different contents of {0}")]
    Ambiguous(String),
    /// A child process.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl BundleError {
    /// The family that it belongs to.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Form { .. } | Self::Changed { .. } | Self::Content { .. } => ErrorClass::Check,
            Self::NotBundle { .. } | Self::Occupied { .. } => ErrorClass::Usage,
            Self::Newer { .. } | Self::NotIn { .. } | Self::Earlier { .. } | Self::CargoLock { .. } => {
                ErrorClass::Locked
            }
            Self::Io { .. } | Self::Write { .. } | Self::Pack { .. } => ErrorClass::Output,
            Self::Tool { .. } | Self::NoTool(_) => ErrorClass::Toolchain,
            Self::Process(ProcessError::Interrupted) => ErrorClass::Interrupted,
            Self::Process(_) => ErrorClass::Toolchain,
            Self::Ambiguous(_) => ErrorClass::Other,
        }
    }

    /// What the user could do about it.
    pub fn hints(&self) -> Vec<String> {
        let text = match self {
            Self::Form { .. } | Self::Changed { .. } | Self::Content { .. } => {
                "carry it over again, and compare its digest: `mab verify bundle:PATH` on both sides"
            }
            Self::Newer { .. } => "take a newer mab",
            Self::Earlier { .. } => "name both: --bundle FIRST --bundle UPDATE",
            Self::NotBundle { .. } => "`mab vendor -o bundle.tar` writes one",
            _ => return Vec::new(),
        };
        vec![text.to_owned()]
    }
}

/// Indents what a tool said.
pub(super) fn said(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
