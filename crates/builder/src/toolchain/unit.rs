//! Compile units: one call of cargo or go each, and how requests are put together into them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_layout::Digest;

use super::go_inputs::Settings;
use super::rust::compiler::RustToolchain;
use super::{ToolContext, go, rust};
use crate::process::{Command, Environment};
use crate::spec::model::GlibcVersion;
use crate::target::TargetPlatform;

/// One call of a compiler.
#[derive(Clone, Debug)]
pub enum CompileUnit {
    /// `cargo build` for one or more targets.
    Rust(RustUnit),
    /// `go build` for one platform.
    Go(GoUnit),
}

impl CompileUnit {
    /// What it compiles, in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Rust(unit) => {
                let mut bins: Vec<&str> = unit.outputs.iter().map(|output| output.bin.name.as_str()).collect();
                bins.dedup();
                format!("cargo build {}", bins.join(" "))
            }
            Self::Go(unit) => format!("go build {}", unit.directory.file_name().unwrap_or_default().display()),
        }
    }

    /// The command that compiles it.
    pub fn command(&self, context: &ToolContext<'_>) -> Command {
        match self {
            Self::Rust(unit) => rust::build::command(unit, context),
            Self::Go(unit) => go::command(unit, context),
        }
    }

    /// Where that runs.
    pub fn directory(&self) -> &Path {
        match self {
            Self::Rust(unit) => &unit.directory,
            Self::Go(unit) => &unit.directory,
        }
    }

    /// The variables by which mab points it to what compiles and links for its platforms.
    pub fn tools(&self) -> BTreeMap<String, String> {
        match self {
            Self::Rust(unit) => unit.variables(),
            Self::Go(unit) => ["GOARCH", "GOAMD64", "GOARM", "CGO_ENABLED", "CC", "CXX"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), unit.environment.text(name)?.to_owned())))
                .collect(),
        }
    }

    /// The platforms that it compiles for, sorted.
    pub fn platforms(&self) -> Vec<TargetPlatform> {
        match self {
            Self::Rust(unit) => {
                let mut platforms: Vec<_> = unit.outputs.iter().map(|output| output.platform).collect();
                platforms.sort_unstable();
                platforms.dedup();
                platforms
            }
            Self::Go(unit) => vec![unit.platform],
        }
    }
}

/// What must be equal for targets to share one cargo call, and a target directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RustSettings {
    /// `--features`, sorted.
    pub features: Vec<String>,
    /// Off: `--no-default-features`.
    pub default_features: bool,
    /// `--all-features`.
    pub all_features: bool,
    /// `--profile`.
    pub profile: String,
    /// Variables from the build file.
    pub env: BTreeMap<String, String>,
    /// A toolchain, by rustup's name.
    pub toolchain: Option<String>,
    /// `-C target-feature=+crt-static`.
    pub crt_static: bool,
    /// The oldest glibc that the program has to run with, where the build file says.
    pub glibc: Option<GlibcVersion>,
    /// `-C target-cpu`.
    pub target_cpu: Option<String>,
}

/// A binary as cargo knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bin {
    /// `--package`: name@version.
    pub package: String,
    /// The package's id in cargo's messages.
    pub package_id: String,
    /// `--bin`.
    pub name: String,
}

/// Where cargo runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Working directory: settles which configuration and toolchain apply.
    pub(super) directory: PathBuf,
    /// The workspace's root.
    pub(super) workspace: PathBuf,
    /// The user's target directory.
    pub(super) target_directory: PathBuf,
    /// Configuration and toolchain files that apply. Directories of one workspace with the same
    /// files can share a call.
    pub(super) files: Vec<PathBuf>,
}

/// A target of a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RustTarget {
    /// The compiler's name of it.
    pub triple: String,
    /// What links, for people.
    pub linker: String,
    /// Variables that point cargo and build scripts to linker and C compiler.
    pub tools: Vec<(String, String)>,
    /// The same for build scripts and macros, which are compiled for this machine.
    pub build_scripts: Vec<(String, String)>,
}

/// A program that comes out of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustOutput {
    /// Which of the image's binaries.
    pub binary: usize,
    /// What messages call it.
    pub name: String,
    /// What it is for.
    pub platform: TargetPlatform,
    /// The binary.
    pub bin: Bin,
    /// The target.
    pub triple: String,
}

/// One `cargo build`.
#[derive(Clone, Debug)]
pub struct RustUnit {
    /// Working directory of cargo.
    pub directory: PathBuf,
    /// The workspace's root.
    pub workspace: PathBuf,
    /// The target directory of this unit alone.
    pub target_directory: PathBuf,
    /// Everything that its targets share.
    pub settings: RustSettings,
    /// Its targets.
    pub targets: Vec<RustTarget>,
    /// Its programs.
    pub outputs: Vec<RustOutput>,
    /// The compiler.
    pub toolchain: Arc<RustToolchain>,
    /// The user's own rustc wrapper.
    pub user_wrapper: Option<PathBuf>,
    /// Sources of crates that the user's configuration defines: what defines each, its name.
    pub sources: Vec<(String, String)>,
}

impl RustUnit {
    /// The variables that point cargo and build scripts to what links and compiles C. Where this machine is one of the
    /// targets, what is said of it as a target counts for build scripts too: cargo has one name for both.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let build_scripts = self.targets.iter().flat_map(|target| &target.build_scripts);
        let tools = self.targets.iter().flat_map(|target| &target.tools);
        build_scripts.chain(tools).cloned().collect()
    }
}

/// One program for one target, with everything found out about it.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) output: RustOutput,
    pub(super) target: RustTarget,
    pub(super) settings: RustSettings,
    pub(super) place: Place,
    pub(super) toolchain: Arc<RustToolchain>,
    pub(super) user_wrapper: Option<PathBuf>,
    pub(super) sources: Vec<(String, String)>,
}

/// Puts programs of equal settings and equal sets of binaries together. Pure.
///
/// `salt` is what else the target directory depends on: what mab's own flags hold, which cargo
/// does not see.
pub(super) fn group(programs: Vec<Resolved>, salt: &str) -> Vec<RustUnit> {
    // First by settings: these share a target directory.
    let mut shared: Vec<Vec<Resolved>> = Vec::new();
    for program in programs {
        let fits = |other: &Resolved| {
            other.settings == program.settings
                && other.place.workspace == program.place.workspace
                && other.place.files == program.place.files
        };
        match shared.iter_mut().find(|group| group.first().is_some_and(fits)) {
            Some(group) => group.push(program),
            None => shared.push(vec![program]),
        }
    }
    let mut units = Vec::new();
    for group in shared {
        // Then by what is wanted for each target: cargo builds all binaries for all targets.
        let mut wanted: BTreeMap<RustTarget, Vec<Resolved>> = BTreeMap::new();
        for program in group {
            wanted.entry(program.target.clone()).or_default().push(program);
        }
        let mut calls: Vec<(Vec<Bin>, Vec<RustTarget>, Vec<Resolved>)> = Vec::new();
        for (target, programs) in wanted {
            let mut bins: Vec<Bin> = programs.iter().map(|program| program.output.bin.clone()).collect();
            bins.sort();
            bins.dedup();
            match calls.iter_mut().find(|(others, _, _)| *others == bins) {
                Some((_, targets, all)) => {
                    targets.push(target);
                    all.extend(programs);
                }
                None => calls.push((bins, vec![target], programs)),
            }
        }
        units.extend(calls.into_iter().filter_map(|(_, targets, programs)| unit(targets, programs, salt)));
    }
    units
}

fn unit(targets: Vec<RustTarget>, programs: Vec<Resolved>, salt: &str) -> Option<RustUnit> {
    let first = programs.first()?.clone();
    let mut outputs: Vec<RustOutput> = programs.into_iter().map(|program| program.output).collect();
    outputs.sort_by_key(|output| (output.binary, output.platform));
    Some(RustUnit {
        directory: first.place.directory,
        target_directory: unit_directory(&first.place.target_directory, &first.settings, salt),
        workspace: first.place.workspace,
        settings: first.settings,
        targets,
        outputs,
        toolchain: first.toolchain,
        user_wrapper: first.user_wrapper,
        sources: first.sources,
    })
}

/// `target/mab/<hash>`: another one for each set of settings, whatever the set of targets, so
/// that a build for one platform more finds everything in place.
fn unit_directory(target_directory: &Path, settings: &RustSettings, salt: &str) -> PathBuf {
    let text = format!("1\0{salt}\0{settings:?}");
    target_directory.join("mab").join(Digest::of(text.as_bytes()).short())
}

/// One `go build`.
#[derive(Clone, Debug)]
pub struct GoUnit {
    /// The package's directory.
    pub directory: PathBuf,
    /// What it is for.
    pub platform: TargetPlatform,
    /// The image's binaries that it is, with what messages call each.
    pub binaries: Vec<(usize, String)>,
    /// Flags and package behind `go build`.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Environment,
    /// The go command.
    pub go: PathBuf,
    /// What go says of its settings.
    pub(super) settings: Arc<Settings>,
    /// Where the program is put.
    pub output: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(bin: &str, platform: &str, change: impl FnOnce(&mut Resolved)) -> Resolved {
        let platform: TargetPlatform = platform.parse().unwrap();
        let triple = platform.target().rust_gnu.to_owned();
        let mut program = Resolved {
            output: RustOutput {
                binary: 0,
                name: format!("/{bin}"),
                platform,
                bin: Bin { package: "p@1.0.0".into(), package_id: "p".into(), name: bin.into() },
                triple: triple.clone(),
            },
            target: RustTarget { triple, linker: "cc".into(), tools: Vec::new(), build_scripts: Vec::new() },
            settings: RustSettings {
                features: Vec::new(),
                default_features: true,
                all_features: false,
                profile: "release".into(),
                env: BTreeMap::new(),
                toolchain: None,
                crt_static: false,
                glibc: None,
                target_cpu: None,
            },
            place: Place {
                directory: "/w".into(),
                workspace: "/w".into(),
                target_directory: "/w/target".into(),
                files: Vec::new(),
            },
            toolchain: Arc::new(RustToolchain::default()),
            user_wrapper: None,
            sources: Vec::new(),
        };
        change(&mut program);
        program
    }

    /// Each unit as `bin bin: triple triple`.
    fn check(programs: Vec<Resolved>, expected: &[&str]) -> Vec<RustUnit> {
        let units = group(programs, "salt");
        let shown: Vec<String> = units
            .iter()
            .map(|unit| {
                let mut bins: Vec<_> = unit.outputs.iter().map(|output| output.bin.name.as_str()).collect();
                bins.sort_unstable();
                bins.dedup();
                let targets: Vec<_> =
                    unit.targets.iter().map(|target| target.triple.split('-').next().unwrap()).collect();
                format!("{}: {}", bins.join(" "), targets.join(" "))
            })
            .collect();
        assert_eq!(shown, expected);
        units
    }

    #[test]
    fn equal_settings_are_one_call() {
        let all = ["linux/amd64", "linux/arm64", "linux/s390x"];
        let programs = ["a", "b"].iter().flat_map(|bin| all.map(|platform| resolved(bin, platform, |_| {})));
        let units = check(programs.collect(), &["a b: aarch64 s390x x86_64"]);
        assert_eq!(units[0].outputs.len(), 6);
    }

    #[test]
    fn a_cpu_level_is_a_call_of_its_own_with_a_directory_of_its_own() {
        let v3 = resolved("a", "linux/amd64/v3", |program| program.settings.target_cpu = Some("x86-64-v3".into()));
        let units = check(vec![resolved("a", "linux/amd64", |_| {}), v3], &["a: x86_64", "a: x86_64"]);
        assert_ne!(units[0].target_directory, units[1].target_directory);
    }

    #[test]
    fn what_only_one_platform_wants_is_not_built_for_the_others() {
        let programs = vec![
            resolved("a", "linux/amd64", |_| {}),
            resolved("a", "linux/arm64", |_| {}),
            resolved("b", "linux/arm64", |_| {}),
        ];
        let units = check(programs, &["a b: aarch64", "a: x86_64"]);
        assert_eq!(units[0].target_directory, units[1].target_directory);
    }

    #[test]
    fn one_platform_more_does_not_move_the_target_directory() {
        let one = group(vec![resolved("a", "linux/amd64", |_| {})], "salt");
        let two = group(vec![resolved("a", "linux/amd64", |_| {}), resolved("a", "linux/arm64", |_| {})], "salt");
        assert_eq!(one[0].target_directory, two[0].target_directory);
        let other = group(vec![resolved("a", "linux/amd64", |_| {})], "pepper");
        assert_ne!(one[0].target_directory, other[0].target_directory);
        assert!(one[0].target_directory.starts_with("/w/target/mab"));
    }

    #[test]
    fn members_of_a_workspace_share_a_call_unless_their_configuration_differs() {
        let member = |program: &mut Resolved| program.place.directory = "/w/b".into();
        check(vec![resolved("a", "linux/amd64", |_| {}), resolved("b", "linux/amd64", member)], &["a b: x86_64"]);
        let configured = |program: &mut Resolved| program.place.files = vec!["/w/b/.cargo/config.toml".into()];
        check(
            vec![resolved("a", "linux/amd64", |_| {}), resolved("b", "linux/amd64", configured)],
            &["a: x86_64", "b: x86_64"],
        );
    }
}
