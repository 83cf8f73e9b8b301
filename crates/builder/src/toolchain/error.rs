//! What goes wrong before and while compiling.

use std::path::PathBuf;

use super::missing::MissingReport;
use crate::process::ProcessError;
use crate::target::TargetPlatform;

/// Why the units of a build cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Compilers, linkers or standard libraries are missing.
    #[error(transparent)]
    Missing(MissingReport),
    /// A program is not what the build file says.
    #[error("{name} cannot be built")]
    Program {
        /// Which of the image's binaries.
        binary: usize,
        /// What messages call it.
        name: String,
        /// Why.
        source: ProgramError,
    },
    /// A tool could not be run at all, or the build was interrupted.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Why a program is not what the build file says.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The directory is not there.
    #[error("there is no directory {}", .0.display())]
    NoDirectory(PathBuf),
    /// Not a Cargo package or workspace, at least not a valid one.
    #[error("cargo cannot read the package in {}:\n{said}", directory.display())]
    Metadata {
        /// The directory.
        directory: PathBuf,
        /// What cargo said, indented.
        said: String,
    },
    /// The workspace has no such package.
    #[error("there is no package `{package}` in {}; there {}", workspace.display(), listed("is", "are", known))]
    NoPackage {
        /// As asked for.
        package: String,
        /// The workspace's root.
        workspace: PathBuf,
        /// Its packages.
        known: Vec<String>,
    },
    /// No such binary.
    #[error("there is no binary `{bin}` in {}; there {}", directory.display(), listed("is", "are", known))]
    NoBinary {
        /// As asked for.
        bin: String,
        /// The package or workspace.
        directory: PathBuf,
        /// Its binaries.
        known: Vec<String>,
    },
    /// Only libraries.
    #[error("{} has no binary, only libraries", .0.display())]
    NoBinaries(PathBuf),
    /// Several, and the build file does not say which.
    #[error("{} has several binaries: {}; say which with `bin:`", directory.display(), known.join(", "))]
    SeveralBinaries {
        /// The package or workspace.
        directory: PathBuf,
        /// Its binaries.
        known: Vec<String>,
    },
    /// Not a Go package.
    #[error("there is no Go file in {}", .0.display())]
    NoGoFiles(PathBuf),
    /// A Go package that is not a program.
    #[error("{} is not a program: its package is not `main`", .0.display())]
    NotMain(PathBuf),
    /// A linker flag that Go's quoting cannot express.
    #[error("the linker flag `{0}` holds both kinds of quotation marks, which Go cannot take")]
    Quotes(String),
}

impl ProgramError {
    /// A name that does not exist, and those that do.
    pub fn names(&self) -> Option<(&str, &[String])> {
        match self {
            Self::NoPackage { package: wrong, known, .. } | Self::NoBinary { bin: wrong, known, .. } => {
                Some((wrong, known))
            }
            _ => None,
        }
    }
}

fn listed(one: &str, several: &str, known: &[String]) -> String {
    match known {
        [] => format!("{one} none"),
        [only] => format!("{one} only `{only}`"),
        _ => format!("{several} {}", known.join(", ")),
    }
}

/// Why a unit could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler ended with an error. What it said has been reported.
    #[error("{tool} failed for {} ({status})", names(platforms))]
    Failed {
        /// `cargo build`, `go build`.
        tool: &'static str,
        /// What it was to build for.
        platforms: Vec<TargetPlatform>,
        /// Its exit code or signal.
        status: String,
        /// The last lines that it wrote to standard error.
        tail: Vec<String>,
        /// What the user could do about it.
        hint: Option<String>,
    },
    /// The compiler could not be run, or the build was interrupted.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A line on cargo's standard output that is no message.
    #[error("cargo's message cannot be read: {line}")]
    Message {
        /// The line's beginning.
        line: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The compiler says that it succeeded, but a program is not there.
    #[error("{tool} has built no `{program}` for {platform}")]
    NoArtifact {
        /// `cargo build`, `go build`.
        tool: &'static str,
        /// What was expected.
        program: String,
        /// For what.
        platform: TargetPlatform,
    },
    /// A file or directory of mab's own. The message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl CompileError {
    /// Whether there was no room left on a disk.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == std::io::ErrorKind::StorageFull,
            Self::Failed { tail, .. } => tail.iter().any(|line| line.contains("No space left on device")),
            _ => false,
        }
    }

    /// What the user could do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Failed { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

fn names(platforms: &[TargetPlatform]) -> String {
    platforms.iter().map(TargetPlatform::to_string).collect::<Vec<_>>().join(", ")
}
