//! The order in which a build's parts run: the only asynchronous code of the crate beside the
//! reading of bases.
//!
//! Bases are resolved, the programs are compiled, and each platform's layers are written as soon
//! as its own programs are there. Nothing becomes visible before all of them are.

mod compile;
mod cores;
mod deliver;
mod gate;
mod locks;
mod scratch;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use oci_layout::document::ImageIndex;
use oci_layout::layer::{LayerError, Pool, Tree};
use oci_layout::media_type::OCI_INDEX;
use oci_layout::{BlobSource as _, BlobStore, Cache, Descriptor, Layout, Selector};
use registry_client::Client;
use tokio::task::spawn_blocking;

use self::deliver::{Delivery, Sink};
use crate::base::{self, Base, BaseError, Source, embedded};
use crate::build::{ArchiveKind, BuildOutcome, BuildRequest, Output};
use crate::check::CheckId;
use crate::error::BuildError;
use crate::event::{Event, Phase, Reporter};
use crate::image::{CREATED, Finished, LayerMaker, NewLayer};
use crate::lock::book::Book;
use crate::process::{Children, Environment};
use crate::spec::annotation::index_annotations;
use crate::spec::model::{BaseSource, BinarySource, BuildSpec, LayoutSelect, Link};
use crate::spec::{Diagnostic, Diagnostics, Facts, Place, Variables, render_date, render_tag};
use crate::target::{Libc, TargetPlatform};
use crate::toolchain::Linkage;
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
    colour: bool,
    rustc_wrapper: PathBuf,
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
    let book = Book::open(&request.specs, request.locked || request.offline)?;
    let cache = open_cache(request.cache.as_deref(), reporter.as_ref()).map(Arc::new);
    if let Some(cache) = &cache {
        locks::take_facts(&book, cache)?;
    }
    // Without a cache there has to be some place all the same, for as long as the build lasts.
    let scratch = match cache {
        Some(_) => None,
        None => Some(scratch::directory(&request.env)?),
    };
    let root = match (&cache, &scratch) {
        (Some(cache), _) => cache.root().to_owned(),
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => return Err(BuildError::Internal("there is nowhere to work".to_owned())),
    };
    let work_dir = root.join("compile");
    fs_err::create_dir_all(&work_dir)?;
    let store = cache.as_ref().map_or_else(|| BlobStore::new(&root), |cache| cache.store().clone());
    let pool = Arc::new(Pool::new(request.jobs)?);
    let maker = LayerMaker::new(pool, cache.clone(), store, BTreeSet::new());
    let shared = Arc::new(Shared {
        work: Work::new(Arc::clone(&reporter)),
        children,
        reporter,
        client: client.clone(),
        cache,
        maker: Arc::new(maker),
        work_dir,
        jobs: NonZeroUsize::new(request.jobs).unwrap_or(NonZeroUsize::MIN),
        env: request.env,
        locked: request.locked,
        offline: request.offline,
        book,
        allow: request.allow,
        colour: request.colour,
        rustc_wrapper: request.rustc_wrapper,
        epoch: request.source_date_epoch,
        failed: AtomicBool::new(false),
        layouts: Mutex::default(),
    });
    locks::check_formats(&shared);
    if request.locked_compilers {
        locks::check_compilers(&shared, &request.specs).await?;
    }
    let outcome = images(&shared, request.specs, &request.outputs).await;
    if outcome.is_err() {
        let shared = Arc::clone(&shared);
        let _ = spawn_blocking(move || shared.discard()).await;
    }
    outcome
}

async fn images(
    shared: &Arc<Shared>,
    specs: Vec<BuildSpec>,
    outputs: &[Output],
) -> Result<Vec<BuildOutcome>, BuildError> {
    let mut outcomes = Vec::new();
    for spec in specs {
        if outputs.contains(&Output::Push) && spec.image.is_none() {
            return Err(BuildError::NoImage { file: spec.file.clone() });
        }
        let work = image(Arc::clone(shared), Arc::new(spec), outputs);
        outcomes.push(until_interrupted(shared, work).await?);
        // It is named now. Kept open it would look like another writer to the next image.
        shared.layouts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    Ok(outcomes)
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

/// One image: from its build file to where it goes.
async fn image(shared: Arc<Shared>, spec: Arc<BuildSpec>, outputs: &[Output]) -> Result<BuildOutcome, BuildError> {
    let facts = {
        let (shared, spec) = (Arc::clone(&shared), Arc::clone(&spec));
        blocking(move || Ok(crate::facts::gather(&spec, &shared.env, &shared.children)?)).await?
    };
    let facts = Arc::new(facts);
    let general = Variables { platform: None, facts: &facts };
    let mut tags = Vec::new();
    for tag in &spec.tags {
        let tag = render_tag(tag, &general).map_err(|problem| at_fault(&spec, vec![*problem]))?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let created = match (&spec.created, shared.epoch) {
        (Some(date), _) => render_date(date, &general).map_err(|problem| at_fault(&spec, vec![*problem]))?.to_string(),
        (None, Some(epoch)) => jiff::Timestamp::from_second(epoch).map_or(CREATED.to_owned(), |date| date.to_string()),
        (None, None) => CREATED.to_owned(),
    };
    let inferred = Arc::new(crate::spec::infer::annotations(&spec, &facts));

    {
        let (spec, facts, env) = (Arc::clone(&spec), Arc::clone(&facts), shared.env.clone());
        blocking(move || sources::check(&spec, &facts, &env)).await?;
    }
    let bases = Arc::new(interruptible(&shared, bases(&shared, &spec)).await??);
    let platforms: Vec<TargetPlatform> = spec.platforms.iter().map(|platform| platform.value).collect();
    let linkages: BTreeMap<TargetPlatform, Linkage> =
        platforms.iter().map(|&platform| (platform, linkage(bases.tree(&spec, platform)))).collect();

    let mut sinks = Vec::new();
    for output in outputs {
        sinks.push(Sink::open(&shared, &spec, output).await?);
    }
    let layouts = sinks.iter().filter_map(Sink::layout).map(|sink| sink.layout().clone());
    shared.layouts.lock().unwrap_or_else(PoisonError::into_inner).extend(layouts);
    let sinks = Arc::new(sinks);
    let assembly = compile::Assembly {
        spec: Arc::clone(&spec),
        facts: Arc::clone(&facts),
        bases: Arc::clone(&bases),
        inferred: Arc::clone(&inferred),
        created,
        maker: maker(&shared, &sinks),
        sinks: Arc::clone(&sinks),
    };
    let mut images = compile::programs_and_images(&shared, assembly, &linkages).await?;
    images.sort_by_key(|image| image.platform);

    let base_of_index = bases.of_index(&spec);
    let added = crate::image::base_annotations(
        base_of_index.and_then(|base| base.name.as_deref()),
        base_of_index.map(|base| base.digest),
        None,
    );
    let annotations = index_annotations(&spec, &inferred, &added, &general).map_err(|list| at_fault(&spec, list))?;
    let manifests: Vec<Descriptor> = images.iter().map(|image| image.manifest.clone()).collect();
    let index_bytes = bytes::Bytes::from(
        oci_layout::json::to_bytes(&ImageIndex::new(manifests.clone(), annotations))
            .map_err(|error| BuildError::Internal(error.to_string()))?,
    );
    let index = Descriptor::of(OCI_INDEX, &index_bytes);
    let result = Delivery { spec: &spec, bases: &bases, images: &images, index: &index, index_bytes, tags: &tags };
    let mut references = Vec::new();
    for sink in sinks.iter() {
        references.push(sink.complete(&shared, &result).await?);
    }
    let tags = tags.iter().map(ToString::to_string).collect();
    Ok(BuildOutcome { index, manifests, references, tags })
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
struct Bases(BTreeMap<BaseSource, Base>);

impl Bases {
    fn of(&self, spec: &BuildSpec, platform: TargetPlatform) -> Option<&Base> {
        self.0.get(&spec.of(platform).base.of(platform).value)
    }

    fn tree(&self, spec: &BuildSpec, platform: TargetPlatform) -> Option<&Tree> {
        Some(&self.of(spec, platform)?.platforms.get(&platform)?.tree)
    }

    /// The base that the whole image stands on, where it is one.
    fn of_index(&self, spec: &BuildSpec) -> Option<&Base> {
        let mut used = spec.platforms.iter().map(|platform| self.of(spec, platform.value));
        let first = used.next()??;
        used.all(|base| base.is_some_and(|base| std::ptr::eq(base, first))).then_some(first)
    }
}

async fn bases(shared: &Arc<Shared>, spec: &BuildSpec) -> Result<Bases, BuildError> {
    let mut wanted: BTreeMap<&BaseSource, (Vec<TargetPlatform>, Option<Place>)> = BTreeMap::new();
    for platform in &spec.platforms {
        let base = spec.of(platform.value).base.of(platform.value);
        wanted.entry(&base.value).or_insert_with(|| (Vec::new(), base.place)).0.push(platform.value);
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
    Ok(Bases(try_join_all(loads).await?.into_iter().collect()))
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

/// How programs are linked, by what the base has.
fn linkage(tree: Option<&Tree>) -> Linkage {
    let Some(tree) = tree else { return Linkage::Static };
    let mut gnu = false;
    for (path, _) in tree.iter() {
        match path.file_name() {
            Some(name) if name.starts_with("ld-musl-") => return Linkage::Dynamic(Libc::Musl),
            Some(name) if name.starts_with("ld-linux") || name.starts_with("ld64.so.") || name == "ld.so.1" => {
                gnu = true
            }
            _ => {}
        }
    }
    if gnu { Linkage::Dynamic(Libc::Gnu) } else { Linkage::Static }
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
