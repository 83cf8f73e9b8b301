//! Commands that are run on the images: what each changes becomes a layer.
//!
//! A command's outcome is kept under a digest over everything that it depends on: the layers below, the
//! platform, the command and what it is given. While compilers run, the commands that come before the
//! programs run already; whoever puts the image together then finds what they have made.

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use oci_layout::Digest;
use oci_layout::cache::Origin;
use oci_layout::digest::{Algorithm, Hasher};
use oci_layout::document::ContainerConfig;
use oci_layout::layer::{Content, EntryKind, LayerFacts, LayerPlan, Limits, WrittenLayer};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::assembly::Assembly;
use super::programs::with_causes;
use super::transcript::{Lines, Transcript};
use super::*;
use crate::check::elf::ElfInspector;
use crate::image::{ContentError, Context, Growth, Layers, layer_options, make_layers};
use crate::result::StepResult;
use crate::sandbox::step::{Secret, StepError, StepMount, StepMountKind, StepRequest, run_step};
use crate::sandbox::{self, Container, Ending, Network, Overrides, Request, SandboxError, Streams, attend};
use crate::spec::model::{FileSource, FileSpec, MountKind, MountSpec, Owner, Part, RunSpec};
use crate::spec::{Placed, Template, render, render_destination};

/// Counts up when commands of the same words come to have another outcome.
const FORMAT: u32 = 1;

/// Most characters of a command that are told.
const SHOWN: usize = 80;

/// What the commands of a build have in common.
pub(super) struct Steps {
    /// How many run at a time.
    turns: Semaphore,
    /// Outcomes of this build's commands by their keys; locked while one runs.
    known: Mutex<HashMap<Digest, Slot>>,
}

type Slot = Arc<Mutex<Option<Outcome>>>;

impl Steps {
    pub(super) fn new(jobs: NonZeroUsize) -> Self {
        Self { turns: Semaphore::new(jobs.get()), known: Mutex::default() }
    }

    fn slot(&self, key: Digest) -> Slot {
        Arc::clone(self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }
}

/// What a command has made: a layer, unless it has changed nothing.
type Outcome = Option<(Arc<NewLayer>, Arc<LayerFacts>)>;

/// The same in the cache.
#[derive(Serialize, Deserialize)]
struct Record {
    layer: Option<WrittenLayer>,
}

/// What an outcome depends on.
#[derive(Serialize)]
struct Key<'a> {
    format: u32,
    platform: String,
    /// Diff IDs, lowest first.
    below: &'a [Digest],
    container: &'a Container,
    network: Network,
    mounts: Vec<(String, &'static str, Option<Digest>)>,
    compression: String,
}

/// Without a network no command may want one.
pub(super) fn check_offline(specs: &[BuildSpec]) -> Result<(), BuildError> {
    for spec in specs {
        let own = spec.platforms.iter().map(|platform| spec.of(platform.value));
        let networked = own.flat_map(|own| &own.runs).filter(|run| run.value.network == Network::Host);
        let problems = networked.map(|run| {
            let message = "mab is offline, but this command has `network: host`";
            Diagnostic::error("offline-step", message, run.place)
                .hint("leave out --offline, or prepare what it fetches and mount it")
        });
        if let Some(diagnostics) = Diagnostics::new(spec.sources.clone(), problems.collect()) {
            return Err(BuildError::OfflineStep(Box::new(diagnostics)));
        }
    }
    Ok(())
}

/// Whether this machine can run the commands at all: told before anything else is begun, for all platforms.
pub(super) async fn check(shared: &Arc<Shared>, assemblies: &[Arc<Assembly>]) -> Result<(), BuildError> {
    for assembly in assemblies {
        let mut here = Vec::new();
        for platform in assembly.known_platforms() {
            let spec = assembly.spec.of(platform);
            let Some(first) = spec.runs.first() else { continue };
            let own = Arc::clone(shared);
            let found = blocking(move || Ok(sandbox::execution(platform, &own.env, &own.children))).await?;
            if let Err((error, remedy)) = found {
                let message = format!("the commands for {platform} cannot run here: {error}");
                here.push(Diagnostic::error("step", message, first.place).hint(remedy));
            }
        }
        if let Some(diagnostics) = Diagnostics::new(assembly.spec.sources.clone(), here) {
            return Err(BuildError::Step(Box::new(diagnostics)));
        }
    }
    Ok(())
}

/// The layers of one platform of an image while they come about.
pub(super) struct Stack<'a> {
    shared: &'a Shared,
    assembly: &'a Assembly,
    platform: TargetPlatform,
    sources: &'a Context,
    values: Variables<'a>,
    growth: Growth,
    layers: Layers,
    results: Vec<StepResult>,
    base_directories: Option<Vec<PathBuf>>,
}

/// What a [`Stack`] comes to.
pub(super) struct Grown {
    /// With what is in no layer yet.
    pub(super) growth: Growth,
    /// Those that commands were run on, and what these have made.
    pub(super) layers: Layers,
    pub(super) results: Vec<StepResult>,
}

impl<'a> Stack<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        assembly: &'a Assembly,
        platform: TargetPlatform,
        sources: &'a Context,
    ) -> Self {
        let tree = assembly.bases.tree(&assembly.spec, platform).map(|tree| Tree::clone(tree)).unwrap_or_default();
        let hide = gate::allowed(shared, assembly.spec.of(platform)).contains(&CheckId::HiddenFile);
        Self {
            shared,
            assembly,
            platform,
            sources,
            values: Variables { platform: Some(platform), facts: &assembly.facts },
            growth: Growth::new(tree, hide),
            layers: Vec::new(),
            results: Vec::new(),
            base_directories: None,
        }
    }

    fn spec(&self) -> &'a BuildSpec {
        self.assembly.spec.of(self.platform)
    }

    /// Runs the commands that come before any program.
    pub(super) fn run_ahead(mut self) -> Result<(), BuildError> {
        let spec = self.spec();
        for part in &spec.parts {
            match part {
                Part::Content(range) => self.growth.content(spec, self.sources, &self.values, range),
                Part::Runs(range) => self.runs(range.clone())?,
                Part::Binaries(_) => break,
            }
        }
        Ok(())
    }

    /// Puts all parts in.
    pub(super) fn grow(mut self, programs: &[Option<PathBuf>]) -> Result<Grown, BuildError> {
        let spec = self.spec();
        for part in &spec.parts {
            match part {
                Part::Content(range) => self.growth.content(spec, self.sources, &self.values, range),
                Part::Runs(range) => self.runs(range.clone())?,
                Part::Binaries(range) => {
                    let put = self.growth.binaries(spec, &self.values, range, programs);
                    put.map_err(|error| content_fault(spec, self.platform, error))?;
                }
            }
        }
        self.growth.fits().map_err(|error| content_fault(spec, self.platform, error))?;
        let Self { growth, layers, results, .. } = self;
        Ok(Grown { growth, layers, results })
    }

    fn runs(&mut self, range: std::ops::Range<usize>) -> Result<(), BuildError> {
        let spec = self.spec();
        for run in spec.runs.get(range).unwrap_or_default() {
            self.seal()?;
            self.run(run)?;
        }
        Ok(())
    }

    /// What was put in so far becomes layers.
    fn seal(&mut self) -> Result<(), BuildError> {
        let (spec, platform) = (self.spec(), self.platform);
        let fault = |error| content_fault(spec, platform, error);
        self.growth.fits().map_err(fault)?;
        let groups = self.growth.seal(spec.layers.grouping);
        for (layer, created_by) in make_layers(groups, spec, &self.assembly.maker).map_err(fault)? {
            self.growth.lay_over(&*self.facts(&layer)?);
            self.layers.push((layer, created_by));
        }
        Ok(())
    }

    fn run(&mut self, run: &Placed<RunSpec>) -> Result<(), BuildError> {
        let container = self.container(run)?;
        let key = self.key(run, &container)?;
        let slot = self.shared.steps.slot(key);
        let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match &*known {
            Some(outcome) => outcome.clone(),
            None => {
                let outcome = self.kept_or_run(run, container, key)?;
                *known = Some(outcome.clone());
                outcome
            }
        };
        drop(known);
        let created_by = format!("mab: run {}", written(&run.value));
        self.results
            .push(StepResult { command: run.value.command.clone(), reproducible: run.value.network == Network::None });
        if let Some((layer, facts)) = outcome {
            self.growth.lay_over(&facts);
            self.layers.push((layer, created_by));
        }
        Ok(())
    }

    /// What the command sees of the image and of the build file.
    fn container(&self, run: &Placed<RunSpec>) -> Result<Container, BuildError> {
        let fault = |problem: Box<Diagnostic>| at_fault(self.spec(), vec![*problem]);
        let RunSpec { command, env, workdir, user, .. } = &run.value;
        let user =
            self.growth.accounts().resolve(user).map_err(|problem| {
                BuildError::Check(Box::new(Diagnostics::one(self.spec().sources.clone(), *problem)))
            })?;
        let mut environment = vec![("TARGETPLATFORM".to_owned(), self.platform.to_string())];
        let target = self.platform.to_string();
        for (name, number) in [("TARGETOS", 0), ("TARGETARCH", 1), ("TARGETVARIANT", 2)] {
            environment.push((name.to_owned(), target.split('/').nth(number).unwrap_or_default().to_owned()));
        }
        for (name, value) in env {
            environment.push((name.clone(), render(value, &self.values).map_err(fault)?));
        }
        let directory =
            workdir.as_ref().map(|path| render_destination(path, &self.values)).transpose().map_err(fault)?;
        let overrides = Overrides {
            entrypoint: Some(String::new()),
            arguments: command.clone(),
            environment,
            directory: directory.map(|destination| destination.path.to_string()),
            user: Some(user.to_string()),
            terminal: None,
        };
        let base = self.assembly.bases.of(&self.assembly.spec, self.platform);
        let own = base.and_then(|base| base.platforms.get(&self.platform));
        let env = own.map(|own| own.config.config.env.clone()).unwrap_or_default();
        Container::of_image(&ContainerConfig { env, ..ContainerConfig::default() }, overrides)
            .map_err(|error| fault(Box::new(Diagnostic::error("step", error.to_string(), run.place))))
    }

    fn key(&self, run: &Placed<RunSpec>, container: &Container) -> Result<Digest, BuildError> {
        let base = self.assembly.bases.of(&self.assembly.spec, self.platform);
        let own = base.and_then(|base| base.platforms.get(&self.platform));
        let mut below = own.map(|own| own.config.rootfs.diff_ids.clone()).unwrap_or_default();
        below.extend(self.layers.iter().map(|(layer, _)| layer.written.diff_id));
        let mut mounts = Vec::new();
        for mount in &run.value.mounts {
            let fault = |problem: Box<Diagnostic>| at_fault(self.spec(), vec![*problem]);
            let to = render_destination(&mount.value.to, &self.values).map_err(fault)?.path.to_string();
            let (kind, digest) = match &mount.value.kind {
                MountKind::Cache(_) => ("cache", None),
                MountKind::Bind(source) => ("bind", Some(self.digest(source)?)),
                MountKind::Tmpfs => ("tmpfs", None),
                // Who has another password wants the same image.
                MountKind::Secret(_) | MountKind::SecretEnv(_) => ("secret", None),
            };
            mounts.push((to, kind, digest));
        }
        let key = Key {
            format: FORMAT,
            platform: self.platform.to_string(),
            below: &below,
            container,
            network: run.value.network,
            mounts,
            compression: format!("{:?} {}", self.spec().layers.compression, crate::image::FORMAT),
        };
        let key = serde_json::to_vec(&key).map_err(|error| BuildError::Internal(error.to_string()))?;
        Ok(Digest::of(&key))
    }

    /// Over what a source holds.
    fn digest(&self, source: &Placed<Template>) -> Result<Digest, BuildError> {
        let spec = FileSpec {
            from: FileSource::Path(source.clone()),
            to: Placed::implied(Template::literal("/")),
            mode: None,
            directory_mode: None,
            owner: Placed::implied(Owner::default()),
            exclude: Vec::new(),
            capabilities: Default::default(),
            replace: false,
        };
        let source = self.sources.find(&spec, &self.values);
        let source = source.map_err(|problem| at_fault(self.spec(), vec![*problem]))?;
        let mut text = String::new();
        for item in source.to_copy() {
            let what = match item.kind {
                EntryKind::File(Content::File { path, .. }) => {
                    let mut hasher = Hasher::new(Algorithm::Sha256);
                    let mut file = fs_err::File::open(&*path)?;
                    let mut bytes = vec![0; 64 << 10];
                    loop {
                        match io::Read::read(&mut file, &mut bytes)? {
                            0 => break hasher.finish().to_string(),
                            count => hasher.update(bytes.get(..count).unwrap_or_default()),
                        }
                    }
                }
                EntryKind::Symlink { target } => target,
                _ => String::new(),
            };
            text.push_str(&format!("{:?} {} {:?}\n", item.below, item.executable, what));
        }
        Ok(Digest::of(text.as_bytes()))
    }

    /// The outcome from an earlier build, or of a run now.
    fn kept_or_run(&mut self, run: &Placed<RunSpec>, container: Container, key: Digest) -> Result<Outcome, BuildError> {
        let what = shown(&run.value);
        if let Some(outcome) = self.kept(key)? {
            let piece = self.shared.work.start(Phase::Run, Some(self.platform), what, None);
            piece.cached("as before".to_owned());
            return Ok(outcome);
        }
        let shared = self.shared;
        let _turn = Handle::current().block_on(shared.steps.turns.acquire());
        if shared.children.interrupted() {
            return Err(BuildError::Interrupted);
        }
        let cache = shared.sandbox_cache()?;
        let directories = self.directories(&cache)?;
        let piece = shared.work.start(Phase::Run, Some(self.platform), what, None);
        let made = self.execute(run, container, directories, &cache, piece.id)?;
        let record = Record { layer: made.as_ref().map(|layer| layer.written.clone()) };
        if let Err(error) = cache.put_document(&key, &record) {
            tracing::debug!(%error, "the outcome of a command is not remembered");
        }
        piece.done(match &made {
            Some(layer) => crate::event::size(layer.written.descriptor.size),
            None => "nothing has changed".to_owned(),
        });
        made.map(|layer| Ok((Arc::clone(&layer), self.facts(&layer)?))).transpose()
    }

    /// The outcome of an earlier build, if its blob is there and whole.
    fn kept(&self, key: Digest) -> Result<Option<Outcome>, BuildError> {
        let Some(cache) = self.shared.cache.as_ref().filter(|_| !self.shared.no_cache) else { return Ok(None) };
        let Some(record) = cache.document::<Record>(&key) else { return Ok(None) };
        let Some(written) = record.layer else { return Ok(Some(None)) };
        let Some(path) = cache.verified_blob(&written.descriptor) else { return Ok(None) };
        let layer = self.assembly.maker.kept(written, Origin::Unchanged, path);
        let facts = self.facts(&layer)?;
        Ok(Some(Some((layer, facts))))
    }

    /// What is in a layer, from the cache or read.
    fn facts(&self, layer: &NewLayer) -> Result<Arc<LayerFacts>, BuildError> {
        let descriptor = &layer.written.descriptor;
        let cache = self.shared.cache.as_ref();
        let known = cache.and_then(|cache| cache.facts(&descriptor.digest));
        if let Some(facts) = known.filter(|facts| facts.inspector == ElfInspector::VERSION) {
            return Ok(Arc::new(facts));
        }
        let compression =
            descriptor.media_type.layer_compression().unwrap_or(oci_layout::media_type::Compression::None);
        let reader = layer.open_at(0)?;
        let (facts, _) = LayerFacts::scan_with(reader, compression, &Limits::default(), &mut ElfInspector)
            .map_err(|error| BuildError::Internal(format!("a layer of its own cannot be read: {error}")))?;
        if let Some(cache) = cache
            && let Err(error) = cache.put_facts(&descriptor.digest, &facts)
        {
            tracing::debug!(%error, "facts of a layer are not kept");
        }
        Ok(Arc::new(facts))
    }

    /// All layers so far, unpacked.
    fn directories(&mut self, cache: &Arc<Cache>) -> Result<Vec<PathBuf>, BuildError> {
        let base = self.assembly.bases.of(&self.assembly.spec, self.platform);
        if self.base_directories.is_none() {
            let own = base.and_then(|base| Some((base, base.platforms.get(&self.platform)?)));
            let directories = match own {
                None => Vec::new(),
                Some((base, own)) => {
                    let layers = own.manifest.layers.iter().zip(&own.config.rootfs.diff_ids);
                    let is_new = own.config.rootfs.diff_ids.iter().any(|diff_id| cache.unpacked(diff_id).is_none());
                    let piece = is_new.then(|| {
                        let what = format!("unpack {}", base.shown);
                        self.shared.work.start(Phase::Run, Some(self.platform), what, None)
                    });
                    let unpacked =
                        layers.map(|(layer, diff_id)| sandbox::unpack_layer(&base.source, layer, *diff_id, cache));
                    let unpacked = interruptible(self.shared, try_join_all(unpacked));
                    let unpacked = Handle::current().block_on(unpacked)?;
                    let unpacked = unpacked.map_err(|source| BuildError::Base { base: base.shown.clone(), source })?;
                    if let Some(piece) = piece {
                        piece.done(String::new());
                    }
                    unpacked
                }
            };
            self.base_directories = Some(directories);
        }
        let mut directories = self.base_directories.clone().unwrap_or_default();
        for (layer, _) in &self.layers {
            let directory = match cache.unpacked(&layer.written.diff_id) {
                Some(directory) => directory,
                None => unpacked::unpack(cache, layer)?.finish().map_err(unpacked::internal)?,
            };
            directories.push(directory);
        }
        Ok(directories)
    }

    fn execute(
        &self,
        run: &Placed<RunSpec>,
        container: Container,
        layers: Vec<PathBuf>,
        cache: &Arc<Cache>,
        piece: u64,
    ) -> Result<Option<Arc<NewLayer>>, BuildError> {
        let shared = self.shared;
        let execution = sandbox::execution(self.platform, &shared.env, &shared.children)
            .map_err(|(error, remedy)| self.failed(run, &format!("cannot run here: {error}"), vec![remedy]))?;
        let (mounts, secrets) = self.mounts(run, cache)?;
        let scratch = cache.step_scratch().map_err(unpacked::internal)?;
        let (reader, writer) = io::pipe()?;
        let streams = Streams { stdin: Stdio::null(), stdout: writer.try_clone()?.into(), stderr: writer.into() };
        let request = Request {
            executable: &shared.sandbox.executable,
            mount_point: cache.mount_point().map_err(unpacked::internal)?,
            layers,
            overlay: shared.sandbox.overlay,
            network: run.value.network,
            execution: execution.clone(),
            time_limit: Some(run.value.time_limit),
            container,
        };
        let request = StepRequest {
            request,
            below: self.growth.tree(),
            scratch: scratch.path(),
            mounts,
            limits: Default::default(),
        };
        let mut transcript = Transcript::default();
        let mut lines = Lines::new(&secrets);
        let reporter = &shared.reporter;
        let mut take = |line: String| {
            transcript.take(line.as_bytes());
            transcript.take(b"\n");
            reporter.report(Event::Output { id: piece, line });
        };
        let ended = run_step(request, streams).and_then(|running| {
            let (control, unwanted) = (running.control(), || shared.children.interrupted());
            attend(control, reader, &unwanted, &mut |bytes| lines.take(bytes, &mut take), || running.wait())
        });
        lines.end(&mut take);
        if shared.children.interrupted() {
            return Err(BuildError::Interrupted);
        }
        let outcome = ended.map_err(|error| {
            self.failed(run, &format!("failed: {}", with_causes(&error)), hints(&run.value, &error))
        })?;
        let why = match outcome.ending {
            Ending::Exited(0) => {
                if outcome.entries.is_empty() {
                    return Ok(None);
                }
                let options = layer_options(self.spec());
                let failed = |source| BuildError::Layer { platform: self.platform, source };
                let plan = LayerPlan::new(outcome.entries, options).map_err(failed)?;
                let maker = &self.assembly.maker;
                let written = {
                    let _turn = maker.pool.turn();
                    plan.write(&maker.pool, cache.store()).map_err(failed)?.0
                };
                let path = cache.store().path(&written.descriptor.digest);
                return Ok(Some(maker.kept(written, Origin::Written, path)));
            }
            Ending::TimedOut => format!("took more than {} s", run.value.time_limit.as_secs_f64()),
            other => other.told(),
        };
        let mut problem = self.problem(run, &why);
        problem.notes = transcript.last_lines();
        problem.hints = outcome.ending.hints(&execution);
        Err(BuildError::Step(Box::new(Diagnostics::one(self.spec().sources.clone(), problem))))
    }

    /// What is mounted, and what of it nobody else may see.
    fn mounts(&self, run: &Placed<RunSpec>, cache: &Cache) -> Result<(Vec<StepMount>, Vec<Vec<u8>>), BuildError> {
        let (mut mounts, mut secrets) = (Vec::new(), Vec::new());
        for mount in &run.value.mounts {
            let fault = |problem: Box<Diagnostic>| at_fault(self.spec(), vec![*problem]);
            let MountSpec { to, kind } = &mount.value;
            let target = render_destination(to, &self.values).map_err(fault)?.path.to_string();
            let mut secret = |content: Vec<u8>| {
                secrets.push(content.clone());
                StepMountKind::Secret { content: Secret::new(content) }
            };
            let kind = match kind {
                MountKind::Cache(name) => StepMountKind::Cache {
                    source: cache.mount(&format!("{name} {}", self.platform)).map_err(unpacked::internal)?,
                },
                MountKind::Bind(source) => {
                    StepMountKind::Bind { source: self.sources.open(source, &self.values).map_err(fault)? }
                }
                MountKind::Tmpfs => StepMountKind::Tmpfs,
                MountKind::Secret(source) => {
                    secret(fs_err::read(self.sources.open(source, &self.values).map_err(fault)?)?)
                }
                // That it is set was seen with the other sources.
                MountKind::SecretEnv(name) => {
                    let value = self.assembly.facts.env.get(&name.value);
                    secret(value.cloned().unwrap_or_default().into_bytes())
                }
            };
            mounts.push(StepMount { target, kind });
        }
        Ok((mounts, secrets))
    }

    fn problem(&self, run: &Placed<RunSpec>, why: &str) -> Diagnostic {
        let message = format!("on {} the command `{}` {why}", self.platform, shown(&run.value));
        Diagnostic::error("step", message, run.place)
    }

    fn failed(&self, run: &Placed<RunSpec>, why: &str, hints: Vec<String>) -> BuildError {
        let mut problem = self.problem(run, why);
        problem.hints = hints;
        BuildError::Step(Box::new(Diagnostics::one(self.spec().sources.clone(), problem)))
    }
}

/// What could be done about a command that did not run.
fn hints(run: &RunSpec, error: &StepError) -> Vec<String> {
    let mut hints = error.hints();
    if run.shell && matches!(error, StepError::Sandbox(SandboxError::NotFound { .. })) {
        let hint = "a text is for the image's own shell: take a base that has one, or write a program and its arguments \
                    as a list";
        hints.push(hint.to_owned());
    }
    hints
}

/// A command as people know it: a text for the shell without the shell.
fn written(run: &RunSpec) -> String {
    match (run.shell, run.command.as_slice()) {
        (true, [_, _, text]) => text.trim().to_owned(),
        (_, words) => words.join(" "),
    }
}

/// The same in one line that is not too long to be told.
fn shown(run: &RunSpec) -> String {
    let written = written(run);
    let lines: Vec<&str> = written.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// An error of what the build file puts into the image.
pub(super) fn content_fault(spec: &BuildSpec, platform: TargetPlatform, error: ContentError) -> BuildError {
    match error {
        ContentError::Spec(list) => match Diagnostics::new(spec.sources.clone(), list) {
            Some(diagnostics) => BuildError::Check(Box::new(diagnostics)),
            None => BuildError::Internal("an error without words".to_owned()),
        },
        ContentError::Layer(source) => BuildError::Layer { platform, source },
    }
}
