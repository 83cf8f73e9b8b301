//! The programs that the images want: files that are there already, and what compilers are to make.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::assembly::Assembly;
use super::*;
use crate::image::source_directory;
use crate::spec::model::BinarySpec;
use crate::spec::{Placed, Template, render, render_file};
use crate::toolchain::{CompileRequest, CompileUnit, GoProgram, Program, ProgramError, RustProgram, SurveyError};

/// The programs of one platform of one image (by its number) as they come.
pub(super) type Awaited = BTreeMap<(usize, TargetPlatform), Vec<Option<PathBuf>>>;

/// What is to be compiled, for all images of a build.
pub(super) struct Wanted {
    pub(super) awaited: Awaited,
    pub(super) requests: Vec<CompileRequest>,
    /// By a request's number: which image, and which of its binaries.
    pub(super) origins: Vec<(usize, usize)>,
}

/// What has to be compiled for the images, and the files that are there already, checked.
pub(super) fn wanted(shared: &Shared, assemblies: &[Arc<Assembly>]) -> Result<Wanted, BuildError> {
    let mut wanted = Wanted { awaited: Awaited::new(), requests: Vec::new(), origins: Vec::new() };
    for (image, assembly) in assemblies.iter().enumerate() {
        let (mut wrong, mut unfit) = (Vec::new(), Vec::new());
        // Files that fit a platform: several programs may be one of them.
        let mut fitting = HashSet::new();
        for platform in assembly.known_platforms() {
            let allow = gate::allowed(shared, assembly.spec.of(platform));
            // Only where something is compiled, and once.
            let linkage = LazyCell::new(|| assembly.linkage(platform));
            let mut slots = Vec::new();
            for (number, binary) in assembly.spec.of(platform).binaries.iter().enumerate() {
                let slot = match program(assembly, platform, &binary.value, &allow, &linkage, &mut fitting, &mut unfit)
                {
                    Ok(Wish::There(file)) => Some(file),
                    Ok(Wish::Compile(request)) => {
                        let running = wanted.origins.len();
                        wanted.origins.push((image, number));
                        wanted.requests.push(CompileRequest { binary: running, ..*request });
                        None
                    }
                    Err(problem) => {
                        wrong.push(*problem);
                        None
                    }
                };
                slots.push(slot);
            }
            wanted.awaited.insert((image, platform), slots);
        }
        if !wrong.is_empty() {
            return Err(at_fault(&assembly.spec, wrong));
        }
        if let Some(diagnostics) = Diagnostics::new(assembly.spec.sources.clone(), unfit) {
            return Err(BuildError::Check(Box::new(diagnostics)));
        }
    }
    Ok(wanted)
}

/// Where a program comes from.
enum Wish {
    There(PathBuf),
    Compile(Box<CompileRequest>),
}

fn program(
    assembly: &Assembly,
    platform: TargetPlatform,
    binary: &BinarySpec,
    allow: &BTreeSet<CheckId>,
    base_linkage: &LazyCell<Linkage, impl FnOnce() -> Linkage>,
    fitting: &mut HashSet<(PathBuf, TargetPlatform)>,
    unfit: &mut Vec<Diagnostic>,
) -> Result<Wish, Box<Diagnostic>> {
    let Assembly { facts, context, .. } = assembly;
    let values = Variables { platform: Some(platform), facts };
    let name = render_file(&binary.to, &values)?.to_string();
    let table = |table: &BTreeMap<String, Placed<Template>>| {
        table
            .iter()
            .map(|(key, text)| Ok((key.clone(), render(text, &values)?)))
            .collect::<Result<_, Box<Diagnostic>>>()
    };
    let (program, linkage) = match &binary.source {
        BinarySource::File(path) => {
            let file = context.open(path, &values)?;
            // Before anything compiles; what needs the base comes later.
            if !fitting.contains(&(file.clone(), platform)) {
                match gate::prebuilt(&name, &file, platform, path.place, allow) {
                    Some(problem) => unfit.push(problem),
                    None => drop(fitting.insert((file.clone(), platform))),
                }
            }
            return Ok(Wish::There(file));
        }
        BinarySource::Rust(rust) => {
            let linkage = match (rust.link, rust.libc, **base_linkage) {
                (Some(Link::Static), ..) => Linkage::Static,
                (_, Some(libc), Linkage::Dynamic(_)) | (Some(Link::Dynamic), Some(libc), _) => Linkage::Dynamic(libc),
                (Some(Link::Dynamic), None, Linkage::Static) => Linkage::Dynamic(Libc::Gnu),
                (_, _, linkage) => linkage,
            };
            let directory = source_directory(context.directory(), &rust.path.value);
            (Program::Rust(RustProgram::new(rust, directory, table(&rust.env)?)), linkage)
        }
        BinarySource::Go(go) => {
            let ldflags = go.ldflags.iter().map(|flag| render(flag, &values)).collect::<Result<_, _>>()?;
            let directory = source_directory(context.directory(), &go.path.value);
            (Program::Go(GoProgram::new(go, directory, ldflags, table(&go.env)?)), **base_linkage)
        }
    };
    Ok(Wish::Compile(Box::new(CompileRequest { binary: 0, name, platform, linkage, program })))
}

/// Which calls of which compilers make what is wanted.
pub(super) async fn survey(
    shared: &Arc<Shared>,
    assemblies: &[Arc<Assembly>],
    wanted: &mut Wanted,
) -> Result<Vec<CompileUnit>, BuildError> {
    let requests = std::mem::take(&mut wanted.requests);
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let shared = Arc::clone(shared);
    let found = blocking(move || Ok(crate::toolchain::survey(&requests, &shared.tools()))).await?;
    found.map_err(|error| match error {
        SurveyError::Program { binary, source, .. } => wrong_program(assemblies, wanted, binary, source),
        error => error.into(),
    })
}

/// A program that is not what the build file says: pointed at where it says so.
fn wrong_program(assemblies: &[Arc<Assembly>], wanted: &Wanted, running: usize, error: ProgramError) -> BuildError {
    let found = wanted.origins.get(running).and_then(|&(image, number)| {
        let spec = &assemblies.get(image)?.spec;
        // Of a platform of its own only where the image itself has no such binary.
        let binary = spec.binaries.get(number)?;
        Some((spec, binary))
    });
    let Some((spec, binary)) = found else {
        return SurveyError::Program { binary: running, name: "a program".to_owned(), source: error }.into();
    };
    let place = match (&binary.value.source, &error) {
        (BinarySource::Rust(rust), ProgramError::NoBinary { .. }) => rust.bin.as_ref().and_then(|bin| bin.place),
        (BinarySource::Rust(rust), ProgramError::NoPackage { .. }) => rust.package.as_ref().and_then(|it| it.place),
        (BinarySource::Rust(rust), _) => rust.path.place,
        (BinarySource::Go(go), ProgramError::Quotes(_)) => go.ldflags.first().and_then(|flag| flag.place),
        (BinarySource::Go(go), _) => go.path.place,
        (BinarySource::File(file), _) => file.place,
    };
    let mut diagnostic = Diagnostic::error("program", with_causes(&error), place.or(binary.place));
    if let Some((wrong, known)) = error.names() {
        diagnostic = diagnostic.nearest(wrong, known);
    }
    at_fault(spec, vec![diagnostic])
}

/// What the compilers say of themselves.
pub(super) fn compilers(units: &[CompileUnit]) -> Vec<CompilerResult> {
    let mut compilers = BTreeSet::new();
    for unit in units {
        match unit {
            CompileUnit::Rust(unit) => {
                let version = unit.toolchain.version.clone();
                compilers.insert(CompilerResult { language: "rust".to_owned(), version });
            }
            CompileUnit::Go(unit) => {
                let version = crate::toolchain::go_version(unit).to_owned();
                compilers.insert(CompilerResult { language: "go".to_owned(), version });
            }
        }
    }
    compilers.into_iter().collect()
}

/// An error and its causes, as one sentence.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
