//! Making images visible: blobs, then manifests by digest with children before parents, then the
//! tags. Whatever fails before that, the tag still names what it named (rows R50, C05).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_layout::{Descriptor, Digest};

use crate::Client;
use crate::error::{Code, Error};
use crate::push::Pushed;
use crate::reference::{Repository, Tag, TagOrDigest};
use crate::source::UploadSource;

/// A manifest or index to be stored, with the blobs that it names.
#[derive(Clone)]
pub struct Publication {
    /// What it is.
    pub descriptor: Descriptor,
    /// The document.
    pub bytes: Bytes,
    /// Config and layers; none for an index.
    pub blobs: Vec<Arc<dyn UploadSource>>,
    /// Repositories that may have the blobs already.
    pub mount_from: Vec<Repository>,
}

/// What publishing had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Blobs that were there.
    pub existed: usize,
    /// Blobs that were mounted.
    pub mounted: usize,
    /// Blobs that were sent.
    pub uploaded: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Manifests that were sent.
    pub manifests: usize,
    /// Tags that were set.
    pub tags: usize,
}

/// Told how many bytes of which blob have gone out.
pub type BlobProgress<'a> = &'a (dyn Fn(&Digest, u64) + Send + Sync);

impl Client {
    /// Stores `manifests`, children before parents, and lets `tags` name the last of them.
    ///
    /// Asks for little where there is little to do: where the tags name it already, one HEAD each;
    /// where the manifests are there, one HEAD for each and one PUT for each tag.
    pub async fn publish(
        &self,
        repository: &Repository,
        manifests: &[Publication],
        tags: &[Tag],
        progress: BlobProgress<'_>,
    ) -> Result<Published, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let Some(root) = manifests.last() else { return Ok(Published::default()) };
        let stale = self.tags_to_set(repository, tags, &root.descriptor.digest).await?;
        if stale.is_empty() && !tags.is_empty() {
            return Ok(Published::default());
        }
        let mut published = self.publish_untagged(repository, manifests, progress).await?;
        published.tags = self.set_tags(repository, root, &stale, progress).await?;
        Ok(published)
    }

    /// Those of `tags` that do not name `digest` yet.
    pub async fn tags_to_set(&self, repository: &Repository, tags: &[Tag], digest: &Digest) -> Result<Vec<Tag>, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let mut stale = Vec::new();
        for tag in tags {
            let named = self.look(repository, &tag.clone().into()).await?;
            if named.is_none_or(|named| named.digest != *digest) {
                stale.push(tag.clone());
            }
        }
        Ok(stale)
    }

    /// Stores those of `manifests` that are not there, with their blobs; children come before parents.
    pub async fn publish_untagged(
        &self,
        repository: &Repository,
        manifests: &[Publication],
        progress: BlobProgress<'_>,
    ) -> Result<Published, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let mut published = Published::default();
        let at_once = self.inner.config.limits.per_host.max(1);
        // Futures that are made before they are buffered: a closure inside the stream would keep the
        // whole from being a task of its own (rust-lang/rust#102211).
        let looks: Vec<_> = manifests.iter().map(|manifest| self.is_missing(repository, manifest)).collect();
        let missing: Vec<bool> = futures_util::stream::iter(looks).buffered(at_once).try_collect().await?;
        let missing: Vec<&Publication> =
            manifests.iter().zip(missing).filter_map(|(manifest, missing)| missing.then_some(manifest)).collect();
        self.push_blobs(repository, &missing, progress, &mut published).await?;
        for manifest in missing {
            let what = TagOrDigest::Digest(manifest.descriptor.digest);
            self.put_with_blobs(repository, manifest, &what, progress, &mut published).await?;
            published.manifests += 1;
        }
        Ok(published)
    }

    /// Lets `tags` name `root`, which is there. How many were set.
    pub async fn set_tags(
        &self,
        repository: &Repository,
        root: &Publication,
        tags: &[Tag],
        progress: BlobProgress<'_>,
    ) -> Result<usize, Error> {
        let mut resent = Published::default();
        for tag in tags {
            self.put_with_blobs(repository, root, &tag.clone().into(), progress, &mut resent).await?;
        }
        Ok(tags.len())
    }

    /// Sees to it that the blobs of `manifest` are there; the document itself is not stored.
    pub async fn publish_blobs(
        &self,
        repository: &Repository,
        manifest: &Publication,
        progress: BlobProgress<'_>,
    ) -> Result<Published, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let mut published = Published::default();
        self.push_blobs(repository, &[manifest], progress, &mut published).await?;
        Ok(published)
    }

    async fn is_missing(&self, repository: &Repository, manifest: &Publication) -> Result<bool, Error> {
        let what = TagOrDigest::Digest(manifest.descriptor.digest);
        Ok(self.look(repository, &what).await?.is_none())
    }

    /// What `what` names. Artifactory answers 403 for what is not there; whether we may write, the
    /// first write will tell.
    async fn look(&self, repository: &Repository, what: &TagOrDigest) -> Result<Option<Descriptor>, Error> {
        match self.head_manifest_to_push(repository, what).await {
            Err(Error::Denied { .. }) => Ok(None),
            outcome => outcome,
        }
    }

    async fn push_one(
        &self,
        repository: &Repository,
        blob: &dyn UploadSource,
        mount_from: &[Repository],
        progress: BlobProgress<'_>,
    ) -> Result<(Pushed, u64), Error> {
        let (digest, size) = (blob.descriptor().digest, blob.descriptor().size);
        let pushed = self.push_blob(repository, blob, mount_from, &|bytes| progress(&digest, bytes)).await?;
        Ok((pushed, size))
    }

    /// The blobs of all `manifests`, each once.
    async fn push_blobs(
        &self,
        repository: &Repository,
        manifests: &[&Publication],
        progress: BlobProgress<'_>,
        published: &mut Published,
    ) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for manifest in manifests {
            for blob in &manifest.blobs {
                if seen.insert(blob.descriptor().digest) {
                    wanted.push((blob, manifest.mount_from.as_slice()));
                }
            }
        }
        let pushes: Vec<_> = wanted
            .into_iter()
            .map(|(blob, mount_from)| self.push_one(repository, blob.as_ref(), mount_from, progress))
            .collect();
        let at_once = self.inner.config.limits.per_host.max(1);
        let mut pushes = futures_util::stream::iter(pushes).buffer_unordered(at_once);
        while let Some(pushed) = pushes.next().await {
            match pushed? {
                (Pushed::Existed, _) => published.existed += 1,
                (Pushed::Mounted, _) => published.mounted += 1,
                (Pushed::Uploaded, size) => {
                    published.uploaded += 1;
                    published.bytes = published.bytes.saturating_add(size);
                }
            }
        }
        Ok(())
    }

    /// Stores a manifest. A blob that has vanished since it was pushed or found (GAR does that) is
    /// looked for and sent again, once (row R37).
    async fn put_with_blobs(
        &self,
        repository: &Repository,
        manifest: &Publication,
        what: &TagOrDigest,
        progress: BlobProgress<'_>,
        published: &mut Published,
    ) -> Result<(), Error> {
        let media_type = &manifest.descriptor.media_type;
        let error = match self.put_manifest(repository, what, media_type, manifest.bytes.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.answer().is_some_and(|answer| answer.has(&Code::ManifestBlobUnknown)) {
            return Err(error);
        }
        self.push_blobs(repository, &[manifest], progress, published).await?;
        self.put_manifest(repository, what, media_type, manifest.bytes.clone()).await
    }
}
