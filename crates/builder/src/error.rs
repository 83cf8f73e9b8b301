//! What can go wrong in a build, as data: a front end chooses exit code and words by it.

use std::path::PathBuf;

use crate::bundle::BundleError;
use crate::check::Finding;
use crate::lock::LockError;
use crate::offline::Absent;
use crate::process::ProcessError;
use crate::spec::Diagnostics;
use crate::target::TargetPlatform;
use crate::toolchain::{CompileError, SurveyError};

/// The families that exit codes are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// None of the others.
    Other,
    /// The build file or the command line.
    Usage,
    /// A toolchain that is missing, or a program that does not compile.
    Toolchain,
    /// A check has failed.
    Check,
    /// A registry or the network.
    Registry,
    /// Credentials.
    Authentication,
    /// The lock, or what an offline build is not allowed to fetch.
    Locked,
    /// The output or the disk.
    Output,
    /// Interrupted.
    Interrupted,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Something in the build file, with its place. The front end draws it.
    #[error("the build file does not fit")]
    Spec(Box<Diagnostics>),
    /// The same, found by a check (a user that the base lacks, an entrypoint that is not there).
    #[error("a check has failed")]
    Check(Box<Diagnostics>),
    /// A command that is run on an image has failed, or cannot run here. With its place.
    #[error("a command has failed")]
    Step(Box<Diagnostics>),
    /// A command that needs the network, where mab is offline.
    #[error("a command needs the network")]
    OfflineStep(Box<Diagnostics>),
    /// The gate: a program does not fit its platform or base, or the image cannot start.
    #[error(transparent)]
    Gate(Box<GateError>),
    /// Toolchains: what is missing, or which package is not what the build file says.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// A compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A base that is not what it should be.
    #[error("base {base}")]
    Base {
        /// As the build file names it.
        base: String,
        /// What is wrong with it.
        source: crate::base::BaseError,
    },
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What an offline build would have to fetch.
    #[error("this build needs what is not here:\n{}", absent_list(.0))]
    Absent(Vec<Absent>),
    /// A base that no build file names.
    #[error("no build file stands on {base}")]
    UnknownBase {
        /// As it was asked for.
        base: String,
    },
    /// A registry, while the result was delivered.
    #[error(transparent)]
    Registry(#[from] registry_client::Error),
    /// `--push` without a repository.
    #[error("{} names no image to push", file.display())]
    NoImage {
        /// The build file.
        file: PathBuf,
    },
    /// A layer could not be written.
    #[error("cannot write a layer for {platform}")]
    Layer {
        /// The platform.
        platform: TargetPlatform,
        /// Why.
        source: oci_layout::layer::LayerError,
    },
    /// An archive could not be written.
    #[error("cannot write {}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: oci_layout::archive::ArchiveError,
    },
    /// The output's layout.
    #[error(transparent)]
    Layout(#[from] oci_layout::LayoutError),
    /// A blob could not be stored.
    #[error(transparent)]
    Store(#[from] oci_layout::StoreError),
    /// A file could not be read or written. The message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A program that was asked for facts.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The user has had enough.
    #[error("interrupted")]
    Interrupted,
    /// A defect of mab's own.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

/// What the gate does not let through: at least one finding.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", findings.first().map_or("a check has failed", |finding| finding.message.as_str()))]
pub struct GateError {
    /// Each of them an error.
    pub findings: Vec<Finding>,
}

impl BuildError {
    /// The family that it belongs to.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Spec(_) | Self::NoImage { .. } | Self::UnknownBase { .. } => ErrorClass::Usage,
            Self::Lock(LockError::Io { action: "write", .. }) => ErrorClass::Output,
            Self::Lock(_) | Self::Absent(_) | Self::OfflineStep(_) => ErrorClass::Locked,
            Self::Step(_) => ErrorClass::Toolchain,
            Self::Bundle(error) => error.class(),
            Self::Check(_) | Self::Gate(_) => ErrorClass::Check,
            Self::Survey(SurveyError::Process(error)) | Self::Process(error) => {
                of_process(error, ErrorClass::Toolchain)
            }
            Self::Survey(_) => ErrorClass::Toolchain,
            Self::Compile(CompileError::Process(error)) => of_process(error, ErrorClass::Toolchain),
            Self::Compile(error) if error.is_disk_full() => ErrorClass::Output,
            Self::Compile(_) => ErrorClass::Toolchain,
            Self::Base { source, .. } => of_base(source),
            Self::Registry(error) => of_registry(error),
            Self::Archive { source: oci_layout::archive::ArchiveError::Platforms(_), .. } => ErrorClass::Usage,
            Self::Archive { .. } | Self::Layer { .. } | Self::Layout(_) | Self::Store(_) | Self::Io(_) => {
                ErrorClass::Output
            }
            Self::Interrupted => ErrorClass::Interrupted,
            Self::Internal(_) => ErrorClass::Other,
        }
    }

    /// What the user could do about it, each a sentence.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Compile(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Survey(SurveyError::Missing(report)) => report.commands(),
            Self::NoImage { .. } => vec!["add `image: registry.example.com/team/name`, or use --image".to_owned()],
            Self::Archive { source: oci_layout::archive::ArchiveError::Platforms(_), .. } => {
                vec!["name one platform with --platform, or write an oci-archive, which holds them all".to_owned()]
            }
            Self::Registry(error) => registry_hints(error),
            Self::Lock(error) => error.hints(),
            Self::Bundle(error) => error.hints(),
            Self::Absent(absent) => absent_commands(absent),
            Self::Base { source: crate::base::BaseError::Bundle(error), .. } => error.hints(),
            Self::Base { source: crate::base::BaseError::Registry(error), .. } => registry_hints(error),
            _ => Vec::new(),
        }
    }
}

fn absent_list(absent: &[Absent]) -> String {
    absent.iter().map(|it| format!("  {it}")).collect::<Vec<_>>().join("\n")
}

/// Each command once, in the order of what it gets.
fn absent_commands(absent: &[Absent]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for it in absent {
        let command = format!("where there is a network: `{}`", it.command);
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    commands
}

fn of_process(error: &ProcessError, other: ErrorClass) -> ErrorClass {
    if matches!(error, ProcessError::Interrupted) { ErrorClass::Interrupted } else { other }
}

pub(crate) fn of_registry(error: &registry_client::Error) -> ErrorClass {
    use registry_client::ErrorKind;
    match error.kind() {
        ErrorKind::Unauthorized | ErrorKind::Denied => ErrorClass::Authentication,
        ErrorKind::Usage => ErrorClass::Usage,
        ErrorKind::Local => ErrorClass::Output,
        _ => ErrorClass::Registry,
    }
}

fn of_base(error: &crate::base::BaseError) -> ErrorClass {
    use crate::base::BaseError;
    match error {
        BaseError::Registry(error) => of_registry(error),
        BaseError::NoPlatform { .. } => ErrorClass::Usage,
        BaseError::Bundle(error) => error.class(),
        BaseError::Layout(oci_layout::LayoutError::NotLayout { .. }) => ErrorClass::Usage,
        BaseError::Store(_) | BaseError::Cache(_) => ErrorClass::Output,
        _ => ErrorClass::Check,
    }
}

pub(crate) fn registry_hints(error: &registry_client::Error) -> Vec<String> {
    use registry_client::ErrorKind;
    let text = match error.kind() {
        ErrorKind::Unauthorized => {
            let registry = error.place().map(|place| format!(" {}", place.registry)).unwrap_or_default();
            let hint = "(what docker and podman have logged in to counts as well), or set DOCKER_AUTH_CONFIG";
            return vec![format!("log in with `mab login{registry}` {hint}")];
        }
        ErrorKind::Denied => "these credentials may not do this here: ask whoever owns the repository",
        ErrorKind::NotFound => "look at the name and the tag; some registries say this where credentials are missing",
        ErrorKind::Network => "see that the registry is up and reachable; plain http is for loopback addresses only",
        _ => return Vec::new(),
    };
    vec![text.to_owned()]
}
