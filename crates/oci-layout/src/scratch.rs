//! Directories for what is unfinished, locked by their owner for as long as it lives.
//!
//! The lock ends with the process, also when it is killed: who gets the lock of a directory knows
//! that its owner is gone, and may remove it. Owners never wait for each other. The names of one
//! kind of directory share a prefix.

use std::ffi::OsStr;
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, chmodat, fchmod, openat, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::lock::LockError;
use crate::store::StoreError;

/// A locked directory that is closed to other users, removed with all that is in it when it is dropped.
pub struct ScratchDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl ScratchDirectory {
    /// Makes one in `parent`, whose name begins with `prefix`.
    pub fn create(parent: &Path, prefix: &str) -> Result<Self, StoreError> {
        // A clean-up may take a new directory between its making and its locking: then once more.
        for _ in 0..16 {
            let path = tempfile::Builder::new()
                .prefix(prefix)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(parent)
                .map_err(StoreError::io("create a directory in", parent))?
                .keep();
            // As a list of the parent has it: made from a relative path, it comes back absolute.
            let path = path.file_name().map_or_else(|| path.clone(), |name| parent.join(name));
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, _lock: lock });
            }
            let _ = fs::remove_dir(&path);
        }
        let source = io::Error::other("another process removes every new directory");
        Err(StoreError::Io { action: "create a directory in", path: parent.to_owned(), source })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it, whoever still writes there: what they open or rename
    /// later fails.
    pub fn remove(&self) {
        // A file that is made meanwhile lets the removal of its directory fail.
        for _ in 0..8 {
            match remove_all(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.path.exists() => return,
                Err(error) => {
                    tracing::debug!(%error, "cannot remove temporary files");
                    return;
                }
                Ok(()) => return,
            }
        }
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Locks a directory; `None` when it is held or gone, or was replaced meanwhile.
fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(LockError::Io { path: path.to_owned(), source }.into()),
    }
    let ours = file.metadata().map_err(StoreError::io("look at", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino()) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

/// Removes a directory of this user's with all that is in it: directories that are closed to their owner, too,
/// and any number of them inside each other.
///
/// What is in a directory that is in the way is moved up, next to it: so there are never more than two open.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let top = open_up(CWD, path.as_os_str())?;
    let mut moved = 0_u64;
    loop {
        let names = names_in(&top)?;
        if names.is_empty() {
            return Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?);
        }
        for name in &names {
            let name = OsStr::from_bytes(name);
            if remove_one(&top, name)? {
                continue;
            }
            let directory = open_up(&top, name)?;
            for inside in names_in(&directory)? {
                let inside = OsStr::from_bytes(&inside);
                if !remove_one(&directory, inside)? {
                    // Its entry for what is above it changes.
                    open_up(&directory, inside)?;
                    move_up(&directory, inside, &top, &mut moved)?;
                }
            }
            remove_one(&top, name)?;
        }
    }
}

/// Removes a file or empty directory; false where it is a directory with something in it.
fn remove_one(parent: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(true),
        removed => return Ok(removed.map(|()| true)?),
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => Ok(false),
        Err(Errno::NOENT) => Ok(true),
        removed => Ok(removed.map(|()| true)?),
    }
}

/// Opens a directory, and lets its owner do with it what they want.
fn open_up(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let all = Mode::from_raw_mode(0o700);
    let opened = match openat(&parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(&parent, name, all, AtFlags::empty())?;
            openat(&parent, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    fchmod(&opened, all)?;
    Ok(opened)
}

fn names_in(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

fn move_up(from: &OwnedFd, name: &OsStr, to: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat_with(from, name, to, format!(".moved-{moved}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            renamed => return Ok(renamed?),
        }
    }
}

/// The directories in `parent` whose names begin with `prefix`.
fn directories(parent: &Path, prefix: &str) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", parent)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", parent))?;
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if named && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether somebody else than the owner of `own` holds one in `parent`.
pub(crate) fn has_others(parent: &Path, prefix: &str, own: Option<&ScratchDirectory>) -> Result<bool, StoreError> {
    // By name: the path of one's own is absolute, whatever the parent's is.
    let own = own.and_then(|own| own.path.file_name());
    for path in directories(parent, prefix)? {
        if path.file_name() != own && lock(&path)?.is_none() && path.exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes this user's directories in `parent` whose owners are gone; the living keep theirs (row C04).
pub fn sweep(parent: &Path, prefix: &str) -> Result<(), StoreError> {
    let user = rustix::process::geteuid().as_raw();
    for path in directories(parent, prefix)? {
        if !std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.uid() == user) {
            continue;
        }
        if let Some(_lock) = lock(&path)? {
            match remove_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &path)(error));
                }
                _ => tracing::debug!(path = %path.display(), "removed what a killed process left"),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_closed_or_deep_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = ScratchDirectory::create(parent.path(), "scratch-").unwrap();
        let closed = scratch.path().join("closed/within");
        fs::create_dir_all(closed.join("below")).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::write(scratch.path().join(".moved-1"), "in the way").unwrap();
        for path in [&closed, closed.parent().unwrap()] {
            fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap();
        }
        // More of them than a path or a table of open files has room for.
        let mut deep = open_up(CWD, scratch.path().as_os_str()).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&deep, "deep", Mode::from_raw_mode(0o700)).unwrap();
            deep = open_up(&deep, OsStr::new("deep")).unwrap();
        }
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn c04_a_clean_up_takes_the_dead_and_leaves_the_living() {
        let parent = tempfile::tempdir().unwrap();
        let living = ScratchDirectory::create(parent.path(), "scratch-").unwrap();
        fs::write(living.path().join("file"), "x").unwrap();
        assert_eq!(fs::metadata(living.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let dead = parent.path().join("scratch-dead");
        fs::create_dir_all(dead.join("below")).unwrap();
        let other = parent.path().join("other-dead");
        fs::create_dir(&other).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), parent.path().join("scratch-link")).unwrap();

        sweep(parent.path(), "scratch-").unwrap();
        assert!(!dead.exists());
        assert!(living.path().join("file").exists() && other.exists() && elsewhere.path().exists());
        drop(living);
        assert!(!has_others(parent.path(), "scratch-", None).unwrap());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2, "the other and the link");
    }
}
