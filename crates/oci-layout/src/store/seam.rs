//! Where tests make the disk fail.
//!
//! Full disks and read-only trees can be had for real; an EIO in the middle of a write, or a
//! failing fsync, cannot. Each file operation of the store asks here first.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A kind of file operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making a file or directory.
    Create,
    /// Writing some bytes.
    Write,
    /// Reading some bytes.
    Read,
    /// Flushing a file or directory to the disk.
    Sync,
    /// Renaming a file into its place.
    Rename,
}

type Hook = dyn Fn(Operation, &Path) -> io::Result<()> + Send + Sync;

/// A hook that can turn an operation into an error. The default one never does.
#[derive(Clone, Default)]
pub struct Seam(Option<Arc<Hook>>);

impl Seam {
    /// Asks `hook` before each operation; its error is the operation's.
    pub fn new(hook: impl Fn(Operation, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn ask(&self, operation: Operation, path: &Path) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |hook| hook(operation, path))
    }
}

impl fmt::Debug for Seam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Seam(hook)" } else { "Seam" })
    }
}
