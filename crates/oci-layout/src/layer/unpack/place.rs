//! Where a layer is unpacked to: the file operations, each below the root.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags, chmodat, fchmod, fsetxattr,
    fstat, futimens, linkat, makedev, mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::notes;
use crate::layer::read::TarEntry;

/// The mark of a directory below which nothing of the lower layers is seen.
pub(super) const OPAQUE: &str = "user.overlay.opaque";

/// The bit of a directory that hands its group on to what is made in it.
const HANDS_ON: u32 = 0o2000;

type Components<'p> = [&'p [u8]];

/// A directory that a layer is unpacked into.
pub(super) struct Place<'r> {
    root: BorrowedFd<'r>,
    /// The directory that was used last: entries of one directory follow each other.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Directories with their times, which making entries in them changes.
    times: Vec<(Vec<u8>, i64)>,
}

impl<'r> Place<'r> {
    pub(super) fn new(root: BorrowedFd<'r>) -> Self {
        Self { root, last: None, times: Vec::new() }
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match openat2(self.root, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
                // Somebody renames something somewhere: the kernel cannot vouch for `..` in a link.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }

    /// The directory of these components, its links followed inside the root; made where it is not there.
    pub(super) fn parent(&mut self, components: &Components<'_>) -> io::Result<Rc<OwnedFd>> {
        let path = components.join(&b'/');
        if let Some((known, directory)) = &self.last
            && *known == path
        {
            return Ok(Rc::clone(directory));
        }
        let directory = match self.open(&path, OFlags::PATH) {
            Err(Errno::NOENT) => self.make(components)?,
            opened => opened?,
        };
        let directory = Rc::new(directory);
        self.last = Some((path, Rc::clone(&directory)));
        Ok(directory)
    }

    fn make(&self, components: &Components<'_>) -> io::Result<OwnedFd> {
        let mut above = self.open(b"", OFlags::PATH)?;
        for (number, component) in components.iter().enumerate() {
            let path = components[..=number].join(&b'/');
            above = match self.open(&path, OFlags::PATH) {
                Err(Errno::NOENT) => {
                    // Fails where a link is there that leads nowhere.
                    mkdirat(&above, OsStr::from_bytes(component), Mode::from_raw_mode(0o755))?;
                    self.open(&path, OFlags::PATH)?
                }
                opened => opened?,
            };
        }
        Ok(above)
    }

    /// Makes room for an entry: whatever is there goes. True where that was a deletion.
    fn make_room(&mut self, parent: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        // The directory that is known may be below it.
        self.last = None;
        let is_whiteout = self.is_whiteout(parent, name)?;
        remove(parent.as_fd(), name)?;
        Ok(is_whiteout)
    }

    fn is_whiteout(&self, parent: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0)
    }

    pub(super) fn directory(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let name = OsStr::from_bytes(name);
        let mode = Mode::from_raw_mode(0o755);
        match mkdirat(parent, name, mode) {
            Err(Errno::EXIST) => {}
            made => return Ok(made?),
        }
        let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Ok(());
        }
        let was_deleted = self.make_room(parent, name)?;
        mkdirat(parent, name, mode)?;
        if was_deleted {
            // Nothing of what the lower layers have there is to come back.
            let made = openat(parent, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
            self.opaque(&made)?;
        }
        Ok(())
    }

    /// Mode, attributes and time of a directory that is there.
    pub(super) fn directory_attributes(&mut self, components: &Components<'_>, entry: &TarEntry) -> io::Result<()> {
        let path = components.join(&b'/');
        let directory = self.open(&path, OFlags::RDONLY)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o3777 | 0o700);
        fchmod(&directory, mode)?;
        set_xattrs(&directory, entry)?;
        // A group that is not this user's own loses the bit that lets it be inherited.
        let given = fstat(&directory)?.st_mode & 0o7777;
        notes::write(&directory, (entry.uid, entry.gid), entry.mode & 0o7777, given)?;
        let hands_on = !components.is_empty() && statat(&directory, "..", AtFlags::empty())?.st_mode & HANDS_ON != 0;
        if hands_on {
            notes::write_owner(&directory, (entry.uid, entry.gid))?;
        }
        self.times.push((path, entry.mtime));
        Ok(())
    }

    pub(super) fn file(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        entry: &TarEntry,
        mut content: impl Read,
    ) -> io::Result<()> {
        let name = OsStr::from_bytes(name);
        let create = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::from_raw_mode(0o600))
        };
        let file = match create() {
            Err(Errno::EXIST) => {
                self.make_room(parent, name)?;
                create()?
            }
            created => created?,
        };
        let mut file = File::from(file);
        io::copy(&mut content, &mut file)?;
        set_xattrs(&file, entry)?;
        // What cannot be read by its owner could not be compared or copied either.
        let given = entry.mode & 0o1777 | 0o400;
        notes::write(&file, (entry.uid, entry.gid), entry.mode & 0o7777, given)?;
        if fstat(parent)?.st_mode & HANDS_ON != 0 {
            notes::write_owner(&file, (entry.uid, entry.gid))?;
        }
        fchmod(&file, Mode::from_raw_mode(given))?;
        futimens(&file, &times(entry.mtime))?;
        Ok(())
    }

    pub(super) fn symlink(&mut self, parent: &OwnedFd, name: &[u8], entry: &TarEntry) -> io::Result<()> {
        let (name, target) = (OsStr::from_bytes(name), OsStr::from_bytes(&entry.link));
        self.replacing(parent, name, || symlinkat(target, parent, name))?;
        utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    pub(super) fn fifo(&mut self, parent: &OwnedFd, name: &[u8], entry: &TarEntry) -> io::Result<()> {
        let (name, mode) = (OsStr::from_bytes(name), Mode::from_raw_mode(entry.mode & 0o777));
        self.replacing(parent, name, || mknodat(parent, name, FileType::Fifo, mode, 0))?;
        chmodat(parent, name, mode, AtFlags::empty())?;
        Ok(())
    }

    /// Another name for what is at `target` in the directory of the components `above`.
    pub(super) fn hard_link(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        above: &Components<'_>,
        target: &[u8],
    ) -> io::Result<()> {
        let (name, target) = (OsStr::from_bytes(name), OsStr::from_bytes(target));
        let from = self.open(&above.join(&b'/'), OFlags::PATH)?;
        let of_target = statat(&from, target, AtFlags::SYMLINK_NOFOLLOW)?;
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // A link to itself: removing the old one would lose the file.
            Ok(there) if (there.st_dev, there.st_ino) == (of_target.st_dev, of_target.st_ino) => return Ok(()),
            _ => {}
        }
        // Without a flag the last component of the target is not followed.
        self.replacing(parent, name, || linkat(&from, target, parent, name, AtFlags::empty()))
    }

    /// Marks a directory: nothing of the lower layers is seen below it.
    pub(super) fn opaque(&self, directory: &OwnedFd) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(directory, c".", flags, Mode::empty())?;
        Ok(fsetxattr(&directory, OPAQUE, b"y", XattrFlags::empty())?)
    }

    /// Notes that what the lower layers have at `name` is gone. What this layer itself has there stays.
    pub(super) fn whiteout(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let name = OsStr::from_bytes(name);
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                let directory =
                    openat(parent, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                self.opaque(&directory)
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => Ok(mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?),
            Err(error) => Err(error.into()),
        }
    }

    fn replacing(&mut self, parent: &OwnedFd, name: &OsStr, make: impl Fn() -> Result<(), Errno>) -> io::Result<()> {
        match make() {
            Err(Errno::EXIST) => {
                self.make_room(parent, name)?;
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    /// Sets the times of directories, now that nothing is made in them any more. One that another
    /// entry has replaced since has none.
    pub(super) fn finish(self) {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for (path, mtime) in &self.times {
            let path = if path.is_empty() { b".".as_slice() } else { path };
            if let Ok(directory) = openat2(self.root, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
                let _ = futimens(&directory, &times(*mtime));
            }
        }
    }
}

/// Removes what is at `name`, a directory with all that is in it. No link is followed.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        removed => return Ok(removed?),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let below = entry.file_name().to_bytes();
        if below != b"." && below != b".." {
            remove(directory.as_fd(), OsStr::from_bytes(below))?;
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Users' own attributes; those of the system are for privileged users, and file systems without any
/// are common.
fn set_xattrs(file: impl std::os::fd::AsFd, entry: &TarEntry) -> io::Result<()> {
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| notes::is_users_own(name)) {
        match fsetxattr(&file, name.as_str(), value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            set => set?,
        }
    }
    Ok(())
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
