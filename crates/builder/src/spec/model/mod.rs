//! What a build file says, once it is known to be valid.
//!
//! Texts that may hold `${…}` stay [`Template`]s: the same file is rendered once for each
//! platform. Values that a later step may complain about keep their [`super::Place`] in the file.

mod binary;
mod config;
mod content;
mod part;
mod smoke;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use registry_client::{Reference, Repository};

use super::place::{Placed, Sources};
use super::template::Template;
use super::variable::Variable;
use crate::check::CheckId;
use crate::target::TargetPlatform;

pub use binary::{BinarySource, BinarySpec, GlibcVersion, GoSpec, Link, RustSpec};
pub use config::{ConfigSpec, HealthTest, HealthcheckSpec, InheritSpec};
pub use content::{Capabilities, DirectorySpec, FileSource, FileSpec, Id, LinkSpec, Owner, UserSpec};
pub use part::{ContentRange, MountKind, MountSpec, Part, RunSpec};
pub use smoke::{SmokeCommand, SmokeSpec};

/// One image.
#[derive(Clone, Debug)]
pub struct BuildSpec {
    /// The build file, as it was named; messages begin with it.
    pub file: PathBuf,
    /// The directory that relative paths start from.
    pub directory: PathBuf,
    /// The texts that places point into.
    pub sources: Sources,
    /// What the file and `--set` say, in one spelling: JSON with sorted keys, every scalar its
    /// text. Files that differ in comments, quotes or order of keys have the same; what flags of
    /// their own say (`--platform`, `--tag`) is not in it.
    pub canonical: String,
    /// What the texts of the file ask for: which facts have to be found out and recorded.
    pub variables: BTreeSet<Variable>,
    /// Repository that the image is pushed to.
    pub image: Option<Placed<Repository>>,
    /// Tags, in order; never empty (`latest` by default).
    pub tags: Vec<Placed<Template>>,
    /// Platforms, sorted as in an index, without doubles, never empty.
    pub platforms: Vec<Placed<TargetPlatform>>,
    /// The platforms of the whole image, whatever `--platform` makes of it this time: those of
    /// the file, and those above. Sorted, without doubles.
    pub all_platforms: Vec<TargetPlatform>,
    /// What the image stands on.
    pub base: BaseSpec,
    /// Variables of the environment that templates may read.
    pub env: Vec<String>,
    /// In which order what follows is put into the image.
    pub parts: Vec<Part>,
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
    /// Commands that are run on the image.
    pub runs: Vec<Placed<RunSpec>>,
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
    pub allow: Vec<Placed<CheckId>>,
    /// Trial runs of the finished image, in order.
    pub smoke: Vec<Placed<SmokeSpec>>,
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

    /// Whether directories, links, users or files may be others for each platform that this spec is of.
    pub fn content_varies(&self) -> bool {
        let varies = |template: &Placed<Template>| template.value.constant().is_none();
        self.directories.iter().any(|directory| varies(&directory.value.path))
            || self.links.iter().any(|link| varies(&link.value.path) || varies(&link.value.to))
            || self.users.iter().any(|user| user.value.home.as_ref().is_some_and(varies))
            || self.files.iter().any(|file| file.value.from.varies() || varies(&file.value.to))
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
