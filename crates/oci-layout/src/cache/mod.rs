//! A private, bounded cache: blobs by digest, and small records by key.
//!
//! Nothing in it is trusted: a blob is verified by whoever reads it, a record carries its own
//! digest, and what does not fit is as good as absent (row D06). Nothing is flushed to the disk
//! for the same reason. The directory belongs to one user and is closed to all others (row C06):
//! who can write into it could otherwise choose what goes into images.

mod layers;
mod mounts;
mod prune;
mod steps;
mod unpacked;

pub use layers::Origin;
pub use prune::Pruned;
pub use steps::StepScratch;
pub use unpacked::Unpacking;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use rustix::fs::{CWD, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::layer::facts;
use crate::layer::facts::LayerFacts;
use crate::lock::LockError;
use crate::store::{BlobStore, Seam, StoreError, kind, open_regular, sorted_paths};

/// Largest record that is read.
const MAX_RECORD: u64 = 256 << 20;

/// Why a cache cannot be used. A build can go on without one.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A symlink or file in place of the directory.
    #[error("cache {} is {found}, not a directory", path.display())]
    NotDirectory {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// It belongs to somebody else.
    #[error("cache {} belongs to user {owner}, not to user {user}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this process.
        user: u32,
    },
    /// Others may read or write it.
    #[error("cache {} is open to others (mode {mode:03o}, not 700)", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Files or locks.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The directory below the cache whose subdirectories each belong to one program of a build, and
/// are removed as a whole.
pub const PROGRAMS: &str = "compile/go";
/// The same for what is unpacked for compilers: a set of crates or modules each.
pub const UNPACKED: &str = "bundles";

/// A cache directory, in use.
pub struct Cache {
    root: PathBuf,
    store: BlobStore,
    /// Locked shared for as long as the cache is in use.
    in_use: File,
}

/// Kinds of records, each with a directory of its own. The number is a version: what an
/// incompatible version wrote is never looked at.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Facts,
    /// By the shape and content of a layer, and by the shape alone.
    Layers,
    /// By the shape of a layer and the states of its files.
    Memo,
    Other,
}

impl Kind {
    fn directory(self) -> &'static str {
        match self {
            Self::Facts => "facts-2",
            Self::Layers => "layers-1",
            Self::Memo => "memo-1",
            Self::Other => "records-1",
        }
    }
}

impl Cache {
    /// Opens the cache in `root`, and makes it with mode 0700 where there is none.
    ///
    /// # Errors
    ///
    /// [`CacheError`], also where the directory cannot be written: the caller can do without a cache.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, CacheError> {
        Self::open_with(root, Seam::default())
    }

    /// The same, with a place to inject faults.
    pub fn open_with(root: impl Into<PathBuf>, seam: Seam) -> Result<Self, CacheError> {
        let root = root.into();
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create", &root)(error).into());
            }
            _ => {}
        }
        check_private(&root)?;
        let path = root.join("in-use");
        let in_use = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        // Held exclusively only for the moment of a clean-up.
        in_use.lock_shared().map_err(|source| StoreError::Lock(LockError::Io { path, source }))?;
        let store = BlobStore::with_seam(&root, seam);
        Ok(Self { root, store, in_use })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The blobs. Use [`Cache::blob`] to find one, so that it counts as used.
    pub fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Where the blob of `descriptor` is, if it is here with the right size. Its bytes are for
    /// the reader to verify. Counts as a use.
    pub fn blob(&self, descriptor: &Descriptor) -> Option<PathBuf> {
        let path = self.store.blob(descriptor).ok()?.path;
        touch(&path);
        Some(path)
    }

    /// All of a small blob if it is here and whole; a damaged one is removed.
    pub fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Option<Vec<u8>> {
        match self.store.read(descriptor, limit) {
            Ok(bytes) => {
                touch(&self.store.path(&descriptor.digest));
                Some(bytes)
            }
            Err(StoreError::Content { .. }) => {
                let _ = self.store.remove(&descriptor.digest);
                None
            }
            Err(_) => None,
        }
    }

    /// The facts of the layer with digest `layer`, if they are known in this version.
    pub fn facts(&self, layer: &Digest) -> Option<LayerFacts> {
        let facts: LayerFacts = self.record(Kind::Facts, layer)?;
        (facts.version == facts::FACTS_VERSION).then_some(facts)
    }

    /// Keeps the facts of a layer.
    pub fn put_facts(&self, layer: &Digest, facts: &LayerFacts) -> Result<(), CacheError> {
        self.put_record(Kind::Facts, layer, facts)
    }

    /// Any other document that was kept under `key`.
    pub fn document<T: DeserializeOwned>(&self, key: &Digest) -> Option<T> {
        self.record(Kind::Other, key)
    }

    /// Keeps a document under `key`.
    pub fn put_document<T: Serialize>(&self, key: &Digest, document: &T) -> Result<(), CacheError> {
        self.put_record(Kind::Other, key, document)
    }

    fn record_path(&self, kind: Kind, key: &Digest) -> PathBuf {
        self.root.join(kind.directory()).join(key.hex())
    }

    fn record<T: DeserializeOwned>(&self, kind: Kind, key: &Digest) -> Option<T> {
        let path = self.record_path(kind, key);
        let mut bytes = Vec::new();
        open_regular(&path).ok()?.take(MAX_RECORD).read_to_end(&mut bytes).ok()?;
        let parsed = checked(&bytes, key).and_then(|body| serde_json::from_slice(body).ok());
        if parsed.is_some() {
            touch(&path);
        } else {
            tracing::debug!(path = %path.display(), "removed a damaged record");
            let _ = fs::remove_file(&path);
        }
        parsed
    }

    fn put_record<T: Serialize>(&self, kind: Kind, key: &Digest, document: &T) -> Result<(), CacheError> {
        let path = self.record_path(kind, key);
        let body = crate::json::to_bytes(document).map_err(|error| StoreError::Io {
            action: "write",
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        let mut bytes = seal(&body, key).to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend(body);
        Ok(self.store.place_unflushed(&path, &bytes)?)
    }

    /// Bytes of all files.
    pub fn size(&self) -> Result<u64, CacheError> {
        Ok(self.files()?.iter().map(|file| file.size).sum())
    }

    /// What compilers make and read, and layers that are unpacked: the directories below `top`, each used as a whole.
    fn directories(&self, top: &str, files: &mut Vec<Used>) -> Result<(), CacheError> {
        for path in sorted_paths(&self.root.join(top))? {
            let used = fs::metadata(&path).and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let mut program = Used { path: path.clone(), size: 0, used, files: 0, is_directory: true };
            // The times of an image's files are the image's own.
            let own_times = top != unpacked::DIRECTORY;
            let mut waiting = vec![path];
            while let Some(directory) = waiting.pop() {
                for path in sorted_paths(&directory)? {
                    let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                    if metadata.is_dir() {
                        waiting.push(path);
                        continue;
                    }
                    program.files += 1;
                    program.size += metadata.len();
                    if own_times {
                        program.used = program.used.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
                    }
                }
            }
            files.push(program);
        }
        Ok(())
    }

    /// Every blob, record and program.
    fn files(&self) -> Result<Vec<Used>, CacheError> {
        let mut files = Vec::new();
        let kinds = [Kind::Facts, Kind::Layers, Kind::Memo, Kind::Other].map(Kind::directory);
        for directory in ["blobs/sha256", "blobs/sha512"].iter().chain(&kinds) {
            let directory = self.root.join(directory);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io("list", &directory)(error).into()),
            };
            for entry in entries {
                let entry = entry.map_err(StoreError::io("list", &directory))?;
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_file() {
                    let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    let (path, size) = (entry.path(), metadata.len());
                    files.push(Used { path, size, used, files: 1, is_directory: false });
                }
            }
        }
        for top in [PROGRAMS, UNPACKED, mounts::DIRECTORY, unpacked::DIRECTORY] {
            self.directories(top, &mut files)?;
        }
        Ok(files)
    }
}

/// A file, or a directory that goes as a whole.
struct Used {
    path: PathBuf,
    size: u64,
    used: SystemTime,
    files: u64,
    is_directory: bool,
}

/// Digest over a record's body and the key that it is for.
fn seal(body: &[u8], key: &Digest) -> Digest {
    let mut hasher = crate::digest::Hasher::new(crate::digest::Algorithm::Sha256);
    hasher.update(key.bytes());
    hasher.update(body);
    hasher.finish()
}

/// The body of a record, if its seal is right.
fn checked<'a>(bytes: &'a [u8], key: &Digest) -> Option<&'a [u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let sealed: Digest = std::str::from_utf8(head).ok()?.parse().ok()?;
    (sealed == seal(body, key)).then_some(body)
}

/// Counts as a use: sets the file's time to the file system's now.
fn touch(path: &Path) {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let keep = rustix::fs::Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access: keep, last_modification: now };
    let _ = utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
}

fn check_private(root: &Path) -> Result<(), CacheError> {
    let metadata = fs::symlink_metadata(root).map_err(StoreError::io("look at", root))?;
    if !metadata.is_dir() {
        return Err(CacheError::NotDirectory { path: root.to_owned(), found: kind(metadata.file_type()) });
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(CacheError::Foreign { path: root.to_owned(), owner: metadata.uid(), user });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CacheError::Open { path: root.to_owned(), mode });
    }
    Ok(())
}

/// Sums of sizes by kind, for people.
impl Cache {
    /// Number and bytes of the files of each kind: `blobs`, `facts-2` and so on.
    pub fn summary(&self) -> Result<BTreeMap<String, (u64, u64)>, CacheError> {
        let mut sums = BTreeMap::new();
        for file in self.files()? {
            let below = file.path.strip_prefix(&self.root).unwrap_or(&file.path);
            let kind = below.components().next().map_or_else(String::new, |c| c.as_os_str().to_string_lossy().into());
            let sum: &mut (u64, u64) = sums.entry(kind).or_default();
            sum.0 += file.files;
            sum.1 += file.size;
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests;
