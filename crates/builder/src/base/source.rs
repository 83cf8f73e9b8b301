//! Where the documents and blobs of a base are read from: a closed set.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_layout::digest::VerifyingReader;
use oci_layout::document::MAX_DOCUMENT;
use oci_layout::layer::{LayerFacts, Limits};
use oci_layout::media_type::Compression;
use oci_layout::{BlobSource, BlobStore, Descriptor, Digest, Layout, StoreError};
use registry_client::{Client, LocalSource, RemoteSource, Repository, UploadSource};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::embedded::EmbeddedImage;
use super::{BaseError, MAX_CONFIG};
use crate::bundle::Bundles;

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
    /// In mab.
    Embedded(EmbeddedImage),
    /// In bundles.
    Bundles(Arc<Bundles>),
}

impl Source {
    /// A manifest or index, verified.
    pub(crate) async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, BaseError> {
        match self {
            Self::Registry { client, repository } => {
                Ok(client.manifest(repository, &descriptor.digest.into()).await?.bytes)
            }
            _ => self.small(descriptor, MAX_DOCUMENT),
        }
    }

    /// A config, verified.
    pub(super) async fn blob(&self, descriptor: &Descriptor) -> Result<Bytes, BaseError> {
        match self {
            Self::Registry { client, repository } => {
                let mut stream = client.pull_blob(repository, descriptor);
                let mut bytes = Vec::new();
                while let Some(piece) = stream.next().await {
                    bytes.extend_from_slice(&piece?);
                }
                Ok(bytes.into())
            }
            _ => self.small(descriptor, MAX_CONFIG),
        }
    }

    fn small(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, BaseError> {
        match self {
            Self::Registry { .. } => Err(BaseError::embedded("a registry was asked as a file")),
            Self::Layout(layout) => Ok(layout.store().read(descriptor, limit)?.into()),
            Self::Embedded(image) => image
                .document(&descriptor.digest)
                .map(|blob| Bytes::from(blob.bytes().to_vec()))
                .ok_or_else(|| BaseError::embedded(format!("{} is missing", descriptor.digest))),
            Self::Bundles(bundles) => match bundles.read(descriptor, limit) {
                Some(read) => Ok(read?.into()),
                None => Err(BaseError::NotInBundle { digest: descriptor.digest, bundles: bundles.shown() }),
            },
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
            Self::Embedded(image) => image
                .blob(&descriptor.digest)
                .ok_or_else(|| BaseError::embedded(format!("{} is missing", descriptor.digest))),
            Self::Bundles(bundles) => match bundles.find(&descriptor.digest) {
                Some((_, blob)) => Ok(Arc::clone(blob)),
                None => Err(BaseError::NotInBundle { digest: descriptor.digest, bundles: bundles.shown() }),
            },
        }
    }

    /// The repository that a registry could mount the blobs from.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Registry { repository, .. } => Some(repository),
            _ => None,
        }
    }

    /// Copies a blob into `store`, verified; nothing happens where it is there already.
    pub async fn copy(&self, descriptor: &Descriptor, store: &BlobStore) -> Result<(), BaseError> {
        if store.contains(&descriptor.digest)? == Some(descriptor.size) {
            return Ok(());
        }
        let (store, expected) = (store.clone(), descriptor.clone());
        let copied = self.read_unverified(descriptor, move |mut reader| {
            let mut writer = store.writer()?;
            let path = writer.path().to_owned();
            // Who commits verifies.
            let mut limited = reader.by_ref().take(expected.size.saturating_add(1));
            io::copy(&mut limited, &mut writer).map_err(|source| StoreError::Io { action: "write", path, source })?;
            Ok(writer.commit_as(&expected)?)
        });
        match (copied.await, self) {
            (Err(BaseError::Store(StoreError::Content { source, .. })), Self::Bundles(bundles)) => {
                Err(bundles.damaged(&descriptor.digest, io::Error::other(source)).into())
            }
            (copied, _) => copied,
        }
    }

    /// Reads a layer to its end.
    pub(super) async fn scan(
        &self,
        layer: &Descriptor,
        compression: Compression,
    ) -> Result<(LayerFacts, Digest), BaseError> {
        let digest = layer.digest;
        self.read(layer, move |reader| {
            LayerFacts::scan(reader, compression, &Limits::default())
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
        self.read_unverified(descriptor, move |reader| take(Box::new(VerifyingReader::new(reader, digest, size)))).await
    }

    /// The same for who verifies the bytes itself.
    pub(crate) async fn read_unverified<T: Send + 'static>(
        &self,
        descriptor: &Descriptor,
        take: impl FnOnce(Box<dyn Read + Send>) -> Result<T, BaseError> + Send + 'static,
    ) -> Result<T, BaseError> {
        let digest = descriptor.digest;
        let Self::Registry { client, repository } = self else {
            let blob = self.local(descriptor)?;
            let work = spawn_blocking(move || {
                let reader = blob.open_at(0).map_err(|source| StoreError::Io {
                    action: "read",
                    path: digest.to_string().into(),
                    source,
                })?;
                take(reader)
            });
            return joined(work.await);
        };
        let mut stream = client.pull_blob(repository, descriptor);
        let (sender, receiver) = mpsc::channel::<Bytes>(4);
        let work = spawn_blocking(move || take(Box::new(Pieces { receiver, piece: Bytes::new() })));
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
