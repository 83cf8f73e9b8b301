//! One build at a time in the directory of a unit.
//!
//! Two builds in one checkout share their units' directories. Their compilers would write one
//! program at the same place, and one build would read what the other is writing.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::ToolContext;
use super::error::CompileError;
use crate::process::ProcessError;

/// The file that is locked, in the unit's directory.
const LOCK: &str = ".mab-lock";
/// Between two tries.
const STEP: Duration = Duration::from_millis(50);

/// Holds the directory until it is dropped, or its holder ends in whatever way.
pub(super) struct Turn {
    _lock: Option<File>,
}

impl Turn {
    /// Waits until no other build compiles in `directory`, which is made where it is not there.
    ///
    /// Where the file system has no locks the compiler runs all the same: a program that changes
    /// while it is read is found out later.
    pub(super) fn take(directory: &Path, context: &ToolContext<'_>) -> Result<Self, CompileError> {
        fs_err::create_dir_all(directory)?;
        let path = directory.join(LOCK);
        let file = fs_err::File::options().create(true).truncate(false).write(true).open(&path)?.into_file();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _lock: Some(file) }),
                Err(TryLockError::Error(error)) => {
                    tracing::debug!(path = %path.display(), %error, "no locks here");
                    return Ok(Self { _lock: None });
                }
                Err(TryLockError::WouldBlock) if context.children.interrupted() => {
                    return Err(ProcessError::Interrupted.into());
                }
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        context.warn(format!("another build compiles in {}: waiting for it", directory.display()));
                        told = true;
                    }
                    std::thread::sleep(STEP);
                }
            }
        }
    }
}
