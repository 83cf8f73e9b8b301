//! Bases: from what the build file names to each platform's manifest, config and file tree.
//!
//! A reference is resolved to a digest once; everything after that goes by digest.

pub mod embedded;
pub mod select;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use oci_layout::document::{Document, DocumentError, ImageConfig, ImageIndex, ImageManifest};
use oci_layout::layer::{LayerFacts, Tree};
use oci_layout::{Cache, Descriptor, Digest, MediaType, json};

use crate::target::TargetPlatform;

pub use source::Source;

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
    /// Where its blobs are.
    pub source: Arc<Source>,
    /// What each platform stands on.
    pub platforms: BTreeMap<TargetPlatform, PlatformBase>,
}

/// One platform of a base.
pub struct PlatformBase {
    /// Digest of the manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config.
    pub config: ImageConfig,
    /// Its files.
    pub tree: Tree,
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
        Self { digest: blob.digest, manifest, config, tree: Tree::default() }
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
    let parsed = Document::parse(bytes, &root.media_type)
        .map_err(|error| BaseError::Document { digest: root.digest, source: error })?;
    let loads = platforms.iter().map(|&platform| {
        let (shown, source, parsed, root) = (&shown, &source, &parsed, &root);
        async move {
            let base = match parsed {
                Document::Index(index) => {
                    let chosen = from_index(source, index, platform).await?;
                    let Some(descriptor) = chosen else {
                        let available = select::available(index);
                        return Err(BaseError::NoPlatform { base: shown.clone(), platform, available });
                    };
                    load(source, &descriptor, None, cache).await?
                }
                Document::Manifest(manifest) => {
                    let base = load(source, root, Some(manifest), cache).await?;
                    let own = base.config.platform();
                    if !platform.platform().base_candidates().iter().any(|candidate| own.is_same(candidate)) {
                        let available = vec![own.normalized().to_string()];
                        return Err(BaseError::NoPlatform { base: shown.clone(), platform, available });
                    }
                    base
                }
            };
            Ok((platform, base))
        }
    });
    let platforms = try_join_all(loads).await?.into_iter().collect();
    Ok(Base { shown, name, digest: root.digest, source, platforms })
}

/// The entry for `platform`. Entries that do not say their platform are asked for their config.
async fn from_index(
    source: &Source,
    index: &ImageIndex,
    platform: TargetPlatform,
) -> Result<Option<Descriptor>, BaseError> {
    let wanted = platform.platform();
    if let Some(found) = select::select(index, &wanted) {
        return Ok(Some(found.clone()));
    }
    let silent = index.manifests.iter().filter(|entry| entry.platform.is_none() && entry.media_type.is_manifest());
    for entry in silent.take(16) {
        let (manifest, _) = manifest(source, entry).await?;
        if !manifest.config.media_type.is_image_config() {
            continue;
        }
        let own = config(source, &manifest.config).await?.platform();
        if wanted.base_candidates().iter().any(|candidate| own.is_same(candidate)) {
            return Ok(Some(entry.clone()));
        }
    }
    Ok(None)
}

async fn manifest(source: &Source, descriptor: &Descriptor) -> Result<(ImageManifest, Digest), BaseError> {
    let bytes = source.document(descriptor).await?;
    let digest = descriptor.digest;
    match Document::parse(&bytes, &descriptor.media_type) {
        Ok(Document::Manifest(manifest)) => Ok((manifest, digest)),
        Ok(Document::Index(_)) => Err(BaseError::Nested { digest }),
        Err(source) => Err(BaseError::Document { digest, source }),
    }
}

async fn config(source: &Source, descriptor: &Descriptor) -> Result<ImageConfig, BaseError> {
    let digest = descriptor.digest;
    if !descriptor.media_type.is_image_config() || descriptor.size > MAX_CONFIG {
        let media_type = descriptor.media_type.clone();
        return Err(BaseError::NotImage { digest, media_type, size: descriptor.size });
    }
    let bytes = source.blob(descriptor).await?;
    json::parse(&bytes).map_err(|source| BaseError::Config { digest, source })
}

async fn load(
    source: &Arc<Source>,
    descriptor: &Descriptor,
    known: Option<&ImageManifest>,
    cache: Option<&Cache>,
) -> Result<PlatformBase, BaseError> {
    let digest = descriptor.digest;
    let manifest = match known {
        Some(manifest) => manifest.clone(),
        None => manifest(source, descriptor).await?.0,
    };
    let config = config(source, &manifest.config).await?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(BaseError::Counts { digest, layers: manifest.layers.len(), diff_ids: diff_ids.len() });
    }
    let facts = manifest.layers.iter().zip(diff_ids).map(|(layer, diff_id)| facts(source, layer, *diff_id, cache));
    let facts: Vec<LayerFacts> = try_join_all(facts).await?;
    Ok(PlatformBase { digest, manifest, config, tree: Tree::of(&facts) })
}

/// The facts of a layer: from the cache, or read once from its verified bytes.
async fn facts(
    source: &Arc<Source>,
    layer: &Descriptor,
    diff_id: Digest,
    cache: Option<&Cache>,
) -> Result<LayerFacts, BaseError> {
    if let Some(facts) = cache.and_then(|cache| cache.facts(&layer.digest)) {
        return Ok(facts);
    }
    let digest = layer.digest;
    let Some(compression) = layer.media_type.layer_compression() else {
        return Err(BaseError::LayerType { digest, media_type: layer.media_type.clone() });
    };
    let (facts, found) = source.scan(layer, compression).await?;
    if found != diff_id {
        return Err(BaseError::DiffId { digest, expected: diff_id, found });
    }
    // A cache that cannot be written costs time, not the build.
    if let Some(Err(error)) = cache.map(|cache| cache.put_facts(&digest, &facts)) {
        tracing::debug!(%error, "facts of a layer are not kept");
    }
    Ok(facts)
}
