//! Places for what build steps write, on the cache's disk: locked for as long as they are in use, and removed
//! afterwards. What a killed process has left, the next one removes.

use std::path::Path;

use fs_err as fs;

use super::{Cache, CacheError};
use crate::scratch::{self, ScratchDirectory};
use crate::store::StoreError;

/// Below the cache.
const DIRECTORY: &str = "steps";
/// What the names of places begin with.
const PREFIX: &str = ".step-";

/// A place for what a build step writes, closed to other users. Dropped, it is gone with all that is in it.
pub struct StepScratch(ScratchDirectory);

impl StepScratch {
    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Cache {
    /// Makes a place for what a build step writes.
    pub fn step_scratch(&self) -> Result<StepScratch, CacheError> {
        let parent = self.root.join(DIRECTORY);
        fs::create_dir_all(&parent).map_err(StoreError::io("create", &parent))?;
        if let Err(error) = sweep(&self.root) {
            tracing::debug!(%error, "cannot remove what killed processes have left");
        }
        Ok(StepScratch(ScratchDirectory::create(&parent, PREFIX)?))
    }
}

/// Removes what killed processes have left.
pub(super) fn sweep(root: &Path) -> Result<(), StoreError> {
    scratch::sweep(&root.join(DIRECTORY), PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_removed_also_those_of_the_dead() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path().join("cache")).unwrap();
        let living = cache.step_scratch().unwrap();
        let dead = living.path().with_file_name(".step-dead");
        fs::create_dir_all(dead.join("upper")).unwrap();
        let other = cache.step_scratch().unwrap();
        assert!(!dead.exists() && living.path().is_dir());
        let parent = other.path().parent().unwrap().to_owned();
        drop((living, other));
        assert_eq!(fs::read_dir(parent).unwrap().count(), 0);
    }
}
