//! The engine of build steps: runs a command on an image's unpacked layers, in the same sandbox as
//! `mab run`, keeps what it changes, and turns that into the entries of a layer.
//!
//! What the command writes goes into a directory on disk that the caller provides. With an overlay file
//! system, that is its upper directory; without, a copy of all layers. Both give the same entries
//! ([`difference`]). One user is all that an ordinary user can map, so what the command wants to give to
//! others is recorded ([`owners`]).
//!
//! What never happens here: no layer is written, and nothing is known of build files or caches.

mod difference;
mod error;
mod mounts;
pub(super) mod owners;
mod record;
mod root;
mod run;
mod secret;

use std::path::{Path, PathBuf};

use oci_layout::layer::{Entry, Tree};
use serde::{Deserialize, Serialize};

use super::{Ending, Files, Request};

pub use difference::Limits;
pub use error::StepError;
pub use run::{StepRunning, run_step};
pub use secret::Secret;

pub(super) use mounts::{mount_all, path_below};
pub(super) use record::{Record, Traces};
pub(super) use root::{Root, prepare};

/// A command that is to change an image's files.
pub struct StepRequest<'a> {
    /// What runs where. It gets no terminal.
    pub request: Request<'a>,
    /// What the layers hold.
    pub below: &'a Tree,
    /// An empty directory on disk, closed to other users, that takes what the command writes. The entries
    /// that come out have their contents there.
    pub scratch: &'a Path,
    /// What else the command sees.
    pub mounts: Vec<StepMount>,
    /// How much it may change.
    pub limits: Limits,
}

/// Something that a command sees and that is not part of the image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepMount {
    /// Where, as an absolute path in the image. What is not there is made, and leaves no trace.
    pub target: String,
    /// What.
    pub kind: StepMountKind,
}

/// What is mounted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StepMountKind {
    /// A file or directory of this system, which cannot be written.
    Bind {
        /// The file or directory.
        source: PathBuf,
    },
    /// A directory of this system that keeps what is written there.
    Cache {
        /// The directory.
        source: PathBuf,
    },
    /// An empty directory in memory.
    Tmpfs,
    /// A file in memory, for its owner alone.
    Secret {
        /// What is in it.
        content: Secret,
    },
}

/// What came of a command.
#[derive(Debug)]
pub struct StepOutcome {
    /// How it has ended.
    pub ending: Ending,
    /// How the image's files were put together.
    pub files: Files,
    /// What it has changed, sorted by path; nothing unless it has ended with exit code 0.
    pub entries: Vec<Entry>,
}

/// What the stages are told of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StepOrders {
    /// Where the written goes.
    pub(super) scratch: PathBuf,
    /// The image's root directory.
    pub(super) root: Root,
    pub(super) mounts: Vec<StepMount>,
}
