//! Advisory locks with a time limit.
//!
//! A lock belongs to an open file: it ends with its holder, however that ends (row C03). Where
//! the file system has no locks, that is an error and not a silent "nobody else is here" (row D08).

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Between two tries.
const STEP: Duration = Duration::from_millis(10);

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process held it all the time.
    #[error("{} is still locked by another process after {} seconds", path.display(), waited.as_secs())]
    Held {
        /// The locked file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The file system has no locks, or the like.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Locks `file` for this process alone; waits for at most `limit`.
pub(crate) fn exclusive(file: &File, path: &Path, limit: Duration) -> Result<(), LockError> {
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if waited >= limit => {
                return Err(LockError::Held { path: path.to_owned(), waited });
            }
            Err(TryLockError::WouldBlock) => {
                thread::sleep(STEP);
                waited += STEP;
            }
            Err(TryLockError::Error(source)) => return Err(LockError::Io { path: path.to_owned(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d08_c03_a_held_lock_times_out_and_a_dropped_one_is_free() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let first = File::open(&path).unwrap();
        let second = File::open(&path).unwrap();
        exclusive(&first, &path, Duration::ZERO).unwrap();
        let error = exclusive(&second, &path, Duration::from_millis(30)).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error}");
        drop(first);
        exclusive(&second, &path, Duration::ZERO).unwrap();
    }
}
