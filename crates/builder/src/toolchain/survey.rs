//! Looks at the machine before anything compiles: which call of which compiler builds each
//! program, and all that is missing for that at once.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use cargo_metadata::Metadata;

use super::error::{ProgramError, SurveyError};
use super::missing::{Lack, Lacks};
use super::request::{CompileRequest, Linkage, Program, RustProgram};
use super::rust::Uses;
use super::rust::compiler::RustToolchain;
use super::rust::package;
use super::rust::site::{Found, Site};
use super::system::System;
use super::unit::{CompileUnit, Place, Resolved, RustOutput, RustSettings, RustTarget, group};
use super::{ToolContext, go, rust};
use crate::spec::model::GlibcVersion;
use crate::target::TargetPlatform;

/// Turns requests into compile units.
///
/// A program that is not what the build file says ends it at once; tools that are missing are
/// collected, for all platforms and both languages.
pub fn survey(requests: &[CompileRequest], context: &ToolContext<'_>) -> Result<Vec<CompileUnit>, SurveyError> {
    for request in requests {
        let directory = request.program.directory();
        if !fs_err::metadata(directory).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(wrong(request, ProgramError::NoDirectory(directory.to_owned())));
        }
    }
    let mut lacks = Lacks::default();
    let mut survey = RustSurvey { context, places: HashMap::new(), tools: HashMap::new() };
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
    let rust_units = by_workspace(programs).into_iter().flat_map(|(workspace, programs)| {
        let (cargo_home, home) = (context.cargo_home(), context.env.home());
        group(programs, &rust::salt(&workspace, cargo_home.as_deref(), home.as_deref()))
    });
    Ok(rust_units.map(CompileUnit::Rust).chain(go_units.into_iter().map(CompileUnit::Go)).collect())
}

fn wrong(request: &CompileRequest, source: ProgramError) -> SurveyError {
    SurveyError::Program { binary: request.binary, name: request.name.clone(), source }
}

/// In the order in which they first come.
fn by_workspace(programs: Vec<Resolved>) -> Vec<(PathBuf, Vec<Resolved>)> {
    let mut groups: Vec<(PathBuf, Vec<Resolved>)> = Vec::new();
    for program in programs {
        match groups.iter_mut().find(|(workspace, _)| *workspace == program.place.workspace) {
            Some((_, programs)) => programs.push(program),
            None => groups.push((program.place.workspace.clone(), vec![program])),
        }
    }
    groups
}

/// What is found out once for each directory and set of variables.
struct RustPlace {
    site: Site,
    toolchain: Arc<RustToolchain>,
    metadata: Metadata,
    uses: Uses,
}

type PlaceKey = (PathBuf, BTreeMap<String, String>, Option<String>);

struct RustSurvey<'a> {
    context: &'a ToolContext<'a>,
    places: HashMap<PlaceKey, Result<Arc<RustPlace>, Lack>>,
    tools: HashMap<(PlaceKey, TargetPlatform, Linkage, Option<GlibcVersion>), Found>,
}

impl RustSurvey<'_> {
    fn request(
        &mut self,
        request: &CompileRequest,
        program: &RustProgram,
        lacks: &mut Lacks,
    ) -> Result<Option<Resolved>, SurveyError> {
        let key = (program.directory.clone(), program.env.clone(), program.toolchain.clone());
        let place = match self.places.get(&key) {
            Some(place) => place.clone(),
            None => {
                let place = self.place(request, program)?.map(Arc::new);
                self.places.insert(key.clone(), place.clone());
                place
            }
        };
        let place = match place {
            Ok(place) => place,
            Err(lack) => {
                lacks.add(lack, None, request.platform);
                return Ok(None);
            }
        };
        let RustPlace { site, toolchain, metadata, uses } = &*place;
        let bin = package::select(program, metadata).map_err(|error| wrong(request, error))?;
        let (platform, linkage, glibc) = (request.platform, request.linkage, program.glibc);
        let tools_key = (key, platform, linkage, glibc);
        let found = match self.tools.get(&tools_key) {
            Some(found) => found.clone(),
            None => {
                let found = site.tools(toolchain, platform, linkage, glibc, *uses, self.context)?;
                self.tools.insert(tools_key, found.clone());
                found
            }
        };
        let (triple, tools) = match found {
            Ok(found) => found,
            Err(lacking) => {
                for lack in lacking {
                    lacks.add(lack, Some(toolchain), platform);
                }
                return Ok(None);
            }
        };
        let mut features = program.features.clone();
        features.sort();
        features.dedup();
        let target_cpu = program.target_cpu.clone().or_else(|| platform.target().target_cpu.map(str::to_owned));
        // The platform's own processor comes behind the user's flags and wins.
        if let (None, Some(origin)) = (&target_cpu, site.native_cpu(triple)) {
            self.context.warn(format!(
                "{} for {platform} may not run elsewhere: {origin} compiles for the processor of this machine",
                request.name
            ));
        }
        let (name, triple) = (request.name.clone(), triple.to_owned());
        Ok(Some(Resolved {
            output: RustOutput { binary: request.binary, name, platform, bin, triple: triple.clone() },
            target: RustTarget {
                triple,
                linker: tools.linker,
                tools: tools.variables,
                build_scripts: tools.build_scripts,
            },
            settings: RustSettings {
                features,
                default_features: program.default_features,
                all_features: program.all_features,
                profile: program.profile.clone(),
                env: program.env.clone(),
                toolchain: program.toolchain.clone(),
                crt_static: linkage == Linkage::Static,
                glibc,
                target_cpu,
            },
            place: Place {
                directory: program.directory.clone(),
                workspace: metadata.workspace_root.as_std_path().to_owned(),
                target_directory: metadata.target_directory.as_std_path().to_owned(),
                files: site.files(),
            },
            toolchain: Arc::clone(toolchain),
            user_wrapper: site.user_wrapper(),
            sources: site.sources(),
        }))
    }

    fn place(&self, request: &CompileRequest, program: &RustProgram) -> Result<Result<RustPlace, Lack>, SurveyError> {
        let context = self.context;
        let site = Site::new(&program.directory, &program.env, program.toolchain.as_deref(), context);
        let cargo = match site.cargo() {
            Ok(cargo) => cargo,
            Err(lack) => return Ok(Err(lack)),
        };
        // Both take as long as a compiler takes to start.
        let (toolchain, metadata) = std::thread::scope(|scope| {
            let ask = || package::metadata(&cargo, &site.directory, &site.environment, context.children);
            let metadata = scope.spawn(ask);
            (site.toolchain(context), metadata.join())
        });
        let metadata = match metadata {
            Ok(metadata) => metadata?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let toolchain = match toolchain? {
            Ok(toolchain) => toolchain,
            Err(lack) => return Ok(Err(lack)),
        };
        let metadata = metadata.map_err(|error| wrong(request, error))?;
        let uses = Uses::of(metadata.workspace_root.as_std_path());
        Ok(Ok(RustPlace { site, toolchain, metadata, uses }))
    }
}
