//! Making images visible: blobs, then manifests by digest with children before parents, then the
//! tags. Whatever fails before that, the tag still names what it named (rows R50, C05).
//!
//! Blobs may travel while the rest of the image is still being made: [`Publishing`] takes each
//! manifest's as they come, and does the rest at the end.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_layout::{Descriptor, Digest};
use tokio::sync::OnceCell;

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
        self.publishing(repository)?.finish(manifests, tags, progress).await
    }

    /// The same in two parts: blobs as they come, and what makes them visible at the end.
    pub fn publishing(&self, repository: &Repository) -> Result<Publishing, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let state = Mutex::default();
        Ok(Publishing { client: self.clone(), repository: repository.clone(), state })
    }
}

/// An image on its way into a repository. Can be used from many tasks at once.
pub struct Publishing {
    client: Client,
    repository: Repository,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Manifests that were looked for, and whether they were missing.
    missing: HashMap<Digest, bool>,
    /// Blobs that are, or have been, on their way.
    blobs: HashMap<Digest, Arc<OnceCell<()>>>,
    published: Published,
}

impl Publishing {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Sends the blobs of `manifest`, unless the registry has the manifest and so its blobs. A blob
    /// that another call is sending is waited for. Says whether the manifest was missing.
    pub async fn send_blobs(&self, manifest: &Publication, progress: BlobProgress<'_>) -> Result<bool, Error> {
        let missing = self.is_missing(manifest).await?;
        if missing {
            self.push_blobs(&[manifest], progress).await?;
        }
        Ok(missing)
    }

    /// Sends what is missing yet, stores `manifests`, children before parents, and lets `tags`
    /// name the last of them. Tells what was done in all.
    pub async fn finish(
        &self,
        manifests: &[Publication],
        tags: &[Tag],
        progress: BlobProgress<'_>,
    ) -> Result<Published, Error> {
        let Some(root) = manifests.last() else { return Ok(self.published()) };
        let stale = self.tags_to_set(tags, &root.descriptor.digest).await?;
        if !stale.is_empty() || tags.is_empty() {
            self.store(manifests, progress).await?;
            self.set_tags(root, &stale, progress).await?;
        }
        Ok(self.published())
    }

    /// Those of `tags` that do not name `digest` yet.
    pub async fn tags_to_set(&self, tags: &[Tag], digest: &Digest) -> Result<Vec<Tag>, Error> {
        let mut stale = Vec::new();
        for tag in tags {
            let named = self.look(&tag.clone().into()).await?;
            if named.is_none_or(|named| named.digest != *digest) {
                stale.push(tag.clone());
            }
        }
        Ok(stale)
    }

    /// Stores those of `manifests` that are not there, with their blobs, children before parents;
    /// no tag names them yet.
    pub async fn store(&self, manifests: &[Publication], progress: BlobProgress<'_>) -> Result<(), Error> {
        // Futures that are made before they are buffered: a closure inside the stream would keep the
        // whole from being a task of its own (rust-lang/rust#102211).
        let looks: Vec<_> = manifests.iter().map(|manifest| self.is_missing(manifest)).collect();
        let missing: Vec<bool> = futures_util::stream::iter(looks).buffered(self.at_once()).try_collect().await?;
        let missing: Vec<&Publication> =
            manifests.iter().zip(missing).filter_map(|(manifest, missing)| missing.then_some(manifest)).collect();
        self.push_blobs(&missing, progress).await?;
        // Parents come behind their children; the children do not wait for each other.
        let (parents, children): (Vec<&Publication>, Vec<_>) =
            missing.into_iter().partition(|manifest| manifest.descriptor.media_type.is_index());
        let puts: Vec<_> = children.iter().map(|manifest| self.put_by_digest(manifest, progress)).collect();
        let mut puts = futures_util::stream::iter(puts).buffer_unordered(self.at_once());
        while let Some(put) = puts.next().await {
            put?;
        }
        for manifest in parents {
            self.put_by_digest(manifest, progress).await?;
        }
        Ok(())
    }

    /// Lets `tags` name `root`, which is there.
    pub async fn set_tags(&self, root: &Publication, tags: &[Tag], progress: BlobProgress<'_>) -> Result<(), Error> {
        for tag in tags {
            self.put_with_blobs(root, &tag.clone().into(), progress).await?;
            self.state().published.tags += 1;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done so far.
    pub fn published(&self) -> Published {
        self.state().published
    }

    fn at_once(&self) -> usize {
        self.client.inner.config.limits.per_host.max(1)
    }

    async fn is_missing(&self, manifest: &Publication) -> Result<bool, Error> {
        let digest = manifest.descriptor.digest;
        let known = self.state().missing.get(&digest).copied();
        if let Some(missing) = known {
            return Ok(missing);
        }
        let missing = self.look(&TagOrDigest::Digest(digest)).await?.is_none();
        self.state().missing.insert(digest, missing);
        Ok(missing)
    }

    /// What `what` names. Artifactory answers 403 for what is not there; whether we may write, the
    /// first write will tell.
    async fn look(&self, what: &TagOrDigest) -> Result<Option<Descriptor>, Error> {
        match self.client.head_manifest_to_push(&self.repository, what).await {
            Err(Error::Denied { .. }) => Ok(None),
            outcome => outcome,
        }
    }

    async fn push_one(
        &self,
        blob: &dyn UploadSource,
        mount_from: &[Repository],
        progress: BlobProgress<'_>,
    ) -> Result<(), Error> {
        let digest = blob.descriptor().digest;
        let cell = Arc::clone(self.state().blobs.entry(digest).or_default());
        let push = || async {
            let told = |bytes| progress(&digest, bytes);
            let pushed = self.client.push_blob(&self.repository, blob, mount_from, &told).await?;
            let published = &mut self.state().published;
            match pushed {
                Pushed::Existed => published.existed += 1,
                Pushed::Mounted => published.mounted += 1,
                Pushed::Uploaded => {
                    published.uploaded += 1;
                    published.bytes = published.bytes.saturating_add(blob.descriptor().size);
                }
            }
            Ok(())
        };
        cell.get_or_try_init(push).await.map(|()| progress(&digest, blob.descriptor().size))
    }

    /// The blobs of all `manifests`, each once.
    async fn push_blobs(&self, manifests: &[&Publication], progress: BlobProgress<'_>) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for manifest in manifests {
            for blob in &manifest.blobs {
                if seen.insert(blob.descriptor().digest) {
                    wanted.push((blob, manifest.mount_from.as_slice()));
                }
            }
        }
        let pushes: Vec<_> =
            wanted.into_iter().map(|(blob, mount_from)| self.push_one(blob.as_ref(), mount_from, progress)).collect();
        let mut pushes = futures_util::stream::iter(pushes).buffer_unordered(self.at_once());
        while let Some(pushed) = pushes.next().await {
            pushed?;
        }
        Ok(())
    }

    async fn put_by_digest(&self, manifest: &Publication, progress: BlobProgress<'_>) -> Result<(), Error> {
        let digest = manifest.descriptor.digest;
        self.put_with_blobs(manifest, &TagOrDigest::Digest(digest), progress).await?;
        let mut state = self.state();
        state.missing.insert(digest, false);
        state.published.manifests += 1;
        Ok(())
    }

    /// Stores a manifest. A blob that has vanished since it was pushed or found (GAR does that) is
    /// looked for and sent again, once (row R37).
    async fn put_with_blobs(
        &self,
        manifest: &Publication,
        what: &TagOrDigest,
        progress: BlobProgress<'_>,
    ) -> Result<(), Error> {
        let media_type = &manifest.descriptor.media_type;
        let put = || self.client.put_manifest(&self.repository, what, media_type, manifest.bytes.clone());
        let Err(error) = put().await else { return Ok(()) };
        if !error.answer().is_some_and(|answer| answer.has(&Code::ManifestBlobUnknown)) {
            return Err(error);
        }
        for blob in &manifest.blobs {
            self.state().blobs.remove(&blob.descriptor().digest);
        }
        self.push_blobs(&[manifest], progress).await?;
        put().await
    }
}
