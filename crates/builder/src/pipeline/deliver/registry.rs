//! To the repository that the build file names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use oci_layout::Digest;
use registry_client::{LocalSource, MemorySource, Publication, Published, Publishing, UploadSource};

use super::*;

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

    pub(super) async fn take(&self, shared: &Shared, base: Option<&Base>, image: &Finished) -> Result<(), BuildError> {
        let publication = self.publication(base, image)?;
        let total = publication.blobs.iter().map(|blob| blob.descriptor().size).sum();
        let piece = shared.work.start(Phase::Deliver, Some(image.platform), "blobs".to_owned(), Some(total));
        let each = Mutex::new(BTreeMap::new());
        let progress = |digest: &Digest, bytes: u64| {
            let mut each = each.lock().unwrap_or_else(PoisonError::into_inner);
            let sent: &mut u64 = each.entry(*digest).or_default();
            *sent = (*sent).max(bytes);
            piece.progress(each.values().sum());
        };
        if self.publishing.send_blobs(&publication, &progress).await? {
            piece.done(String::new());
        } else {
            piece.cached(format!("{} has them", self.publishing.repository()));
        }
        Ok(())
    }

    pub(super) async fn complete(&self, shared: &Shared, result: &Delivery<'_>) -> Result<String, BuildError> {
        let repository = self.publishing.repository();
        let mut publications = Vec::new();
        for image in result.images {
            publications.push(self.publication(result.bases.of(result.spec, image.platform), image)?);
        }
        publications.push(Publication {
            descriptor: result.index.clone(),
            bytes: result.index_bytes.clone(),
            blobs: Vec::new(),
            mount_from: Vec::new(),
        });
        let piece = shared.work.start(Phase::Deliver, None, format!("push {repository}"), None);
        let published = self.publishing.finish(&publications, result.tags, &|_, _| {}).await?;
        let tags: Vec<String> = result.tags.iter().map(|tag| format!(":{tag}")).collect();
        if published == Published::default() {
            piece.cached(format!("{} names it already", tags.join(" ")));
        } else {
            let (sent, there, mounted) = (published.uploaded, published.existed, published.mounted);
            piece.done(format!("{} ({sent} blobs sent, {mounted} mounted, {there} there already)", tags.join(" ")));
        }
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
