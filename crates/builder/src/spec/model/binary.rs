//! Programs: where each comes from, and how it is compiled.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{Capabilities, Owner};
use crate::spec::place::Placed;
use crate::spec::template::Template;
use crate::target::Libc;

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
    /// A toolchain, by rustup's name.
    pub toolchain: Option<String>,
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
            toolchain: None,
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
