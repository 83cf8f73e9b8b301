//! What the disk cannot say of an unpacked file: its owner in the image, and the bits of its mode that are
//! not given to it here. Kept in attributes of users' own, so that it goes along with the file when that is
//! renamed, linked or copied into the upper layer of an overlay.
//!
//! A file without notes is root's, with the mode that it has.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fsetxattr, fstat};
use rustix::io::Errno;

use crate::layer::facts::in_32_bits;

/// The attribute with the owner: `USER:GROUP`, numbers.
pub const OWNER: &CStr = c"user.mab.owner";
/// The attribute with the mode: an octal number.
pub const MODE: &CStr = c"user.mab.mode";
/// The mark of a directory in a copy of layers.
pub const MERGED: &CStr = c"user.mab.merged";
/// What the names of all notes begin with. A layer neither brings nor gets any.
pub const PREFIX: &str = "user.mab.";
/// What overlay file systems keep their own notes under.
pub(super) const OF_OVERLAYS: &str = "user.overlay.";

/// Whether an attribute is one that programs keep with a file: neither a note nor the system's.
pub fn is_users_own(name: &str) -> bool {
    name.starts_with("user.") && !name.starts_with(PREFIX) && !name.starts_with(OF_OVERLAYS)
}

/// An owner as it is noted.
pub fn owner(uid: u32, gid: u32) -> String {
    format!("{uid}:{gid}")
}

/// The owner that a note means.
pub fn parse_owner(note: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(note).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// A mode as it is noted.
pub fn mode(mode: u32) -> String {
    format!("{mode:o}")
}

/// The mode that a note means.
pub fn parse_mode(note: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(note).ok()?, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// Writes the notes of a file that is new. File systems without attributes keep none.
pub fn write(file: impl AsFd, owner: (u64, u64), wanted: u32, given: u32) -> Result<(), Errno> {
    if owner != (0, 0) {
        write_owner(&file, owner)?;
    }
    if wanted != given {
        put(&file, MODE, &mode(wanted))?;
    }
    Ok(())
}

/// Writes the owner alone, root or not: in a directory that hands its group on, a file without a note would
/// be taken for a new one, of that group.
pub(super) fn write_owner(file: impl AsFd, (uid, gid): (u64, u64)) -> Result<(), Errno> {
    put(&file, OWNER, &owner(in_32_bits(uid), in_32_bits(gid)))
}

/// Marks a directory as one that is made of layers. The mark has the directory's own number, so that a copy of
/// it marks nothing.
pub(super) fn mark_merged(directory: impl AsFd) -> Result<(), Errno> {
    put(&directory, MERGED, &fstat(&directory)?.st_ino.to_string())
}

/// Whether a mark is that of the directory with this number.
pub fn is_merged(mark: &[u8], number: u64) -> bool {
    mark == number.to_string().as_bytes()
}

fn put(file: impl AsFd, name: &CStr, value: &str) -> Result<(), Errno> {
    match fsetxattr(file, name, value.as_bytes(), XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(()),
        set => set,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_are_written_and_nothing_else_is() {
        assert_eq!(parse_owner(owner(33, u32::MAX).as_bytes()), Some((33, u32::MAX)));
        assert_eq!(parse_mode(mode(0o4755).as_bytes()), Some(0o4755));
        for odd in ["", ":", "1", "1:", "a:b", "1:2:3", "-1:0", "4294967296:0", "1:2 "] {
            assert_eq!(parse_owner(odd.as_bytes()), None, "{odd:?}");
        }
        for odd in ["", "9", "10000", "-1"] {
            assert_eq!(parse_mode(odd.as_bytes()), None, "{odd:?}");
        }
        assert!(is_users_own("user.mine") && is_users_own("user.mabel"));
        for other in ["user.mab.owner", "user.overlay.opaque", "security.capability", "trusted.x"] {
            assert!(!is_users_own(other), "{other}");
        }
    }
}
