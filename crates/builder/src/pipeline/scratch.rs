//! A directory of the build's own, for what is gone when it ends.

use std::path::{Path, PathBuf};

use oci_layout::{Cache, ScratchDirectory, StoreError, scratch};

use crate::process::Environment;

/// Names of builds' directories begin so.
const PREFIX: &str = "mab-build-";

/// Beside the cache, where there is room; without a cache in the directory for temporary files.
/// What builds have left there that were killed goes first: nobody else would ever remove it.
pub(super) fn directory(cache: Option<&Cache>, env: &Environment) -> Result<ScratchDirectory, StoreError> {
    if let Some(cache) = cache {
        match swept(cache.root()) {
            Err(error) => tracing::debug!(%error, "no scratch directory beside the cache"),
            made => return made,
        }
    }
    let temporary = env.get("TMPDIR").filter(|path| !path.is_empty()).map_or(Path::new("/tmp").into(), PathBuf::from);
    // Compilers run in other directories.
    swept(&std::path::absolute(&temporary).unwrap_or(temporary))
}

fn swept(parent: &Path) -> Result<ScratchDirectory, StoreError> {
    if let Err(error) = scratch::sweep(parent, PREFIX) {
        tracing::debug!(%error, "cannot remove what killed builds have left");
    }
    ScratchDirectory::create(parent, PREFIX)
}
