//! Layers that are unpacked, by diff ID, for programs to run on.
//!
//! A layer is complete or not there: it is unpacked under another name, in a directory that is locked
//! for as long, and renamed at the end. What a killed process has left, the next one removes.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{Cache, CacheError, touch};
use crate::digest::Digest;
use crate::scratch::{self, ScratchDirectory};
use crate::store::StoreError;

/// Below the cache; the number is the version of how layers are unpacked.
pub(super) const DIRECTORY: &str = "unpacked-2";
/// What the names of those begin with that are not complete.
const UNFINISHED: &str = ".unpacking-";
/// The layer's own root, in its directory.
const ROOT: &str = "root";

/// A layer that is being unpacked; dropped before its end it is gone.
pub struct Unpacking {
    scratch: ScratchDirectory,
    finished: PathBuf,
}

impl Unpacking {
    /// The empty directory that takes the layer.
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("layer").join(ROOT)
    }

    /// All of it is there: gives its directory its name. Where another process was faster, that one's
    /// is taken.
    pub fn finish(self) -> Result<PathBuf, CacheError> {
        let root = self.finished.join(ROOT);
        match std::fs::rename(self.scratch.path().join("layer"), &self.finished) {
            Err(error) if !root.is_dir() => Err(StoreError::io("create", &self.finished)(error).into()),
            _ => Ok(root),
        }
    }
}

impl Cache {
    fn unpacked_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join(DIRECTORY).join(diff_id.hex())
    }

    /// The directory of the layer with this diff ID, if it is unpacked. Counts as a use.
    pub fn unpacked(&self, diff_id: &Digest) -> Option<PathBuf> {
        let path = self.unpacked_path(diff_id);
        let root = path.join(ROOT);
        root.is_dir().then(|| touch(&path))?;
        Some(root)
    }

    /// Makes a place to unpack a layer in.
    pub fn unpack(&self, diff_id: &Digest) -> Result<Unpacking, CacheError> {
        let parent = self.root.join(DIRECTORY);
        fs::create_dir_all(&parent).map_err(StoreError::io("create", &parent))?;
        if let Err(error) = sweep(&self.root) {
            tracing::debug!(%error, "cannot remove what killed processes have left");
        }
        let scratch = ScratchDirectory::create(&parent, UNFINISHED)?;
        let unpacking = Unpacking { scratch, finished: self.unpacked_path(diff_id) };
        let root = unpacking.root();
        fs::create_dir_all(&root).map_err(StoreError::io("create", &root))?;
        Ok(unpacking)
    }

    /// An empty directory that stays so, for a sandbox to mount its own things on: where nobody else
    /// sees them.
    pub fn mount_point(&self) -> Result<PathBuf, CacheError> {
        let path = self.root.join("mount-point");
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(StoreError::io("create", &path)(error).into())
            }
            _ => Ok(path),
        }
    }
}

/// Removes what killed processes have left.
pub(super) fn sweep(root: &Path) -> Result<(), StoreError> {
    scratch::sweep(&root.join(DIRECTORY), UNFINISHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_complete_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(directory.path().join("cache")).unwrap();
        let diff_id = Digest::of(b"layer");
        let broken_off = cache.unpack(&diff_id).unwrap();
        fs::write(broken_off.root().join("file"), "x").unwrap();
        assert_eq!(cache.unpacked(&diff_id), None);
        drop(broken_off);
        let parent = cache.root().join(DIRECTORY);
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);

        let (first, second) = (cache.unpack(&diff_id).unwrap(), cache.unpack(&diff_id).unwrap());
        fs::write(first.root().join("file"), "12345").unwrap();
        let root = first.finish().unwrap();
        assert_eq!(second.finish().unwrap(), root, "another was faster");
        assert_eq!(cache.unpacked(&diff_id), Some(root.clone()));
        // What a killed process has left.
        let dead = parent.join(format!("{UNFINISHED}dead"));
        fs::create_dir(&dead).unwrap();
        drop(cache.unpack(&diff_id).unwrap());
        assert!(!dead.exists() && root.join("file").exists());
        // It goes as a whole.
        assert_eq!(cache.summary().unwrap()[DIRECTORY], (1, 5));
        assert_eq!(cache.prune(0).unwrap().bytes, 5);
        assert_eq!(cache.unpacked(&diff_id), None);
    }
}
