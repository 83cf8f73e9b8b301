//! A tar whose members are known before it is read: written by [`SeriesWriter`], read by
//! [`SeriesReader`], which takes the one sequence of bytes that the writer makes and no other.
//!
//! A general reader has to decide what a doubled name, a name with `..` in it, or something behind
//! the end means. Here nothing of that is a question: each header is compared with the one that
//! belongs in its place.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::read::{ArchiveBlob, Place};
use super::{ArchiveError, TarFile};
use crate::descriptor::Descriptor;
use crate::digest::Verifier;
use crate::layer::tar_header::{self, BLOCK};
use crate::store::{StoreError, open_regular};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// Pieces under way between reading, hashing and writing.
const PIECES: usize = 4;

/// Why a series was not read.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The file.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// It ends too early.
    #[error("it is truncated: it ends at byte {length}, in `{member}`")]
    Truncated {
        /// Its length.
        length: u64,
        /// What is cut off, or missing.
        member: String,
    },
    /// Another member than the one that belongs there.
    #[error("it was changed: at byte {at} there is {found} where `{expected}` belongs")]
    Unexpected {
        /// Where.
        at: u64,
        /// The member that belongs there.
        expected: String,
        /// What is there, in words.
        found: String,
    },
    /// Something behind the end.
    #[error("it was changed: there are {surplus} bytes behind its end")]
    Surplus {
        /// How many.
        surplus: u64,
    },
    /// Not a regular file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes members one after the other.
pub struct SeriesWriter<W>(TarFile<W>);

impl<W: Write> SeriesWriter<W> {
    /// Into `out`, which should take large pieces.
    pub fn new(out: W) -> Self {
        Self(TarFile::new(out))
    }

    /// A directory; its name ends in `/`.
    pub fn directory(&mut self, name: &str) -> Result<(), ArchiveError> {
        self.0.directory(name)
    }

    /// A file in memory.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.0.file(name, bytes)
    }

    /// A blob, verified: the file is of no use after an error. Reading and hashing go on beside
    /// the writing.
    pub fn blob(&mut self, name: &str, descriptor: &Descriptor, reader: impl Read + Send) -> Result<(), ArchiveError> {
        self.0.write(&tar_header::plain(name, b'0', 0o644, descriptor.size))?;
        self.copy(descriptor, reader)?;
        self.0.pad(descriptor.size)
    }

    fn copy(&mut self, descriptor: &Descriptor, mut reader: impl Read + Send) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Blob { digest: descriptor.digest, source };
        let (digest, size) = (descriptor.digest, descriptor.size);
        thread::scope(|scope| {
            let (read, to_write) = sync_channel::<Arc<Vec<u8>>>(PIECES);
            let (read_too, to_hash) = sync_channel::<Arc<Vec<u8>>>(PIECES);
            let reading = scope.spawn(move || -> io::Result<()> {
                let mut left = size.saturating_add(1);
                while left > 0 {
                    let mut piece = Vec::with_capacity(PIECE);
                    let want = left.min(PIECE as u64);
                    let count = reader.by_ref().take(want).read_to_end(&mut piece)?;
                    left -= count as u64;
                    if count == 0 {
                        break;
                    }
                    let piece = Arc::new(piece);
                    // Whoever has stopped taking has an error of its own.
                    if read.send(Arc::clone(&piece)).is_err() || read_too.send(piece).is_err() {
                        break;
                    }
                }
                Ok(())
            });
            let hashing = scope.spawn(move || -> io::Result<()> {
                let mut verifier = Verifier::new(digest, size);
                for piece in to_hash {
                    verifier.update(&piece).map_err(io::Error::other)?;
                }
                verifier.finish().map_err(io::Error::other)
            });
            let mut written = Ok(());
            let mut left = size;
            for piece in to_write {
                let count = left.min(piece.len() as u64);
                left -= count;
                written = self.0.write(&piece[..usize::try_from(count).unwrap_or(piece.len())]);
                if written.is_err() {
                    break;
                }
            }
            let joined = |result: thread::Result<io::Result<()>>| match result {
                Ok(result) => result.map_err(failed),
                Err(panic) => std::panic::resume_unwind(panic),
            };
            let (read, hashed) = (reading.join(), hashing.join());
            written.and(joined(read)).and(joined(hashed))
        })
    }

    /// Writes the end.
    pub fn finish(self) -> Result<(), ArchiveError> {
        self.into_inner().map(drop)
    }

    /// The same; gives back what was written to.
    pub fn into_inner(self) -> Result<W, ArchiveError> {
        self.0.end()
    }
}

/// Reads members in the order in which they were written.
pub struct SeriesReader {
    file: Arc<File>,
    length: u64,
    at: u64,
}

impl SeriesReader {
    /// Opens a file, which must be a regular one.
    pub fn open(path: &Path) -> Result<Self, SeriesError> {
        let file = open_regular(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length, at: 0 })
    }

    /// The directory `name` comes next.
    pub fn directory(&mut self, name: &str) -> Result<(), SeriesError> {
        self.header(name, &tar_header::plain(name, b'5', 0o755, 0))
    }

    /// The file `name` comes next, of whatever size up to `limit`: its bytes.
    pub fn small_file(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, SeriesError> {
        let header = self.block(name)?;
        let size = std::str::from_utf8(&header[124..135]).ok().and_then(|digits| u64::from_str_radix(digits, 8).ok());
        let size = size.filter(|size| *size <= limit).unwrap_or(0);
        self.header(name, &tar_header::plain(name, b'0', 0o644, size))?;
        let start = self.content(name, size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// The blob `descriptor` comes next, under `name`. Its bytes are for the reader to verify.
    pub fn blob(&mut self, name: &str, descriptor: &Descriptor) -> Result<ArchiveBlob, SeriesError> {
        self.header(name, &tar_header::plain(name, b'0', 0o644, descriptor.size))?;
        let offset = self.content(name, descriptor.size)?;
        let place = Place::Range { offset, size: descriptor.size };
        Ok(ArchiveBlob::new(descriptor.clone(), Arc::clone(&self.file), place))
    }

    /// The end comes next, and nothing behind it.
    pub fn finish(mut self) -> Result<(), SeriesError> {
        const END: &str = "the end";
        for _ in 0..2 {
            let block = self.block(END)?;
            if block.iter().any(|byte| *byte != 0) {
                return Err(self.unexpected(END, &block));
            }
            self.at += BLOCK as u64;
        }
        match self.length - self.at {
            0 => Ok(()),
            surplus => Err(SeriesError::Surplus { surplus }),
        }
    }

    /// Compares the next header; what is there is named in the error.
    fn header(&mut self, name: &str, expected: &[u8; BLOCK]) -> Result<(), SeriesError> {
        let block = self.block(name)?;
        if block != *expected {
            return Err(self.unexpected(name, &block));
        }
        self.at += BLOCK as u64;
        Ok(())
    }

    fn block(&self, member: &str) -> Result<[u8; BLOCK], SeriesError> {
        let mut block = [0; BLOCK];
        if self.length.saturating_sub(self.at) < BLOCK as u64 {
            return Err(self.truncated(member));
        }
        self.file.read_exact_at(&mut block, self.at)?;
        Ok(block)
    }

    /// Passes over content and its padding, which must be zeros; gives where the content begins.
    fn content(&mut self, member: &str, size: u64) -> Result<u64, SeriesError> {
        let start = self.at;
        let padding = tar_header::padding(size);
        let end = start.saturating_add(size);
        if end.saturating_add(padding as u64) > self.length {
            return Err(self.truncated(member));
        }
        let mut zeros = [0; BLOCK];
        self.file.read_exact_at(&mut zeros[..padding], end)?;
        if zeros.iter().any(|byte| *byte != 0) {
            let found = "padding with something in it".to_owned();
            return Err(SeriesError::Unexpected { at: end, expected: member.to_owned(), found });
        }
        self.at = end + padding as u64;
        Ok(start)
    }

    fn truncated(&self, member: &str) -> SeriesError {
        SeriesError::Truncated { length: self.length, member: member.to_owned() }
    }

    fn unexpected(&self, expected: &str, block: &[u8; BLOCK]) -> SeriesError {
        let name: String = block[..100].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        let found = match (name.as_str(), block.iter().all(|byte| *byte == 0)) {
            (_, true) => "the end".to_owned(),
            (name, false) if name == expected => format!("a damaged or altered header of `{name}`"),
            (name, false) => format!("`{}`", name.escape_default()),
        };
        SeriesError::Unexpected { at: self.at, expected: expected.to_owned(), found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::BlobSource as _;

    fn descriptor(bytes: &[u8]) -> Descriptor {
        Descriptor::of("application/x", bytes)
    }

    fn written(blob: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut series = SeriesWriter::new(&mut out);
        series.file("first", b"one").unwrap();
        series.directory("dir/").unwrap();
        series.blob("dir/blob", &descriptor(blob), blob).unwrap();
        series.finish().unwrap();
        out
    }

    fn read(bytes: &[u8], blob: &[u8]) -> Result<Vec<u8>, SeriesError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), bytes).unwrap();
        let mut series = SeriesReader::open(file.path())?;
        assert_eq!(series.small_file("first", 100)?, b"one");
        series.directory("dir/")?;
        let place = series.blob("dir/blob", &descriptor(blob))?;
        series.finish()?;
        let mut content = Vec::new();
        place.open_at(0)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_was_written_is_read() {
        let blob = vec![7; 3 * PIECE + 5];
        assert_eq!(read(&written(&blob), &blob).unwrap(), blob);
        // Others read it too.
        let mut archive = tar::Archive::new(&*written(&blob)).entries().unwrap().count();
        assert_eq!(std::mem::take(&mut archive), 3);
    }

    #[test]
    fn every_other_sequence_of_bytes_is_refused() {
        let blob = vec![7; 700];
        let good = written(&blob);
        for length in (0..good.len()).step_by(61) {
            let error = read(&good[..length], &blob).unwrap_err();
            assert!(matches!(error, SeriesError::Truncated { .. }), "{length}: {error}");
        }
        let content = 3 * 512 + 512..3 * 512 + 512 + 700;
        for at in (0..good.len()).filter(|at| !content.contains(at) && !(512..515).contains(at)) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad, &blob).is_err(), "a flipped bit at {at}");
        }
        let mut longer = good.clone();
        longer.extend([0; 512]);
        assert!(read(&longer, &blob).unwrap_err().to_string().contains("512 bytes behind its end"));
        // Doubled: the first member again in the second's place.
        let doubled = [&good[..1024], &good[..]].concat();
        let error = read(&doubled, &blob).unwrap_err().to_string();
        assert!(error.contains("`first` where `dir/` belongs"), "{error}");
        let mut out = Vec::new();
        let mut series = SeriesWriter::new(&mut out);
        series.file("first", b"one").unwrap();
        series.directory("../dir/").unwrap();
        series.finish().unwrap();
        let error = read(&out, &blob).unwrap_err().to_string();
        assert!(error.contains("`../dir/` where `dir/` belongs"), "{error}");
    }

    #[test]
    fn a_blob_that_is_not_what_it_says_is_not_written() {
        for bytes in [&b"short"[..], b"too long by far", b"wrong size"] {
            let mut series = SeriesWriter::new(io::sink());
            let error = series.blob("x", &descriptor(b"0123456789"), bytes).unwrap_err();
            assert!(matches!(error, ArchiveError::Blob { .. }), "{error}");
        }
    }
}
