//! Reading pieces of a file at an offset.

use std::fs::File;
use std::io;

/// Something that can be read at any offset.
pub trait ReadAt {
    /// Fills `buffer` from `offset` as far as there is content; returns how far.
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let mut filled = 0;
        while filled < buffer.len() {
            let Some(position) = offset.checked_add(filled as u64) else { break };
            // The kernel's offsets are signed.
            if i64::try_from(position).is_err() {
                break;
            }
            match self.read_at(&mut buffer[filled..], position) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl ReadAt for [u8] {
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// What there is from `offset`, up to `most` bytes. Takes no more memory than the file has content.
pub(super) fn read_up_to<R: ReadAt + ?Sized>(source: &R, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    const STEP: usize = 64 << 10;
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let before = bytes.len();
        let wanted = most.min(before + before.max(STEP));
        bytes.resize(wanted, 0);
        let filled = source.read_at_most(offset.saturating_add(before as u64), &mut bytes[before..])?;
        bytes.truncate(before + filled);
        if bytes.len() < wanted {
            break;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_where_the_file_or_the_limit_does() {
        let file: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        for (offset, most) in [(0, 10), (0, 64 << 10), (1, 150_000), (7, 1 << 20), (199_999, 5), (200_000, 5)] {
            let found = read_up_to(&file[..], offset, most).unwrap();
            let from = offset as usize;
            assert_eq!(found, &file[from..file.len().min(from + most)], "{offset} {most}");
        }
    }
}
