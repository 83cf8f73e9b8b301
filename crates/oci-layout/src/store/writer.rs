//! One blob on its way into a store: hashed as it is written, visible only when it is whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fs_err as fs;

use super::{BlobStore, Operation, StoreError};
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest, Hasher, Verifier, VerifyError};
use crate::scratch::ScratchDirectory;

/// A blob that is being written. Dropped without a commit, it leaves nothing.
pub struct BlobWriter {
    store: BlobStore,
    _directory: Arc<ScratchDirectory>,
    file: File,
    path: PathBuf,
    size: u64,
    hasher: Hasher,
    committed: bool,
}

impl BlobWriter {
    pub(super) fn create(store: BlobStore, directory: Arc<ScratchDirectory>) -> Result<Self, StoreError> {
        let path = store.fresh(&directory);
        let file = store
            .seam()
            .ask(Operation::Create, &path)
            .and_then(|()| File::options().read(true).write(true).create_new(true).open(&path))
            .map_err(StoreError::io("create", &path))?;
        let hasher = Hasher::new(Algorithm::Sha256);
        Ok(Self { store, _directory: directory, file, path, size: 0, hasher, committed: false })
    }

    /// Where the bytes are until the commit.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes all of `source` as a reflink. `false` where the file system cannot; nothing is written then.
    pub(super) fn clone_from_file(&mut self, source: &File) -> Result<bool, StoreError> {
        if rustix::fs::ioctl_ficlone(&self.file, source).is_err() {
            return Ok(false);
        }
        let mut hasher = HashOnly { hasher: &mut self.hasher, size: 0 };
        io::copy(&mut &self.file, &mut hasher).map_err(StoreError::io("read", &self.path))?;
        self.size = hasher.size;
        Ok(true)
    }

    /// Makes the blob visible under its SHA-256 digest.
    pub fn commit(mut self) -> Result<(Digest, u64), StoreError> {
        let digest = self.hasher.clone().finish();
        self.place(&digest)?;
        Ok((digest, self.size))
    }

    /// Makes the blob visible if it is what `descriptor` says, else removes it.
    pub fn commit_as(mut self, descriptor: &Descriptor) -> Result<(), StoreError> {
        let expected = descriptor.digest;
        let failed = |source| StoreError::Content { path: self.path.clone(), source };
        if self.size < descriptor.size {
            let (expected, found) = (descriptor.size, self.size);
            return Err(failed(VerifyError::Short { digest: descriptor.digest, expected, found }));
        }
        if self.size > descriptor.size {
            return Err(failed(VerifyError::Surplus { digest: expected, expected: descriptor.size }));
        }
        match expected.algorithm() {
            Algorithm::Sha256 => {
                let found = self.hasher.clone().finish();
                if found != expected {
                    return Err(failed(VerifyError::Digest { expected, found }));
                }
            }
            // Rare enough to be read again.
            Algorithm::Sha512 => {
                let mut verifier = Verifier::new(expected, descriptor.size);
                let mut file = fs::File::open(&self.path).map_err(StoreError::io("read", &self.path))?;
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let count = io::Read::read(&mut file, &mut buffer).map_err(StoreError::io("read", &self.path))?;
                    if count == 0 {
                        break;
                    }
                    verifier.update(&buffer[..count]).map_err(failed)?;
                }
                verifier.finish().map_err(failed)?;
            }
        }
        self.place(&expected)
    }

    fn place(&mut self, digest: &Digest) -> Result<(), StoreError> {
        let target = self.store.path(digest);
        let seam = self.store.seam();
        self.go_on()
            .and_then(|()| seam.ask(Operation::Rename, &target))
            .map_err(StoreError::io("rename to", &target))?;
        let is_new = fs::symlink_metadata(&target).is_err();
        match std::fs::rename(&self.path, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = target.parent().unwrap_or(self.store.root());
                seam.ask(Operation::Create, directory)
                    .and_then(|()| fs::create_dir_all(directory))
                    .and_then(|()| fs::rename(&self.path, &target))
                    .map_err(StoreError::io("rename to", &target))?;
            }
            outcome => outcome.map_err(StoreError::io("rename to", &target))?,
        }
        self.committed = true;
        if is_new {
            self.store.added().insert(*digest);
        }
        Ok(())
    }

    /// An error, once the store was given up. Not of the kind that is tried again by itself.
    fn go_on(&self) -> io::Result<()> {
        if self.store.shared.given_up.load(Ordering::SeqCst) {
            return Err(io::Error::other("writing was given up"));
        }
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.go_on()?;
        self.store.seam().ask(Operation::Write, &self.path)?;
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

struct HashOnly<'a> {
    hasher: &'a mut Hasher,
    size: u64,
}

impl Write for HashOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
