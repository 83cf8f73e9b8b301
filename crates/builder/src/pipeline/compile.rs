//! From the build file's binaries to finished images: programs are compiled and checked, and a
//! platform's layers are written, and its blobs sent off, as soon as its own programs are there.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use oci_layout::cache::Origin;
use registry_client::Tag;
use tokio::task::JoinSet;

use super::cores::Cores;
use super::*;
use crate::image::{
    Around, ContentError, Context, check_entrypoint, container, draft, finish, make_layers, source_directory,
};
use crate::plan::{BasePlan, CompilePlan, Known, LayerOutline, Outline};
use crate::result::{BaseResult, CompilerResult, ImageResult, Inputs, ManifestResult};
use crate::spec::model::BinarySpec;
use crate::spec::{Placed, Template, render, render_file};
use crate::toolchain::{
    Artifact, CompileRequest, CompileUnit, GoProgram, Program, ProgramError, RustProgram, SurveyError, ToolContext,
};

/// What assembling an image needs.
pub(super) struct Assembly {
    pub(super) spec: Arc<BuildSpec>,
    /// The build file's directory, absolute.
    pub(super) context: Context,
    pub(super) facts: Arc<Facts>,
    pub(super) bases: Arc<Bases>,
    pub(super) inferred: BTreeMap<String, String>,
    pub(super) tags: Vec<Tag>,
    pub(super) created: Date,
    pub(super) maker: Arc<LayerMaker>,
    /// Where the image goes: each platform's blobs as soon as they are there.
    pub(super) sinks: Vec<Sink>,
}

/// Date of an image.
pub(super) struct Date {
    /// In RFC 3339.
    pub(super) text: String,
    /// The build file or SOURCE_DATE_EPOCH says it.
    pub(super) said: bool,
}

impl Assembly {
    /// The platforms whose base is known.
    pub(super) fn known_platforms(&self) -> impl Iterator<Item = TargetPlatform> {
        let platforms = self.spec.platforms.iter().map(|platform| platform.value);
        platforms.filter(|&platform| self.bases.knows(&self.spec, platform))
    }

    /// The layouts that it is written to.
    pub(super) fn layouts(&self) -> impl Iterator<Item = &Layout> {
        self.sinks.iter().filter_map(Sink::layout).map(|sink| sink.layout())
    }

    /// What the index says beside what is inferred: of its base, and its date where it was said.
    pub(super) fn added(&self) -> BTreeMap<String, String> {
        let base = self.bases.of_index(&self.spec);
        crate::image::base_annotations(
            base.and_then(|base| base.name.as_deref()),
            base.map(|base| base.digest),
            None,
            self.created.said.then_some(self.created.text.as_str()),
        )
    }

    fn linkage(&self, platform: TargetPlatform) -> Linkage {
        linkage(self.bases.tree(&self.spec, platform))
    }

    fn around(&self, platform: TargetPlatform) -> Around<'_> {
        let base = self.bases.of(&self.spec, platform);
        Around {
            platform,
            base: base.and_then(|base| base.platforms.get(&platform)),
            base_name: base.and_then(|base| base.name.as_deref()),
            inferred: &self.inferred,
            created: &self.created.text,
            created_said: self.created.said,
        }
    }

    /// What is to be told of the finished image.
    pub(super) fn result(
        &self,
        shared: &Shared,
        images: &[Arc<Finished>],
        index: Descriptor,
        annotations: BTreeMap<String, String>,
        references: Vec<String>,
        compilers: Vec<CompilerResult>,
    ) -> ImageResult {
        let spec = &self.spec;
        let inputs = Inputs::of(spec, &self.facts, &self.created.text);
        let inputs = match shared.book.checksum(crate::image_context(spec)) {
            Some(lock) => inputs.locked(lock, &self.facts),
            None => inputs,
        };
        ImageResult {
            version: crate::result::VERSION,
            file: spec.file.display().to_string(),
            image: spec.image.as_ref().map(|image| image.value.to_string()),
            tags: self.tags.iter().map(ToString::to_string).collect(),
            references,
            index,
            platforms: spec.all_platforms.clone(),
            annotations,
            manifests: images.iter().map(|image| self.manifest_result(image)).collect(),
            inputs,
            mab: env!("CARGO_PKG_VERSION").to_owned(),
            compilers,
        }
    }

    fn base_plan(&self, platform: TargetPlatform) -> Option<BasePlan> {
        let source = &self.spec.of(platform).base.of(platform).value;
        let base = self.bases.of(&self.spec, platform);
        let own = base.and_then(|base| base.platforms.get(&platform));
        (*source != BaseSource::Scratch).then(|| BasePlan {
            reference: shown(source),
            digest: base.map(|base| base.digest),
            manifest: own.map(|own| own.digest),
            layers: own.map_or(0, |own| own.manifest.layers.len()),
        })
    }

    fn manifest_result(&self, image: &Finished) -> ManifestResult {
        let base = self.bases.of(&self.spec, image.platform);
        let new_layers = image.new_layers.iter().map(|layer| layer.written.descriptor.clone());
        ManifestResult {
            platform: image.platform,
            descriptor: image.manifest.clone(),
            config: image.config.clone(),
            layers: image.base_layers.iter().cloned().chain(new_layers).collect(),
            base: base.and_then(|base| {
                let own = base.platforms.get(&image.platform)?;
                Some(BaseResult { name: base.name.clone(), digest: base.digest, manifest: own.digest })
            }),
        }
    }
}

/// What a task of the set below has come to.
enum Finish {
    Compiled(Vec<Artifact>),
    /// Which of the build's images, and one platform of it.
    Assembled(usize, Arc<Finished>),
    /// One of the outputs has a platform's blobs.
    Delivered,
}

/// The programs of one platform of one image (by its number) as they come.
type Awaited = BTreeMap<(usize, TargetPlatform), Vec<Option<PathBuf>>>;

/// What is to be compiled, for all images of a build.
pub(super) struct Wanted {
    pub(super) awaited: Awaited,
    pub(super) requests: Vec<CompileRequest>,
    /// By a request's number: which image, and which of its binaries.
    origins: Vec<(usize, usize)>,
}

/// Makes the images of all assemblies; gives them in the same order. Compilation is shared.
pub(super) async fn programs_and_images(
    shared: &Arc<Shared>,
    assemblies: &[Arc<Assembly>],
) -> Result<(Vec<Vec<Arc<Finished>>>, Vec<CompilerResult>), BuildError> {
    let mut wanted = wanted(shared, assemblies)?;
    let units = survey(shared, assemblies, &mut wanted).await?;
    let compiled = !units.is_empty();
    if compiled {
        // What does not fit is told before the compilers run, not after.
        drafts(shared, assemblies, &wanted.awaited).await?;
    }
    let compilers = compilers(shared, &units).await?;
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
        match tasks.join_next().await {
            None => break,
            Some(Ok(Ok(Finish::Delivered))) => {}
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

/// What the compilers say of themselves.
async fn compilers(shared: &Arc<Shared>, units: &[CompileUnit]) -> Result<Vec<CompilerResult>, BuildError> {
    let mut compilers = BTreeSet::new();
    let mut go = None;
    for unit in units {
        match unit {
            CompileUnit::Rust(unit) => {
                let version = unit.toolchain.version.clone();
                compilers.insert(CompilerResult { language: "rust".to_owned(), version });
            }
            CompileUnit::Go(unit) => go = Some(unit.clone()),
        }
    }
    if let Some(unit) = go {
        let shared = Arc::clone(shared);
        let version = blocking(move || Ok(crate::toolchain::go_version(&unit, &shared.tools())?)).await?;
        compilers.insert(CompilerResult { language: "go".to_owned(), version });
    }
    Ok(compilers.into_iter().collect())
}

/// What would be done, by image.
pub(super) async fn plans(shared: &Arc<Shared>, assemblies: &[Arc<Assembly>]) -> Result<Vec<ImagePlan>, BuildError> {
    let mut wanted = wanted(shared, assemblies)?;
    // Sources and paths first: they are more often wrong, and are looked at faster.
    let mut outlines = drafts(shared, assemblies, &wanted.awaited).await?;
    let units = survey(shared, assemblies, &mut wanted).await?;
    let tools = shared.tools();
    let compile: Vec<CompilePlan> = units
        .iter()
        .map(|unit| CompilePlan {
            command: unit.command(&tools).to_string(),
            directory: unit.directory().display().to_string(),
            platforms: unit.platforms().iter().map(ToString::to_string).collect(),
            environment: unit.tools(),
        })
        .collect();
    let each = assemblies.iter().enumerate().map(|(image, assembly)| {
        let platforms = assembly.spec.platforms.iter().map(|platform| platform.value);
        let bases = platforms.clone().filter_map(|platform| Some((platform, assembly.base_plan(platform)?))).collect();
        let outlines =
            platforms.filter_map(|platform| Some((platform, outlines.remove(&(image, platform))?))).collect();
        crate::plan::of_image(Known {
            spec: &assembly.spec,
            facts: &assembly.facts,
            tags: assembly.tags.iter().map(ToString::to_string).collect(),
            created: &assembly.created.text,
            inferred: &assembly.inferred,
            added: &assembly.added(),
            bases,
            outlines,
            compile: compile.clone(),
        })
        .map_err(|list| at_fault(&assembly.spec, list))
    });
    each.collect()
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
            let mut slots = Vec::new();
            for (number, binary) in assembly.spec.of(platform).binaries.iter().enumerate() {
                let slot = match program(assembly, platform, &binary.value, &allow, &mut fitting, &mut unfit) {
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
            let linkage = match (rust.link, rust.libc, assembly.linkage(platform)) {
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
            (Program::Go(GoProgram::new(go, directory, ldflags, table(&go.env)?)), assembly.linkage(platform))
        }
    };
    Ok(Wish::Compile(Box::new(CompileRequest { binary: 0, name, platform, linkage, program })))
}

/// An error and its causes, as one sentence.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// What each platform's layers would hold, by image; all that does not fit is an error.
pub(super) async fn drafts(
    shared: &Arc<Shared>,
    assemblies: &[Arc<Assembly>],
    awaited: &Awaited,
) -> Result<BTreeMap<(usize, TargetPlatform), Outline>, BuildError> {
    let wanted: Vec<_> = awaited
        .iter()
        .filter_map(|(&(image, platform), programs)| {
            let assembly = Arc::clone(assemblies.get(image)?);
            let allow = gate::allowed(shared, assembly.spec.of(platform));
            Some((image, assembly, platform, programs.clone(), allow))
        })
        .collect();
    // As many at a time as there are cores: they do nothing but compute.
    let share = wanted.len().div_ceil(shared.jobs.get()).max(1);
    let drafting = wanted.chunks(share).map(|chunk| {
        let chunk = chunk.to_vec();
        blocking(move || {
            let draw = |(image, assembly, platform, programs, allow): &(_, Arc<Assembly>, _, Vec<_>, _)| {
                ((*image, *platform), outline(assembly, *platform, programs, allow))
            };
            Ok(chunk.iter().map(draw).collect::<Vec<_>>())
        })
    });
    let mut outlines = BTreeMap::new();
    let mut problems: BTreeMap<usize, Vec<Diagnostic>> = BTreeMap::new();
    for ((image, platform), drawn) in try_join_all(drafting).await?.into_iter().flatten() {
        match drawn {
            Ok(outline) => {
                outlines.insert((image, platform), outline);
            }
            Err(ContentError::Spec(list)) => problems.entry(image).or_default().extend(list),
            Err(ContentError::Layer(source)) => return Err(BuildError::Layer { platform, source }),
        }
    }
    for (image, list) in problems {
        let sources = assemblies.get(image).map(|assembly| assembly.spec.sources.clone());
        if let Some(diagnostics) = sources.and_then(|sources| Diagnostics::new(sources, list)) {
            return Err(BuildError::Check(Box::new(diagnostics)));
        }
    }
    Ok(outlines)
}

fn outline(
    assembly: &Assembly,
    platform: TargetPlatform,
    programs: &[Option<PathBuf>],
    allow: &BTreeSet<CheckId>,
) -> Result<Outline, ContentError> {
    let spec = assembly.spec.of(platform);
    let values = Variables { platform: Some(platform), facts: &assembly.facts };
    let tree = assembly.bases.tree(&assembly.spec, platform).cloned().unwrap_or_default();
    let draft = draft(spec, &assembly.context, &values, tree, programs, allow.contains(&CheckId::HiddenFile))?;
    let around = assembly.around(platform);
    let config = container(spec, &values, &around, &draft.accounts, allow.contains(&CheckId::User))?;
    if !allow.contains(&CheckId::Entrypoint) {
        check_entrypoint(spec, &config, &draft.tree, platform)?;
    }
    Ok(Outline { layers: draft.groups.iter().map(LayerOutline::of).collect(), config })
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
            vendored: &self.vendored,
            color: self.colour,
            work_dir: &self.work_dir,
            rustc_wrapper: &self.rustc_wrapper,
            source_date_epoch: self.epoch.and_then(|epoch| u64::try_from(epoch).ok()),
        }
    }
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
        let fault = |error| match error {
            ContentError::Spec(list) => match Diagnostics::new(spec.sources.clone(), list) {
                Some(diagnostics) => BuildError::Check(Box::new(diagnostics)),
                None => BuildError::Internal("an error without words".to_owned()),
            },
            ContentError::Layer(source) => BuildError::Layer { platform, source },
        };
        let tree = assembly.bases.tree(&assembly.spec, platform).cloned().unwrap_or_default();
        let allow = gate::allowed(&shared, spec);
        let programs: Vec<Option<PathBuf>> = programs.into_iter().map(Some).collect();
        // Looked at anew, where compilers may have written some of them.
        let anew = compiled.then(|| Context::of(spec)).transpose()?;
        let sources = anew.as_ref().unwrap_or(&assembly.context);
        let hide = allow.contains(&CheckId::HiddenFile);
        let mut draft = draft(spec, sources, &values, tree, &programs, hide).map_err(fault)?;
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
        let piece = shared.work.start(Phase::Assemble, Some(platform), "layers".to_owned(), None);
        let layers = make_layers(draft, spec, &assembly.maker).map_err(fault)?;
        let finished = finish(spec, &values, &around, config, &layers).map_err(fault)?;
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
