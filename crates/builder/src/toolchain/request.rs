//! What the plan wants compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::spec::model::{GlibcVersion, GoSpec, RustSpec};
use crate::target::{Libc, TargetPlatform};

/// How a program is linked: decided in the plan, from the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Linkage {
    /// Everything in one file, because the base has no libraries. For Rust with musl where its
    /// standard library is installed, else with glibc.
    Static,
    /// Against this C library of the base.
    Dynamic(Libc),
}

/// One program for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileRequest {
    /// Which of the image's binaries; comes back in the artifact.
    pub binary: usize,
    /// What messages call it: its path in the image.
    pub name: String,
    /// What it is for.
    pub platform: TargetPlatform,
    /// How it is linked.
    pub linkage: Linkage,
    /// Its source.
    pub program: Program,
}

/// A program's source and settings, with all texts rendered and all paths absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A binary of a Cargo package.
    Rust(RustProgram),
    /// A main package of a Go module.
    Go(GoProgram),
}

impl Program {
    /// The directory that it is built in.
    pub fn directory(&self) -> &Path {
        match self {
            Self::Rust(program) => &program.directory,
            Self::Go(program) => &program.directory,
        }
    }
}

/// A binary of a Cargo package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustProgram {
    /// Absolute directory of the package or workspace.
    pub directory: PathBuf,
    /// Package, where the workspace has several.
    pub package: Option<String>,
    /// Binary, where the package has several.
    pub bin: Option<String>,
    /// `--features`.
    pub features: Vec<String>,
    /// Off: `--no-default-features`.
    pub default_features: bool,
    /// `--all-features`.
    pub all_features: bool,
    /// `--profile`.
    pub profile: String,
    /// `-C target-cpu`, where the build file says; a platform's variant says it otherwise.
    pub target_cpu: Option<String>,
    /// Variables for cargo.
    pub env: BTreeMap<String, String>,
    /// The oldest glibc that it has to run with, as `2.28`, where the build file says: what zig,
    /// where there is one, links against.
    pub glibc: Option<GlibcVersion>,
    /// A toolchain, by rustup's name.
    pub toolchain: Option<String>,
}

impl RustProgram {
    /// What a build file says, with the directory made absolute and the variables rendered.
    pub fn new(spec: &RustSpec, directory: PathBuf, env: BTreeMap<String, String>) -> Self {
        Self {
            directory,
            package: spec.package.as_ref().map(|package| package.value.clone()),
            bin: spec.bin.as_ref().map(|bin| bin.value.clone()),
            features: spec.features.clone(),
            default_features: spec.default_features,
            all_features: spec.all_features,
            profile: spec.profile.clone(),
            target_cpu: spec.target_cpu.clone(),
            env,
            glibc: spec.glibc.as_ref().map(|glibc| glibc.value),
            toolchain: spec.toolchain.clone(),
        }
    }
}

/// A main package of a Go module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoProgram {
    /// Absolute directory of the package.
    pub directory: PathBuf,
    /// Linker flags, each with its value (`-X main.version=1`).
    pub ldflags: Vec<String>,
    /// Build tags.
    pub tags: Vec<String>,
    /// Variables for go.
    pub env: BTreeMap<String, String>,
}

impl GoProgram {
    /// What a build file says, with the directory made absolute and the texts rendered.
    pub fn new(spec: &GoSpec, directory: PathBuf, ldflags: Vec<String>, env: BTreeMap<String, String>) -> Self {
        Self { directory, ldflags, tags: spec.tags.clone(), env }
    }
}
