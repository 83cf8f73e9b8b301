//! The order of an image's parts, and the commands that are run on it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::Owner;
use crate::sandbox::Network;
use crate::spec::place::Placed;
use crate::spec::template::Template;

/// A part of an image, as ranges of the lists of [`super::BuildSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Directories, links, users and files.
    Content(ContentRange),
    /// Commands.
    Runs(Range<usize>),
    /// Programs.
    Binaries(Range<usize>),
}

/// Which of each list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentRange {
    /// Of the directories.
    pub directories: Range<usize>,
    /// Of the links.
    pub links: Range<usize>,
    /// Of the users.
    pub users: Range<usize>,
    /// Of the files.
    pub files: Range<usize>,
}

impl ContentRange {
    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        [&self.directories, &self.links, &self.users, &self.files].into_iter().all(|range| range.is_empty())
    }
}

/// A command that is run on the image.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// The program and its arguments; of a text, the image's shell with it.
    pub command: Vec<String>,
    /// It was written as a text for the shell.
    pub shell: bool,
    /// Environment, beside the base's.
    pub env: BTreeMap<String, Placed<Template>>,
    /// The directory that it starts in.
    pub workdir: Option<Placed<Template>>,
    /// Its user; root by default.
    pub user: Placed<Owner>,
    /// What it can reach.
    pub network: Network,
    /// How long it may take.
    pub time_limit: Duration,
    /// What it finds beside the image's own files.
    pub mounts: Vec<Placed<MountSpec>>,
}

/// Something that a command finds beside the image's own files.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// Where.
    pub to: Placed<Template>,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug)]
pub enum MountKind {
    /// A directory of mab's cache, by name.
    Cache(String),
    /// A file or directory beside the build file, read-only.
    Bind(Placed<Template>),
    /// Memory.
    Tmpfs,
    /// A file beside the build file that nobody else sees.
    Secret(Placed<Template>),
    /// A variable of the environment that nobody else sees, as a file.
    SecretEnv(Placed<String>),
}
