//! Reads and writes the memory of a process that waits for an answer.

use rustix::io::Errno;

use crate::sandbox::sys;

/// Longest path, with its NUL: the kernel's own limit.
const MAX_PATH: usize = 4096;
/// No page is smaller.
const PAGE: u64 = 4096;

/// A path, without its NUL.
pub(super) fn path(process: u32, address: u64) -> Result<Vec<u8>, Errno> {
    let mut path = Vec::new();
    let mut at = address;
    while path.len() < MAX_PATH {
        // What is behind it may not be there: never across a page's end.
        let mut piece = [0_u8; PAGE as usize];
        let length = (PAGE - at % PAGE) as usize;
        let piece = &mut piece[..length];
        read(process, at, piece)?;
        match piece.iter().position(|byte| *byte == 0) {
            Some(end) => {
                path.extend_from_slice(&piece[..end]);
                return if path.len() < MAX_PATH { Ok(path) } else { Err(Errno::NAMETOOLONG) };
            }
            None => path.extend_from_slice(piece),
        }
        at = at.checked_add(length as u64).ok_or(Errno::FAULT)?;
    }
    Err(Errno::NAMETOOLONG)
}

pub(super) fn read(process: u32, address: u64, into: &mut [u8]) -> Result<(), Errno> {
    match sys::read_memory(process, address, into) {
        Ok(count) if count == into.len() => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

pub(super) fn write(process: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    match sys::write_memory(process, address, bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

/// Users or groups in a row, 32 bits each or 16.
pub(super) fn ids(process: u32, address: u64, count: usize, wide: bool) -> Result<Vec<u32>, Errno> {
    let mut bytes = vec![0; count * if wide { 4 } else { 2 }];
    read(process, address, &mut bytes)?;
    Ok(match wide {
        true => bytes.as_chunks().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)).collect(),
        false => bytes.as_chunks().0.iter().map(|bytes| widened(u16::from_ne_bytes(*bytes).into())).collect(),
    })
}

pub(super) fn write_ids(process: u32, address: u64, ids: &[u32], wide: bool) -> Result<(), Errno> {
    let bytes: Vec<u8> = match wide {
        true => ids.iter().flat_map(|id| id.to_ne_bytes()).collect(),
        false => ids.iter().flat_map(|id| narrowed(*id).to_ne_bytes()).collect(),
    };
    write(process, address, &bytes)
}

/// A number of 16 bits as one of 32: the one that means no change still does.
pub(super) fn widened(id: u32) -> u32 {
    match id & 0xffff {
        0xffff => u32::MAX,
        id => id,
    }
}

/// The other way; what has no room is the overflow user.
pub(super) fn narrowed(id: u32) -> u16 {
    u16::try_from(id).unwrap_or(65_534)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_to_their_ends_and_no_further() {
        let own = std::process::id();
        let text = [b"/some/path\0".as_slice(), &[1; 5000]].concat();
        assert_eq!(path(own, text.as_ptr() as u64), Ok(b"/some/path".to_vec()));
        let long = vec![1_u8; 3 * 4096];
        assert_eq!(path(own, long.as_ptr() as u64), Err(Errno::NAMETOOLONG));
        assert_eq!(path(own, 8), Err(Errno::FAULT));
        assert_eq!(path(own, u64::MAX - 1), Err(Errno::FAULT));
    }

    #[test]
    fn numbers_have_16_bits_where_they_have_no_more() {
        assert_eq!([0, 33, 0xffff, 0x7_0021].map(widened), [0, 33, u32::MAX, 0x21]);
        assert_eq!([0, 33, 70_000].map(narrowed), [0, 33, 65_534]);
        let own = std::process::id();
        let list = [1_u16, 0xffff];
        assert_eq!(ids(own, list.as_ptr() as u64, 2, false), Ok(vec![1, u32::MAX]));
        let list = [1_u32, 70_000];
        assert_eq!(ids(own, list.as_ptr() as u64, 2, true), Ok(vec![1, 70_000]));
    }
}
