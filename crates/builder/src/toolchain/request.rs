//! What the plan wants compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

    /// Variables that the build file sets for the compiler.
    pub fn env(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Rust(program) => &program.env,
            Self::Go(program) => &program.env,
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
    pub glibc: Option<String>,
    /// A toolchain, by rustup's name.
    pub toolchain: Option<String>,
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

/// Whether a variable in a build file could make the compiler run a program that `cargo build`
/// or `go build` in the same checkout would not (fault row I22).
pub fn runs_programs(name: &str, value: &str) -> bool {
    const NAMES: &[&str] = &[
        "BASH_ENV",
        "ENV",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_ASKPASS",
        "HOME",
        "MAKEFLAGS",
        "PATH",
        "RUSTC",
        "RUSTDOC",
    ];
    const PREFIXES: &[&str] =
        &["AR", "CC", "CXX", "LD_", "CARGO_HOME", "RUSTUP_", "GOROOT", "GOTOOLDIR", "GOTOOLCHAIN"];
    const SUFFIXES: &[&str] = &["_WRAPPER", "_LINKER", "_RUNNER", "_PROXY_COMMAND"];
    let is_compiler = |prefix: &&str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.ends_with('_') || rest.starts_with('_'))
    };
    NAMES.contains(&name)
        || PREFIXES.iter().any(is_compiler)
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        || ["-toolexec", "linker=", "-exec", "-extld"].iter().any(|flag| value.contains(flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_name_programs_are_known() {
        for (name, value) in [
            ("RUSTC_WRAPPER", "sh"),
            ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "x"),
            ("GOFLAGS", "-toolexec=/tmp/x"),
            ("CC", "x"),
            ("CC_aarch64_unknown_linux_gnu", "x"),
            ("LD_PRELOAD", "x"),
            ("PATH", "."),
            ("RUSTFLAGS", "-Clinker=x"),
        ] {
            assert!(runs_programs(name, value), "{name}={value}");
        }
        for (name, value) in [("CCACHE_DIR", "x"), ("GOFLAGS", "-tags=x"), ("SQLX_OFFLINE", "1"), ("RUSTFLAGS", "-g")] {
            assert!(!runs_programs(name, value), "{name}={value}");
        }
    }
}
