//! What goes between mab and the stages of a sandbox: what is to run, in a file in memory, and what
//! comes of it, a line of JSON each on a socket.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::step::StepOrders;
use super::{Container, Ending, Files, Network};
use crate::sandbox::emulator::Emulator;

/// What the stages are to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The process that has given them.
    pub(super) parent: u32,
    /// An empty directory to mount things on, where nobody else sees them.
    pub(super) mount_point: PathBuf,
    /// The image's layers, unpacked, lowest first.
    pub(super) layers: Vec<PathBuf>,
    /// Whether overlay file systems may be used.
    pub(super) overlay: bool,
    pub(super) network: Network,
    /// What the sandbox's own binfmt_misc gets.
    pub(super) emulator: Option<Emulator>,
    /// Whether the program gets a terminal.
    pub(super) terminal: bool,
    /// How long it may run.
    pub(super) milliseconds: Option<u64>,
    /// What runs; nothing where it is only to be seen what this system can do.
    pub(super) container: Option<Container>,
    /// What is to be done about what it writes; nothing where that is not kept.
    pub(super) step: Option<StepOrders>,
}

/// What the stages say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The program runs. Its terminal comes along, if it has one.
    Started {
        files: Files,
        /// Its user and group.
        user: (u32, u32),
    },
    /// It has ended.
    Ended(Ending),
    /// It was not started.
    Failed(Failure),
    /// What this system can do, where nothing was to run.
    Probed(Vec<(Ability, Option<Failure>)>),
}

/// What a sandbox is made of, as far as systems differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ability {
    /// User, mount, process, network and other namespaces.
    Namespaces,
    /// A `/proc` for the new process namespace.
    Proc,
    /// A `/dev` with the few devices that programs expect.
    Devices,
    /// Terminals of the sandbox's own.
    Terminals,
    /// Overlay file systems.
    Overlay,
    /// A second user namespace, a filter for system calls, keyrings: what a program is started in.
    Confinement,
    /// The same with a filter that asks process 1 about owners, which build steps have.
    Owners,
    /// A binfmt_misc for the user namespace.
    Binfmt,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FailureKind {
    /// This system does not let users make sandboxes.
    Forbidden,
    /// Anything while the sandbox was made.
    Setup,
    /// The image has no such user.
    User,
    /// The program is not there.
    NotFound,
    /// The program is there, and cannot be run.
    NotExecutable,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// What was tried, or, of a program or user, its name.
    pub(super) what: String,
    /// What the system says about it.
    pub(super) errno: Option<i32>,
    /// What else there is to say.
    pub(super) why: Option<String>,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, what: impl Into<String>, error: &io::Error) -> Self {
        let errno = error.raw_os_error();
        let why = errno.is_none().then(|| error.to_string());
        Self { kind, what: what.into(), errno, why }
    }

    /// The system's error.
    pub(super) fn error(&self) -> io::Error {
        match (self.errno, &self.why) {
            (Some(errno), _) => io::Error::from_raw_os_error(errno),
            (None, Some(why)) => io::Error::other(why.clone()),
            (None, None) => io::Error::other("no reason is known"),
        }
    }
}

/// Makes a [`Failure`] of what the system says when something cannot be set up.
pub(super) fn setup<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(FailureKind::Setup, what, &error.into())
}

/// The same, of what systems forbid to users.
pub(super) fn forbidden<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    move |error| {
        let error = error.into();
        let refused = [Errno::PERM, Errno::ACCESS, Errno::NOSPC, Errno::USERS, Errno::NOSYS, Errno::INVAL];
        let is_refused = refused.iter().any(|errno| Some(errno.raw_os_error()) == error.raw_os_error());
        Failure::new(if is_refused { FailureKind::Forbidden } else { FailureKind::Setup }, what, &error)
    }
}
