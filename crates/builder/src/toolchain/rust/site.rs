//! What there is of Rust for one directory and one set of variables: cargo, rustc, the user's
//! configuration, and for each platform a target with its tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use cargo_platform::Cfg;

use super::compiler::{RustToolchain, RustcError};
use super::config::CargoConfig;
use super::environment::Uses;
use super::linker::{self, Wanted};
use crate::process::{Command, Environment, ProcessError, resolve_program};
use crate::spec::model::GlibcVersion;
use crate::target::{Libc, TargetPlatform};
use crate::toolchain::ToolContext;
use crate::toolchain::missing::Lack;
use crate::toolchain::request::Linkage;

/// See above.
pub(in crate::toolchain) struct Site {
    /// Where cargo runs.
    pub(in crate::toolchain) directory: PathBuf,
    /// What it and everything below it get.
    pub(in crate::toolchain) environment: Environment,
    /// The toolchain that the build file names.
    named: Option<String>,
    config: CargoConfig,
}

/// A program's target and its tools, or everything that is lacking for them.
pub(in crate::toolchain) type Found = Result<(&'static str, linker::Tools), Vec<Lack>>;

impl Site {
    /// Reads configuration files; starts nothing.
    pub(in crate::toolchain) fn new(
        directory: &Path,
        variables: &BTreeMap<String, String>,
        toolchain: Option<&str>,
        context: &ToolContext<'_>,
    ) -> Self {
        let mut environment = context.compiler_environment();
        for (name, value) in variables {
            environment.set(name, value);
        }
        if let Some(toolchain) = toolchain {
            environment.set("RUSTUP_TOOLCHAIN", toolchain);
        }
        let config = CargoConfig::load(directory, context.cargo_home().as_deref(), &environment);
        Self { directory: directory.to_owned(), environment, named: toolchain.map(str::to_owned), config }
    }

    /// The user's own rustc wrapper.
    pub(in crate::toolchain) fn user_wrapper(&self) -> Option<PathBuf> {
        self.config.rustc_wrapper().map(|chosen| PathBuf::from(chosen.program))
    }

    /// The sources of crates that the user's configuration defines.
    pub(in crate::toolchain) fn sources(&self) -> Vec<(String, String)> {
        crate::offline::users_sources(self.config.tables())
    }

    /// Where the user's flags tie programs to the processor of this machine.
    pub(in crate::toolchain) fn native_cpu(&self, triple: &str) -> Option<String> {
        self.config.native_cpu(triple)
    }

    /// The files that decide what holds in this directory: cargo's and rustup's.
    pub(in crate::toolchain) fn files(&self) -> Vec<PathBuf> {
        let names = ["rust-toolchain", "rust-toolchain.toml"];
        let of_rustup = self.directory.ancestors().flat_map(|directory| names.map(|name| directory.join(name)));
        self.config.files().map(Path::to_owned).chain(of_rustup.filter(|path| path.exists())).collect()
    }

    /// cargo's path.
    pub(in crate::toolchain) fn cargo(&self) -> Result<PathBuf, Lack> {
        self.environment.lookup("cargo").ok_or(Lack::Compiler { program: "cargo" })
    }

    /// Asks rustc about itself.
    pub(in crate::toolchain) fn toolchain(
        &self,
        context: &ToolContext<'_>,
    ) -> Result<Result<Arc<RustToolchain>, Lack>, ProcessError> {
        let cargo = match self.cargo() {
            Ok(cargo) => cargo,
            Err(lack) => return Ok(Err(lack)),
        };
        let rustc = match self.config.rustc() {
            Some(chosen) => resolve_program(&chosen.program, &self.directory, &self.environment),
            None => self.environment.lookup("rustc"),
        };
        let Some(rustc) = rustc else { return Ok(Err(Lack::Compiler { program: "rustc" })) };
        let said = match RustToolchain::find(&cargo, &rustc, &self.directory, &self.environment, context.children) {
            Ok(toolchain) => {
                // Another cargo than rustup's does not look at the name.
                return Ok(match &self.named {
                    Some(name) if toolchain.rustup_name().is_none() => {
                        Err(Lack::NotRustup { name: name.clone(), cargo: cargo.display().to_string() })
                    }
                    _ => Ok(Arc::new(toolchain)),
                });
            }
            Err(RustcError::Process(error @ ProcessError::Interrupted)) => return Err(error),
            Err(RustcError::Process(error)) => error.to_string(),
            Err(RustcError::Failed { said, .. }) => match not_installed(&said) {
                Some(name) => return Ok(Err(Lack::Toolchain { name })),
                None => said,
            },
        };
        Ok(Err(Lack::Broken { program: rustc.display().to_string(), said }))
    }

    /// The target for a platform, and the variables that point to its tools.
    pub(in crate::toolchain) fn tools(
        &self,
        toolchain: &RustToolchain,
        platform: TargetPlatform,
        linkage: Linkage,
        glibc: Option<GlibcVersion>,
        uses: Uses,
        context: &ToolContext<'_>,
    ) -> Result<Found, ProcessError> {
        let look = |libc: Libc| -> Result<Found, ProcessError> {
            let Some(triple) = platform.rust_target(libc) else { return Ok(Err(vec![Lack::NoTarget { libc }])) };
            let mut lacks = Vec::new();
            if !self.config.builds_std() && !toolchain.has_std(triple) {
                let tier_three = platform.target().tier_three.contains(&triple);
                lacks.push(Lack::Std { triple, tier_three });
                if tier_three {
                    return Ok(Err(lacks));
                }
            }
            let cfg = if self.config.wants_cfg() { self.cfg(toolchain, triple, context)? } else { Vec::new() };
            let found = linker::find(&Wanted {
                platform,
                triple,
                libc,
                is_static: linkage == Linkage::Static,
                self_contained: toolchain.is_self_contained(triple)
                    || !lacks.is_empty() && toolchain.rustup_name().is_some(),
                glibc: glibc.filter(|_| libc == Libc::Gnu),
                uses,
                toolchain,
                config: &self.config,
                cfg: &cfg,
                directory: &self.directory,
                env: &self.environment,
                children: context.children,
                work_dir: context.work_dir,
            })?;
            Ok(match found {
                Ok(tools) if lacks.is_empty() => Ok((triple, tools)),
                Ok(_) => Err(lacks),
                Err(lack) => {
                    lacks.push(lack);
                    Err(lacks)
                }
            })
        };
        match linkage {
            Linkage::Dynamic(libc) => look(libc),
            Linkage::Static => {
                let musl = look(Libc::Musl)?;
                // Where there is C to compile, only with a compiler that knows musl.
                let good = |(_, tools): &(_, linker::Tools)| tools.compiles_c || !uses.c;
                if musl.as_ref().is_ok_and(good) {
                    return Ok(musl);
                }
                let gnu = look(Libc::Gnu)?;
                if gnu.is_err() && musl.is_ok() {
                    return Ok(musl);
                }
                // Of two things that would do, the one that is got with less is reported: a
                // standard library from rustup, without root.
                let only_std = |lacks: &Vec<Lack>| matches!(lacks[..], [Lack::Std { tier_three: false, .. }]);
                let prefers_musl = musl.as_ref().is_err_and(only_std) && toolchain.rustup_name().is_some();
                Ok(if gnu.is_err() && prefers_musl { musl } else { gnu })
            }
        }
    }

    fn cfg(
        &self,
        toolchain: &RustToolchain,
        triple: &str,
        context: &ToolContext<'_>,
    ) -> Result<Vec<Cfg>, ProcessError> {
        let command = Command::new(&toolchain.rustc, &self.directory, self.environment.clone())
            .args(["--print", "cfg", "--target", triple]);
        let output = context.children.capture(&command)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| Cfg::from_str(line).ok()).collect())
    }
}

/// The toolchain that rustup says is not there: `error: toolchain '1.80' is not installed`.
fn not_installed(said: &str) -> Option<String> {
    let (name, rest) = said.split_once("toolchain '")?.1.split_once('\'')?;
    // Its own names go on with the machine, which `rustup toolchain install` takes as well.
    rest.starts_with(" is not installed").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::not_installed;

    /// Texts as rustup 1.28 and 1.29 wrote them.
    #[test]
    fn rustups_words_for_a_toolchain_that_is_not_there() {
        let said = "error: toolchain '1.80-x86_64-unknown-linux-gnu' is not installed\nhelp: run `rustup toolchain install 1.80-x86_64-unknown-linux-gnu` to install it";
        assert_eq!(not_installed(said).as_deref(), Some("1.80-x86_64-unknown-linux-gnu"));
        assert_eq!(not_installed("error: the 'cargo' binary is not applicable to the toolchain '1.80'"), None);
        assert_eq!(not_installed("error: no such thing"), None);
    }
}
