//! Where images are read from: a closed set.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_layout::archive::{Archive, ArchiveError};
use oci_layout::blob::FileBlob;
use oci_layout::digest::VerifyingReader;
use oci_layout::document::{Document, MAX_DOCUMENT};
use oci_layout::{BlobSource, BlobStore, Cache, Descriptor, Digest, Layout, StoreError};
use registry_client::{Client, LocalSource, RemoteSource, Repository, UploadSource};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{Location, SourceError, TransferError};
use crate::base::embedded::EmbeddedImage;
use crate::bundle::{BundleError, Bundles};

/// Largest image config that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// Where an image is.
pub enum Source {
    /// In a registry.
    Registry {
        /// How it is asked.
        client: Client,
        /// Where in it.
        repository: Repository,
    },
    /// In an OCI layout.
    Layout(Layout),
    /// In an archive.
    Archive {
        /// The file, for messages.
        path: PathBuf,
        /// What is in it.
        archive: Archive,
    },
    /// In mab.
    Embedded(EmbeddedImage),
    /// On this machine already: in bundles, else in mab's own cache. Nothing is asked for.
    Kept {
        /// Looked through first.
        bundles: Arc<Bundles>,
        /// Looked through then.
        cache: Option<Arc<Cache>>,
    },
}

impl Source {
    /// Opens what `location` names; a registry is not asked yet.
    pub async fn open(location: &Location, client: &Client) -> Result<Self, SourceError> {
        match location.clone() {
            Location::Registry(reference) => {
                Ok(Self::Registry { client: client.clone(), repository: reference.repository })
            }
            Location::Layout { directory, .. } => Ok(Self::Layout(Layout::open(directory)?)),
            Location::Bundle { path, .. } => {
                let opened = spawn_blocking(move || Bundles::open(&[path])).await;
                let bundles = opened.map_err(|error| SourceError::Internal(error.to_string()))??;
                Ok(Self::Kept { bundles: Arc::new(bundles), cache: None })
            }
            Location::Archive { file, .. } => {
                // Of what `docker save` writes, all layers are hashed.
                let opened = spawn_blocking(move || (Archive::open(&file), file)).await;
                let (archive, path) = opened.map_err(|error| SourceError::Internal(error.to_string()))?;
                match archive {
                    Ok(archive) => Ok(Self::Archive { path, archive }),
                    Err(source) => Err(SourceError::Archive { path, source }),
                }
            }
        }
    }

    /// A manifest or index, verified; a registry's from the cache, where it is there.
    pub async fn document(&self, descriptor: &Descriptor, cache: Option<&Cache>) -> Result<Bytes, SourceError> {
        match self {
            Self::Registry { client, repository } => match known(descriptor, MAX_DOCUMENT, cache) {
                Some(bytes) => Ok(bytes),
                None => {
                    let bytes = client.manifest(repository, &descriptor.digest.into()).await?.bytes;
                    keep(&bytes, cache);
                    Ok(bytes)
                }
            },
            _ => self.small(descriptor, MAX_DOCUMENT),
        }
    }

    /// A config or another small blob, verified; a registry's from the cache, where it is there.
    pub async fn blob(&self, descriptor: &Descriptor, cache: Option<&Cache>) -> Result<Bytes, SourceError> {
        match self {
            Self::Registry { client, repository } => {
                if let Some(bytes) = known(descriptor, MAX_CONFIG, cache) {
                    return Ok(bytes);
                }
                let mut stream = client.pull_blob(repository, descriptor);
                let mut bytes = Vec::new();
                while let Some(piece) = stream.next().await {
                    bytes.extend_from_slice(&piece?);
                }
                keep(&bytes, cache);
                Ok(bytes.into())
            }
            _ => self.small(descriptor, MAX_CONFIG),
        }
    }

    fn small(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, SourceError> {
        if let Self::Layout(layout) = self {
            return Ok(layout.store().read(descriptor, limit)?.into());
        }
        let (digest, size) = (descriptor.digest, descriptor.size);
        let failed = |source| self.unreadable(digest, source);
        if size > limit {
            return Err(failed(io::Error::other(format!("{size} bytes are more than the limit of {limit}"))));
        }
        let mut bytes = Vec::new();
        let reader = self.local(descriptor)?.open_at(0).map_err(failed)?;
        VerifyingReader::new(reader, digest, size).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes.into())
    }

    fn unreadable(&self, digest: Digest, source: io::Error) -> SourceError {
        match self {
            Self::Archive { path, .. } => {
                SourceError::Archive { path: path.clone(), source: ArchiveError::Blob { digest, source } }
            }
            Self::Kept { bundles, .. } => bundles.damaged(&digest, source).into(),
            _ => SourceError::Embedded(format!("{digest}: {source}")),
        }
    }

    /// A blob to be sent elsewhere; what lies on this machine is compared with its digest on the way.
    pub fn upload(&self, descriptor: &Descriptor) -> Result<Arc<dyn UploadSource>, SourceError> {
        match self {
            Self::Registry { client, repository } => {
                Ok(Arc::new(RemoteSource::new(client.clone(), repository.clone(), descriptor.clone())))
            }
            Self::Embedded(_) => Ok(Arc::new(LocalSource::new(self.local(descriptor)?))),
            _ => Ok(Arc::new(LocalSource::verified(self.local(descriptor)?))),
        }
    }

    fn local(&self, descriptor: &Descriptor) -> Result<Arc<dyn BlobSource>, SourceError> {
        match self {
            Self::Registry { .. } => Err(SourceError::Internal("a registry was asked as a file".to_owned())),
            Self::Layout(layout) => Ok(Arc::new(layout.blob(descriptor)?)),
            Self::Archive { path, archive } => match archive.blob(descriptor) {
                Ok(blob) => Ok(Arc::new(blob)),
                Err(source) => Err(SourceError::Archive { path: path.clone(), source }),
            },
            Self::Embedded(image) => image
                .blob(&descriptor.digest)
                .ok_or_else(|| SourceError::Embedded(format!("{} is missing", descriptor.digest))),
            Self::Kept { bundles, cache } => {
                if let Some((_, blob)) = bundles.find(&descriptor.digest) {
                    return Ok(Arc::clone(blob));
                }
                match cache.as_ref().and_then(|cache| cache.blob(descriptor)) {
                    Some(path) => Ok(Arc::new(FileBlob { descriptor: descriptor.clone(), path })),
                    None => {
                        let (digest, bundles) = (descriptor.digest, bundles.shown());
                        Err(BundleError::NotIn { digest, bundles }.into())
                    }
                }
            }
        }
    }

    /// Whether a blob is kept on this machine. One that is damaged in the cache counts as missing, and
    /// is read for that; those of a bundle are compared with their digests when they are used.
    pub(crate) fn keeps(&self, descriptor: &Descriptor) -> bool {
        match self {
            Self::Kept { bundles, cache } => {
                bundles.find(&descriptor.digest).is_some()
                    || cache.as_ref().is_some_and(|cache| cache.verified_blob(descriptor).is_some())
            }
            _ => self.local(descriptor).is_ok(),
        }
    }

    /// The repository that a registry could mount the blobs from.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Registry { repository, .. } => Some(repository),
            _ => None,
        }
    }

    /// Copies a blob into `store`, verified. What comes from a registry goes by way of the cache,
    /// where there is one, so that it is fetched once.
    pub(crate) async fn copy(
        &self,
        descriptor: &Descriptor,
        store: &BlobStore,
        cache: Option<&Arc<Cache>>,
    ) -> Result<(), SourceError> {
        match (self, cache) {
            (Self::Registry { .. }, Some(cache)) => {
                let cached = self.cached(descriptor, cache).await?;
                let (store, descriptor) = (store.clone(), descriptor.clone());
                joined(spawn_blocking(move || Ok(store.import(&descriptor, &cached)?)).await)
            }
            _ => self.write(descriptor, store, |_| {}).await,
        }
    }

    /// A blob that can be read on this machine: its own one, or, of a registry's, a copy in the cache
    /// or else in `scratch`.
    pub(crate) async fn fetch(
        &self,
        descriptor: &Descriptor,
        cache: Option<&Arc<Cache>>,
        scratch: &BlobStore,
    ) -> Result<Arc<dyn BlobSource>, SourceError> {
        let path = match (self, cache) {
            (Self::Registry { .. }, Some(cache)) => self.cached(descriptor, cache).await?,
            (Self::Registry { .. }, None) => {
                self.write(descriptor, scratch, |_| {}).await?;
                scratch.path(&descriptor.digest)
            }
            _ => return self.local(descriptor),
        };
        Ok(Arc::new(FileBlob { descriptor: descriptor.clone(), path }))
    }

    /// Where the blob is in the cache; it is fetched if it is not there or damaged.
    async fn cached(&self, descriptor: &Descriptor, cache: &Arc<Cache>) -> Result<PathBuf, SourceError> {
        let known = {
            let (cache, descriptor) = (Arc::clone(cache), descriptor.clone());
            joined::<_, SourceError>(spawn_blocking(move || Ok(cache.verified_blob(&descriptor))).await)?
        };
        match known {
            Some(path) => Ok(path),
            None => {
                self.write(descriptor, cache.store(), |_| {}).await?;
                Ok(cache.store().path(&descriptor.digest))
            }
        }
    }

    /// Copies a blob into `store`, verified, unless it is there already, and says whether it did;
    /// `progress` is told how many bytes have arrived.
    pub(super) async fn copy_telling(
        &self,
        descriptor: &Descriptor,
        store: &BlobStore,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<bool, SourceError> {
        if store.contains(&descriptor.digest)? == Some(descriptor.size) {
            return Ok(false);
        }
        self.write(descriptor, store, progress).await?;
        Ok(true)
    }

    async fn write(
        &self,
        descriptor: &Descriptor,
        store: &BlobStore,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<(), SourceError> {
        let (store, expected) = (store.clone(), descriptor.clone());
        if let Self::Layout(layout) = self {
            // A reflink, where the file system has them.
            let from = layout.blob(descriptor)?.path;
            let work = spawn_blocking(move || {
                store.import(&expected, &from)?;
                progress(expected.size);
                Ok(())
            });
            return joined(work.await);
        }
        // The writer hashes what it gets: once is enough.
        let written = self.read_unverified(descriptor, move |mut reader| {
            let mut writer = store.writer()?;
            let path = writer.path().to_owned();
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let count = match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(source) => return Err(StoreError::Io { action: "write", path, source }.into()),
                };
                io::Write::write_all(&mut writer, &buffer[..count]).map_err(|source| StoreError::Io {
                    action: "write",
                    path: path.clone(),
                    source,
                })?;
                progress(writer.size());
                if writer.size() > expected.size {
                    break;
                }
            }
            writer.commit_as(&expected)?;
            Ok(())
        });
        match (written.await, self) {
            (Err(SourceError::Store(StoreError::Content { source, .. })), Self::Kept { bundles, .. }) => {
                Err(bundles.damaged(&descriptor.digest, io::Error::other(source)).into())
            }
            (Err(SourceError::Store(StoreError::Content { source, .. })), Self::Archive { path, .. }) => {
                let (digest, source) = (descriptor.digest, io::Error::other(source));
                Err(SourceError::Archive { path: path.clone(), source: ArchiveError::Blob { digest, source } })
            }
            (written, _) => written,
        }
    }

    /// Gives a blob's verified bytes to `take`, on a thread for blocking work.
    pub(crate) async fn read<T: Send + 'static, E: From<SourceError> + Send + 'static>(
        &self,
        descriptor: &Descriptor,
        take: impl FnOnce(Box<dyn Read + Send>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (digest, size) = (descriptor.digest, descriptor.size);
        match self {
            // The client verifies what it passes on.
            Self::Registry { client, repository } => download(client, repository, descriptor, take).await,
            _ => {
                let take = move |reader| take(Box::new(VerifyingReader::new(reader, digest, size)));
                self.read_local(descriptor, take).await
            }
        }
    }

    /// The same for who verifies the bytes itself.
    pub(crate) async fn read_unverified<T: Send + 'static, E: From<SourceError> + Send + 'static>(
        &self,
        descriptor: &Descriptor,
        take: impl FnOnce(Box<dyn Read + Send>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        match self {
            Self::Registry { client, repository } => download(client, repository, descriptor, take).await,
            _ => self.read_local(descriptor, take).await,
        }
    }

    async fn read_local<T: Send + 'static, E: From<SourceError> + Send + 'static>(
        &self,
        descriptor: &Descriptor,
        take: impl FnOnce(Box<dyn Read + Send>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let blob = self.local(descriptor)?;
        let digest = descriptor.digest;
        let work = spawn_blocking(move || {
            let path = || PathBuf::from(digest.to_string());
            let reader = blob.open_at(0).map_err(|source| StoreError::Io { action: "read", path: path(), source });
            take(reader.map_err(SourceError::from)?)
        });
        joined(work.await)
    }

    /// What refers to what, by the entries of a layout's or archive's index. A registry is asked for
    /// each subject in turn instead.
    pub(super) fn listed_referrers(&self) -> Result<BTreeMap<Digest, Vec<Descriptor>>, TransferError> {
        let index = match self {
            Self::Layout(layout) => layout.index().map_err(SourceError::from)?,
            Self::Archive { archive, .. } => archive.index().clone(),
            Self::Registry { .. } | Self::Embedded(_) | Self::Kept { .. } => return Ok(BTreeMap::new()),
        };
        oci_layout::layout::referrers(&index, |entry| {
            let bytes = self.small(entry, MAX_DOCUMENT)?;
            Document::parse(&bytes, &entry.media_type)
                .map_err(|source| TransferError::Document { digest: entry.digest, source })
        })
    }
}

/// Gives a blob of a registry to `take`, on a thread for blocking work: verified by the client; the
/// reader is to notice where that ended early.
async fn download<T: Send + 'static, E: From<SourceError> + Send + 'static>(
    client: &Client,
    repository: &Repository,
    descriptor: &Descriptor,
    take: impl FnOnce(Box<dyn Read + Send>) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let size = descriptor.size;
    let mut stream = client.pull_blob(repository, descriptor);
    let (sender, receiver) = mpsc::channel::<Bytes>(4);
    let work = spawn_blocking(move || take(Box::new(Pieces { receiver, piece: Bytes::new(), left: size })));
    let mut failed = None;
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => {
                // Whoever reads may have had enough: its own error says why.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let result = joined(work.await);
    match failed {
        Some(error) => Err(SourceError::from(error).into()),
        None => result,
    }
}

fn known(descriptor: &Descriptor, limit: u64, cache: Option<&Cache>) -> Option<Bytes> {
    cache?.read_blob(descriptor, limit).map(Bytes::from)
}

/// A cache that cannot be written costs time, not the work.
fn keep(bytes: &[u8], cache: Option<&Cache>) {
    if let Some(Err(error)) = cache.map(|cache| cache.store().put_bytes(bytes)) {
        tracing::debug!(%error, "a document is not kept");
    }
}

fn joined<T, E: From<SourceError>>(result: Result<Result<T, E>, tokio::task::JoinError>) -> Result<T, E> {
    result.unwrap_or_else(|error| Err(SourceError::Internal(error.to_string()).into()))
}

/// Pieces of an asynchronous stream, read by a blocking thread.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
    left: u64,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None if self.left == 0 => return Ok(0),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download broke off")),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
