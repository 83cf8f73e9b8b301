//! What a build file says, once it is known to be valid.
//!
//! Texts that may hold `${…}` stay [`Template`]s: the same file is rendered once for each
//! platform. Values that a later step may complain about keep their [`Place`] in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use registry_client::{Reference, Repository};

use super::place::{Placed, Sources};
use super::template::Template;
use crate::target::{Libc, TargetPlatform};

/// One image.
#[derive(Clone, Debug)]
pub struct BuildSpec {
    /// The build file, as it was named; messages begin with it.
    pub file: PathBuf,
    /// The directory that relative paths start from.
    pub directory: PathBuf,
    /// The texts that places point into.
    pub sources: Sources,
    /// Repository that the image is pushed to.
    pub image: Option<Placed<Repository>>,
    /// Tags, in order; never empty (`latest` by default).
    pub tags: Vec<Placed<Template>>,
    /// Platforms, sorted as in an index, without doubles, never empty.
    pub platforms: Vec<Placed<TargetPlatform>>,
    /// What the image stands on.
    pub base: BaseSpec,
    /// Variables of the environment that templates may read.
    pub env: Vec<String>,
    /// Programs.
    pub binaries: Vec<Placed<BinarySpec>>,
    /// Copied files and trees.
    pub files: Vec<Placed<FileSpec>>,
    /// Symbolic links.
    pub links: Vec<Placed<LinkSpec>>,
    /// Directories.
    pub directories: Vec<Placed<DirectorySpec>>,
    /// Users that are added to the base's.
    pub users: Vec<Placed<UserSpec>>,
    /// How a container of the image runs.
    pub config: ConfigSpec,
    /// Labels of the config.
    pub labels: BTreeMap<String, Placed<Template>>,
    /// Annotations of index and manifests.
    pub annotations: BTreeMap<String, Placed<Template>>,
}

/// The base of each platform.
#[derive(Clone, Debug)]
pub struct BaseSpec {
    /// For the platforms that are not named below.
    pub default: Placed<BaseSource>,
    /// For some platforms.
    pub platforms: BTreeMap<TargetPlatform, Placed<BaseSource>>,
}

impl BaseSpec {
    /// The base of `platform`.
    pub fn of(&self, platform: TargetPlatform) -> &Placed<BaseSource> {
        self.platforms.get(&platform).unwrap_or(&self.default)
    }
}

/// Where a base comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseSource {
    /// Nothing at all.
    Scratch,
    /// The base that mab carries.
    Static,
    /// An image in a registry.
    Registry(Reference),
    /// An image in an OCI layout.
    Layout {
        /// The layout's directory, as written (relative to the build file).
        directory: PathBuf,
        /// Which image of it; none where the layout holds just one.
        select: Option<LayoutSelect>,
    },
}

/// Picks an image of a layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayoutSelect {
    /// By `org.opencontainers.image.ref.name`.
    Tag(String),
    /// By digest.
    Digest(oci_layout::Digest),
}

/// A program and where it goes.
#[derive(Clone, Debug)]
pub struct BinarySpec {
    /// Where it comes from.
    pub source: BinarySource,
    /// Path in the image.
    pub to: Placed<Template>,
    /// Permission bits; 0755 by default.
    pub mode: u32,
    /// Owner; root by default.
    pub owner: Placed<Owner>,
}

/// Where a program comes from.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "an image has a handful of them")]
pub enum BinarySource {
    /// `cargo build`.
    Rust(RustSpec),
    /// `go build`.
    Go(GoSpec),
    /// A file that something else has built.
    File(Placed<Template>),
}

/// `static` or `dynamic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Link {
    /// Everything in one file.
    Static,
    /// Against the base's libraries.
    Dynamic,
}

/// A binary of a Cargo package.
#[derive(Clone, Debug)]
pub struct RustSpec {
    /// Directory of the package or workspace, relative to the build file.
    pub path: Placed<PathBuf>,
    /// Package, where the workspace has several.
    pub package: Option<Placed<String>>,
    /// Binary, where the package has several.
    pub bin: Option<Placed<String>>,
    /// `--features`.
    pub features: Vec<String>,
    /// Off: `--no-default-features`.
    pub default_features: bool,
    /// `--all-features`.
    pub all_features: bool,
    /// `--profile`; `release` by default.
    pub profile: String,
    /// C library, where the file decides.
    pub libc: Option<Libc>,
    /// Linking, where the file decides.
    pub link: Option<Link>,
    /// The newest glibc that the program may need; the base's own where the file says nothing.
    pub glibc: Option<Placed<GlibcVersion>>,
    /// `-C target-cpu`.
    pub target_cpu: Option<String>,
    /// Variables for cargo.
    pub env: BTreeMap<String, Placed<Template>>,
}

impl RustSpec {
    /// A binary of the package at `path`, with nothing else said.
    pub fn new(path: Placed<PathBuf>) -> Self {
        Self {
            path,
            package: None,
            bin: None,
            features: Vec::new(),
            default_features: true,
            all_features: false,
            profile: "release".to_owned(),
            libc: None,
            link: None,
            glibc: None,
            target_cpu: None,
            env: BTreeMap::new(),
        }
    }
}

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlibcVersion {
    /// Always 2 so far.
    pub major: u32,
    /// The part behind the dot.
    pub minor: u32,
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A main package of a Go module.
#[derive(Clone, Debug)]
pub struct GoSpec {
    /// Directory of the package, relative to the build file.
    pub path: Placed<PathBuf>,
    /// `-ldflags`, each a word.
    pub ldflags: Vec<Placed<Template>>,
    /// `-tags`.
    pub tags: Vec<String>,
    /// Variables for go.
    pub env: BTreeMap<String, Placed<Template>>,
}

impl GoSpec {
    /// The package at `path`, with nothing else said.
    pub fn new(path: Placed<PathBuf>) -> Self {
        Self { path, ldflags: Vec::new(), tags: Vec::new(), env: BTreeMap::new() }
    }
}

/// A user and group, each by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Owner {
    /// User; root by default.
    pub user: Option<Id>,
    /// Group; the user's own by default.
    pub group: Option<Id>,
}

/// A name or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// A number.
    Number(u32),
    /// A name of the image's passwd or group.
    Name(String),
}

/// A file or tree of the context.
#[derive(Clone, Debug)]
pub struct FileSpec {
    /// File or directory, relative to the build file. A directory's content is copied.
    pub from: Placed<Template>,
    /// Path in the image; ends in `/` where the source keeps its name below it.
    pub to: Placed<Template>,
    /// Permission bits of files; by default from the source, reduced to 0644 or 0755.
    pub mode: Option<u32>,
    /// Owner; root by default.
    pub owner: Placed<Owner>,
    /// Glob patterns, relative to `from`, of what is left out.
    pub exclude: Vec<Placed<String>>,
}

/// A symbolic link.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Path in the image.
    pub path: Placed<Template>,
    /// What it points at, as written into the link.
    pub to: Placed<Template>,
}

/// A directory.
#[derive(Clone, Debug)]
pub struct DirectorySpec {
    /// Path in the image.
    pub path: Placed<Template>,
    /// Permission bits; 0755 by default.
    pub mode: u32,
    /// Owner; root by default.
    pub owner: Placed<Owner>,
}

/// A user that is added to passwd and group.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id; the uid by default.
    pub gid: u32,
    /// Home; `/` by default, made where it is named.
    pub home: Option<Placed<Template>>,
    /// Login shell; `/sbin/nologin` by default.
    pub shell: String,
}

/// The `config` section. `None` is "not said", which inherits.
#[derive(Clone, Debug, Default)]
pub struct ConfigSpec {
    /// User and group that the program runs as.
    pub user: Option<Placed<Owner>>,
    /// The program.
    pub entrypoint: Option<Vec<Placed<Template>>>,
    /// Its arguments.
    pub cmd: Option<Vec<Placed<Template>>>,
    /// Environment, added to the base's.
    pub env: BTreeMap<String, Placed<Template>>,
    /// Working directory.
    pub workdir: Option<Placed<Template>>,
    /// Ports, each as `80/tcp`, added to the base's. Ranges are written out.
    pub expose: BTreeSet<String>,
    /// Volumes, added to the base's.
    pub volumes: Vec<Placed<Template>>,
    /// Signal that stops the program.
    pub stop_signal: Option<String>,
}
