//! From the build file's binaries to finished images: programs are compiled and checked, and a
//! platform's layers are written, and its blobs sent off, as soon as its own programs are there.

use std::path::PathBuf;
use std::sync::Arc;

use oci_layout::cache::Origin;
use tokio::task::JoinSet;

use super::admission::Admission;
use super::assembly::Assembly;
use super::cores::Cores;
use super::plan::drafts;
use super::programs::{Wanted, compilers, survey, wanted};
use super::steps::{Grown, Stack};
use super::*;
use crate::image::{Context, check_entrypoint, container, finish, make_layers};
use crate::toolchain::{Artifact, CompileUnit, ToolContext};

/// What a task of the set below has come to.
enum Finish {
    Compiled(Vec<Artifact>),
    /// Which of the build's images, and one platform of it.
    Assembled(usize, Arc<Finished>),
    /// One of the outputs has a platform's blobs.
    Delivered,
    /// The commands of a platform that come before its programs have run.
    Ahead,
}

/// Makes the images of all assemblies; gives them in the same order. Compilation is shared.
pub(super) async fn programs_and_images(
    shared: &Arc<Shared>,
    assemblies: &[Arc<Assembly>],
) -> Result<(Vec<Vec<Arc<Finished>>>, Vec<CompilerResult>), BuildError> {
    steps::check(shared, assemblies).await?;
    let mut wanted = wanted(shared, assemblies)?;
    let units = survey(shared, assemblies, &mut wanted).await?;
    let compiled = !units.is_empty();
    if compiled {
        // What does not fit is told before the compilers run, not after.
        drafts(shared, assemblies, &wanted.awaited).await?;
    }
    let compilers = compilers(&units);
    let Wanted { mut awaited, origins, .. } = wanted;
    let mut tasks: JoinSet<Result<Finish, BuildError>> = JoinSet::new();
    let (rust, go): (Vec<CompileUnit>, Vec<CompileUnit>) =
        units.into_iter().partition(|unit| matches!(unit, CompileUnit::Rust(_)));
    let cores = Arc::new(Cores::new(shared.jobs, rust.len(), go.len()));
    for (units, is_cargo) in [(rust, true), (go, false)] {
        for unit in units {
            let (shared, cores) = (Arc::clone(shared), Arc::clone(&cores));
            tasks.spawn(async move {
                let turn = cores.turn(is_cargo).await;
                compile(&shared, unit, turn.jobs).await
            });
        }
    }
    if compiled {
        ahead(shared, assemblies, &mut tasks);
    }
    let mut admission = Admission::ask(shared, assemblies);
    let ready = |programs: &Vec<Option<PathBuf>>| programs.iter().all(Option::is_some);
    let mut begun = BTreeSet::new();
    let mut finished: Vec<Vec<Arc<Finished>>> = assemblies.iter().map(|_| Vec::new()).collect();
    loop {
        for (&(image, platform), programs) in awaited.iter().filter(|(_, programs)| ready(programs)) {
            if let Some(assembly) = assemblies.get(image)
                && begun.insert((image, platform))
            {
                let programs = programs.iter().flatten().cloned().collect();
                tasks.spawn(assemble(Arc::clone(shared), Arc::clone(assembly), image, platform, programs, compiled));
            }
        }
        // A registry that refuses ends the build as what is made for it would.
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            refusal = admission.refusal() => Some(Ok(Err(refusal))),
        };
        match ended {
            None => break,
            Some(Ok(Ok(Finish::Delivered | Finish::Ahead))) => {}
            Some(Ok(Ok(Finish::Assembled(image, made)))) => {
                if let (Some(assembly), Some(images)) = (assemblies.get(image), finished.get_mut(image)) {
                    for number in 0..assembly.sinks.len() {
                        tasks.spawn(deliver(Arc::clone(shared), Arc::clone(assembly), number, Arc::clone(&made)));
                    }
                    images.push(made);
                }
            }
            Some(Ok(Ok(Finish::Compiled(artifacts)))) => {
                for artifact in artifacts {
                    let Some(&(image, binary)) = origins.get(artifact.binary) else { continue };
                    let slots = awaited.get_mut(&(image, artifact.platform));
                    if let Some(slot) = slots.and_then(|slots| slots.get_mut(binary)) {
                        *slot = Some(artifact.path);
                    }
                }
            }
            Some(Ok(Err(error))) => {
                // The others have nothing left to work for.
                assemblies.iter().for_each(|assembly| assembly.maker.store.give_up());
                if !shared.children.interrupted() {
                    shared.failed.store(true, Ordering::SeqCst);
                    let children = Arc::clone(&shared.children);
                    let _ = spawn_blocking(move || children.interrupt(Duration::from_secs(2))).await;
                }
                while tasks.join_next().await.is_some() {}
                return Err(error);
            }
            Some(Err(error)) => return Err(BuildError::Internal(error.to_string())),
        }
    }
    match awaited.keys().find(|key| !begun.contains(*key)) {
        Some((_, platform)) => Err(BuildError::Internal(format!("no compiler made a program for {platform}"))),
        None => Ok((finished, compilers)),
    }
}

async fn compile(shared: &Arc<Shared>, unit: CompileUnit, jobs: NonZeroUsize) -> Result<Finish, BuildError> {
    let shared = Arc::clone(shared);
    blocking(move || {
        if shared.children.interrupted() {
            return Err(BuildError::Interrupted);
        }
        let platforms = unit.platforms();
        let only = if platforms.len() == 1 { platforms.first().copied() } else { None };
        let piece = shared.work.start(Phase::Compile, only, unit.describe(), None);
        let compiled = crate::toolchain::compile(&unit, piece.id, &ToolContext { jobs, ..shared.tools() })?;
        match compiled.is_as_before {
            true => piece.cached("as before".to_owned()),
            false => piece.done(String::new()),
        }
        Ok(Finish::Compiled(compiled.artifacts))
    })
    .await
}

/// Runs commands that come before programs while these are compiled.
fn ahead(shared: &Arc<Shared>, assemblies: &[Arc<Assembly>], tasks: &mut JoinSet<Result<Finish, BuildError>>) {
    for assembly in assemblies {
        for platform in assembly.known_platforms().filter(|platform| !assembly.spec.of(*platform).runs.is_empty()) {
            let (shared, assembly) = (Arc::clone(shared), Arc::clone(assembly));
            tasks.spawn(blocking(move || {
                Stack::new(&shared, &assembly, platform, &assembly.context).run_ahead()?;
                Ok(Finish::Ahead)
            }));
        }
    }
}

/// Makes one platform's image; with `compiled`, compilers have run since its sources were looked at.
async fn assemble(
    shared: Arc<Shared>,
    assembly: Arc<Assembly>,
    image: usize,
    platform: TargetPlatform,
    programs: Vec<PathBuf>,
    compiled: bool,
) -> Result<Finish, BuildError> {
    blocking(move || {
        let spec = assembly.spec.of(platform);
        let values = Variables { platform: Some(platform), facts: &assembly.facts };
        let fault = |error| steps::content_fault(spec, platform, error);
        let allow = gate::allowed(&shared, spec);
        let programs: Vec<Option<PathBuf>> = programs.into_iter().map(Some).collect();
        // Looked at anew, where compilers may have written some of them.
        let anew = compiled.then(|| Context::of(spec)).transpose()?;
        let sources = anew.as_ref().unwrap_or(&assembly.context);
        let Grown { growth, mut layers, results } =
            Stack::new(&shared, &assembly, platform, sources).grow(&programs)?;
        let mut draft = growth.finish(spec.layers.grouping);
        let around = assembly.around(platform);
        let any_user = allow.contains(&CheckId::User);
        let config = container(spec, &values, &around, &draft.accounts, any_user).map_err(fault)?;
        // Said here it has its place in the build file.
        if !allow.contains(&CheckId::Entrypoint) {
            check_entrypoint(spec, &config, &draft.tree, platform).map_err(|problem| fault(problem.into()))?;
        }
        let base = assembly.bases.of(&assembly.spec, platform);
        let built = gate::Built { spec, platform, base, draft: &mut draft, config: &config };
        gate::check(&shared, built, &allow)?;
        // Of a million files, all but what is written now would be in the way.
        drop((draft.tree, anew));
        let piece = shared.work.start(Phase::Assemble, Some(platform), "layers".to_owned(), None);
        layers.extend(make_layers(draft.groups, spec, &assembly.maker).map_err(fault)?);
        let mut finished = finish(spec, &values, &around, config, &layers).map_err(fault)?;
        finished.steps = results;
        let size: u64 = finished.new_layers.iter().map(|layer| layer.written.descriptor.size).sum();
        let written = finished.new_layers.iter().filter(|layer| layer.origin == Origin::Written).count();
        match (finished.new_layers.len(), written) {
            (count, 0) => piece.cached(format!("{count} as before, {}", megabytes(size))),
            (count, _) => piece.done(format!("{count} new, {}", megabytes(size))),
        }
        Ok(Finish::Assembled(image, Arc::new(finished)))
    })
    .await
}

async fn deliver(
    shared: Arc<Shared>,
    assembly: Arc<Assembly>,
    number: usize,
    image: Arc<Finished>,
) -> Result<Finish, BuildError> {
    if let Some(sink) = assembly.sinks.get(number) {
        sink.take(&shared, &assembly.spec, &assembly.bases, &image).await?;
    }
    Ok(Finish::Delivered)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
