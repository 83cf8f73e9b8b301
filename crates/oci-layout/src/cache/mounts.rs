//! Directories that commands of builds keep things in, by name.

use std::path::PathBuf;

use fs_err as fs;

use super::{Cache, CacheError, touch};
use crate::digest::Digest;
use crate::store::StoreError;

/// Below the cache.
pub(super) const DIRECTORY: &str = "mounts-1";

impl Cache {
    /// The directory of this name, made where it is not there yet. Counts as a use.
    pub fn mount(&self, name: &str) -> Result<PathBuf, CacheError> {
        let path = self.root.join(DIRECTORY).join(Digest::of(name.as_bytes()).hex());
        fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        touch(&path);
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_directory_that_is_kept_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(directory.path().join("cache")).unwrap();
        let path = cache.mount("apt linux/arm64").unwrap();
        fs::write(path.join("file"), "12345").unwrap();
        assert_eq!(cache.mount("apt linux/arm64").unwrap(), path);
        assert_ne!(cache.mount("../../etc").unwrap(), path);
        assert_eq!(cache.summary().unwrap()[DIRECTORY], (1, 5));
        assert_eq!(cache.prune(0).unwrap().bytes, 5);
        assert!(!path.exists());
    }
}
