//! What this machine can build for each platform, for `mab platforms`.

use std::collections::BTreeMap;
use std::path::Path;

use super::missing::{Lack, Missing, missing};
use super::request::Linkage;
use super::rust::Uses;
use super::rust::compiler::RustToolchain;
use super::rust::site::Site;
use super::system::System;
use super::{ToolContext, c_compiler};
use crate::process::{Command, ProcessError};
use crate::target::{Libc, TargetPlatform};

/// Everything that there is and is not.
#[derive(Clone, Debug)]
pub struct Overview {
    /// rustc's version, where there is one.
    pub rust: Option<String>,
    /// go's version, where there is one.
    pub go: Option<String>,
    /// One row for each platform, in the order of an index.
    pub platforms: Vec<PlatformOverview>,
}

/// What can be built for one platform.
#[derive(Clone, Debug)]
pub struct PlatformOverview {
    /// The platform.
    pub platform: TargetPlatform,
    /// Rust for a base without libraries.
    pub rust_static: Ability,
    /// Rust for a base with glibc.
    pub rust_glibc: Ability,
    /// Rust for a base with musl.
    pub rust_musl: Ability,
    /// Go without C in it.
    pub go: Ability,
    /// Go with C in it, for a base with glibc.
    pub cgo: Ability,
    /// Rust targets of this platform, each with whether rustup has a standard library for it.
    pub rust_targets: Vec<(&'static str, bool)>,
}

/// Whether something can be built.
#[derive(Clone, Debug)]
pub enum Ability {
    /// With this target and this linker.
    Yes {
        /// The compiler's name of the target.
        target: String,
        /// What links, where there is a choice.
        linker: Option<String>,
    },
    /// Something is missing; each thing is told with what mends it.
    No(Vec<Missing>),
}

impl Ability {
    /// Whether it can.
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes { .. })
    }
}

/// Looks at this machine, as seen from a directory: its cargo configuration and toolchain file
/// count. Changes nothing.
pub fn overview(directory: &Path, context: &ToolContext<'_>) -> Result<Overview, ProcessError> {
    let system = System::detect(&context.compiler_environment(), context.children);
    let site = Site::new(directory, &BTreeMap::new(), None, context);
    let toolchain = site.toolchain(context)?;
    let go = go_version(directory, context)?;
    let no = |lacks: &[Lack], toolchain: Option<&RustToolchain>, platform| {
        let missing = |lack| missing(lack, toolchain, vec![platform], &system);
        Ability::No(lacks.iter().map(missing).collect())
    };
    let mut platforms = Vec::new();
    for platform in TargetPlatform::all() {
        let rust = |linkage| -> Result<Ability, ProcessError> {
            let toolchain = match &toolchain {
                Ok(toolchain) => toolchain,
                Err(lack) => return Ok(no(std::slice::from_ref(lack), None, platform)),
            };
            Ok(match site.tools(toolchain, platform, linkage, None, Uses::default(), context)? {
                Ok((triple, tools)) => Ability::Yes { target: triple.to_owned(), linker: Some(tools.linker) },
                Err(lacks) => no(&lacks, Some(toolchain), platform),
            })
        };
        let row = platform.target();
        let without_go = || no(&[Lack::Compiler { program: "go" }], None, platform);
        let cgo = if go.is_none() {
            without_go()
        } else {
            match c_compiler::find(platform, Linkage::Dynamic(Libc::Gnu), &site.environment, context)? {
                Ok(found) => Ability::Yes {
                    target: row.goarch.to_owned(),
                    linker: Some(found.cc.unwrap_or_else(|| "gcc".to_owned())),
                },
                Err(program) => no(&[Lack::Linker { program, zig: true }], None, platform),
            }
        };
        let targets = [Some(row.rust_gnu), row.rust_musl].into_iter().flatten();
        platforms.push(PlatformOverview {
            platform,
            rust_static: rust(Linkage::Static)?,
            rust_glibc: rust(Linkage::Dynamic(Libc::Gnu))?,
            rust_musl: rust(Linkage::Dynamic(Libc::Musl))?,
            go: match &go {
                Some(_) => Ability::Yes { target: row.goarch.to_owned(), linker: None },
                None => without_go(),
            },
            cgo,
            rust_targets: targets.map(|triple| (triple, !row.tier_three.contains(&triple))).collect(),
        });
    }
    let rust = toolchain.ok().map(|toolchain| toolchain.version.clone());
    Ok(Overview { rust, go, platforms })
}

fn go_version(directory: &Path, context: &ToolContext<'_>) -> Result<Option<String>, ProcessError> {
    let Some(go) = context.env.lookup("go") else { return Ok(None) };
    let command = Command::new(go, directory, context.compiler_environment()).args(["env", "GOVERSION"]);
    let output = context.children.capture(&command)?;
    let version = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("go").to_owned();
    Ok((output.status.success() && !version.is_empty()).then_some(version))
}
