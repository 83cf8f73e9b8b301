//! Rehashing an image where it is: everything that a reference leads to is read once.
//!
//! What the registry serves wrongly is a finding, as it is for a layout; that it cannot be asked
//! is an error, and no verdict on the image.

use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_layout::Descriptor;
use oci_layout::verify::{Blobs, Finding, Problem, verify};
use tokio::runtime::Handle;

use crate::error::{Error, ErrorKind};
use crate::reference::{Reference, Repository};
use crate::{BlobStream, Client};

impl Client {
    /// Checks the index or manifest that `reference` names with all that it leads to. An empty
    /// list means that everything is as it says. To be called on a runtime of several threads.
    pub async fn verify(&self, reference: &Reference) -> Result<Vec<Finding>, Error> {
        let origin = reference.to_string();
        let root = match self.manifest(&reference.repository, &reference.target()).await {
            Ok(root) => root.descriptor,
            Err(error) if error.kind() == ErrorKind::Invalid => {
                return Ok(vec![Finding { at: origin, problem: Problem::Document, message: in_one_line(&error) }]);
            }
            Err(error) => return Err(error),
        };
        let failed = Arc::new(Mutex::new(None));
        let blobs = Remote {
            client: self.clone(),
            repository: reference.repository.clone(),
            runtime: Handle::current(),
            failed: Arc::clone(&failed),
        };
        // Hashing and decompressing block.
        let work = tokio::task::spawn_blocking(move || verify(&blobs, &[root], &origin));
        let findings = match work.await {
            Ok(findings) => findings,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(findings),
        }
    }
}

fn in_one_line(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A repository's blobs for blocking readers.
struct Remote {
    client: Client,
    repository: Repository,
    runtime: Handle,
    /// The first error that says nothing about the image.
    failed: Arc<Mutex<Option<Error>>>,
}

impl Blobs for Remote {
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + '_>> {
        if self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(io::Error::other("the registry could not be asked"));
        }
        if descriptor.media_type.is_index() || descriptor.media_type.is_manifest() {
            let asked = self.runtime.block_on(self.client.manifest(&self.repository, &descriptor.digest.into()));
            return match asked {
                Ok(fetched) => Ok(Box::new(Cursor::new(fetched.bytes))),
                Err(error) => Err(told(error, &self.failed)),
            };
        }
        let stream = self.client.pull_blob(&self.repository, descriptor);
        let mut reader = RemoteReader { remote: self, stream, piece: Bytes::new() };
        // That it is not there shows with the first piece.
        if descriptor.size > 0 {
            reader.fill()?;
        }
        Ok(Box::new(reader))
    }
}

struct RemoteReader<'a> {
    remote: &'a Remote,
    stream: BlobStream,
    piece: Bytes,
}

impl RemoteReader<'_> {
    fn fill(&mut self) -> io::Result<bool> {
        match self.remote.runtime.block_on(self.stream.next()) {
            Some(Ok(piece)) => {
                self.piece = piece;
                Ok(true)
            }
            Some(Err(error)) => Err(told(error, &self.remote.failed)),
            None => Ok(false),
        }
    }
}

impl Read for RemoteReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// The error as the check understands it; one that is not about the image is kept.
fn told(error: Error, failed: &Mutex<Option<Error>>) -> io::Error {
    match error {
        Error::Content { source, .. } => io::Error::other(*source),
        error if error.kind() == ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, error),
        error if error.kind() == ErrorKind::Invalid => io::Error::new(io::ErrorKind::InvalidData, error),
        error => {
            let message = error.to_string();
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            io::Error::other(message)
        }
    }
}
