//! Puts unpacked layers together by copying them, where no overlay file system can.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use std::ffi::OsStr;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags, chmodat, fchmod, fgetxattr,
    flistxattr, fremovexattr, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::notes;
use super::place::{OPAQUE, remove};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What becomes of files with several names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardLinks {
    /// They stay one file.
    Keep,
    /// Each name becomes a file of its own: in an overlay, a change through one name is not seen through the
    /// others either. Directories are marked ([`notes::MERGED`]): an overlay would not rename them.
    Part,
}

/// Copies layers as [`super::unpack()`] has left them, the lowest first, into the empty directory `to`.
/// What a layer deletes is gone, as it would be in an overlay. No link is followed. Users' extended
/// attributes and notes go along where there is room for them.
pub fn merge(layers: &[PathBuf], to: &Path, hard_links: HardLinks) -> io::Result<()> {
    let to = openat(CWD, to, DIRECTORY, Mode::empty())?;
    for layer in layers {
        let from = openat(CWD, layer.as_path(), DIRECTORY, Mode::empty())?;
        let mut merging = Merging { root: &to, hard_links, links: HashMap::new(), path: Vec::new() };
        merging.directory(&from, &to)?;
    }
    Ok(())
}

/// One layer on its way.
struct Merging<'r> {
    root: &'r OwnedFd,
    hard_links: HardLinks,
    /// Files with several names, by their numbers, and the first of the names.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The directory below the root that is copied.
    path: Vec<u8>,
}

impl Merging<'_> {
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name);
            self.entry(from, to, OsStr::from_bytes(name))?;
            self.path.truncate(length);
        }
        let found = rustix::fs::fstat(from)?;
        // Those that a lower layer has given it.
        for name in attributes(to)? {
            let _ = fremovexattr(to, name.as_str());
        }
        copy_attributes(from, to)?;
        if self.hard_links == HardLinks::Part {
            notes::mark_merged(to)?;
        }
        fchmod(to, Mode::from_raw_mode(found.st_mode & 0o3777))?;
        Ok(futimens(to, &times(&found))?)
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let found = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind == FileType::Directory {
            let below = openat(from, name, DIRECTORY, Mode::empty())?;
            return self.subdirectory(&below, to, name);
        }
        match remove(to.as_fd(), name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match kind {
            FileType::RegularFile => self.file(from, to, name, &found),
            FileType::Symlink => {
                symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
                Ok(utimensat(to, name, &times(&found), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            FileType::Fifo => {
                mknodat(to, name, FileType::Fifo, mode(&found), 0)?;
                Ok(chmodat(to, name, mode(&found), AtFlags::empty())?)
            }
            // The mark of a deletion; there is nothing else.
            _ => Ok(()),
        }
    }

    fn subdirectory(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let there = match statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Some(FileType::from_raw_mode(there.st_mode)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        if there.is_some() && (there != Some(FileType::Directory) || is_opaque(from)) {
            remove(to.as_fd(), name)?;
        }
        match mkdirat(to, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let below = openat(to, name, DIRECTORY, Mode::empty())?;
        self.directory(from, &below)
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, found: &Stat) -> io::Result<()> {
        let number = (found.st_dev, found.st_ino);
        if found.st_nlink > 1 && self.hard_links == HardLinks::Keep {
            if let Some(first) = self.links.get(&number) {
                let first = OsStr::from_bytes(first.strip_prefix(b"/").unwrap_or(first));
                return Ok(linkat(self.root, first, to, name, AtFlags::empty())?);
            }
            self.links.insert(number, self.path.clone());
        }
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut from = File::from(openat(from, name, read, Mode::empty())?);
        let mut to = File::from(openat(to, name, write, Mode::from_raw_mode(0o600))?);
        io::copy(&mut from, &mut to)?;
        copy_attributes(&from, &to)?;
        fchmod(&to, mode(found))?;
        Ok(futimens(&to, &times(found))?)
    }
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0_u8; 8];
    fgetxattr(directory, OPAQUE, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

/// The attributes that go along with a file.
fn attributes(file: impl AsFd) -> io::Result<Vec<String>> {
    // No file has more names than this: the kernel's own limit.
    let mut list = [0_u8; 65_536];
    let count = match flistxattr(&file, &mut list[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        listed => listed?,
    };
    let names = list[..count].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    Ok(names.filter(|name| notes::is_users_own(name) || name.starts_with(notes::PREFIX)).map(str::to_owned).collect())
}

fn copy_attributes(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    for name in attributes(&from)? {
        let mut value = vec![0_u8; 65_536];
        let count = fgetxattr(&from, name.as_str(), &mut value[..])?;
        match fsetxattr(&to, name.as_str(), &value[..count], XattrFlags::empty()) {
            // Memory has no room for attributes on older systems.
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            set => set?,
        }
    }
    Ok(())
}

fn mode(found: &Stat) -> Mode {
    Mode::from_raw_mode(found.st_mode & 0o1777)
}

fn times(found: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: found.st_mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

    use fs_err as fs;
    use rustix::fs::{XattrFlags, makedev, setxattr};

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn delete(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, path.as_path(), FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).unwrap();
    }

    #[test]
    fn what_a_layer_deletes_or_replaces_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["low", "high", "to"] {
            fs::create_dir(at(name)).unwrap();
        }
        for path in ["deleted", "tree/deleted", "tree/kept", "opaque/old", "file", "link/inside"] {
            write(&at("low"), path, "low");
        }
        symlink("/etc", at("low").join("etc")).unwrap();
        for path in ["deleted", "tree", "absent"] {
            delete(&at("high"), if path == "tree" { "tree/deleted" } else { path });
        }
        write(&at("high"), "opaque/new", "high");
        setxattr(at("high").join("opaque"), OPAQUE, b"y", XattrFlags::empty()).unwrap();
        write(&at("high"), "file/now", "a directory");
        symlink("tree", at("high").join("link")).unwrap();
        // Not what the lower layer's link leads to.
        write(&at("high"), "etc/mine", "high");
        fs::hard_link(at("high").join("etc/mine"), at("high").join("same")).unwrap();
        fs::set_permissions(at("high").join("etc/mine"), PermissionsExt::from_mode(0o4640)).unwrap();

        merge(&[at("low"), at("high")], &at("to"), HardLinks::Keep).unwrap();
        let to = at("to");
        let text = |path: &str| fs::read_to_string(to.join(path)).unwrap();
        for gone in ["deleted", "tree/deleted", "absent", "opaque/old"] {
            assert!(to.join(gone).symlink_metadata().is_err(), "{gone}");
        }
        assert_eq!([text("tree/kept"), text("opaque/new"), text("file/now")], ["low", "high", "a directory"]);
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("tree"));
        assert!(!to.join("etc").is_symlink() && text("etc/mine") == "high");
        let [one, two] = ["same", "etc/mine"].map(|path| fs::metadata(to.join(path)).unwrap());
        assert_eq!((one.ino(), one.permissions().mode() & 0o7777), (two.ino(), 0o640));
        fs::create_dir(at("parted")).unwrap();
        merge(&[at("low"), at("high")], &at("parted"), HardLinks::Part).unwrap();
        let [one, two] = ["same", "etc/mine"].map(|path| fs::metadata(at("parted").join(path)).unwrap());
        assert_ne!(one.ino(), two.ino());
    }

    #[test]
    fn attributes_are_those_of_the_highest_layer() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let layers = [at("low"), at("high")];
        for layer in &layers {
            write(layer, "tree/file", "x");
        }
        for (layer, path, name) in [
            ("low", "tree", notes::OWNER),
            ("low", "tree/file", notes::OWNER),
            ("high", "tree", c"user.mine"),
            ("high", "tree/file", notes::MODE),
            ("high", "tree/file", c"user.overlay.note"),
        ] {
            setxattr(at(layer).join(path), name, b"1", XattrFlags::empty()).unwrap();
        }
        fs::create_dir(at("to")).unwrap();
        merge(&layers, &at("to"), HardLinks::Keep).unwrap();
        let of = |path: &str| attributes(fs::File::open(at("to").join(path)).unwrap().file()).unwrap();
        assert_eq!(of("tree"), ["user.mine"]);
        assert_eq!(of("tree/file"), ["user.mab.mode"]);
    }
}
