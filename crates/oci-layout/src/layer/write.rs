//! The layer writer.

use std::borrow::Borrow;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::deflate::BLOCK;
use super::entry::{Content, Entry, EntryKind, arrange};
use super::gzip::GzipWriter;
use super::header;
use super::pool::Pool;
use super::source::{SourceFile, SourceStates};
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::media_type::{Compression, OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_LAYER_ZSTD};
use crate::path::ImagePath;
use crate::store::{BlobStore, BlobWriter, StoreError};

/// How a layer is written. The same entries and options give the same bytes everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerOptions {
    /// Of the blob.
    pub compression: Compression,
    /// Time of every entry, in seconds since the epoch.
    pub mtime: i64,
}

impl Default for LayerOptions {
    /// gzip, and one second after the epoch: some programs take 0 for "no time".
    fn default() -> Self {
        Self { compression: Compression::Gzip, mtime: 1 }
    }
}

/// A layer that is in the store now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenLayer {
    /// Type, digest and size of the blob.
    pub descriptor: Descriptor,
    /// Digest of the tar inside.
    pub diff_id: Digest,
    /// Size of that tar in bytes.
    pub size_uncompressed: u64,
}

/// Why a layer was not written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Two different entries for one path (row I11).
    #[error("two different entries for {path}")]
    Conflict {
        /// The path.
        path: ImagePath,
    },
    /// Something below a file or link (row I11).
    #[error("{below} cannot be below {path}, which is not a directory")]
    NotDirectory {
        /// The file or link.
        path: ImagePath,
        /// What should be below it.
        below: ImagePath,
    },
    /// A hard link to what is not a file of the layer.
    #[error("hard link {path} to {to}, which is not a file of the same layer")]
    HardLink {
        /// The link.
        path: ImagePath,
        /// Its target.
        to: ImagePath,
    },
    /// A symlink's text that no file system takes.
    #[error("symbolic link {path} has an empty, overlong or NUL-holding target")]
    Symlink {
        /// The link.
        path: ImagePath,
    },
    /// A deletion of the root, or of a name that has no room for the mark of one.
    #[error("the deletion of {path} cannot be written to a layer: its name is too long")]
    Whiteout {
        /// What is deleted.
        path: ImagePath,
    },
    /// Numbers of a device that a tar has no room for.
    #[error("the numbers of device {path} are too large for a layer")]
    Device {
        /// The device.
        path: ImagePath,
    },
    /// More than permission and set-id bits.
    #[error("mode {mode:o} of {path} has more than permission and set-id bits")]
    Mode {
        /// The entry.
        path: ImagePath,
        /// Its mode.
        mode: u32,
    },
    /// An extended attribute that a PAX record cannot carry: no name, no value, or `=` in the name.
    #[error("extended attribute {name:?} of {path} has an unusable name or no value")]
    Xattr {
        /// The entry.
        path: ImagePath,
        /// The attribute's name.
        name: String,
    },
    /// A symlink, fifo, socket, device or directory where a file was expected (rows I05, I06).
    #[error("{} is {found}, not a regular file", path.display())]
    SourceKind {
        /// The source.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Another size or time than before (row I13).
    #[error("{} changed while it was read", path.display())]
    SourceChanged {
        /// The source.
        path: PathBuf,
    },
    /// Content that is not what it was found to be before (row I13).
    #[error("the files of a layer changed meanwhile: its diff ID was {expected} and is now {found}")]
    Changed {
        /// What it was.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A source that cannot be read.
    #[error("cannot read {}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The compressor failed.
    #[error("cannot compress a layer")]
    Compress(#[source] io::Error),
    /// The blob could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes `entries` as one layer into `store`. Memory is bounded by `pool`, whatever the layer's size.
///
/// # Errors
///
/// [`LayerError`]; the store is then as it was before.
pub fn write_layer(
    entries: &[Entry],
    options: &LayerOptions,
    pool: &Pool,
    store: &BlobStore,
) -> Result<WrittenLayer, LayerError> {
    write_arranged(&arrange(entries.iter().collect())?, options, pool, store, &mut SourceStates::new())
}

/// The same for entries in their order; notes the states of the files that were read.
pub(super) fn write_arranged<E: Borrow<Entry>>(
    arranged: &[E],
    options: &LayerOptions,
    pool: &Pool,
    store: &BlobStore,
    states: &mut SourceStates,
) -> Result<WrittenLayer, LayerError> {
    let codec = Codec::new(options.compression, store.writer()?, pool)?;
    let (codec, diff_id, size_uncompressed) = tar(arranged, options.mtime, codec, states)?;
    let (digest, size) = codec.finish()?.commit()?;
    let media_type = match options.compression {
        Compression::None => OCI_LAYER_TAR,
        Compression::Gzip => OCI_LAYER_GZIP,
        Compression::Zstd => OCI_LAYER_ZSTD,
    };
    Ok(WrittenLayer { descriptor: Descriptor::new(media_type, digest, size), diff_id, size_uncompressed })
}

/// The digest of the tar alone.
pub(super) fn hash_tar<E: Borrow<Entry>>(
    arranged: &[E],
    mtime: i64,
    states: &mut SourceStates,
) -> Result<Digest, LayerError> {
    Ok(tar(arranged, mtime, Discard, states)?.1)
}

/// Writes the tar of `arranged` into `blocks`; gives them back with the tar's digest and size.
fn tar<E: Borrow<Entry>, B: Blocks>(
    arranged: &[E],
    mtime: i64,
    blocks: B,
    states: &mut SourceStates,
) -> Result<(B, Digest, u64), LayerError> {
    let mut tar = TarStream::new(blocks);
    let mut headers = Vec::new();
    for entry in arranged.iter().map(Borrow::borrow) {
        let content = match &entry.kind {
            EntryKind::File(content) => Some(content),
            _ => None,
        };
        let size = content.map_or(0, Content::size);
        headers.clear();
        header::append(&mut headers, entry, size, mtime);
        tar.write(&headers)?;
        match content {
            Some(Content::Bytes(bytes)) => tar.write(bytes)?,
            Some(Content::File { path, size }) => {
                let mut file = SourceFile::open(path, *size)?;
                while tar.fill(|space| file.read(space))? != 0 {}
                file.finish(states)?;
            }
            None => {}
        }
        tar.write(&[0; header::BLOCK][..header::padding(size)])?;
    }
    tar.write(&[0; 2 * header::BLOCK])?;
    tar.finish()
}

/// Takes a tar in blocks of equal size, the last one shorter.
trait Blocks {
    fn block(&mut self, data: &[u8]) -> Result<(), LayerError>;
}

/// Wants the digest only.
struct Discard;

impl Blocks for Discard {
    fn block(&mut self, _: &[u8]) -> Result<(), LayerError> {
        Ok(())
    }
}

/// The tar, cut into blocks that are hashed and handed on while they are in the CPU's cache.
struct TarStream<B> {
    blocks: B,
    block: Vec<u8>,
    used: usize,
    hasher: Hasher,
    size: u64,
}

impl<B: Blocks> TarStream<B> {
    fn new(blocks: B) -> Self {
        Self { blocks, block: vec![0; BLOCK], used: 0, hasher: Hasher::new(Algorithm::Sha256), size: 0 }
    }

    /// Lets `read` put bytes into the block's free space, which is never empty.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize, LayerError>) -> Result<usize, LayerError> {
        let count = read(&mut self.block[self.used..])?;
        self.used += count;
        if self.used == self.block.len() {
            self.pass_on()?;
        }
        Ok(count)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            self.fill(|space| {
                let count = space.len().min(bytes.len());
                let (now, later) = bytes.split_at(count);
                space[..count].copy_from_slice(now);
                bytes = later;
                Ok(count)
            })?;
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), LayerError> {
        let block = &self.block[..self.used];
        self.hasher.update(block);
        self.size += block.len() as u64;
        self.blocks.block(block)?;
        self.used = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(B, Digest, u64), LayerError> {
        if self.used > 0 {
            self.pass_on()?;
        }
        Ok((self.blocks, self.hasher.finish(), self.size))
    }
}

/// Level of zstd: its default. Part of the format.
const ZSTD_LEVEL: i32 = 3;

/// A compressor in front of a blob.
enum Codec<'a> {
    None(BlobWriter),
    Gzip(GzipWriter<'a, BlobWriter>),
    Zstd(zstd::stream::write::Encoder<'static, BlobWriter>),
}

impl<'a> Codec<'a> {
    fn new(compression: Compression, blob: BlobWriter, pool: &'a Pool) -> Result<Self, LayerError> {
        match compression {
            Compression::None => Ok(Self::None(blob)),
            Compression::Gzip => GzipWriter::new(blob, pool).map(Self::Gzip).map_err(LayerError::Compress),
            Compression::Zstd => zstd_encoder(blob, pool.threads()).map(Self::Zstd).map_err(LayerError::Compress),
        }
    }

    fn finish(self) -> Result<BlobWriter, LayerError> {
        match self {
            Self::None(blob) => Ok(blob),
            Self::Gzip(gzip) => gzip.finish().map_err(LayerError::Compress),
            Self::Zstd(zstd) => zstd.finish().map_err(LayerError::Compress),
        }
    }
}

impl Blocks for Codec<'_> {
    fn block(&mut self, data: &[u8]) -> Result<(), LayerError> {
        match self {
            Self::None(blob) => blob.write_all(data),
            Self::Gzip(gzip) => gzip.block(data),
            Self::Zstd(zstd) => zstd.write_all(data),
        }
        .map_err(LayerError::Compress)
    }
}

/// One frame with a checksum. With one worker or more the bytes are the same for any number.
fn zstd_encoder(blob: BlobWriter, threads: usize) -> io::Result<zstd::stream::write::Encoder<'static, BlobWriter>> {
    let mut encoder = zstd::stream::write::Encoder::new(blob, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.multithread(u32::try_from(threads.clamp(1, 64)).unwrap_or(1))?;
    Ok(encoder)
}

#[cfg(test)]
mod tests;
