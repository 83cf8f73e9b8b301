//! From the build file's binaries to finished images: programs are compiled and checked, and a
//! platform's layers are written, and its blobs sent off, as soon as its own programs are there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use oci_layout::cache::Origin;
use tokio::task::JoinSet;

use super::cores::Cores;
use super::*;
use crate::check::CheckId;
use crate::error::GateError;
use crate::image::{Around, ContentError, container, finish, make_layers, plan};
use crate::spec::{Placed, Template, render, render_file};
use crate::toolchain::{Artifact, CompileRequest, CompileUnit, GoProgram, Program, RustProgram, ToolContext};

/// What assembling needs.
pub(super) struct Assembly {
    pub(super) spec: Arc<BuildSpec>,
    pub(super) facts: Arc<Facts>,
    pub(super) bases: Arc<Bases>,
    pub(super) inferred: Arc<BTreeMap<String, String>>,
    pub(super) created: String,
    pub(super) maker: Arc<LayerMaker>,
    /// Where the image goes: each platform's blobs as soon as they are there.
    pub(super) sinks: Arc<Vec<Sink>>,
}

/// What a task of the set below has come to.
enum Finish {
    Compiled(Vec<Artifact>),
    Assembled(Arc<Finished>),
    /// One of the outputs has a platform's blobs.
    Delivered,
}

/// The programs of one platform as they come.
type Awaited = BTreeMap<TargetPlatform, Vec<Option<PathBuf>>>;

pub(super) async fn programs_and_images(
    shared: &Arc<Shared>,
    assembly: Assembly,
    linkages: &BTreeMap<TargetPlatform, Linkage>,
) -> Result<Vec<Arc<Finished>>, BuildError> {
    let spec = Arc::clone(&assembly.spec);
    let (mut awaited, requests) = requests(shared, &spec, &assembly.facts, linkages)?;
    let units = survey(shared, requests).await?;
    let assembly = Arc::new(assembly);
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
    let ready = |programs: &Vec<Option<PathBuf>>| programs.iter().all(Option::is_some);
    let mut begun = BTreeSet::new();
    let mut finished = Vec::new();
    loop {
        for (&platform, programs) in awaited.iter().filter(|(_, programs)| ready(programs)) {
            if begun.insert(platform) {
                let programs = programs.iter().flatten().cloned().collect();
                tasks.spawn(assemble(Arc::clone(shared), Arc::clone(&assembly), platform, programs));
            }
        }
        match tasks.join_next().await {
            None => break,
            Some(Ok(Ok(Finish::Delivered))) => {}
            Some(Ok(Ok(Finish::Assembled(image)))) => {
                for number in 0..assembly.sinks.len() {
                    tasks.spawn(deliver(Arc::clone(shared), Arc::clone(&assembly), number, Arc::clone(&image)));
                }
                finished.push(image);
            }
            Some(Ok(Ok(Finish::Compiled(artifacts)))) => {
                for artifact in artifacts {
                    let slot = awaited.get_mut(&artifact.platform).and_then(|list| list.get_mut(artifact.binary));
                    if let Some(slot) = slot {
                        *slot = Some(artifact.path);
                    }
                }
            }
            Some(Ok(Err(error))) => {
                // The others have nothing left to work for.
                assembly.maker.store.give_up();
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
    match awaited.iter().find(|(platform, _)| !begun.contains(platform)) {
        Some((platform, _)) => Err(BuildError::Internal(format!("no compiler made a program for {platform}"))),
        None => Ok(finished),
    }
}

/// What has to be compiled, and the files that are there already, checked.
fn requests(
    shared: &Shared,
    spec: &BuildSpec,
    facts: &Facts,
    linkages: &BTreeMap<TargetPlatform, Linkage>,
) -> Result<(Awaited, Vec<CompileRequest>), BuildError> {
    let (mut awaited, mut requests, mut problems) = (Awaited::new(), Vec::new(), Vec::new());
    let fault = |problem: Box<Diagnostic>| at_fault(spec, vec![*problem]);
    let context = std::path::absolute(crate::image_context(spec))?;
    for platform in spec.platforms.iter().map(|platform| platform.value) {
        let values = Variables { platform: Some(platform), facts };
        let own = spec.of(platform);
        let base_linkage = linkages.get(&platform).copied().unwrap_or(Linkage::Static);
        let mut slots = Vec::new();
        for (number, binary) in own.binaries.iter().enumerate() {
            let name = render_file(&binary.value.to, &values).map_err(fault)?.to_string();
            let table = |table: &BTreeMap<String, Placed<Template>>| {
                table
                    .iter()
                    .map(|(key, text)| Ok((key.clone(), render(text, &values)?)))
                    .collect::<Result<_, _>>()
                    .map_err(fault)
            };
            let (program, linkage) = match &binary.value.source {
                BinarySource::File(path) => {
                    let file = crate::image::open_source(&context, path, &values).map_err(fault)?;
                    // Before anything compiles; what needs the base comes later.
                    problems.extend(gate::prebuilt(&name, &file, platform, &gate::allowed(shared, own)));
                    slots.push(Some(file));
                    continue;
                }
                BinarySource::Rust(rust) => {
                    let linkage = match (rust.link, rust.libc, base_linkage) {
                        (Some(Link::Static), ..) => Linkage::Static,
                        (_, Some(libc), Linkage::Dynamic(_)) | (Some(Link::Dynamic), Some(libc), _) => {
                            Linkage::Dynamic(libc)
                        }
                        (Some(Link::Dynamic), None, Linkage::Static) => Linkage::Dynamic(Libc::Gnu),
                        (_, _, linkage) => linkage,
                    };
                    let directory = context.join(&rust.path.value);
                    (Program::Rust(RustProgram::new(rust, directory, table(&rust.env)?)), linkage)
                }
                BinarySource::Go(go) => {
                    let ldflags =
                        go.ldflags.iter().map(|flag| render(flag, &values)).collect::<Result<_, _>>().map_err(fault)?;
                    let directory = context.join(&go.path.value);
                    (Program::Go(GoProgram::new(go, directory, ldflags, table(&go.env)?)), base_linkage)
                }
            };
            slots.push(None);
            requests.push(CompileRequest { binary: number, name, platform, linkage, program });
        }
        awaited.insert(platform, slots);
    }
    if problems.is_empty() {
        tracing::debug!(requests = requests.len(), cache = shared.cache.is_some(), "planned");
        Ok((awaited, requests))
    } else {
        Err(BuildError::Gate(Box::new(GateError { sources: spec.sources.clone(), findings: problems })))
    }
}

impl Shared {
    fn tools(&self) -> ToolContext<'_> {
        ToolContext {
            env: &self.env,
            children: &self.children,
            reporter: self.reporter.as_ref(),
            jobs: self.jobs,
            locked: self.locked,
            offline: self.offline,
            color: self.colour,
            work_dir: &self.work_dir,
            rustc_wrapper: &self.rustc_wrapper,
            source_date_epoch: self.epoch.and_then(|epoch| u64::try_from(epoch).ok()),
        }
    }
}

async fn survey(shared: &Arc<Shared>, requests: Vec<CompileRequest>) -> Result<Vec<CompileUnit>, BuildError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let shared = Arc::clone(shared);
    blocking(move || Ok(crate::toolchain::survey(&requests, &shared.tools())?)).await
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
        piece.done(String::new());
        Ok(Finish::Compiled(compiled.artifacts))
    })
    .await
}

async fn assemble(
    shared: Arc<Shared>,
    assembly: Arc<Assembly>,
    platform: TargetPlatform,
    programs: Vec<PathBuf>,
) -> Result<Finish, BuildError> {
    blocking(move || {
        let spec = assembly.spec.of(platform);
        let values = Variables { platform: Some(platform), facts: &assembly.facts };
        let fault = |error| match error {
            ContentError::Spec(list) => match Diagnostics::new(spec.sources.clone(), list) {
                Some(diagnostics) => BuildError::Check(Box::new(diagnostics)),
                None => BuildError::Internal("an error without words".to_owned()),
            },
            ContentError::Layer(source) => BuildError::Layer { platform, source },
        };
        let base = assembly.bases.of(&assembly.spec, platform);
        let own = base.and_then(|base| base.platforms.get(&platform));
        let tree = own.map(|own| own.tree.clone()).unwrap_or_default();
        let allow = gate::allowed(&shared, spec);
        let hide = allow.contains(&CheckId::HiddenFile);
        let mut content = plan(spec, &values, tree, &programs, hide).map_err(fault)?;
        let around = Around {
            platform,
            base: own,
            base_name: base.and_then(|base| base.name.as_deref()),
            inferred: &assembly.inferred,
            created: &assembly.created,
        };
        let any_user = allow.contains(&CheckId::User);
        let config = container(spec, &values, &around, &content.accounts, any_user).map_err(fault)?;
        let built = gate::Built { spec, platform, base, content: &mut content, config: &config };
        gate::check(&shared, built, &allow)?;
        let piece = shared.work.start(Phase::Assemble, Some(platform), "layers".to_owned(), None);
        let layers = make_layers(content, spec, &assembly.maker).map_err(fault)?;
        let finished = finish(spec, &values, &around, config, &layers).map_err(fault)?;
        let size: u64 = finished.new_layers.iter().map(|layer| layer.written.descriptor.size).sum();
        let written = finished.new_layers.iter().filter(|layer| layer.origin == Origin::Written).count();
        match (finished.new_layers.len(), written) {
            (count, 0) => piece.cached(format!("{count} as before, {}", megabytes(size))),
            (count, _) => piece.done(format!("{count} new, {}", megabytes(size))),
        }
        Ok(Finish::Assembled(Arc::new(finished)))
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
