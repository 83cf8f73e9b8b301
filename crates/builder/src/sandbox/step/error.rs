//! Why a step has no layer.

use std::io;
use std::path::PathBuf;

use crate::sandbox::SandboxError;

/// Why a command did not run, or what it changed cannot be put into a layer.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It was not started.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A place where nothing can be mounted.
    #[error("nothing can be mounted at {target}: {why}")]
    Target {
        /// The place in the image.
        target: String,
        /// Why not.
        why: String,
    },
    /// The disk keeps no attributes of files.
    #[error("{} is on a file system without extended attributes, which commands need", path.display())]
    NoAttributes {
        /// Where the step was to write.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something that no layer can hold.
    #[error("the command has made {path}, which cannot be put into a layer: {why}")]
    Unfit {
        /// Where it is in the image.
        path: String,
        /// Why not.
        why: String,
    },
    /// More changes than are allowed.
    #[error("the command has changed more than {limit} files")]
    TooMany {
        /// How many are.
        limit: usize,
    },
    /// More bytes than are allowed.
    #[error("the files that the command has written have more than {limit} bytes")]
    TooLarge {
        /// How many are.
        limit: u64,
    },
    /// The disk.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl StepError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }

    /// What the user could do about it, each a sentence.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Sandbox(error) => error.hints(),
            Self::NoAttributes { .. } => vec!["name a directory on another file system in MAB_CACHE_DIR".to_owned()],
            Self::Unfit { .. } | Self::TooMany { .. } | Self::TooLarge { .. } => {
                vec!["have the command remove what the image does not need, or write it to a mount".to_owned()]
            }
            Self::Target { .. } | Self::Io { .. } => Vec::new(),
        }
    }
}
