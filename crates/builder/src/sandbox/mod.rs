//! Runs a program of an image on the image's own files, apart from everything else on this system,
//! as an ordinary user and without any set-up of the host.
//!
//! Two stages, each mab itself started again ([`stage::enter`]) so that nothing forks in a process
//! with threads: the first leaves the user's namespaces for new ones, the second is the first process
//! in them. It puts the files together (layers below, memory on top), leaves the host's files behind
//! with `pivot_root`, and starts the program in one more user namespace, with the user that the image
//! wants, no new privileges and a filter for system calls. When it goes, all processes and mounts
//! of the sandbox go.
//!
//! What never happens here: nothing of the host's files, processes, network (unless asked for),
//! environment, keyrings or descriptors reaches the program, and nothing is left behind, also when
//! mab is killed. Only the [`sys`] module has `unsafe` code.

mod attend;
mod confine;
mod container;
mod devices;
mod emulator;
mod ending;
mod error;
mod files;
mod first;
mod host;
mod init;
mod layers;
mod program;
mod report;
mod seccomp;
pub mod stage;
mod start;
pub mod step;
mod sys;
mod syscalls;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use attend::attend;
pub use container::{Container, Overrides};
pub use emulator::{Emulator, Execution, NoEmulator};
pub use ending::Ending;
pub use error::SandboxError;
pub use host::{Gap, HostReport, execution, survey};
pub(crate) use layers::unpack_layers;
pub use layers::{Image, Unpacked, unpack};
pub use report::Ability;
pub use start::{Control, Running, Streams, start};

/// What the program can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// A loopback interface of its own.
    #[default]
    None,
    /// What this system reaches.
    Host,
}

/// How the image's files are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Files {
    /// An overlay file system over the unpacked layers.
    Overlay,
    /// A copy of all of them, because there are no overlay file systems here.
    Copy,
}

/// What runs where.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// A program that calls [`stage::enter`] before anything else: mab itself.
    pub executable: &'a Path,
    /// An empty directory to mount things on, where nobody else sees them.
    pub mount_point: PathBuf,
    /// The image's layers, unpacked, lowest first.
    pub layers: Vec<PathBuf>,
    /// Whether overlay file systems may be used; else the layers are copied.
    pub overlay: bool,
    /// What the program can reach.
    pub network: Network,
    /// Who executes the image's programs.
    pub execution: Execution,
    /// How long the program may run.
    pub time_limit: Option<Duration>,
    /// The program.
    pub container: Container,
}
