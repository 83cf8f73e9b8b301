//! Where the documents and blobs of a base are read from: a closed set.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_layout::archive::Archive;
use oci_layout::blob::FileBlob;
use oci_layout::digest::VerifyingReader;
use oci_layout::document::MAX_DOCUMENT;
use oci_layout::layer::{LayerFacts, Limits};
use oci_layout::media_type::Compression;
use oci_layout::{BlobSource, BlobStore, Cache, Descriptor, Digest, Layout, StoreError};
use registry_client::{Client, LocalSource, RemoteSource, Repository, UploadSource};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::embedded::EmbeddedImage;
use super::{BaseError, MAX_CONFIG};
use crate::check::elf::ElfInspector;

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
    Archive(Archive),
    /// In mab.
    Embedded(EmbeddedImage),
}

impl Source {
    /// A manifest or index, verified; a registry's from the cache, where it is there.
    pub(super) async fn document(&self, descriptor: &Descriptor, cache: Option<&Cache>) -> Result<Bytes, BaseError> {
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

    /// A config, verified; a registry's from the cache, where it is there.
    pub(super) async fn blob(&self, descriptor: &Descriptor, cache: Option<&Cache>) -> Result<Bytes, BaseError> {
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

    fn small(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, BaseError> {
        match self {
            Self::Registry { .. } => Err(BaseError::embedded("a registry was asked as a file")),
            Self::Layout(layout) => Ok(layout.store().read(descriptor, limit)?.into()),
            Self::Archive(archive) => read_small(&archive.blob(descriptor)?, limit),
            Self::Embedded(image) => image
                .document(&descriptor.digest)
                .map(|blob| Bytes::from(blob.bytes().to_vec()))
                .ok_or_else(|| BaseError::embedded(format!("{} is missing", descriptor.digest))),
        }
    }

    /// A blob to be sent elsewhere.
    pub fn upload(&self, descriptor: &Descriptor) -> Result<Arc<dyn UploadSource>, BaseError> {
        match self {
            Self::Registry { client, repository } => {
                Ok(Arc::new(RemoteSource::new(client.clone(), repository.clone(), descriptor.clone())))
            }
            _ => Ok(Arc::new(LocalSource::new(self.local(descriptor)?))),
        }
    }

    fn local(&self, descriptor: &Descriptor) -> Result<Arc<dyn BlobSource>, BaseError> {
        match self {
            Self::Registry { .. } => Err(BaseError::embedded("a registry was asked as a file")),
            Self::Layout(layout) => Ok(Arc::new(layout.blob(descriptor)?)),
            Self::Archive(archive) => Ok(Arc::new(archive.blob(descriptor)?)),
            Self::Embedded(image) => image
                .blob(&descriptor.digest)
                .ok_or_else(|| BaseError::embedded(format!("{} is missing", descriptor.digest))),
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
    ) -> Result<(), BaseError> {
        match (self, cache) {
            (Self::Registry { .. }, Some(cache)) => {
                let cached = self.cached(descriptor, cache).await?;
                let (store, descriptor) = (store.clone(), descriptor.clone());
                joined(spawn_blocking(move || Ok(store.import(&descriptor, &cached)?)).await)
            }
            _ => self.write(descriptor, store).await,
        }
    }

    /// A blob that can be read on this machine: its own one, or, of a registry's, a copy in the cache
    /// or else in `scratch`.
    pub(crate) async fn fetch(
        &self,
        descriptor: &Descriptor,
        cache: Option<&Arc<Cache>>,
        scratch: &BlobStore,
    ) -> Result<Arc<dyn BlobSource>, BaseError> {
        let path = match (self, cache) {
            (Self::Registry { .. }, Some(cache)) => self.cached(descriptor, cache).await?,
            (Self::Registry { .. }, None) => {
                self.write(descriptor, scratch).await?;
                scratch.path(&descriptor.digest)
            }
            _ => return self.local(descriptor),
        };
        Ok(Arc::new(FileBlob { descriptor: descriptor.clone(), path }))
    }

    /// Where the blob is in the cache; it is fetched if it is not there or damaged.
    async fn cached(&self, descriptor: &Descriptor, cache: &Arc<Cache>) -> Result<PathBuf, BaseError> {
        let known = {
            let (cache, descriptor) = (Arc::clone(cache), descriptor.clone());
            joined(spawn_blocking(move || Ok(cache.verified_blob(&descriptor))).await)?
        };
        match known {
            Some(path) => Ok(path),
            None => {
                self.write(descriptor, cache.store()).await?;
                Ok(cache.store().path(&descriptor.digest))
            }
        }
    }

    async fn write(&self, descriptor: &Descriptor, store: &BlobStore) -> Result<(), BaseError> {
        let (store, expected) = (store.clone(), descriptor.clone());
        self.read(descriptor, move |mut reader| {
            let mut writer = store.writer()?;
            let path = writer.path().to_owned();
            io::copy(&mut reader, &mut writer).map_err(|source| StoreError::Io { action: "write", path, source })?;
            Ok(writer.commit_as(&expected)?)
        })
        .await
    }

    /// Reads a layer to its end.
    pub(super) async fn scan(
        &self,
        layer: &Descriptor,
        compression: Compression,
    ) -> Result<(LayerFacts, Digest), BaseError> {
        let digest = layer.digest;
        self.read(layer, move |reader| {
            LayerFacts::scan_with(reader, compression, &Limits::default(), &mut ElfInspector)
                .map_err(|source| BaseError::Layer { digest, source })
        })
        .await
    }

    /// Gives a blob's verified bytes to `take`, on a thread for blocking work.
    async fn read<T: Send + 'static>(
        &self,
        descriptor: &Descriptor,
        take: impl FnOnce(Box<dyn Read + Send>) -> Result<T, BaseError> + Send + 'static,
    ) -> Result<T, BaseError> {
        let (digest, size) = (descriptor.digest, descriptor.size);
        let Self::Registry { client, repository } = self else {
            let blob = self.local(descriptor)?;
            let work = spawn_blocking(move || {
                let reader = blob.open_at(0).map_err(|source| StoreError::Io {
                    action: "read",
                    path: digest.to_string().into(),
                    source,
                })?;
                take(Box::new(VerifyingReader::new(reader, digest, size)))
            });
            return joined(work.await);
        };
        let mut stream = client.pull_blob(repository, descriptor);
        let (sender, receiver) = mpsc::channel::<Bytes>(4);
        let work = spawn_blocking(move || {
            take(Box::new(VerifyingReader::new(Pieces { receiver, piece: Bytes::new() }, digest, size)))
        });
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
            Some(error) => Err(error.into()),
            None => result,
        }
    }
}

/// A small blob of an archive, verified.
fn read_small(blob: &dyn BlobSource, limit: u64) -> Result<Bytes, BaseError> {
    let descriptor = blob.descriptor();
    let digest = descriptor.digest;
    let failed = |source| StoreError::Io { action: "read", path: digest.to_string().into(), source };
    if descriptor.size > limit {
        let message = format!("it has {} bytes, more than {limit}", descriptor.size);
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, message)).into());
    }
    let reader = blob.open_at(0).map_err(failed)?;
    let mut bytes = Vec::new();
    VerifyingReader::new(reader, digest, descriptor.size).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes.into())
}

fn known(descriptor: &Descriptor, limit: u64, cache: Option<&Cache>) -> Option<Bytes> {
    cache?.read_blob(descriptor, limit).map(Bytes::from)
}

/// A cache that cannot be written costs time, not the build.
fn keep(bytes: &[u8], cache: Option<&Cache>) {
    if let Some(Err(error)) = cache.map(|cache| cache.store().put_bytes(bytes)) {
        tracing::debug!(%error, "a document of a base is not kept");
    }
}

fn joined<T>(result: Result<Result<T, BaseError>, tokio::task::JoinError>) -> Result<T, BaseError> {
    result.unwrap_or_else(|error| Err(BaseError::embedded(error)))
}

/// Pieces of an asynchronous stream, read by a blocking thread.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
