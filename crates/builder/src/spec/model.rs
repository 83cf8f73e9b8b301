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
    /// What is taken over from the base's config.
    pub inherit: InheritSpec,
    /// Labels of the config.
    pub labels: BTreeMap<String, Placed<Template>>,
    /// Annotations.
    pub annotations: AnnotationsSpec,
    /// Where the annotations go that mab finds out by itself.
    pub infer: Infer,
    /// Date of the image; [`super::render_date`] reads it.
    pub created: Option<Placed<Template>>,
    /// How layers are cut and compressed.
    pub layers: LayersSpec,
    /// Identifiers of checks whose finding is let through.
    pub allow: Vec<Placed<String>>,
    /// The whole spec for each platform that `per-platform` says something about, with that in
    /// it. Ask with [`BuildSpec::of`].
    pub per_platform: BTreeMap<TargetPlatform, BuildSpec>,
}

impl BuildSpec {
    /// What holds for `platform`. Image, tags, platforms, date, layers and index annotations are
    /// those of the spec itself.
    pub fn of(&self, platform: TargetPlatform) -> &Self {
        self.per_platform.get(&platform).unwrap_or(self)
    }
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
    /// File capabilities.
    pub capabilities: Capabilities,
    /// A file of the base may be there already.
    pub replace: bool,
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
    /// Where it comes from.
    pub from: FileSource,
    /// Path in the image; ends in `/` where the source keeps its name below it.
    pub to: Placed<Template>,
    /// Permission bits of files; by default from the source, reduced to 0644 or 0755.
    pub mode: Option<u32>,
    /// Permission bits of directories below a copied one; 0755 by default.
    pub directory_mode: Option<u32>,
    /// Owner; root by default.
    pub owner: Placed<Owner>,
    /// Glob patterns, relative to `from`, of what is left out.
    pub exclude: Vec<Placed<String>>,
    /// File capabilities.
    pub capabilities: Capabilities,
    /// Files of the base may be there already.
    pub replace: bool,
}

/// Where copied files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// File or directory, relative to the build file. A directory's content is copied.
    Path(Placed<Template>),
    /// A pattern of paths, relative to the build file: [`FileSource::PATTERN`] signs are in it.
    /// What matches keeps its path below the last directory that has none of them.
    Pattern(Placed<Template>),
    /// The CA certificates that mab carries, one file.
    CaCertificates(Placed<()>),
}

impl FileSource {
    /// What makes a pattern of a path. `[*]` is a star itself.
    pub const PATTERN: &[char] = &['*', '?', '['];
}

/// A set of Linux capabilities, by number; written as permitted and effective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Names without `cap_`, in the order of their numbers (linux/capability.h).
    pub const NAMES: &[&str] = &[
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "setpcap",
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
        "bpf",
        "checkpoint_restore",
    ];
}

/// A symbolic link.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Path in the image.
    pub path: Placed<Template>,
    /// What it points at, as written into the link.
    pub to: Placed<Template>,
    /// A file or link of the base may be there already.
    pub replace: bool,
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
    /// Name of the group; the user's by default.
    pub group: String,
    /// Full name or the like.
    pub comment: String,
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
    /// Docker's health check.
    pub healthcheck: Option<HealthcheckSpec>,
}

/// Docker's health check.
#[derive(Clone, Debug)]
pub enum HealthcheckSpec {
    /// None, whatever the base has.
    Off,
    /// A program that ends with 0 while the container is well.
    Check {
        /// What is run.
        test: HealthTest,
        /// Between two checks, in nanoseconds.
        interval: Option<i64>,
        /// For one check.
        timeout: Option<i64>,
        /// Before failures count.
        start_period: Option<i64>,
        /// Between two checks during the start period.
        start_interval: Option<i64>,
        /// Failures in a row that make a container unhealthy.
        retries: Option<u32>,
    },
}

/// What a health check runs.
#[derive(Clone, Debug)]
pub enum HealthTest {
    /// A program with its arguments.
    Program(Vec<Placed<Template>>),
    /// A command for the image's shell.
    Shell(Placed<Template>),
}

/// What is taken over from the base's config. [`super::inherit`] does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InheritSpec {
    /// Environment.
    pub env: bool,
    /// Working directory.
    pub workdir: bool,
    /// User.
    pub user: bool,
    /// Signal that stops the program.
    pub stop_signal: bool,
    /// Ports.
    pub expose: bool,
    /// Volumes.
    pub volumes: bool,
    /// The entrypoint rather than the first binary, where the file sets none.
    pub entrypoint: bool,
    /// The arguments; by default only with the entrypoint.
    pub cmd: Option<bool>,
    /// The health check; by default only with the entrypoint.
    pub healthcheck: Option<bool>,
    /// All labels, none, or by default those that are not about the base itself.
    pub labels: Option<bool>,
    /// Annotations of the base's manifest.
    pub annotations: bool,
}

impl Default for InheritSpec {
    fn default() -> Self {
        Self {
            env: true,
            workdir: true,
            user: true,
            stop_signal: true,
            expose: true,
            volumes: true,
            entrypoint: false,
            cmd: None,
            healthcheck: None,
            labels: None,
            annotations: false,
        }
    }
}

/// Annotations by what they are written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnotationsSpec {
    /// Of the index.
    pub index: BTreeMap<String, Placed<Template>>,
    /// Of each platform's manifest.
    pub manifest: BTreeMap<String, Placed<Template>>,
    /// Of each manifest's descriptor in the index.
    pub descriptor: BTreeMap<String, Placed<Template>>,
}

/// Where the annotations go that mab finds out by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Infer {
    /// Into the annotations of index and manifests.
    #[default]
    Annotations,
    /// Into annotations and labels.
    Both,
    /// Nowhere.
    Off,
}

/// How layers are cut and compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayersSpec {
    /// Compression.
    pub compression: Compression,
    /// Cut.
    pub grouping: Grouping,
}

/// Compression of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// What every registry and engine reads.
    #[default]
    Gzip,
    /// Smaller and faster; engines since 2020 or so.
    Zstd,
    /// None.
    Off,
}

/// How content is cut into layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// One for directories, links, users and files, then one for each binary.
    #[default]
    Binary,
    /// One for directories, links, users and files, one for all binaries.
    Kind,
    /// One for everything.
    Single,
}
