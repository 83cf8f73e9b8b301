//! Reading layers that others wrote, without unpacking them.
//!
//! Everything here reads untrusted bytes: sizes, ratios, counts, lengths and the window of the
//! decompressor are limited (row I19), and nothing is allocated because a header says so.

mod decompress;
mod tar;

pub use decompress::decompress;
pub use tar::{TarEntry, TarKind, TarReader};

use std::io;

use crate::path::{MAX_COMPONENT, MAX_PATH};

/// How much a layer may ask of its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the tar.
    pub size: u64,
    /// Most bytes of the tar for each byte of the blob. Gzip cannot exceed 1,032; zstd can.
    pub ratio: u64,
    /// Most entries.
    pub entries: u64,
    /// Base-two logarithm of the largest zstd window in bytes.
    pub window_log: u32,
}

impl Default for Limits {
    /// More than any honest layer needs: 256 GiB, 2,000 to one, four million entries, a window of 128 MiB.
    fn default() -> Self {
        Self { size: 256 << 30, ratio: 2_000, entries: 4_000_000, window_log: 27 }
    }
}

/// Why a layer was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The blob cannot be read or decompressed, or is not what its digest says.
    #[error("cannot read the layer")]
    Io(#[from] io::Error),
    /// More bytes than [`Limits::size`].
    #[error("the layer has more than {0} bytes uncompressed")]
    Size(u64),
    /// More bytes for each compressed byte than [`Limits::ratio`].
    #[error("the layer expands to more than {0} times its size")]
    Ratio(u64),
    /// More entries than [`Limits::entries`].
    #[error("the layer has more than {0} entries")]
    Entries(u64),
    /// A header that is no tar header.
    #[error("not a valid tar: {what} at byte {at}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Position in the tar.
        at: u64,
    },
    /// A path or link target that no file system takes.
    #[error("entry with a path of {length} bytes, more than {MAX_PATH}, or a component over {MAX_COMPONENT}")]
    LongPath {
        /// Bytes of the path.
        length: usize,
    },
    /// A path that leaves the root.
    #[error("entry `{0}` leaves the root of the image")]
    Traversal(String),
}
