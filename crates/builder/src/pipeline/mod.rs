//! The order in which a build's parts run: the only asynchronous code of the crate beside the
//! reading of bases.
//!
//! Bases are resolved, the programs are compiled, and each platform's layers are written as soon
//! as its own programs are there. Nothing becomes visible before all of them are.

mod admission;
mod assembly;
mod compile;
mod cores;
mod deliver;
mod gate;
mod locks;
mod plan;
mod prepare;
mod programs;
mod scratch;
mod smoke;
mod sources;
mod steps;
mod transcript;
mod unpacked;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use oci_layout::layer::{LayerError, Pool, Tree};
use oci_layout::media_type::OCI_INDEX;
use oci_layout::{BlobSource as _, BlobStore, Cache, Descriptor, Layout, Selector};
use registry_client::Client;
use tokio::task::spawn_blocking;

use self::assembly::Assembly;
use self::deliver::{Delivery, Sink};
use crate::base::{self, Base, BaseError, Source, embedded};
use crate::build::{ArchiveKind, BuildOutcome, BuildRequest, Output, Sandbox, SmokeMode};
use crate::bundle::{Bundles, Vendored};
use crate::check::CheckId;
use crate::error::BuildError;
use crate::event::{Event, Phase, Reporter};
use crate::image::{CREATED, Finished, LayerMaker, NewLayer};
use crate::lock::book::Book;
use crate::plan::ImagePlan;
use crate::process::{Children, Environment};
use crate::result::{CompilerResult, SmokeResult};
use crate::spec::annotation::index_annotations;
use crate::spec::model::{BaseSource, BinarySource, BuildSpec, LayoutSelect, Link};
use crate::spec::{Diagnostic, Diagnostics, Facts, Place, Variables, render_date, render_tag};
use crate::target::{Libc, TargetPlatform};
use crate::toolchain::{Linkage, ToolContext};
use crate::work::Work;

/// What all images of a build share.
struct Shared {
    env: Environment,
    children: Arc<Children>,
    reporter: Arc<dyn Reporter>,
    work: Work,
    client: Client,
    cache: Option<Arc<Cache>>,
    /// Makes layers that no output of its own takes: their blobs stay in the cache, where there is one.
    maker: Arc<LayerMaker>,
    /// A directory of mab's own for what compilers leave behind.
    work_dir: PathBuf,
    jobs: NonZeroUsize,
    locked: bool,
    allow: BTreeSet<CheckId>,
    offline: bool,
    /// The locks of the build files.
    book: Book,
    bundles: Arc<Bundles>,
    /// What compilers take from the bundles.
    vendored: Vendored,
    colour: bool,
    rustc_wrapper: PathBuf,
    sandbox: Sandbox,
    smoke: SmokeMode,
    no_cache: bool,
    steps: steps::Steps,
    epoch: Option<i64>,
    /// A part has failed, and the children are ended because of that.
    failed: AtomicBool,
    /// The layouts that this build writes to.
    layouts: Mutex<Vec<Layout>>,
}

impl Shared {
    /// The user has had enough.
    fn interrupted(&self) -> bool {
        self.children.interrupted() && !self.failed.load(Ordering::SeqCst)
    }

    /// What the compilers are called with.
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

    /// What needs no network: bundles and cache.
    fn kept(&self) -> Source {
        Source::Kept { bundles: Arc::clone(&self.bundles), cache: self.cache.clone() }
    }

    fn layouts(&self) -> Vec<Layout> {
        self.layouts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets everything fail that is still being written.
    fn stop_writing(&self) {
        self.maker.store.give_up();
        self.layouts().iter().for_each(|layout| layout.store().give_up());
    }

    /// Takes back what a build that failed has written. What cannot be removed now, the next
    /// build that succeeds removes.
    fn discard(&self) {
        for layout in self.layouts() {
            match layout.with_lock_limit(DISCARD_LIMIT).discard() {
                Ok(count) => tracing::debug!(count, "took back blobs"),
                Err(error) => tracing::debug!(%error, "cannot take back what was written"),
            }
        }
    }
}

/// How long what is under way may take to end by itself after an interrupt.
const GRACE: Duration = Duration::from_secs(5);
/// How long a failed build waits for others that write to the same layout.
const DISCARD_LIMIT: Duration = Duration::from_secs(2);

/// See [`crate::build::build`].
pub(crate) async fn run(
    request: BuildRequest,
    client: &Client,
    children: Arc<Children>,
    reporter: Arc<dyn Reporter>,
) -> Result<Vec<BuildOutcome>, BuildError> {
    if request.offline {
        steps::check_offline(&request.specs)?;
    }
    let frozen = request.locked || request.offline;
    let book = Book::open(&request.specs, frozen)?;
    let begun = begin(request, book, client, children, reporter).await?;
    let Begun { shared, specs, outputs, locked_compilers, .. } = &begun;
    let work = async {
        if shared.offline {
            locks::check_absent(shared, specs).await?;
        }
        if *locked_compilers {
            locks::check_compilers(shared, specs).await?;
        }
        let assemblies = prepare::all(shared, specs, outputs, Offline::Compilers).await?;
        let assemblies: Vec<Arc<Assembly>> = assemblies.into_iter().map(Arc::new).collect();
        let (images, compilers) = compile::programs_and_images(shared, &assemblies).await?;
        let tried = smoke::try_all(shared, &assemblies, &images).await?;
        let mut outcomes = Vec::new();
        for ((assembly, images), tried) in assemblies.into_iter().zip(images).zip(tried) {
            outcomes.push(finish(shared, &assembly, images, &compilers, tried).await?);
            // It is named now. Kept open it would look like another writer to the next image.
            let count = assembly.layouts().count();
            shared.layouts.lock().unwrap_or_else(PoisonError::into_inner).drain(..count);
        }
        Ok(outcomes)
    };
    let outcome = until_interrupted(shared, work).await;
    if outcome.is_err() {
        let shared = Arc::clone(shared);
        let _ = spawn_blocking(move || shared.discard()).await;
    }
    outcome
}

/// See [`crate::build::plan`].
pub(crate) async fn plan(
    request: BuildRequest,
    client: &Client,
    children: Arc<Children>,
    reporter: Arc<dyn Reporter>,
) -> Result<Vec<ImagePlan>, BuildError> {
    let offline = if request.offline { Offline::Registries } else { Offline::Compilers };
    // Nothing is written, no lock either.
    let book = if request.locked { Book::open(&request.specs, true)? } else { Book::to_look_at(&request.specs)? };
    let begun = begin(request, book, client, children, reporter).await?;
    let Begun { shared, specs, locked_compilers, .. } = &begun;
    let work = async {
        if *locked_compilers {
            locks::check_compilers(shared, specs).await?;
        }
        let assemblies = prepare::all(shared, specs, &[], offline).await?;
        let assemblies: Vec<Arc<Assembly>> = assemblies.into_iter().map(Arc::new).collect();
        plan::plans(shared, &assemblies).await
    };
    until_interrupted(shared, work).await
}

/// What `--offline` keeps from the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offline {
    /// Compilers alone, if at all.
    Compilers,
    /// mab too: a base in a registry is looked at only as far as lock and cache know it.
    Registries,
}

/// A build that has begun.
struct Begun {
    shared: Arc<Shared>,
    specs: Vec<Arc<BuildSpec>>,
    outputs: Vec<Output>,
    locked_compilers: bool,
    /// Kept until the end.
    _scratch: Option<oci_layout::ScratchDirectory>,
}

async fn begin(
    request: BuildRequest,
    book: Book,
    client: &Client,
    children: Arc<Children>,
    reporter: Arc<dyn Reporter>,
) -> Result<Begun, BuildError> {
    if let Some(spec) = request.specs.iter().find(|spec| spec.image.is_none())
        && request.outputs.contains(&Output::Push)
    {
        return Err(BuildError::NoImage { file: spec.file.clone() });
    }
    let bundles = Arc::new(Bundles::open(&request.bundles)?);
    let mut env = request.env;
    if request.offline {
        crate::offline::close(&mut env);
    }
    let cache = open_cache(request.cache.as_deref(), reporter.as_ref()).map(Arc::new);
    if let Some(cache) = &cache {
        locks::take_facts(&book, cache)?;
    }
    // Without a cache there has to be some place all the same, for as long as the build lasts.
    let scratch = match cache {
        Some(_) => None,
        None => Some(scratch::directory(&env)?),
    };
    let root = match (&cache, &scratch) {
        (Some(cache), _) => cache.root().to_owned(),
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => return Err(BuildError::Internal("there is nowhere to work".to_owned())),
    };
    let work_dir = root.join("compile");
    fs_err::create_dir_all(&work_dir)?;
    let vendored = {
        let (bundles, root) = (Arc::clone(&bundles), root.join(oci_layout::cache::UNPACKED));
        blocking(move || Ok(Vendored::prepare(&bundles, &root)?)).await?
    };
    let store = cache.as_ref().map_or_else(|| BlobStore::new(&root), |cache| cache.store().clone());
    let pool = Arc::new(Pool::new(request.jobs)?);
    let maker = LayerMaker::new(pool, cache.clone(), store, BTreeSet::new());
    let shared = Arc::new(Shared {
        work: Work::new(Arc::clone(&reporter)).with(Arc::clone(&children)),
        children,
        reporter,
        client: client.clone(),
        cache,
        maker: Arc::new(maker),
        work_dir,
        jobs: NonZeroUsize::new(request.jobs).unwrap_or(NonZeroUsize::MIN),
        env,
        locked: request.locked,
        offline: request.offline,
        book,
        bundles,
        vendored,
        allow: request.allow,
        colour: request.colour,
        rustc_wrapper: request.rustc_wrapper,
        sandbox: request.sandbox,
        smoke: request.smoke,
        no_cache: request.no_cache,
        steps: steps::Steps::new(NonZeroUsize::new(request.jobs).unwrap_or(NonZeroUsize::MIN)),
        epoch: request.source_date_epoch,
        failed: AtomicBool::new(false),
        layouts: Mutex::default(),
    });
    locks::check_formats(&shared);
    Ok(Begun {
        shared,
        specs: request.specs.into_iter().map(Arc::new).collect(),
        outputs: request.outputs,
        locked_compilers: request.locked_compilers,
        _scratch: scratch,
    })
}

/// Ends early when the user has had enough: what is in flight is dropped.
async fn until_interrupted<T>(
    shared: &Shared,
    work: impl Future<Output = Result<T, BuildError>>,
) -> Result<T, BuildError> {
    let mut work = std::pin::pin!(work);
    let watch = async {
        while !shared.interrupted() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        result = &mut work => match result {
            Err(_) if shared.interrupted() => Err(BuildError::Interrupted),
            result => result,
        },
        () = watch => {
            // Compilers are ended by now or soon, writers fail at their next byte; their threads are
            // waited for, so that nothing is left.
            shared.stop_writing();
            let _ = tokio::time::timeout(GRACE, work).await;
            Err(BuildError::Interrupted)
        }
    }
}

fn open_cache(root: Option<&Path>, reporter: &dyn Reporter) -> Option<Cache> {
    let root = root?;
    match Cache::open(root) {
        Ok(cache) => {
            if let Err(error) = cache.store().sweep() {
                tracing::debug!(%error, "cannot remove what killed builds have left");
            }
            Some(cache)
        }
        Err(error) => {
            let reason = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            reporter.report(Event::Warning { message: format!("building without a cache: {error}{reason}") });
            None
        }
    }
}

/// Stops between two steps, or in the middle of one, when the user has had enough.
async fn interruptible<T>(shared: &Shared, work: impl Future<Output = T>) -> Result<T, BuildError> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                if shared.interrupted() {
                    return Err(BuildError::Interrupted);
                }
            }
        }
    }
}

/// The index of an image, and where it goes.
async fn finish(
    shared: &Arc<Shared>,
    assembly: &Assembly,
    mut images: Vec<Arc<Finished>>,
    compilers: &[CompilerResult],
    tried: BTreeMap<TargetPlatform, Vec<SmokeResult>>,
) -> Result<BuildOutcome, BuildError> {
    let Assembly { spec, bases, tags, sinks, .. } = assembly;
    images.sort_by_key(|image| image.platform);
    let general = Variables { platform: None, facts: &assembly.facts };
    let annotations = index_annotations(spec, &assembly.inferred, &assembly.added(), &general)
        .map_err(|list| at_fault(spec, list))?;
    let manifests: Vec<Descriptor> = images.iter().map(|image| image.manifest.clone()).collect();
    let index_bytes = crate::result::index_bytes(manifests.clone(), annotations.clone())
        .map_err(|error| BuildError::Internal(error.to_string()))?;
    let index = Descriptor::of(OCI_INDEX, &index_bytes);
    let result = Delivery { spec, bases, images: &images, index: &index, index_bytes, tags };
    let mut references = Vec::new();
    for sink in sinks.iter() {
        references.push(sink.complete(shared, &result).await?);
    }
    let mut result =
        assembly.result(shared, &images, index.clone(), annotations, references.clone(), compilers.to_vec());
    for manifest in &mut result.manifests {
        manifest.smoke = tried.get(&manifest.platform).cloned().unwrap_or_default();
    }
    let tags = tags.iter().map(ToString::to_string).collect();
    Ok(BuildOutcome { index, manifests, references, tags, result })
}

/// New layers go straight into the output where it is a layout.
fn maker(shared: &Shared, sinks: &[Sink]) -> Arc<LayerMaker> {
    let Some(sink) = sinks.iter().find_map(Sink::layout) else {
        return Arc::clone(&shared.maker);
    };
    let (pool, store) = (Arc::clone(&shared.maker.pool), sink.layout().store().clone());
    Arc::new(LayerMaker::new(pool, shared.cache.clone(), store, sink.trusted().clone()))
}

/// The bases of an image, by what the build file says.
struct Bases {
    known: BTreeMap<BaseSource, Base>,
    /// Those that were not looked at.
    unknown: BTreeSet<BaseSource>,
}

impl Bases {
    /// Whether everything is known of what `platform` stands on.
    fn knows(&self, spec: &BuildSpec, platform: TargetPlatform) -> bool {
        !self.unknown.contains(&spec.of(platform).base.of(platform).value)
    }

    fn of(&self, spec: &BuildSpec, platform: TargetPlatform) -> Option<&Base> {
        self.known.get(&spec.of(platform).base.of(platform).value)
    }

    fn tree(&self, spec: &BuildSpec, platform: TargetPlatform) -> Option<&Arc<Tree>> {
        Some(&self.of(spec, platform)?.platforms.get(&platform)?.tree)
    }

    /// The base that the whole image stands on, where it is one.
    fn of_index(&self, spec: &BuildSpec) -> Option<&Base> {
        // All platforms of the file count, so that each machine of a farm says the same.
        let mut used = spec.all_platforms.iter().map(|&platform| &spec.of(platform).base.of(platform).value);
        let first = used.next()?;
        if used.all(|source| source == first) { self.known.get(first) } else { None }
    }
}

async fn bases(shared: &Arc<Shared>, spec: &BuildSpec, offline: Offline) -> Result<Bases, BuildError> {
    let mut wanted: BTreeMap<&BaseSource, (Vec<TargetPlatform>, Option<Place>)> = BTreeMap::new();
    for platform in &spec.platforms {
        let base = spec.of(platform.value).base.of(platform.value);
        wanted.entry(&base.value).or_insert_with(|| (Vec::new(), base.place)).0.push(platform.value);
    }
    let mut unknown = BTreeSet::new();
    if offline == Offline::Registries {
        wanted.retain(|source, (platforms, _)| {
            let BaseSource::Registry(reference) = source else { return true };
            if locks::is_at_hand(shared, spec, reference, platforms) {
                return true;
            }
            let message =
                format!("the base {} was not looked at: mab is offline, and it is not in the cache", shown(source));
            shared.reporter.report(Event::Warning { message });
            unknown.insert((*source).clone());
            false
        });
    }
    let loads = wanted.into_iter().filter(|(source, _)| **source != BaseSource::Scratch).map(
        |(source, (platforms, place))| async move {
            let shown = shown(source);
            let piece = shared.work.start(Phase::Resolve, None, format!("base {shown}"), None);
            match base_of(shared, spec, source, &shown, &platforms).await {
                Ok(base) => {
                    let count = base.platforms.len();
                    piece.done(format!(
                        "{}, {count} platform{}",
                        base.digest.short(),
                        if count == 1 { "" } else { "s" }
                    ));
                    Ok((source.clone(), base))
                }
                Err(error) => {
                    piece.failed();
                    Err(base_fault(spec, shown, place, error))
                }
            }
        },
    );
    Ok(Bases { known: try_join_all(loads).await?.into_iter().collect(), unknown })
}

fn shown(source: &BaseSource) -> String {
    match source {
        BaseSource::Scratch => "scratch".to_owned(),
        BaseSource::Static => "static".to_owned(),
        BaseSource::Registry(reference) => reference.to_string(),
        BaseSource::Layout { directory, select } => {
            let select = match select {
                None => String::new(),
                Some(LayoutSelect::Tag(tag)) => format!(":{tag}"),
                Some(LayoutSelect::Digest(digest)) => format!("@{digest}"),
            };
            format!("oci:{}{select}", directory.display())
        }
    }
}

async fn base_of(
    shared: &Arc<Shared>,
    spec: &BuildSpec,
    source: &BaseSource,
    shown: &str,
    platforms: &[TargetPlatform],
) -> Result<Base, BaseError> {
    let cache = shared.cache.as_deref();
    match source {
        BaseSource::Registry(reference) => {
            // The name is the moving one where there is one, so that an image does not change when
            // its base is pinned to what the tag names.
            let name = match (&reference.tag, &reference.digest) {
                (Some(tag), _) => reference.repository.tagged(tag.clone()).to_string(),
                (None, Some(digest)) => reference.repository.at(*digest).to_string(),
                (None, None) => reference.to_string(),
            };
            let repository = reference.repository.clone();
            let source = Arc::new(Source::Registry { client: shared.client.clone(), repository });
            locks::resolve(shared, spec, reference, source, (shown.to_owned(), name), platforms).await
        }
        BaseSource::Layout { directory, select } => {
            let layout = Layout::open(crate::image_context(spec).join(directory))?;
            let selector = match select {
                None => Selector::Only,
                Some(LayoutSelect::Tag(tag)) => Selector::Name(tag),
                Some(LayoutSelect::Digest(digest)) => Selector::Digest(*digest),
            };
            let mut root = layout.resolve(selector)?;
            root.annotations.clear();
            root.platform = None;
            let (bytes, _) = layout.document(&root)?;
            let source = Arc::new(Source::Layout(layout));
            base::resolve(shown.to_owned(), None, source, root, &bytes, platforms, cache).await
        }
        BaseSource::Static => {
            let made = {
                let shared = Arc::clone(shared);
                spawn_blocking(move || embedded::EmbeddedImage::new(&shared.maker)).await
            };
            let image = made.unwrap_or_else(|error| Err(BaseError::embedded(error)))?;
            let (root, bytes) = (image.index.descriptor().clone(), Arc::clone(image.index.bytes()));
            let name = Some(embedded::NAME.to_owned());
            locks::note_static(shared, spec)?;
            base::resolve(shown.to_owned(), name, Arc::new(Source::Embedded(image)), root, &bytes, platforms, cache)
                .await
        }
        BaseSource::Scratch => Err(BaseError::embedded("scratch is no image")),
    }
}

/// A missing platform points at where the build file asks for it.
fn base_fault(spec: &BuildSpec, base: String, place: Option<Place>, error: BaseError) -> BuildError {
    if let BaseError::NoPlatform { platform, .. } = &error {
        let asked = spec.platforms.iter().find(|asked| asked.value == *platform).and_then(|asked| asked.place);
        let mut diagnostic = Diagnostic::error("base-platform", error.to_string(), asked.or(place));
        if asked.is_some() {
            diagnostic = diagnostic.related(place, "the base");
        }
        let hint = "leave the platform out, or name another base for it: `base: {default: …, PLATFORM: …}`";
        return at_fault(spec, vec![diagnostic.hint(hint)]);
    }
    match error {
        BaseError::Lock(error) => BuildError::Lock(error),
        BaseError::Layout(source @ oci_layout::LayoutError::NotLayout { .. }) => {
            let message = format!("base {base}: {source}");
            at_fault(spec, vec![Diagnostic::error("base-layout", message, place)])
        }
        source => BuildError::Base { base, source },
    }
}

fn at_fault(spec: &BuildSpec, list: Vec<Diagnostic>) -> BuildError {
    match Diagnostics::new(spec.sources.clone(), list) {
        Some(diagnostics) => BuildError::Spec(Box::new(diagnostics)),
        None => BuildError::Internal("an error without words".to_owned()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BuildError::Internal(error.to_string())),
    }
}

/// A path beside the build file, as short as it can be said.
fn beside(spec: &BuildSpec, name: &str) -> PathBuf {
    match crate::image_context(spec) {
        here if here == Path::new(".") => PathBuf::from(name),
        directory => directory.join(name),
    }
}
