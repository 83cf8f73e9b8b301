//! Cleaning the cache up: what was not used for longest goes first.

use std::fs::TryLockError;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::{Cache, CacheError};
use crate::lock::LockError;
use crate::store::StoreError;

/// The file whose time is that of the last clean-up.
const LAST: &str = "pruned";
/// How long a cache may grow until it is looked at again.
const PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a clean-up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Files removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that are left.
    pub left: u64,
    /// Whether nothing was removed because other processes use the cache.
    pub busy: bool,
}

impl Cache {
    /// Removes the least recently used files until at most `keep` bytes are left, and what killed
    /// processes left. While another process uses the cache, nothing is removed.
    pub fn prune(&mut self, keep: u64) -> Result<Pruned, CacheError> {
        let path = self.root.join("in-use");
        match self.in_use.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // A failed change of the lock may have dropped it.
                self.share()?;
                return Ok(Pruned { left: self.size()?, busy: true, ..Pruned::default() });
            }
            Err(TryLockError::Error(source)) => return Err(StoreError::Lock(LockError::Io { path, source }).into()),
        }
        let outcome = self.prune_alone(keep);
        self.share()?;
        outcome
    }

    fn share(&self) -> Result<(), CacheError> {
        let path = self.root.join("in-use");
        Ok(self.in_use.lock_shared().map_err(|source| StoreError::Lock(LockError::Io { path, source }))?)
    }

    fn prune_alone(&self, keep: u64) -> Result<Pruned, CacheError> {
        self.store.sweep()?;
        super::steps::sweep(&self.root)?;
        super::unpacked::sweep(&self.root)?;
        let mut files = self.files()?;
        files.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut pruned = Pruned { left: files.iter().map(|file| file.size).sum(), ..Pruned::default() };
        for file in files {
            if pruned.left <= keep {
                break;
            }
            let removed = if file.is_directory { fs::remove_dir_all(&file.path) } else { fs::remove_file(&file.path) };
            removed.map_err(StoreError::io("remove", &file.path))?;
            pruned.files += file.files;
            pruned.bytes += file.size;
            pruned.left -= file.size;
        }
        Ok(pruned)
    }

    /// [`Cache::prune`], if that is a day ago or more by the clock of who calls.
    ///
    /// # Errors
    ///
    /// [`CacheError`]. A cache that another process uses is no error: its turn comes later.
    pub fn prune_if_due(&mut self, keep: u64, now: SystemTime) -> Result<Option<Pruned>, CacheError> {
        let path = self.root.join(LAST);
        let last = fs::metadata(&path).and_then(|it| it.modified()).ok();
        // More than that in the time to come is a clock that was wrong.
        let apart = |last| now.duration_since(last).unwrap_or_else(|ahead| ahead.duration());
        let recent = last.is_some_and(|last| apart(last) < PAUSE);
        if recent {
            return Ok(None);
        }
        let pruned = self.prune(keep)?;
        if pruned.busy {
            return Ok(None);
        }
        self.store.place_unflushed(&path, b"")?;
        Ok(Some(pruned))
    }
}
