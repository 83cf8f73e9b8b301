//! Bases: from what the build file names to each platform's manifest, config and file tree.
//!
//! A reference is resolved to a digest once; everything after that goes by digest.

pub mod embedded;
pub mod select;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use oci_layout::document::{Document, DocumentError, ImageConfig, ImageIndex, ImageManifest};
use oci_layout::layer::{LayerFacts, Limits, Tree};
use oci_layout::{Cache, Descriptor, Digest, MediaType, json};

use crate::check::elf::ElfInspector;
use crate::target::TargetPlatform;
use crate::transfer::SourceError;

pub use crate::transfer::Source;

/// Largest image config that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// Why a base cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry_client::Error),
    /// The layout.
    #[error(transparent)]
    Layout(#[from] oci_layout::LayoutError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] oci_layout::archive::ArchiveError),
    /// A blob.
    #[error(transparent)]
    Store(#[from] oci_layout::StoreError),
    /// A document that is not what it should be.
    #[error("{digest} is not a document that an image is made of")]
    Document {
        /// The document.
        digest: Digest,
        /// Why.
        source: DocumentError,
    },
    /// A config that cannot be read.
    #[error("the config {digest} is not an image's config")]
    Config {
        /// The config.
        digest: Digest,
        /// Why.
        source: serde_json::Error,
    },
    /// A config that is too large, or not an image's.
    #[error("the config {digest} is of type {media_type} with {size} bytes: this is no image")]
    NotImage {
        /// The config.
        digest: Digest,
        /// Its type.
        media_type: MediaType,
        /// Its size.
        size: u64,
    },
    /// Layers and diff IDs do not match (row I20).
    #[error("manifest {digest} has {layers} layers, but its config has {diff_ids} diff IDs")]
    Counts {
        /// The manifest.
        digest: Digest,
        /// Its layers.
        layers: usize,
        /// The config's diff IDs.
        diff_ids: usize,
    },
    /// An index leads to an index where an image was expected.
    #[error("{digest} is an index inside an index, not an image")]
    Nested {
        /// The inner index.
        digest: Digest,
    },
    /// A layer of a type that nobody can unpack.
    #[error("layer {digest} is of type {media_type}, which is no file system layer")]
    LayerType {
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: MediaType,
    },
    /// A layer that cannot be read.
    #[error("layer {digest} cannot be read")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        source: oci_layout::layer::ReadError,
    },
    /// A layer that cannot be unpacked.
    #[error("layer {digest} cannot be unpacked")]
    Unpack {
        /// The layer.
        digest: Digest,
        /// Why.
        source: oci_layout::layer::UnpackError,
    },
    /// The cache, where what is to be done needs one.
    #[error(transparent)]
    Cache(#[from] oci_layout::cache::CacheError),
    /// A layer whose content is not what the config says.
    #[error("layer {digest} has diff ID {found}, but the config says {expected}")]
    DiffId {
        /// The layer.
        digest: Digest,
        /// The config's.
        expected: Digest,
        /// The layer's own.
        found: Digest,
    },
    /// Something else that it is read from.
    #[error(transparent)]
    Source(SourceError),
    /// The lock.
    #[error(transparent)]
    Lock(#[from] crate::lock::LockError),
    /// A bundle.
    #[error(transparent)]
    Bundle(#[from] crate::bundle::BundleError),
    /// The built-in base.
    #[error("the built-in base cannot be made: {0}")]
    Embedded(String),
    /// No such platform.
    #[error("{base} has no image for {platform}; it has {}", if available.is_empty() { "none that says its platform".to_owned() } else { available.join(", ") })]
    NoPlatform {
        /// The base, as it is named.
        base: String,
        /// What was wanted.
        platform: TargetPlatform,
        /// What there is.
        available: Vec<String>,
    },
}

impl From<SourceError> for BaseError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Registry(error) => Self::Registry(error),
            SourceError::Layout(error) => Self::Layout(error),
            SourceError::Store(error) => Self::Store(error),
            SourceError::Embedded(error) => Self::Embedded(error),
            SourceError::Bundle(error) => Self::Bundle(error),
            SourceError::Archive { .. } | SourceError::Pick { .. } | SourceError::Internal(_) => Self::Source(error),
        }
    }
}

impl BaseError {
    pub(crate) fn embedded(error: impl std::fmt::Display) -> Self {
        Self::Embedded(error.to_string())
    }
}

/// A base for some platforms.
pub struct Base {
    /// As messages call it.
    pub shown: String,
    /// Value of `org.opencontainers.image.base.name`; none for a layout, whose path is this machine's own.
    pub name: Option<String>,
    /// What the reference resolved to: an index or, for a single-platform base, a manifest.
    pub digest: Digest,
    /// The same, with type and size.
    pub root: Descriptor,
    /// Where its blobs are.
    pub source: Arc<Source>,
    /// What each platform stands on.
    pub platforms: BTreeMap<TargetPlatform, PlatformBase>,
}

/// One platform of a base.
pub struct PlatformBase {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Digest, type and size of the manifest.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config.
    pub config: ImageConfig,
    /// Its files; platforms with the same layers share them.
    pub tree: Arc<Tree>,
}

#[cfg(test)]
impl PlatformBase {
    /// One that is nothing but its container's config.
    pub(crate) fn of_config(container: oci_layout::document::ContainerConfig) -> Self {
        let platform = oci_layout::Platform::new("linux", "amd64", None);
        let mut config = ImageConfig::new(&platform);
        config.config = container;
        let blob = Descriptor::of(oci_layout::media_type::OCI_CONFIG, b"{}");
        let manifest = ImageManifest::new(blob.clone(), Vec::new(), BTreeMap::new());
        Self { digest: blob.digest, descriptor: blob, manifest, config, tree: Arc::default() }
    }
}

/// Finds what `platforms` stand on in `source`, starting from `root`.
///
/// The result has every platform, or it is an error: the first that is missing.
pub async fn resolve(
    shown: String,
    name: Option<String>,
    source: Arc<Source>,
    root: Descriptor,
    bytes: &[u8],
    platforms: &[TargetPlatform],
    cache: Option<&Cache>,
) -> Result<Base, BaseError> {
    let found = locate(&shown, &source, &root, bytes, platforms, cache).await?;
    load_all(shown, name, source, root, found, cache).await
}

/// Loads what is known already by digest, such as from a lock: the index is not looked at.
pub async fn load_all(
    shown: String,
    name: Option<String>,
    source: Arc<Source>,
    root: Descriptor,
    platforms: BTreeMap<TargetPlatform, Descriptor>,
    cache: Option<&Cache>,
) -> Result<Base, BaseError> {
    let seen = Seen::default();
    let loads = platforms.iter().map(|(&platform, descriptor)| {
        let (source, seen) = (&source, &seen);
        async move { Ok::<_, BaseError>((platform, load_seen(source, descriptor, cache, seen).await?)) }
    });
    let platforms = try_join_all(loads).await?.into_iter().collect();
    Ok(Base { shown, name, digest: root.digest, root, source, platforms })
}

/// The manifest that each platform stands on, by what the index (or the only image) in `bytes` says.
/// No layer is looked at.
pub async fn locate(
    shown: &str,
    source: &Arc<Source>,
    root: &Descriptor,
    bytes: &[u8],
    platforms: &[TargetPlatform],
    cache: Option<&Cache>,
) -> Result<BTreeMap<TargetPlatform, Descriptor>, BaseError> {
    let parsed = Document::parse(bytes, &root.media_type)
        .map_err(|error| BaseError::Document { digest: root.digest, source: error })?;
    let own = match &parsed {
        Document::Manifest(manifest) => Some(config(source, &manifest.config, cache).await?.platform()),
        Document::Index(_) => None,
    };
    let missing = |platform, available| BaseError::NoPlatform { base: shown.to_owned(), platform, available };
    let finds = platforms.iter().map(|&platform| {
        let (parsed, own) = (&parsed, &own);
        async move {
            let descriptor = match (parsed, own) {
                (Document::Index(index), _) => from_index(source, index, platform, cache)
                    .await?
                    .ok_or_else(|| missing(platform, select::available(index)))?,
                (_, Some(own)) if platform.platform().base_candidates().iter().any(|it| own.is_same(it)) => {
                    root.clone()
                }
                (_, own) => {
                    let available = own.iter().map(|own| own.normalized().to_string()).collect();
                    return Err(missing(platform, available));
                }
            };
            Ok((platform, bare(&descriptor)))
        }
    });
    Ok(try_join_all(finds).await?.into_iter().collect())
}

/// A descriptor without what an index says beside it.
fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size)
}

/// The entry for `platform`. Entries that do not say their platform are asked for their config.
async fn from_index(
    source: &Source,
    index: &ImageIndex,
    platform: TargetPlatform,
    cache: Option<&Cache>,
) -> Result<Option<Descriptor>, BaseError> {
    let wanted = platform.platform();
    if let Some(found) = select::select(index, &wanted) {
        return Ok(Some(found.clone()));
    }
    let silent = index.manifests.iter().filter(|entry| entry.platform.is_none() && entry.media_type.is_manifest());
    for entry in silent.take(16) {
        let (manifest, _) = manifest(source, entry, cache).await?;
        if !manifest.config.media_type.is_image_config() {
            continue;
        }
        let own = config(source, &manifest.config, cache).await?.platform();
        if wanted.base_candidates().iter().any(|candidate| own.is_same(candidate)) {
            return Ok(Some(entry.clone()));
        }
    }
    Ok(None)
}

async fn manifest(
    source: &Source,
    descriptor: &Descriptor,
    cache: Option<&Cache>,
) -> Result<(ImageManifest, Digest), BaseError> {
    let bytes = source.document(descriptor, cache).await?;
    let digest = descriptor.digest;
    match Document::parse(&bytes, &descriptor.media_type) {
        Ok(Document::Manifest(manifest)) => Ok((manifest, digest)),
        Ok(Document::Index(_)) => Err(BaseError::Nested { digest }),
        Err(source) => Err(BaseError::Document { digest, source }),
    }
}

async fn config(source: &Source, descriptor: &Descriptor, cache: Option<&Cache>) -> Result<ImageConfig, BaseError> {
    let digest = descriptor.digest;
    if !descriptor.media_type.is_image_config() || descriptor.size > MAX_CONFIG {
        let media_type = descriptor.media_type.clone();
        return Err(BaseError::NotImage { digest, media_type, size: descriptor.size });
    }
    let bytes = source.blob(descriptor, cache).await?;
    json::parse(&bytes).map_err(|source| BaseError::Config { digest, source })
}

/// What was read already: platforms can share layers, and all of them.
#[derive(Default)]
struct Seen {
    facts: Mutex<BTreeMap<LayerKey, Arc<LayerFacts>>>,
    /// By all layers, lowest first.
    trees: Mutex<BTreeMap<Vec<LayerKey>, Arc<Tree>>>,
}

/// Digest and diff ID.
type LayerKey = (Digest, Digest);

pub(crate) async fn load(
    source: &Arc<Source>,
    descriptor: &Descriptor,
    cache: Option<&Cache>,
) -> Result<PlatformBase, BaseError> {
    load_seen(source, descriptor, cache, &Seen::default()).await
}

async fn load_seen(
    source: &Arc<Source>,
    descriptor: &Descriptor,
    cache: Option<&Cache>,
    seen: &Seen,
) -> Result<PlatformBase, BaseError> {
    let digest = descriptor.digest;
    let (manifest, config) = documents(source, descriptor, cache).await?;
    let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids);
    let key: Vec<LayerKey> = layers.clone().map(|(layer, diff_id)| (layer.digest, *diff_id)).collect();
    let known = seen.trees.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let tree = match known {
        Some(tree) => tree,
        None => {
            let reads = layers.map(|(layer, diff_id)| seen_facts(source, layer, *diff_id, cache, seen));
            let facts = try_join_all(reads).await?;
            let tree = Arc::new(Tree::of(facts.iter().map(Arc::as_ref)));
            seen.trees.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&tree));
            tree
        }
    };
    Ok(PlatformBase { digest, descriptor: bare(descriptor), manifest, config, tree })
}

async fn seen_facts(
    source: &Arc<Source>,
    layer: &Descriptor,
    diff_id: Digest,
    cache: Option<&Cache>,
    seen: &Seen,
) -> Result<Arc<LayerFacts>, BaseError> {
    let key = (layer.digest, diff_id);
    let known = seen.facts.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    if let Some(facts) = known {
        return Ok(facts);
    }
    let facts = Arc::new(facts(source, layer, diff_id, cache).await?);
    seen.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&facts));
    Ok(facts)
}

/// Manifest and config of one platform; they fit each other.
pub(crate) async fn documents(
    source: &Arc<Source>,
    descriptor: &Descriptor,
    cache: Option<&Cache>,
) -> Result<(ImageManifest, ImageConfig), BaseError> {
    let (manifest, digest) = manifest(source, descriptor, cache).await?;
    let config = config(source, &manifest.config, cache).await?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids { Err(BaseError::Counts { digest, layers, diff_ids }) } else { Ok((manifest, config)) }
}

/// The facts of each layer of one platform, in their order.
pub(crate) async fn layer_facts(
    source: &Arc<Source>,
    descriptor: &Descriptor,
    cache: Option<&Cache>,
) -> Result<Vec<(Digest, LayerFacts)>, BaseError> {
    let (manifest, config) = documents(source, descriptor, cache).await?;
    let reads = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(|(layer, diff_id)| async move {
        Ok::<_, BaseError>((layer.digest, facts(source, layer, *diff_id, cache).await?))
    });
    try_join_all(reads).await
}

/// The facts of a layer: from the cache, or read once from its verified bytes.
async fn facts(
    source: &Arc<Source>,
    layer: &Descriptor,
    diff_id: Digest,
    cache: Option<&Cache>,
) -> Result<LayerFacts, BaseError> {
    let known = cache.and_then(|cache| cache.facts(&layer.digest));
    if let Some(facts) = known.filter(|facts| facts.inspector == ElfInspector::VERSION) {
        return Ok(facts);
    }
    let digest = layer.digest;
    let Some(compression) = layer.media_type.layer_compression() else {
        return Err(BaseError::LayerType { digest, media_type: layer.media_type.clone() });
    };
    let scanned = source.read(layer, move |reader| {
        LayerFacts::scan_with(reader, compression, &Limits::default(), &mut ElfInspector)
            .map_err(|source| BaseError::Layer { digest, source })
    });
    let (facts, found) = scanned.await?;
    if found != diff_id {
        return Err(BaseError::DiffId { digest, expected: diff_id, found });
    }
    // A cache that cannot be written costs time, not the build.
    if let Some(Err(error)) = cache.map(|cache| cache.put_facts(&digest, &facts)) {
        tracing::debug!(%error, "facts of a layer are not kept");
    }
    Ok(facts)
}
