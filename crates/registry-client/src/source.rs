//! What is uploaded: blobs that can be opened at any offset, any number of times.
//!
//! Every upload may have to begin anew, so nothing here is a stream that can be read but once.

use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use oci_layout::digest::Verifier;
use oci_layout::{BlobSource, Descriptor};

use crate::error::Error;
use crate::reference::Repository;
use crate::{BlobStream, Client};

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Size of the pieces that files are read in: large enough for a system call not to matter, and
/// small enough for many uploads side by side.
const PIECE: usize = 256 * 1024;
/// Pieces that are read ahead of the network.
const AHEAD: usize = 2;

/// A blob that can be sent.
pub trait UploadSource: Send + Sync {
    /// What it is.
    fn descriptor(&self) -> &Descriptor;
    /// Its bytes from `offset` on. The stream may go on past the size; what is surplus is not sent.
    fn open(&self, offset: u64) -> BoxFuture<'_, Result<ByteStream, Error>>;
}

/// A blob on this machine, read by a thread for blocking work.
#[derive(Clone)]
pub struct LocalSource {
    blob: Arc<dyn BlobSource>,
    verified: bool,
}

impl LocalSource {
    /// Sends `blob`, which was made here and not long ago.
    pub fn new(blob: Arc<dyn BlobSource>) -> Self {
        Self { blob, verified: false }
    }

    /// Sends `blob` and compares it with its digest on the way: damage on this machine's disk is
    /// told as such, and the upload is never closed.
    pub fn verified(blob: Arc<dyn BlobSource>) -> Self {
        Self { blob, verified: true }
    }
}

impl UploadSource for LocalSource {
    fn descriptor(&self) -> &Descriptor {
        self.blob.descriptor()
    }

    fn open(&self, offset: u64) -> BoxFuture<'_, Result<ByteStream, Error>> {
        let blob = Arc::clone(&self.blob);
        async move {
            let (digest, size) = (blob.descriptor().digest, blob.descriptor().size);
            // A part says nothing about the whole, which was read before.
            let mut verifier = (self.verified && offset == 0).then(|| Verifier::new(digest, size));
            let (sender, mut receiver) = tokio::sync::mpsc::channel::<Result<Bytes, Error>>(AHEAD);
            tokio::task::spawn_blocking(move || {
                let failed = |source| Error::Source { digest, source };
                let mut reader = match blob.open_at(offset) {
                    Ok(reader) => reader,
                    Err(error) => {
                        let _ = sender.blocking_send(Err(failed(error)));
                        return;
                    }
                };
                loop {
                    let mut piece = Vec::with_capacity(PIECE);
                    let outcome = match (&mut reader).take(PIECE as u64).read_to_end(&mut piece) {
                        Ok(_) => check(&mut verifier, &piece, size),
                        Err(error) => Err(error),
                    };
                    let ends = piece.is_empty() || outcome.is_err();
                    let message = outcome.map(|()| Bytes::from(piece)).map_err(failed);
                    // Nobody may want it any more.
                    if sender.blocking_send(message).is_err() || ends {
                        return;
                    }
                }
            });
            let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
            Ok(Box::pin(stream) as ByteStream)
        }
        .boxed()
    }
}

/// Takes a piece into account; an empty one is the end. The last piece is passed on only when all
/// of the content proves right.
fn check(verifier: &mut Option<Verifier>, piece: &[u8], size: u64) -> std::io::Result<()> {
    let Some(mut current) = verifier.take() else { return Ok(()) };
    current.update(piece).map_err(std::io::Error::other)?;
    if piece.is_empty() || current.seen() == size {
        return current.finish().map_err(std::io::Error::other);
    }
    *verifier = Some(current);
    Ok(())
}

/// A blob in another registry, or in another repository of the same: it passes through memory a
/// piece at a time and never touches the disk.
#[derive(Clone)]
pub struct RemoteSource {
    client: Client,
    repository: Repository,
    descriptor: Descriptor,
}

impl RemoteSource {
    /// Sends `descriptor` as it comes from `repository`, read through `client`.
    pub fn new(client: Client, repository: Repository, descriptor: Descriptor) -> Self {
        Self { client, repository, descriptor }
    }

    fn stream(&self, offset: u64) -> BlobStream {
        self.client.pull_blob_from(&self.repository, &self.descriptor, offset)
    }
}

impl UploadSource for RemoteSource {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn open(&self, offset: u64) -> BoxFuture<'_, Result<ByteStream, Error>> {
        async move { Ok(self.stream(offset).boxed()) }.boxed()
    }
}

/// Bytes in memory: configs and other small blobs.
#[derive(Clone)]
pub struct MemorySource {
    descriptor: Descriptor,
    bytes: Bytes,
}

impl MemorySource {
    /// Sends `bytes`, which are what `descriptor` says.
    pub fn new(descriptor: Descriptor, bytes: Bytes) -> Self {
        Self { descriptor, bytes }
    }
}

impl UploadSource for MemorySource {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn open(&self, offset: u64) -> BoxFuture<'_, Result<ByteStream, Error>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let rest = self.bytes.slice(start..);
        async move { Ok(futures_util::stream::iter([Ok(rest)]).boxed()) }.boxed()
    }
}
