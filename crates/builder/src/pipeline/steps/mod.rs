//! Commands that are run on the images: what each changes becomes a layer.
//!
//! A command's outcome is kept under a digest over everything that it depends on: the layers below, the
//! platform, the command and what it is given. While compilers run, the commands that come before the
//! programs run already; whoever puts the image together then finds what they have made.

mod execute;
mod key;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oci_layout::Digest;
use oci_layout::cache::Origin;
use oci_layout::document::ContainerConfig;
use oci_layout::layer::{LayerFacts, Limits, WrittenLayer};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use execute::shown;

use super::assembly::Assembly;
use super::programs::with_causes;
use super::*;
use crate::check::elf::ElfInspector;
use crate::image::{ContentError, Context, Growth, Layers, layer_options, make_layers};
use crate::result::StepResult;
use crate::sandbox::{self, Container, Network, Overrides};
use crate::spec::model::{Part, RunSpec};
use crate::spec::{Placed, Template, render, render_destination};

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
}

/// A command as people know it: a text for the shell without the shell.
fn written(run: &RunSpec) -> String {
    match (run.shell, run.command.as_slice()) {
        (true, [_, _, text]) => text.trim().to_owned(),
        (_, words) => words.join(" "),
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
