//! Digests of files that have not changed, without reading them.
//!
//! A file is taken for unchanged when device, inode, size and both times are what they were.
//! git's rule for files too young to be trusted: what was changed in the same tick of the file
//! system's clock in which it was read could change again without a trace, so it is not noted.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Cache, Kind};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::store::{StoreError, open_regular};

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Memo {
    identity: Identity,
    digest: Digest,
}

/// SHA-256 and size of a regular file, and whether the memo knew them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Digest of the content.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Whether the file was read for it.
    pub read: bool,
}

impl Cache {
    /// Digest and size of the file `path`, read only if it may have changed. Follows no symlink.
    ///
    /// # Errors
    ///
    /// [`StoreError`] for what is not a regular file, cannot be read, or changes meanwhile.
    pub fn file_digest(&self, path: &Path) -> Result<FileDigest, StoreError> {
        let mut file = open_regular(path)?;
        let look = |file: &File| file.metadata().map(|m| Identity::of(&m)).map_err(StoreError::io("look at", path));
        let identity = look(&file)?;
        let key = Digest::of(path.as_os_str().as_bytes());
        if let Some(memo) = self.record::<Memo>(Kind::Memo, &key)
            && memo.identity == identity
        {
            return Ok(FileDigest { digest: memo.digest, size: identity.size, read: false });
        }
        let began = self.tick();
        let digest = hash(&mut file).map_err(StoreError::io("read", path))?;
        if look(&file)? != identity {
            let source = io::Error::other("the file changed while it was read");
            return Err(StoreError::Io { action: "read", path: path.to_owned(), source });
        }
        let settled = began.is_some_and(|began| identity.modified < began && identity.changed < began);
        if settled {
            // Without the memo the file is read again, and that is all.
            let _ = self.put_record(Kind::Memo, &key, &Memo { identity: identity.clone(), digest });
        }
        Ok(FileDigest { digest, size: identity.size, read: true })
    }

    /// The file system's now, as it is stamped on new files.
    fn tick(&self) -> Option<(i64, i64)> {
        let writer = self.store.writer().ok()?;
        let metadata = std::fs::metadata(writer.path()).ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec()))
    }
}

fn hash(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
