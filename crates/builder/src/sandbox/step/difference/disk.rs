//! A file as it is on disk, with the notes that say what the image has in its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use oci_layout::layer::notes;
use rustix::fs::{AtFlags, CWD, StatxFlags, lgetxattr, llistxattr, statx};
use rustix::io::Errno;

use crate::sandbox::step::StepError;
use crate::sandbox::step::owners::device;
use crate::sandbox::step::record::FileId;

/// Most bytes of an attribute, and of the names of all that a file has: the kernel's own limit.
const MAX_ATTRIBUTE: usize = 64 << 10;
/// Rights of a program's file.
const CAPABILITIES: &str = "security.capability";

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink(OsString),
    Fifo,
    Device { block: bool, major: u32, minor: u32 },
    Unknown,
}

impl Kind {
    /// Whether a file of the one kind may be the other one, written to.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnDisk {
    pub(super) kind: Kind,
    pub(super) size: u64,
    /// Permission and set-id bits.
    pub(super) mode: u32,
    pub(super) noted_mode: Option<u32>,
    pub(super) owner: Option<(u32, u32)>,
    /// Those that go into a layer.
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    /// Whether a directory hides what the layers below have in it.
    pub(super) opaque: bool,
    pub(super) id: FileId,
}

impl OnDisk {
    /// A file that the step may have written, and that is the reader's to open up.
    pub(super) fn read(path: &Path, metadata: &Metadata) -> Result<Self, StepError> {
        let needed = if metadata.is_dir() { 0o700 } else { 0o400 };
        let mode = metadata.permissions().mode() & 0o7777;
        if (metadata.is_dir() || metadata.is_file()) && mode & needed != needed {
            std::fs::set_permissions(path, Permissions::from_mode(mode | needed))
                .map_err(StepError::io("open up", path))?;
        }
        Self::read_lower(path, metadata)
    }

    /// The same of a directory whose metadata is not known yet.
    pub(super) fn open(path: &Path) -> Result<Self, StepError> {
        Self::read(path, &path.symlink_metadata().map_err(StepError::io("look at", path))?)
    }

    /// A file of a layer, which can be read and is left as it is.
    pub(super) fn read_lower(path: &Path, metadata: &Metadata) -> Result<Self, StepError> {
        let failed = |error: Errno| StepError::io("read the attributes of", path)(error.into());
        let kind = metadata.file_type();
        let mut found = Self {
            kind: Kind::Unknown,
            size: metadata.len(),
            mode: metadata.permissions().mode() & 0o7777,
            noted_mode: None,
            owner: None,
            xattrs: BTreeMap::new(),
            opaque: false,
            id: FileId { number: metadata.ino(), born: (0, 0) },
        };
        if kind.is_symlink() {
            let target = std::fs::read_link(path).map_err(StepError::io("read", path))?;
            found.kind = Kind::Symlink(target.into_os_string());
        } else if kind.is_fifo() {
            found.kind = Kind::Fifo;
        } else if kind.is_dir() {
            found.kind = Kind::Directory;
            found.opaque = is_opaque(path);
            found.attributes(path).map_err(failed)?;
        } else if kind.is_file() {
            found.kind = Kind::File;
            found.attributes(path).map_err(failed)?;
        }
        if kind.is_symlink() || kind.is_fifo() {
            found.id = file_id(path).map_err(failed)?;
        }
        Ok(found)
    }

    pub(super) fn open_lower(path: &Path) -> Result<Self, StepError> {
        Self::read_lower(path, &path.symlink_metadata().map_err(StepError::io("look at", path))?)
    }

    fn attributes(&mut self, path: &Path) -> Result<(), Errno> {
        for name in names(path)? {
            let kept = notes::is_users_own(&name) || name == CAPABILITIES;
            if !kept && !name.starts_with(notes::PREFIX) {
                continue;
            }
            let Some(value) = attribute(path, &name)? else { continue };
            let noted = |known: &std::ffi::CStr| name.as_bytes() == known.to_bytes();
            if noted(notes::OWNER) {
                self.owner = notes::parse_owner(&value);
            } else if noted(notes::MODE) {
                self.noted_mode = notes::parse_mode(&value);
            } else if noted(device::NOTE) {
                if let Some((block, major, minor)) = device::parse(&value) {
                    self.kind = Kind::Device { block, major, minor };
                }
            } else if name == CAPABILITIES {
                self.xattrs.insert(name, without_namespace(value));
            } else if kept && !name.contains('=') && !value.is_empty() {
                // The others cannot be written to a layer.
                self.xattrs.insert(name, value);
            }
        }
        Ok(())
    }

    /// The mode that the image has.
    pub(super) fn true_mode(&self) -> u32 {
        let given = |mode: u32| match self.kind {
            Kind::Directory => mode & 0o1777 | 0o700,
            _ => mode & 0o1777 | 0o400,
        };
        let has = if self.kind == Kind::Directory { self.mode & 0o1777 } else { self.mode };
        // A file that has another mode by now was given it by the step.
        self.noted_mode.filter(|noted| given(*noted) == has).unwrap_or(self.mode)
    }

    /// Whether a directory is as it was made.
    pub(super) fn is_plain_directory(&self) -> bool {
        self.kind == Kind::Directory
            && self.mode & 0o5777 == 0o755
            && self.noted_mode.is_none()
            && self.owner.is_none()
            && self.xattrs.is_empty()
    }

    /// Whether it has the content that a file of the same kind had.
    pub(super) fn same_content(&self, path: &Path, before: &Self, of_before: &Path) -> Result<bool, StepError> {
        if self.kind != before.kind || self.kind == Kind::File && self.size != before.size {
            return Ok(false);
        }
        if self.kind != Kind::File || self.size == 0 {
            return Ok(true);
        }
        let open = |path: &Path| File::open(path).map_err(StepError::io("open", path));
        same_bytes(open(path)?, open(of_before)?).map_err(StepError::io("read", path))
    }
}

fn same_bytes(one: File, other: File) -> io::Result<bool> {
    const PIECE: u64 = 128 << 10;
    let (mut one, mut other) = (one, other);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        ours.clear();
        theirs.clear();
        (&mut one).take(PIECE).read_to_end(&mut ours)?;
        (&mut other).take(PIECE).read_to_end(&mut theirs)?;
        if ours != theirs {
            return Ok(false);
        }
        if ours.is_empty() {
            return Ok(true);
        }
    }
}

fn names(path: &Path) -> Result<Vec<String>, Errno> {
    // Most files have none.
    let mut few = [0_u8; 512];
    let list = match llistxattr(path, &mut few[..]) {
        Ok(count) => few[..count].to_vec(),
        Err(Errno::OPNOTSUPP) => Vec::new(),
        Err(Errno::RANGE) => {
            let mut many = vec![0_u8; MAX_ATTRIBUTE];
            let count = llistxattr(path, &mut many[..])?;
            many.truncate(count);
            many
        }
        Err(error) => return Err(error),
    };
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned).collect())
}

fn attribute(path: &Path, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0_u8; MAX_ATTRIBUTE];
    match lgetxattr(path, name, &mut value[..]) {
        Ok(count) => {
            value.truncate(count);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Capabilities without the user of this system that the sandbox's root is: version 2 of the format, as
/// layers have it (`linux/capability.h`).
fn without_namespace(mut value: Vec<u8>) -> Vec<u8> {
    const LENGTH_2: usize = 20;
    const LENGTH_3: usize = 24;
    if value.len() == LENGTH_3 && value[3] == 3 {
        value.truncate(LENGTH_2);
        value[3] = 2;
    }
    value
}

/// Identifies a file for as long as it lives.
fn file_id(path: &Path) -> Result<FileId, Errno> {
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::BTIME)?;
    Ok(FileId { number: found.stx_ino, born: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec) })
}

/// The mark of a deletion.
pub(super) fn is_whiteout(path: &Path, metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    kind.is_char_device() && metadata.rdev() == 0
        || kind.is_file() && metadata.len() == 0 && has(path, c"user.overlay.whiteout").is_some()
}

/// The mark of a directory that hides what the layers below have in it.
pub(super) fn is_opaque(path: &Path) -> bool {
    has(path, c"user.overlay.opaque").is_some_and(|value| value == b"y")
}

fn has(path: &Path, name: &std::ffi::CStr) -> Option<Vec<u8>> {
    let mut value = [0_u8; 8];
    lgetxattr(path, name, &mut value[..]).ok().map(|count| value[..count].to_vec())
}

pub(super) fn is_socket(metadata: &Metadata) -> bool {
    metadata.file_type().is_socket()
}

pub(super) fn number(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

pub(super) fn has_other_names(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.nlink() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_the_namespace_that_they_were_made_in() {
        let mut three = vec![1, 0, 0, 3];
        three.extend([7; 16]);
        let two = [&[1, 0, 0, 2], &three[4..]].concat();
        three.extend(1000_u32.to_le_bytes());
        assert_eq!(without_namespace(three), two);
        assert_eq!(without_namespace(two.clone()), two);
        assert_eq!(without_namespace(Vec::new()), Vec::<u8>::new());
    }
}
