//! Looks at the machine before anything compiles: which call of which compiler builds each
//! program, and all that is missing for that at once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use cargo_metadata::Metadata;
use cargo_platform::Cfg;

use super::error::{ProgramError, SurveyError};
use super::missing::{Lack, Lacks};
use super::request::{CompileRequest, Linkage, Program, RustProgram, runs_programs};
use super::rust::Uses;
use super::rust::compiler::{RustToolchain, RustcError};
use super::rust::config::CargoConfig;
use super::rust::linker::{self, Wanted};
use super::rust::package;
use super::system::System;
use super::unit::{CompileUnit, Place, Resolved, RustOutput, RustSettings, RustTarget, group};
use super::{ToolContext, go, rust};
use crate::process::{Command, Environment, ProcessError, resolve_program};
use crate::target::{Libc, TargetPlatform};

/// Turns requests into compile units.
///
/// A program that is not what the build file says ends it at once; tools that are missing are
/// collected, for all platforms and both languages.
pub fn survey(requests: &[CompileRequest], context: &ToolContext<'_>) -> Result<Vec<CompileUnit>, SurveyError> {
    for request in requests {
        let wrong = |source| SurveyError::Program { binary: request.binary, name: request.name.clone(), source };
        if !fs_err::metadata(request.program.directory()).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(wrong(ProgramError::NoDirectory(request.program.directory().to_owned())));
        }
        let refused = |(name, value): &(&String, &String)| !context.allow_programs && runs_programs(name, value);
        if let Some((name, _)) = request.program.env().iter().find(refused) {
            return Err(wrong(ProgramError::RunsPrograms(name.clone())));
        }
    }
    let mut lacks = Lacks::default();
    let mut survey = RustSurvey::new(context);
    let mut programs = Vec::new();
    for request in requests {
        if let Program::Rust(program) = &request.program {
            programs.extend(survey.request(request, program, &mut lacks)?);
        }
    }
    let go_units = go::units(requests, context, &mut lacks)?;
    if !lacks.is_empty() {
        let system = System::detect(&context.compiler_environment(), context.children);
        return Err(SurveyError::Missing(lacks.report(&system)));
    }
    // Every unit's salt is that of its workspace.
    let mut by_workspace: Vec<(PathBuf, Vec<Resolved>)> = Vec::new();
    for program in programs {
        match by_workspace.iter_mut().find(|(workspace, _)| *workspace == program.place.workspace) {
            Some((_, programs)) => programs.push(program),
            None => by_workspace.push((program.place.workspace.clone(), vec![program])),
        }
    }
    let (cargo_home, home) = (context.cargo_home(), context.env.home());
    let rust_units = by_workspace.into_iter().flat_map(|(workspace, programs)| {
        group(programs, &rust::salt(&workspace, cargo_home.as_deref(), home.as_deref()))
    });
    Ok(rust_units.map(CompileUnit::Rust).chain(go_units.into_iter().map(CompileUnit::Go)).collect())
}

/// What is found out once for each directory and set of variables.
struct Site {
    environment: Environment,
    config: CargoConfig,
    files: Vec<PathBuf>,
    user_wrapper: Option<PathBuf>,
    found: Result<(Arc<RustToolchain>, Metadata), Lack>,
}

type SiteKey = (PathBuf, BTreeMap<String, String>, Option<String>);

/// The target of a program, and its tools.
type Found = Result<(&'static str, linker::Tools), Lack>;

struct RustSurvey<'a> {
    context: &'a ToolContext<'a>,
    sites: HashMap<SiteKey, Arc<Site>>,
    tools: HashMap<(SiteKey, TargetPlatform, Linkage, Option<String>), Found>,
}

impl<'a> RustSurvey<'a> {
    fn new(context: &'a ToolContext<'a>) -> Self {
        Self { context, sites: HashMap::new(), tools: HashMap::new() }
    }

    fn request(
        &mut self,
        request: &CompileRequest,
        program: &RustProgram,
        lacks: &mut Lacks,
    ) -> Result<Option<Resolved>, SurveyError> {
        let wrong = |source| SurveyError::Program { binary: request.binary, name: request.name.clone(), source };
        let key = (program.directory.clone(), program.env.clone(), program.toolchain.clone());
        let site = match self.sites.get(&key) {
            Some(site) => Arc::clone(site),
            None => {
                let site = Arc::new(self.site(program)?.map_err(wrong)?);
                self.sites.insert(key.clone(), Arc::clone(&site));
                site
            }
        };
        let (toolchain, metadata) = match &site.found {
            Ok(found) => found,
            Err(lack) => {
                lacks.add(lack.clone(), None, request.platform);
                return Ok(None);
            }
        };
        let bin = package::select(program, metadata).map_err(wrong)?;
        let tools_key = (key, request.platform, request.linkage, program.glibc.clone());
        let tools = match self.tools.get(&tools_key) {
            Some(tools) => tools.clone(),
            None => {
                let tools = self.tools(&site, toolchain, metadata, program, request)?;
                self.tools.insert(tools_key, tools.clone());
                tools
            }
        };
        let (triple, tools) = match tools {
            Ok(tools) => tools,
            Err(lack) => {
                lacks.add(lack, Some(toolchain), request.platform);
                return Ok(None);
            }
        };
        let mut features = program.features.clone();
        features.sort();
        features.dedup();
        let target_cpu = program.target_cpu.clone().or_else(|| request.platform.target().target_cpu.map(str::to_owned));
        Ok(Some(Resolved {
            output: RustOutput {
                binary: request.binary,
                name: request.name.clone(),
                platform: request.platform,
                bin,
                triple: triple.to_owned(),
            },
            target: RustTarget { triple: triple.to_owned(), linker: tools.linker, tools: tools.variables },
            settings: RustSettings {
                features,
                default_features: program.default_features,
                all_features: program.all_features,
                profile: program.profile.clone(),
                env: program.env.clone(),
                toolchain: program.toolchain.clone(),
                crt_static: request.linkage == Linkage::Static,
                glibc: program.glibc.clone(),
                target_cpu,
            },
            place: Place {
                directory: program.directory.clone(),
                workspace: metadata.workspace_root.as_std_path().to_owned(),
                target_directory: metadata.target_directory.as_std_path().to_owned(),
                files: site.files.clone(),
            },
            toolchain: Arc::clone(toolchain),
            user_wrapper: site.user_wrapper.clone(),
        }))
    }

    fn site(&self, program: &RustProgram) -> Result<Result<Site, ProgramError>, ProcessError> {
        let context = self.context;
        let directory = &program.directory;
        let mut environment = context.compiler_environment();
        for (name, value) in &program.env {
            environment.set(name, value);
        }
        if let Some(toolchain) = &program.toolchain {
            environment.set("RUSTUP_TOOLCHAIN", toolchain);
        }
        let config = CargoConfig::load(directory, context.cargo_home().as_deref(), &environment);
        let toolchain_files = ["rust-toolchain", "rust-toolchain.toml"];
        let files = config.files().map(Path::to_owned).chain(
            directory
                .ancestors()
                .flat_map(|ancestor| toolchain_files.map(|name| ancestor.join(name)))
                .filter(|path| path.exists()),
        );
        let user_wrapper = config.rustc_wrapper().map(|chosen| PathBuf::from(chosen.program));
        let mut site = Site {
            files: files.collect(),
            user_wrapper,
            found: Err(Lack::Compiler { program: "cargo" }),
            environment,
            config,
        };
        let env = &site.environment;
        let Some(cargo) = env.lookup("cargo") else { return Ok(Ok(site)) };
        let rustc = match site.config.rustc() {
            Some(chosen) => resolve_program(&chosen.program, directory, env),
            None => env.lookup("rustc"),
        };
        let Some(rustc) = rustc else {
            site.found = Err(Lack::Compiler { program: "rustc" });
            return Ok(Ok(site));
        };
        let (toolchain, metadata) = std::thread::scope(|scope| {
            let metadata = scope.spawn(|| package::metadata(&cargo, directory, env, context.children));
            (RustToolchain::find(&cargo, &rustc, directory, env, context.children), metadata.join())
        });
        let metadata = match metadata {
            Ok(metadata) => metadata?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        site.found = match toolchain {
            Ok(toolchain) => match metadata {
                Ok(metadata) => Ok((Arc::new(toolchain), metadata)),
                Err(error) => return Ok(Err(error)),
            },
            Err(RustcError::Process(error @ ProcessError::Interrupted)) => return Err(error),
            Err(error) => {
                let said = match error {
                    RustcError::Failed { said, .. } => said,
                    RustcError::Process(error) => error.to_string(),
                };
                Err(Lack::Broken { program: rustc.display().to_string(), said })
            }
        };
        Ok(Ok(site))
    }

    /// The target for a platform, and the variables that point to its tools.
    fn tools(
        &self,
        site: &Site,
        toolchain: &RustToolchain,
        metadata: &Metadata,
        program: &RustProgram,
        request: &CompileRequest,
    ) -> Result<Found, ProcessError> {
        let row = request.platform.target();
        let uses = Uses::of(metadata.workspace_root.as_std_path());
        let look = |libc: Libc| -> Result<Found, ProcessError> {
            let Some(triple) = request.platform.rust_target(libc) else { return Ok(Err(Lack::NoTarget { libc })) };
            if !site.config.builds_std() && !toolchain.has_std(triple) {
                return Ok(Err(Lack::Std { triple, tier_three: row.tier_three.contains(&triple) }));
            }
            let cfg = if site.config.wants_cfg() { self.cfg(site, toolchain, program, triple)? } else { Vec::new() };
            let found = linker::find(&Wanted {
                platform: request.platform,
                triple,
                libc,
                is_static: request.linkage == Linkage::Static,
                glibc: program.glibc.as_deref().filter(|_| libc == Libc::Gnu),
                uses,
                toolchain,
                config: &site.config,
                cfg: &cfg,
                directory: &program.directory,
                env: &site.environment,
                children: self.context.children,
                work_dir: self.context.work_dir,
            })?;
            Ok(found.map(|tools| (triple, tools)))
        };
        match request.linkage {
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
                let by_rustup = matches!(musl, Err(Lack::Std { tier_three: false, .. }));
                let prefers_musl = by_rustup && toolchain.rustup_name().is_some() && toolchain.has_lld();
                Ok(if gnu.is_err() && prefers_musl { musl } else { gnu })
            }
        }
    }

    fn cfg(
        &self,
        site: &Site,
        toolchain: &RustToolchain,
        program: &RustProgram,
        triple: &str,
    ) -> Result<Vec<Cfg>, ProcessError> {
        let command = Command::new(&toolchain.rustc, &program.directory, site.environment.clone())
            .args(["--print", "cfg", "--target", triple]);
        let output = self.context.children.capture(&command)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| Cfg::from_str(line).ok()).collect())
    }
}
