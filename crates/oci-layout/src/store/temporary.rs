//! Directories for unfinished blobs, locked by their owner for as long as it lives.
//!
//! The lock ends with the process, also when it is killed: who gets the lock of a directory knows
//! that its owner is gone, and may remove it. Owners never wait for each other.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;

use super::{Operation, Seam, StoreError};
use crate::lock::LockError;

const PREFIX: &str = ".unfinished-";

/// A locked directory beside `blobs/`, removed with all that is in it when it is dropped.
pub(super) struct TemporaryDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
    next: AtomicU64,
}

impl TemporaryDirectory {
    pub(super) fn create(root: &Path, seam: &Seam) -> Result<Self, StoreError> {
        // A clean-up may take a new directory between its making and its locking: then once more.
        for _ in 0..16 {
            seam.ask(Operation::Create, root).map_err(StoreError::io("create a directory in", root))?;
            let path = tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir_in(root)
                .map_err(StoreError::io("create a directory in", root))?
                .keep();
            // As `directories` lists it: made from a relative path, it comes back absolute.
            let path = path.file_name().map_or_else(|| path.clone(), |name| root.join(name));
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, _lock: lock, next: AtomicU64::new(0) });
            }
            let _ = fs::remove_dir(&path);
        }
        let source = io::Error::other("another process removes every new directory");
        Err(StoreError::Io { action: "create a directory in", path: root.to_owned(), source })
    }

    /// A path in it that was never given out before.
    pub(super) fn fresh(&self) -> PathBuf {
        self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "cannot remove temporary files");
        }
    }
}

/// Locks a directory; `None` when it is held or gone, or was replaced meanwhile.
fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(LockError::Io { path: path.to_owned(), source }.into()),
    }
    let ours = file.metadata().map_err(StoreError::io("look at", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino()) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

/// Whether a name is one of a temporary directory.
pub(super) fn is_own_name(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX))
}

/// The temporary directories below `root`.
fn directories(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", root)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", root))?;
        if is_own_name(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether there is one below `root` that somebody else holds.
pub(super) fn has_others(root: &Path, own: Option<&TemporaryDirectory>) -> Result<bool, StoreError> {
    for path in directories(root)? {
        if own.is_none_or(|own| own.path != path) && lock(&path)?.is_none() && path.exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the directories below `root` whose owners are gone.
pub(super) fn sweep(root: &Path) -> Result<(), StoreError> {
    for path in directories(root)? {
        if let Some(_lock) = lock(&path)? {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &path)(error));
                }
                _ => tracing::debug!(path = %path.display(), "removed what a killed writer left"),
            }
        }
    }
    Ok(())
}
