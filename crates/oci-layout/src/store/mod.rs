//! Blobs in a directory: `blobs/<algorithm>/<digits>`, as image-spec's image-layout.md has them.
//!
//! One implementation under layouts and caches. A blob becomes visible by a rename when all of it
//! is there and hashed; until then it is in a temporary directory that its writer keeps locked, so
//! that a clean-up tells the living from the dead (row C04). Whether and when bytes are flushed to
//! the disk is the owner's business: a layout does it before its index names them, a cache never.

mod seam;
mod writer;

pub use seam::{Operation, Seam};
pub use writer::BlobWriter;

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use rustix::fs::{Mode, OFlags};

use crate::blob::FileBlob;
use crate::descriptor::Descriptor;
use crate::digest::{Digest, VerifyError, VerifyingReader};
use crate::lock::LockError;
use crate::scratch::{self, ScratchDirectory};

/// What can go wrong with files of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A symlink, fifo, device or directory where a blob should be (row I17).
    #[error("{} is {found}, not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// There is no such blob.
    #[error("blob {digest} is missing ({})", path.display())]
    Missing {
        /// Which.
        digest: Digest,
        /// Where it should be.
        path: PathBuf,
    },
    /// The bytes are others than expected.
    #[error("wrong content in {}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// How it differs.
        source: VerifyError,
    },
    /// A lock was not had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.downcast::<VerifyError>() {
            Ok(source) => Self::Content { path, source },
            Err(source) => Self::Io { action, path, source },
        }
    }

    /// Whether the cause is a full disk or a quota.
    pub fn is_disk_full(&self) -> bool {
        let full = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            )
        };
        matches!(self, Self::Io { source, .. } if full(source))
    }
}

/// Blobs below a directory. Cheap to clone; clones share one temporary directory.
#[derive(Clone)]
pub struct BlobStore {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    seam: Seam,
    temporary: Mutex<Option<Arc<ScratchDirectory>>>,
    /// The name of the next temporary file.
    next: AtomicU64,
    /// Blobs that were not there before this store made them visible.
    added: Mutex<BTreeSet<Digest>>,
    given_up: AtomicBool,
}

/// Names of temporary directories begin so.
const UNFINISHED: &str = ".unfinished-";

impl BlobStore {
    /// The store below `root`, a directory that exists. Nothing is written yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_seam(root, Seam::default())
    }

    /// The same, with a place to inject faults.
    pub fn with_seam(root: impl Into<PathBuf>, seam: Seam) -> Self {
        Self {
            shared: Arc::new(Shared {
                root: root.into(),
                seam,
                temporary: Mutex::default(),
                next: AtomicU64::new(0),
                added: Mutex::default(),
                given_up: AtomicBool::new(false),
            }),
        }
    }

    /// The directory that holds `blobs/`.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    pub(crate) fn seam(&self) -> &Seam {
        &self.shared.seam
    }

    /// Where the blob `digest` is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Size of the blob `digest`, or `None` where there is none. Its bytes are not looked at.
    pub fn contains(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(metadata) => Err(StoreError::NotRegular { path, found: kind(metadata.file_type()) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("look at", &path)(error)),
        }
    }

    /// The blob `digest`, not verified.
    pub fn open(&self, digest: &Digest) -> Result<std::fs::File, StoreError> {
        let path = self.path(digest);
        open_regular(&path).map_err(|error| match error {
            StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                StoreError::Missing { digest: *digest, path }
            }
            other => other,
        })
    }

    /// The blob that `descriptor` means; reading to its end verifies digest and size.
    pub fn open_verified(
        &self,
        descriptor: &Descriptor,
    ) -> Result<VerifyingReader<impl Read + Send + 'static>, StoreError> {
        let file = self.open(&descriptor.digest)?;
        let file = SeamReader { file, path: self.path(&descriptor.digest), seam: self.seam().clone() };
        Ok(VerifyingReader::new(file, descriptor.digest, descriptor.size))
    }

    /// All of a small blob, verified. Reads at most `limit` bytes.
    pub fn read(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(&descriptor.digest);
        if descriptor.size > limit {
            let source = io::Error::other(format!("{} bytes are more than the limit of {limit}", descriptor.size));
            return Err(StoreError::Io { action: "read", path, source });
        }
        let mut bytes = Vec::new();
        self.open_verified(descriptor)?.read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        Ok(bytes)
    }

    /// A blob that can be opened again and again, as a source of uploads. Fails where the file is
    /// missing, not a regular file, or has another size than `descriptor` says.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<FileBlob, StoreError> {
        let path = self.path(&descriptor.digest);
        let found = self
            .contains(&descriptor.digest)?
            .ok_or_else(|| StoreError::Missing { digest: descriptor.digest, path: path.clone() })?;
        let (digest, expected) = (descriptor.digest, descriptor.size);
        match found.cmp(&expected) {
            std::cmp::Ordering::Equal => Ok(FileBlob { descriptor: descriptor.clone(), path }),
            std::cmp::Ordering::Less => {
                Err(StoreError::Content { path, source: VerifyError::Short { digest, expected, found } })
            }
            std::cmp::Ordering::Greater => {
                Err(StoreError::Content { path, source: VerifyError::Surplus { digest, expected } })
            }
        }
    }

    /// Stores `bytes` and returns their digest.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        use io::Write as _;
        let mut writer = self.writer()?;
        let path = writer.path().to_owned();
        writer.write_all(bytes).map_err(StoreError::io("write", &path))?;
        Ok(writer.commit()?.0)
    }

    /// Stores `document` as content of type `media_type` and returns its descriptor.
    pub fn put_document(&self, media_type: &str, document: &[u8]) -> Result<Descriptor, StoreError> {
        let digest = self.put_bytes(document)?;
        Ok(Descriptor::new(media_type, digest, document.len() as u64))
    }

    /// A blob to be written piece by piece. Dropped without a commit, it leaves nothing.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        let directory = self.temporary()?;
        BlobWriter::create(self.clone(), directory)
    }

    /// Takes over the blob `descriptor` from the file `from`, which stays what it is: a reflink
    /// where the file system has them, else a copy, never a hard link, so that who edits one
    /// of the two does not damage the other. The bytes are verified on the way.
    pub fn import(&self, descriptor: &Descriptor, from: &Path) -> Result<(), StoreError> {
        let mut source = open_regular(from)?;
        let mut writer = self.writer()?;
        if !writer.clone_from_file(&source)? {
            let path = writer.path().to_owned();
            source.seek(SeekFrom::Start(0)).map_err(StoreError::io("read", from))?;
            let mut limited = source.take(descriptor.size.saturating_add(1));
            io::copy(&mut limited, &mut writer).map_err(StoreError::io("copy to", &path))?;
        }
        writer.commit_as(descriptor)
    }

    /// Removes the blob, if it is there.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", &path)(error)),
        }
    }

    /// Digest and size of every blob, sorted. Files with other names are left out.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let mut blobs = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let directory = self.root().join("blobs").join(algorithm);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io("list", &directory)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(StoreError::io("list", &directory))?;
                let name = entry.file_name();
                let Some(digest) = name.to_str().and_then(|hex| format!("{algorithm}:{hex}").parse().ok()) else {
                    continue;
                };
                match entry.metadata() {
                    Ok(metadata) => blobs.push((digest, metadata.len())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(StoreError::io("look at", &entry.path())(error)),
                }
            }
        }
        blobs.sort();
        Ok(blobs)
    }

    /// Files among the blobs whose names are not those of blobs.
    pub fn strays(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut strays = Vec::new();
        let top = self.root().join("blobs");
        for directory in sorted_paths(&top)? {
            let algorithm = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !matches!(algorithm.as_str(), "sha256" | "sha512") {
                strays.push(directory);
                continue;
            }
            let is_blob = |path: &PathBuf| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|hex| format!("{algorithm}:{hex}").parse::<Digest>().is_ok())
            };
            strays.extend(sorted_paths(&directory)?.into_iter().filter(|path| !is_blob(path)));
        }
        Ok(strays)
    }

    /// Removes what writers that were killed have left. Live writers keep theirs (row C04).
    pub fn sweep(&self) -> Result<(), StoreError> {
        scratch::sweep(self.root(), UNFINISHED)
    }

    /// Ends all writing, now: what is unfinished is removed, and whoever writes on gets an error.
    pub fn give_up(&self) {
        self.shared.given_up.store(true, Ordering::SeqCst);
        let directory = self.shared.temporary.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(directory) = directory {
            directory.remove();
        }
    }

    /// The blobs that were not there before this store made them visible.
    pub(crate) fn added(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.shared.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A path in a temporary directory that was never given out before.
    fn fresh(&self, directory: &ScratchDirectory) -> PathBuf {
        directory.path().join(self.shared.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Makes this store known as having a writer, until it is dropped.
    pub(crate) fn hold(&self) -> Result<(), StoreError> {
        self.temporary().map(|_| ())
    }

    /// Whether other stores of the same directory, here or in other processes, have writers.
    pub(crate) fn has_other_writers(&self) -> Result<bool, StoreError> {
        let own = self.shared.temporary.lock().unwrap_or_else(PoisonError::into_inner).clone();
        scratch::has_others(self.root(), UNFINISHED, own.as_deref())
    }

    /// Whether a file name beside `blobs/` is one that this store makes.
    pub(crate) fn is_own_name(name: &std::ffi::OsStr) -> bool {
        name == "blobs" || name.to_str().is_some_and(|name| name.starts_with(UNFINISHED))
    }

    /// Replaces the file `target` with `bytes`, whole; whether that lasts is left to the system.
    pub(crate) fn place_unflushed(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        use io::Write as _;
        if let Some(directory) = target.parent() {
            self.seam()
                .ask(Operation::Create, directory)
                .and_then(|()| fs::create_dir_all(directory))
                .map_err(StoreError::io("create", directory))?;
        }
        let directory = self.temporary()?;
        let path = self.fresh(&directory);
        let seam = self.seam();
        let outcome = seam
            .ask(Operation::Create, &path)
            .and_then(|()| std::fs::File::create_new(&path))
            .and_then(|mut file| seam.ask(Operation::Write, &path).and_then(|()| file.write_all(bytes)))
            .and_then(|()| seam.ask(Operation::Rename, target))
            .and_then(|()| std::fs::rename(&path, target));
        if outcome.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        outcome.map_err(StoreError::io("write", target))
    }

    /// Replaces the file `target` with `bytes`, whole, and makes that last.
    pub(crate) fn replace(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.place(target, bytes, |from, to| std::fs::rename(from, to))
    }

    /// Makes the file `target` with `bytes`, whole, unless there is one.
    pub(crate) fn place_once(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        self.place(target, bytes, |from, to| match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            // Not every file system can do that; all that can link can do this.
            Err(_) => match std::fs::hard_link(from, to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                outcome => outcome,
            },
        })
    }

    fn place(
        &self,
        target: &Path,
        bytes: &[u8],
        rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        use io::Write as _;
        let directory = self.temporary()?;
        let path = self.fresh(&directory);
        let seam = self.seam();
        let mut file = seam
            .ask(Operation::Create, &path)
            .and_then(|()| std::fs::File::create_new(&path))
            .map_err(StoreError::io("create", &path))?;
        seam.ask(Operation::Write, &path)
            .and_then(|()| file.write_all(bytes))
            .map_err(StoreError::io("write", &path))?;
        seam.ask(Operation::Sync, &path).and_then(|()| file.sync_all()).map_err(StoreError::io("flush", &path))?;
        seam.ask(Operation::Rename, target)
            .and_then(|()| rename(&path, target))
            .map_err(StoreError::io("replace", target))?;
        self.sync_directory(target.parent().unwrap_or(self.root()))
    }

    /// Makes these blobs, and their names, last.
    pub(crate) fn flush(&self, blobs: &BTreeSet<Digest>) -> Result<(), StoreError> {
        let mut directories = BTreeSet::from([self.root().to_owned(), self.root().join("blobs")]);
        for digest in blobs {
            self.sync(digest)?;
            directories.extend(self.path(digest).parent().map(Path::to_owned));
        }
        // What is inside first, then the directories that name it.
        for directory in directories.iter().rev().filter(|directory| directory.exists()) {
            self.sync_directory(directory)?;
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> Result<(), StoreError> {
        self.seam()
            .ask(Operation::Sync, path)
            .and_then(|()| std::fs::File::open(path))
            .and_then(|directory| directory.sync_all())
            .map_err(StoreError::io("flush", path))
    }

    /// The temporary directory of this store, made when it is first needed.
    fn temporary(&self) -> Result<Arc<ScratchDirectory>, StoreError> {
        let mut slot = self.shared.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*slot {
            return Ok(Arc::clone(directory));
        }
        let root = self.root();
        self.seam().ask(Operation::Create, root).map_err(StoreError::io("create a directory in", root))?;
        let directory = Arc::new(ScratchDirectory::create(root, UNFINISHED)?);
        *slot = Some(Arc::clone(&directory));
        Ok(directory)
    }

    /// Flushes the blob's bytes to the disk.
    fn sync(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        let file = self.open(digest)?;
        self.seam().ask(Operation::Sync, &path).and_then(|()| file.sync_data()).map_err(StoreError::io("flush", &path))
    }
}

/// Reads a file, and lets tests make reading fail.
struct SeamReader {
    file: std::fs::File,
    path: PathBuf,
    seam: Seam,
}

impl Read for SeamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.seam.ask(Operation::Read, &self.path)?;
        self.file.read(buffer)
    }
}

/// Opens a file that must be a regular one: follows no symlink and does not wait for a fifo's writer.
pub(crate) fn open_regular(path: &Path) -> Result<std::fs::File, StoreError> {
    Ok(open_regular_with_state(path)?.0)
}

/// The same, with what the file is.
pub(crate) fn open_regular_with_state(path: &Path) -> Result<(std::fs::File, std::fs::Metadata), StoreError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::LOOP) => {
            return Err(StoreError::NotRegular { path: path.to_owned(), found: "a symbolic link" });
        }
        Err(rustix::io::Errno::NXIO) => {
            return Err(StoreError::NotRegular { path: path.to_owned(), found: "a socket or device" });
        }
        Err(error) => return Err(StoreError::io("open", path)(error.into())),
    };
    let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
    if !metadata.is_file() {
        return Err(StoreError::NotRegular { path: path.to_owned(), found: kind(metadata.file_type()) });
    }
    Ok((file, metadata))
}

/// What is in a directory; nothing where there is none.
pub(crate) fn sorted_paths(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", directory)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(StoreError::io("list", directory))?;
    paths.sort();
    Ok(paths)
}

/// What a file is, in words.
pub(crate) fn kind(file_type: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    if file_type.is_symlink() {
        "a symbolic link"
    } else if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a fifo"
    } else if file_type.is_socket() {
        "a socket"
    } else if file_type.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests;
