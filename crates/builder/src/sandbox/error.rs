//! Why a program did not run.

use std::io;

use super::confine::LISTEN;
use super::host;
use super::report::{Failure, FailureKind};

/// Why a sandbox could not be made, or its program not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// This system does not let its users make sandboxes.
    #[error("this system does not let this user make a sandbox: it refuses {what}")]
    Forbidden {
        /// What it refuses.
        what: String,
        /// What it says.
        source: io::Error,
        /// What could be done about it.
        hints: Vec<String>,
    },
    /// Something failed while the sandbox was made.
    #[error("cannot make the sandbox: cannot {what}")]
    Setup {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The image has no such user.
    #[error("the image has no user `{user}`")]
    User {
        /// As it is written.
        user: String,
        /// Why not.
        source: io::Error,
    },
    /// The image has no such program.
    #[error("{program} is not in the image")]
    NotFound {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// The program is there and cannot be run.
    #[error("cannot execute {program}")]
    NotExecutable {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// The image does not say what to run, and nobody else does.
    #[error("the image has neither an entrypoint nor a command")]
    NoCommand,
    /// A path or setting that cannot be handed on.
    #[error("{what} cannot be handed to a program")]
    Unfit {
        /// What it is.
        what: String,
    },
    /// The sandbox has ended without a word: it was killed.
    #[error("the sandbox was killed")]
    Killed,
}

impl SandboxError {
    pub(super) fn of_failure(failure: Failure) -> Self {
        let source = failure.error();
        let what = failure.what;
        match failure.kind {
            FailureKind::Forbidden => {
                let hints = host::remedies(&source);
                Self::Forbidden { what, source, hints }
            }
            FailureKind::Setup => Self::Setup { what, source },
            FailureKind::User => Self::User { user: what, source },
            FailureKind::NotFound => Self::NotFound { program: what, source },
            FailureKind::NotExecutable => Self::NotExecutable { program: what, source },
        }
    }

    /// What the user could do about it, each a sentence.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Forbidden { hints, .. } => hints.clone(),
            Self::NoCommand => vec!["write the command behind `--`".to_owned()],
            Self::Setup { source, .. } if source.raw_os_error() == Some(libc::ENOSPC) => {
                vec!["what the program writes is kept in memory: give this machine more of it".to_owned()]
            }
            Self::Setup { what, source } if what == LISTEN && source.raw_os_error() == Some(libc::EBUSY) => {
                let why = "something listens to mab's own system calls already, as some container engines do, and the \
                           kernel allows one listener: run mab outside of it";
                vec![why.to_owned()]
            }
            Self::User { .. } => {
                vec!["name another one with --user; numbers need not be in the image's /etc/passwd".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}
