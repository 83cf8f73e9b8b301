//! What a lock can say no to.

use std::path::PathBuf;

use oci_layout::Digest;

use super::{Compilers, VERSION};
use crate::image::FORMAT;
use crate::target::TargetPlatform;

/// Something that a build file wants and its lock does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The base, as the build file names it.
    pub base: String,
    /// The platforms that are not there; none where the whole base is not.
    pub platforms: Vec<TargetPlatform>,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.platforms[..] {
            [] => f.write_str(&self.base),
            platforms => {
                let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(f, "{} of {}", names.join(", "), self.base)
            }
        }
    }
}

/// Why a build does not go on.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A merge has left its marks in it.
    #[error("{}:{line}: a merge conflict is not resolved", path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// The first marker's line.
        line: usize,
    },
    /// Not TOML, or not what a lock holds.
    #[error("{} is not a valid lock: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Its entries are not those that it was written with.
    #[error("{} was changed by hand or by a merge: its checksum is {written}, its entries have {found}", path.display())]
    Edited {
        /// The file.
        path: PathBuf,
        /// The checksum in it.
        written: Digest,
        /// The entries' own.
        found: Digest,
    },
    /// A newer mab's.
    #[error("{} has version {version}; this mab reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
    /// Layers in another format.
    #[error("{} is for format {format}; this mab writes format {FORMAT}, whose digests are others", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        format: u32,
    },
    /// The base that mab carries is another one.
    #[error("{} names base static {locked}, but this mab carries {own}", path.display())]
    Static {
        /// The file.
        path: PathBuf,
        /// What it says.
        locked: Digest,
        /// The one in mab.
        own: Digest,
    },
    /// There is none.
    #[error("there is no {}, which would name {}", path.display(), listed(wanted))]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What it would have to say.
        wanted: Vec<Wanted>,
    },
    /// It does not cover a build file.
    #[error("{} does not cover the build file: it lacks {}", path.display(), listed(wanted))]
    Uncovered {
        /// The file.
        path: PathBuf,
        /// What is missing.
        wanted: Vec<Wanted>,
    },
    /// Other compilers than those that were noted.
    #[error("{} was made with other compilers: {}", path.display(), differing(locked, found))]
    Compilers {
        /// The file.
        path: PathBuf,
        /// Those of the lock.
        locked: Compilers,
        /// Those that are here.
        found: Compilers,
    },
    /// The facts beside it are those of another lock.
    #[error("{} does not belong to this lock: the facts of {base} for {platform} are others", path.display())]
    Facts {
        /// The file with the facts.
        path: PathBuf,
        /// The base.
        base: String,
        /// The platform.
        platform: TargetPlatform,
    },
    /// The lock's facts file is damaged.
    #[error("{} cannot be read", path.display())]
    FactsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: oci_layout::layer::ReadError,
    },
}

fn listed(wanted: &[Wanted]) -> String {
    wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn differing(locked: &Compilers, found: &Compilers) -> String {
    let words = |set: Option<&std::collections::BTreeSet<String>>| match set {
        Some(set) if !set.is_empty() => set.iter().cloned().collect::<Vec<_>>().join(" and "),
        _ => "none".to_owned(),
    };
    let names = found.keys().filter(|name| locked.get(*name) != found.get(*name));
    let lines = names.map(|name| format!("{name} {} here, {} there", words(found.get(name)), words(locked.get(name))));
    lines.collect::<Vec<_>>().join("; ")
}

impl LockError {
    /// What the user could do about it.
    pub fn hints(&self) -> Vec<String> {
        let text = match self {
            Self::Io { .. } => return Vec::new(),
            Self::Conflict { .. } => {
                "take one side whole (`git checkout --ours mab.lock` or `--theirs`), then `mab lock` adds what it lacks"
            }
            Self::Syntax { .. } | Self::Edited { .. } => {
                "`mab lock --update` writes it anew; `git checkout mab.lock` brings the last one back"
            }
            Self::Version { .. } => "take a newer mab",
            Self::Format { .. } => "take the mab that made it, or `mab lock --update` to change the format on purpose",
            Self::Static { .. } => {
                "take the mab that made the lock, or `mab lock --update static` to stand on the new one"
            }
            Self::Missing { .. } => "`mab lock` makes it, where the registries can be reached",
            Self::Uncovered { .. } => {
                "`mab lock`, with the same -f, adds what is missing, where the registries can be reached"
            }
            Self::Compilers { .. } => {
                "install those compilers, or `mab lock` to note the ones that are here, or leave out --locked-compilers"
            }
            Self::Facts { .. } | Self::FactsFile { .. } => "`mab lock --facts` writes it anew",
        };
        vec![text.to_owned()]
    }
}
