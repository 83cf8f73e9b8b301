//! From a blob's bytes to the tar, within limits.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use super::{Limits, ReadError};
use crate::media_type::Compression;

const BUFFER: usize = 128 * 1024;
/// Where the ratio starts to count: small layers may be all zeros.
const RATIO_FROM: u64 = 64 << 20;

/// The tar inside a blob. All members of a gzip and all frames of a zstd are read. An error that
/// comes out of the reader and is about a limit has a [`ReadError`] inside.
pub fn decompress<'a>(
    blob: impl Read + 'a,
    compression: Compression,
    limits: &Limits,
) -> io::Result<Box<dyn Read + 'a>> {
    let taken = Rc::new(Cell::new(0));
    let counted = BufReader::with_capacity(BUFFER, Counted { inner: blob, taken: Rc::clone(&taken) });
    let inner: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(counted),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(counted)?;
            decoder.window_log_max(limits.window_log)?;
            Box::new(Drained { decoder })
        }
    };
    Ok(Box::new(Limited { inner, taken, given: 0, limits: limits.clone() }))
}

struct Counted<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

/// Reads the blob to its very end, so that whoever verifies it sees the end.
struct Drained<'d, R: BufRead> {
    decoder: zstd::stream::read::Decoder<'d, R>,
}

impl<R: BufRead> Read for Drained<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        if count == 0 && !buffer.is_empty() && !self.decoder.get_mut().fill_buf()?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes after the last zstd frame"));
        }
        Ok(count)
    }
}

struct Limited<'a> {
    inner: Box<dyn Read + 'a>,
    taken: Rc<Cell<u64>>,
    given: u64,
    limits: Limits,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.given += count as u64;
        if self.given > self.limits.size {
            return Err(io::Error::other(ReadError::Size(self.limits.size)));
        }
        if self.given > RATIO_FROM && self.given / self.limits.ratio > self.taken.get() {
            return Err(io::Error::other(ReadError::Ratio(self.limits.ratio)));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn zeros(compression: Compression, mut left: usize) -> Vec<u8> {
        let piece = vec![0; 1 << 20];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        while left > 0 {
            let now = left.min(piece.len());
            match compression {
                Compression::Gzip => gzip.write_all(&piece[..now]).unwrap(),
                _ => zstd.write_all(&piece[..now]).unwrap(),
            }
            left -= now;
        }
        if compression == Compression::Gzip { gzip.finish().unwrap() } else { zstd.finish().unwrap() }
    }

    fn read(blob: &[u8], compression: Compression, limits: &Limits) -> Result<u64, String> {
        let mut reader = decompress(blob, compression, limits).map_err(|error| error.to_string())?;
        io::copy(&mut reader, &mut io::sink()).map_err(|error| error.to_string())
    }

    #[test]
    fn i19_bombs_stop_at_the_limits() {
        let limits = Limits { size: 100 << 20, ..Limits::default() };
        let bomb = zeros(Compression::Gzip, 200 << 20);
        assert!(read(&bomb, Compression::Gzip, &limits).unwrap_err().contains("more than 104857600 bytes"));
        assert_eq!(read(&bomb, Compression::Gzip, &Limits::default()).unwrap(), 200 << 20);
        let bomb = zeros(Compression::Zstd, 200 << 20);
        assert!(read(&bomb, Compression::Zstd, &Limits::default()).unwrap_err().contains("2000 times"));
        let limits = Limits { window_log: 10, ..Limits::default() };
        assert!(read(&bomb, Compression::Zstd, &limits).is_err());
    }

    #[test]
    fn all_members_and_frames_are_read_and_garbage_is_not_passed_over() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut blob = zeros(compression, 1000);
            blob.extend(zeros(compression, 500));
            assert_eq!(read(&blob, compression, &Limits::default()).unwrap(), 1500);
            let cut = &blob[..blob.len() - 3];
            assert!(read(cut, compression, &Limits::default()).is_err());
            blob.extend(b"garbage");
            assert!(read(&blob, compression, &Limits::default()).is_err(), "{compression:?}");
        }
    }
}
