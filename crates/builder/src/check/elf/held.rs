//! A file that goes by once: as much of it is held as its facts need, within a bound.
//!
//! Almost all files are held whole. Of a large one the beginning is (headers, names, versions),
//! then the pieces that its segments name, and its end (section headers).

use std::io::{self, Read};

use super::parse::File;
use super::read::ReadAt;

/// Files up to this size are held whole, and as much of the beginning of larger ones, in bytes.
const WHOLE: usize = 8 << 20;
/// As much of the end.
const END: usize = 256 << 10;

/// The parts of a file that are at hand: each with its offset, sorted, not overlapping.
pub(super) struct Held {
    parts: Vec<(u64, Vec<u8>)>,
}

impl Held {
    /// Takes a file of `size` bytes from `content`.
    pub(super) fn read(size: u64, content: &mut dyn Read) -> io::Result<Self> {
        let first = size.min(WHOLE as u64);
        // As much as there is to be, at once: vectors that grow leave holes of megabytes in the heap, for
        // each layer that is being read.
        let mut start = Vec::with_capacity(first as usize);
        content.take(first).read_to_end(&mut start)?;
        let mut held = Self { parts: vec![(0, start)] };
        if size <= WHOLE as u64 {
            return Ok(held);
        }
        let mut wanted = match File::open(&held) {
            Ok((file, _)) => file.pieces(),
            Err(_) => return Ok(held),
        };
        wanted.push((size.saturating_sub(END as u64), END as u64));
        wanted.sort_unstable();
        let mut at = first;
        for (offset, length) in wanted {
            let end = offset.saturating_add(length).min(size);
            let offset = offset.max(at);
            if offset >= end {
                continue;
            }
            io::copy(&mut content.take(offset - at), &mut io::sink())?;
            let mut part = Vec::new();
            content.take(end - offset).read_to_end(&mut part)?;
            at = offset + part.len() as u64;
            match held.parts.last_mut() {
                Some((last, bytes)) if *last + bytes.len() as u64 == offset => bytes.extend(part),
                _ => held.parts.push((offset, part)),
            }
        }
        Ok(held)
    }
}

impl ReadAt for Held {
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.parts.iter().rev().find(|(start, _)| *start <= offset);
        let Some((start, bytes)) = part else { return Ok(0) };
        bytes[..].read_at_most(offset - start, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_held_in_parts() {
        let mut bytes = vec![0; WHOLE + (4 << 20)];
        // ELF64 with one segment, PT_DYNAMIC, behind what is held of the beginning.
        bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 2;
        let at = (WHOLE + 1000) as u64;
        bytes[72..80].copy_from_slice(&at.to_le_bytes());
        bytes[96..104].copy_from_slice(&100_u64.to_le_bytes());
        bytes[WHOLE + 1000] = 0xaa;
        *bytes.last_mut().unwrap() = 0xbb;
        let held = Held::read(bytes.len() as u64, &mut &bytes[..]).unwrap();
        let byte = |at: u64| {
            let mut buffer = [0; 1];
            (held.read_at_most(at, &mut buffer).unwrap(), buffer[0])
        };
        assert_eq!(byte(at), (1, 0xaa));
        assert_eq!(byte(bytes.len() as u64 - 1), (1, 0xbb));
        assert_eq!(byte(at + 100).0, 0);
        assert_eq!(byte(0), (1, 0x7f));
        let total: usize = held.parts.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(total, WHOLE + 100 + END);
    }
}
