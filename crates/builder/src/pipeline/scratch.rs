//! A directory of the build's own, for what is gone when it ends.

use std::path::{Path, PathBuf};

use oci_layout::{ScratchDirectory, StoreError, scratch};

use crate::process::Environment;

/// Names of builds' directories begin so.
const PREFIX: &str = "mab-build-";

/// A new one in the directory for temporary files. What builds have left there that were killed
/// goes first: nobody else would ever remove it.
pub(super) fn directory(env: &Environment) -> Result<ScratchDirectory, StoreError> {
    let temporary = env.get("TMPDIR").filter(|path| !path.is_empty()).map_or(Path::new("/tmp").into(), PathBuf::from);
    // Compilers run in other directories.
    let parent = std::path::absolute(&temporary).unwrap_or(temporary);
    if let Err(error) = scratch::sweep(&parent, PREFIX) {
        tracing::debug!(%error, "cannot remove what killed builds have left");
    }
    ScratchDirectory::create(&parent, PREFIX)
}
