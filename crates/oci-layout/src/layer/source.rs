//! Reading the files that go into a layer, which others may change meanwhile.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::write::LayerError;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::store::{StoreError, kind, open_regular_with_state};

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
        let (file, before) = open_regular_with_state(path).map_err(|error| match error {
            StoreError::NotRegular { path, found } => LayerError::SourceKind { path, found },
            StoreError::Io { path, source, .. } => LayerError::Source { path, source },
            other => LayerError::Store(other),
        })?;
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

    /// All was read: is it still the file that was opened? Its state is noted in `states`.
    pub(super) fn finish(self, states: &mut SourceStates) -> Result<(), LayerError> {
        let after = self.file.metadata().map_err(|source| LayerError::Source { path: self.path.to_owned(), source })?;
        let stamp = |m: &Metadata| (m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        if self.left != 0 || stamp(&self.before) != stamp(&after) {
            return Err(self.changed());
        }
        states.note(self.path, &self.before);
        Ok(())
    }

    fn changed(&self) -> LayerError {
        LayerError::SourceChanged { path: PathBuf::from(self.path) }
    }
}

/// The state of a file of a declared size, which is not read.
pub(super) fn look(path: &Path, size: u64) -> Result<Metadata, LayerError> {
    let metadata =
        std::fs::symlink_metadata(path).map_err(|source| LayerError::Source { path: path.to_owned(), source })?;
    if !metadata.is_file() {
        return Err(LayerError::SourceKind { path: path.to_owned(), found: kind(metadata.file_type()) });
    }
    if metadata.len() != size {
        return Err(LayerError::SourceChanged { path: path.to_owned() });
    }
    Ok(metadata)
}

/// The states in which files were found: where each is, which one it is, its size and times. Files
/// whose states are the same again have the same content, with the exception that
/// [`SourceStates::settled_by`] is about.
pub struct SourceStates {
    hasher: Hasher,
    /// The latest time of any file, by device.
    latest: BTreeMap<u64, (i64, i64)>,
}

impl Default for SourceStates {
    fn default() -> Self {
        Self::new()
    }
}

impl SourceStates {
    /// Of no files yet.
    pub fn new() -> Self {
        Self { hasher: Hasher::new(Algorithm::Sha256), latest: BTreeMap::new() }
    }

    /// Adds the state of one. The order counts.
    pub fn note(&mut self, path: &Path, metadata: &Metadata) {
        let path = path.as_os_str().as_bytes();
        self.hasher.update(&(path.len() as u64).to_le_bytes());
        self.hasher.update(path);
        let (modified, changed) =
            ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
        for number in [metadata.dev(), metadata.ino(), metadata.len()] {
            self.hasher.update(&number.to_le_bytes());
        }
        for number in [modified.0, modified.1, changed.0, changed.1] {
            self.hasher.update(&number.to_le_bytes());
        }
        let latest = self.latest.entry(metadata.dev()).or_insert((i64::MIN, 0));
        *latest = modified.max(changed).max(*latest);
    }

    /// All of them as one digest.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Whether all files were old enough at `moment`, which was before they were read.
    ///
    /// What was changed in the tick of the clock in which it was read could change again without
    /// a trace: git's rule for files too young to be trusted. The clock of another file system
    /// may be coarser, or another machine's.
    pub fn settled_by(&self, moment: Moment) -> bool {
        const COARSEST: i64 = 2;
        self.latest.iter().all(|(device, latest)| {
            if *device == moment.device { *latest < moment.time } else { latest.0 + COARSEST < moment.time.0 }
        })
    }
}

/// A file system's now, as it is stamped on new files: seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    device: u64,
    time: (i64, i64),
}

impl Moment {
    /// When a file was made that has just been made.
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), time: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_too_young_are_not_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, "1").unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        let mut states = SourceStates::new();
        states.note(&path, &metadata);
        let time = (metadata.ctime(), metadata.ctime_nsec());
        let at = |device, time| Moment { device, time };
        assert!(!states.settled_by(at(metadata.dev(), time)), "the same tick");
        assert!(states.settled_by(at(metadata.dev(), (time.0, time.1 + 1))));
        // Elsewhere the clock may count whole seconds only, or two at a time.
        assert!(!states.settled_by(at(metadata.dev() + 1, (time.0 + 2, 0))));
        assert!(states.settled_by(at(metadata.dev() + 1, (time.0 + 3, 0))));
        // A time that was set does not hide the change.
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut older = SourceStates::new();
        older.note(&path, &std::fs::metadata(&path).unwrap());
        assert!(!older.settled_by(at(metadata.dev(), time)));
        assert_ne!(older.digest(), states.digest());
    }
}
