//! To the repository that the build file names.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_layout::Digest;
use oci_layout::cache::Origin;
use registry_client::{LocalSource, MemorySource, Publication, Published, Publishing, Repository, UploadSource};

use super::*;
use crate::event::Outcome;
use crate::transfer::Meter;

pub(in crate::pipeline) struct ToRegistry {
    publishing: Publishing,
}

impl ToRegistry {
    pub(super) fn open(shared: &Shared, spec: &BuildSpec) -> Result<Self, BuildError> {
        let Some(image) = &spec.image else {
            return Err(BuildError::NoImage { file: spec.file.clone() });
        };
        Ok(Self { publishing: shared.client.publishing(&image.value)? })
    }

    pub(super) fn repository(&self) -> &Repository {
        self.publishing.repository()
    }

    /// Sends the platform's blobs, unless nothing in its image is new: then the tags may name the
    /// image already, which takes one request to learn, once all platforms are there.
    pub(super) async fn take(&self, shared: &Shared, base: Option<&Base>, image: &Finished) -> Result<(), BuildError> {
        if is_as_before(image) {
            return Ok(());
        }
        let publication = self.publication(base, image)?;
        let total = size(std::slice::from_ref(&publication));
        let piece = shared.work.start(Phase::Deliver, Some(image.platform), "blobs".to_owned(), Some(total));
        let meter = Meter::new(piece);
        let progress = |digest: &Digest, bytes: u64| meter.blob(digest, bytes);
        let sent = self.publishing.send_blobs(&publication, &progress).await?;
        meter.end(match sent {
            true => Outcome::Done(String::new()),
            false => Outcome::Cached(format!("{} has them", self.publishing.repository())),
        });
        Ok(())
    }

    pub(super) async fn complete(&self, shared: &Shared, result: &Delivery<'_>) -> Result<String, BuildError> {
        let repository = self.publishing.repository();
        let mut publications = Vec::new();
        for image in result.images {
            publications.push(self.publication(result.bases.of(result.spec, image.platform), image)?);
        }
        let total = size(&publications);
        publications.push(Publication {
            descriptor: result.index.clone(),
            bytes: result.index_bytes.clone(),
            blobs: Vec::new(),
            mount_from: Vec::new(),
        });
        let meter = Meter::new(shared.work.start(Phase::Deliver, None, format!("push {repository}"), Some(total)));
        let progress = |digest: &Digest, bytes: u64| meter.blob(digest, bytes);
        let published = self.publishing.finish(&publications, result.tags, &progress).await?;
        let tags: Vec<String> = result.tags.iter().map(|tag| format!(":{tag}")).collect();
        let tags = tags.join(" ");
        meter.end(if published == Published::default() {
            Outcome::Cached(format!("{tags} names it already"))
        } else {
            let (sent, there, mounted) = (published.uploaded, published.existed, published.mounted);
            Outcome::Done(format!("{tags} ({sent} blobs sent, {mounted} mounted, {there} there already)"))
        });
        Ok(repository.at(result.index.digest).to_string())
    }

    fn publication(&self, base: Option<&Base>, image: &Finished) -> Result<Publication, BuildError> {
        let mut blobs: Vec<Arc<dyn UploadSource>> = Vec::new();
        let mut mount_from = Vec::new();
        if let Some(base) = base {
            for layer in &image.base_layers {
                blobs.push(base.source.upload(layer).map_err(|error| of_base(base, error))?);
            }
            let registry = self.publishing.repository().registry();
            mount_from.extend(base.source.repository().filter(|from| from.registry() == registry).cloned());
        }
        for layer in &image.new_layers {
            blobs.push(Arc::new(LocalSource::new(Arc::clone(layer) as _)));
        }
        blobs.push(Arc::new(MemorySource::new(image.config.clone(), image.config_bytes.clone())));
        Ok(Publication { descriptor: image.manifest.clone(), bytes: image.manifest_bytes.clone(), blobs, mount_from })
    }
}

/// Whether all layers are known from an earlier build.
fn is_as_before(image: &Finished) -> bool {
    image.new_layers.iter().all(|layer| layer.origin != Origin::Written)
}

/// Bytes of the blobs, each once.
fn size(publications: &[Publication]) -> u64 {
    let blobs = publications.iter().flat_map(|publication| &publication.blobs);
    let each: BTreeMap<Digest, u64> = blobs.map(|blob| (blob.descriptor().digest, blob.descriptor().size)).collect();
    each.values().fold(0, |sum, size| sum.saturating_add(*size))
}
