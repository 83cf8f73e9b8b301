//! Delivery: blobs first, then manifests by digest, the index by digest, and what makes it visible
//! last: the tags of a repository, `index.json` of a layout.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use oci_layout::blob::FileBlob;
use oci_layout::layout::put_entry;
use registry_client::{LocalSource, MemorySource, Publication, Tag, UploadSource};

use super::*;

/// What is delivered.
pub(super) struct Delivery<'a> {
    pub(super) spec: &'a BuildSpec,
    pub(super) images: &'a [Finished],
    pub(super) bases: &'a Bases,
    pub(super) index: &'a Descriptor,
    pub(super) index_bytes: Bytes,
    pub(super) tags: &'a [Tag],
    /// Where the new layers are.
    pub(super) store: &'a BlobStore,
}

impl Delivery<'_> {
    fn base_fault(&self, image: &Finished, error: BaseError) -> BuildError {
        let base = self.bases.of(self.spec, image.platform).map(|base| base.shown.clone()).unwrap_or_default();
        BuildError::Base { base, source: error }
    }
}

/// To the repository that the build file names; gives the reference by digest.
pub(super) async fn push(shared: &Arc<Shared>, result: &Delivery<'_>) -> Result<String, BuildError> {
    let Some(image) = &result.spec.image else {
        return Err(BuildError::NoImage { file: result.spec.file.clone() });
    };
    let repository = &image.value;
    let mut publications = Vec::new();
    for finished in result.images {
        let mut blobs: Vec<Arc<dyn UploadSource>> = Vec::new();
        let mut mount_from = Vec::new();
        if let Some(base) = result.bases.of(result.spec, finished.platform) {
            for layer in &finished.base_layers {
                blobs.push(base.source.upload(layer).map_err(|error| result.base_fault(finished, error))?);
            }
            mount_from
                .extend(base.source.repository().filter(|from| from.registry() == repository.registry()).cloned());
        }
        for layer in &finished.new_layers {
            let blob = FileBlob { descriptor: layer.clone(), path: result.store.path(&layer.digest) };
            blobs.push(Arc::new(LocalSource::new(Arc::new(blob))));
        }
        blobs.push(Arc::new(MemorySource::new(finished.config.clone(), finished.config_bytes.clone())));
        publications.push(Publication {
            descriptor: finished.manifest.clone(),
            bytes: finished.manifest_bytes.clone(),
            blobs,
            mount_from,
        });
    }
    publications.push(Publication {
        descriptor: result.index.clone(),
        bytes: result.index_bytes.clone(),
        blobs: Vec::new(),
        mount_from: Vec::new(),
    });
    let total = distinct(result.images);
    let piece = shared.work.start(Phase::Deliver, None, format!("push {repository}"), Some(total));
    let (done, each) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let progress = |digest: &oci_layout::Digest, bytes: u64| {
        let mut each = each.lock().unwrap_or_else(PoisonError::into_inner);
        let before: u64 = each.insert(*digest, bytes).unwrap_or(0);
        let sum = done.fetch_add(bytes.saturating_sub(before), Ordering::Relaxed) + bytes.saturating_sub(before);
        piece.progress(sum);
    };
    let publish = shared.client.publish(repository, &publications, result.tags, &progress);
    let published = interruptible(shared, publish).await??;
    let tags: Vec<String> = result.tags.iter().map(|tag| format!(":{tag}")).collect();
    if published == registry_client::Published::default() {
        piece.cached(format!("{} names it already", tags.join(" ")));
    } else {
        let (sent, there, mounted) = (published.uploaded, published.existed, published.mounted);
        piece.done(format!("{} ({sent} blobs sent, {mounted} mounted, {there} there already)", tags.join(" ")));
    }
    Ok(repository.at(result.index.digest).to_string())
}

/// Into a layout; gives the reference by digest.
pub(super) async fn to_layout(
    shared: &Arc<Shared>,
    result: &Delivery<'_>,
    layout: &Layout,
) -> Result<String, BuildError> {
    let root = layout.root().display().to_string();
    let piece = shared.work.start(Phase::Deliver, None, format!("write oci:{root}"), None);
    for finished in result.images {
        let Some(base) = result.bases.of(result.spec, finished.platform) else { continue };
        for layer in &finished.base_layers {
            let copy = base.source.copy(layer, layout.store());
            interruptible(shared, copy).await?.map_err(|error| result.base_fault(finished, error))?;
        }
    }
    let mut documents: Vec<Bytes> = Vec::new();
    for finished in result.images {
        documents.extend([finished.config_bytes.clone(), finished.manifest_bytes.clone()]);
    }
    documents.push(result.index_bytes.clone());
    if shared.interrupted() {
        return Err(BuildError::Interrupted);
    }
    let (layout, index) = (layout.clone(), result.index.clone());
    let tags: Vec<String> = result.tags.iter().map(ToString::to_string).collect();
    let removed = blocking(move || {
        for document in documents {
            layout.store().put_bytes(&document)?;
        }
        layout.commit(|entries| {
            for tag in &tags {
                put_entry(entries, index.clone(), Some(tag));
            }
        })?;
        Ok(layout.remove_unreferenced()?)
    })
    .await?;
    piece.done(if removed > 0 { format!("{removed} blobs removed that nothing refers to") } else { String::new() });
    Ok(format!("oci:{root}@{}", result.index.digest))
}

/// Bytes of all blobs, each once.
fn distinct(images: &[Finished]) -> u64 {
    let blobs =
        images.iter().flat_map(|image| image.base_layers.iter().chain(&image.new_layers).chain([&image.config]));
    blobs.map(|blob| (blob.digest, blob.size)).collect::<BTreeMap<_, _>>().values().sum()
}
