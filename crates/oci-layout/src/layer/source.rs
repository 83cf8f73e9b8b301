//! Reading the files that go into a layer, which others may change meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::write::LayerError;
use crate::store::{StoreError, open_regular};

/// A file of a declared size, opened without following a symlink or waiting for a fifo.
///
/// It must have that size, and be unchanged when all of it has been read (rows I05, I06, I13).
pub(super) struct SourceFile<'a> {
    path: &'a Path,
    file: File,
    before: Metadata,
    left: u64,
}

impl<'a> SourceFile<'a> {
    pub(super) fn open(path: &'a Path, size: u64) -> Result<Self, LayerError> {
        let file = open_regular(path).map_err(|error| match error {
            StoreError::NotRegular { path, found } => LayerError::SourceKind { path, found },
            StoreError::Io { path, source, .. } => LayerError::Source { path, source },
            other => LayerError::Store(other),
        })?;
        let before = file.metadata().map_err(|source| LayerError::Source { path: path.to_owned(), source })?;
        if before.len() != size {
            return Err(LayerError::SourceChanged { path: path.to_owned() });
        }
        Ok(Self { path, file, before, left: size })
    }

    /// Fills the start of `buffer`; 0 at the end of the file.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        loop {
            match self.file.read(&mut buffer[..want]) {
                Ok(0) => return Err(self.changed()),
                Ok(count) => {
                    self.left -= count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Source { path: self.path.to_owned(), source }),
            }
        }
    }

    /// All was read: is it still the file that was opened?
    pub(super) fn finish(self) -> Result<(), LayerError> {
        let after = self.file.metadata().map_err(|source| LayerError::Source { path: self.path.to_owned(), source })?;
        let stamp = |m: &Metadata| (m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        if self.left == 0 && stamp(&self.before) == stamp(&after) { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> LayerError {
        LayerError::SourceChanged { path: PathBuf::from(self.path) }
    }
}
