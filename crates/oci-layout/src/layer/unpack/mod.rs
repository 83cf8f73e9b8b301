//! Unpacks a layer into a directory of its own, for programs to run on.
//!
//! Nothing in the layer is trusted. Each path is resolved by the kernel below the directory
//! (`openat2` with `RESOLVE_IN_ROOT`): links in the layer lead to places inside it, as they would in
//! a container, and never out. Deletions become what overlay file systems mark them with: a
//! character device 0/0, and `user.overlay.opaque` on a directory.
//!
//! What comes out belongs to whoever unpacks. Set-id bits of files are dropped, devices left out, and files
//! and directories stay open to their owner, so that they can be compared and a cache of them be removed
//! again. The owner and mode that the layer wants are noted ([`notes`]) where they are others.

mod merge;
pub mod notes;
mod place;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::{BufReader, Read};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

pub use self::merge::{HardLinks, merge};
use self::place::Place;
use super::facts::Hashed;
use super::read::{Limits, ReadError, TarEntry, TarKind, TarReader, decompress};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::media_type::Compression;
use crate::path::{MAX_COMPONENT, WHITEOUT_PREFIX};

/// How much a layer may ask of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Most bytes of all files.
    pub bytes: u64,
    /// Most entries.
    pub entries: u64,
    /// Most components of a path.
    pub depth: usize,
}

impl Default for UnpackLimits {
    /// 64 GiB, two million entries, 256 directories deep.
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 2_000_000, depth: 256 }
    }
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries of the layer.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Devices and entries of unknown types: left out.
    pub left_out: u64,
}

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tar, or what it is compressed with.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The content is not what the image's config says.
    #[error("the layer has diff ID {found}, but the config says {expected}")]
    DiffId {
        /// The config's.
        expected: Digest,
        /// The layer's own.
        found: Digest,
    },
    /// More than [`UnpackLimits::bytes`].
    #[error("the files of the layer have more than {0} bytes")]
    Size(u64),
    /// A path of more components than [`UnpackLimits::depth`].
    #[error("entry `{path}` is more than {limit} directories deep")]
    Depth {
        /// The entry.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// A file that is a map of holes.
    #[error("entry `{0}` is a sparse file in GNU's format, which is not unpacked")]
    Sparse(String),
    /// A parent that is no directory, a hard link without its target, and the like.
    #[error("entry `{path}` does not fit those before it: {what}")]
    Misfit {
        /// The entry.
        path: String,
        /// What does not fit.
        what: String,
    },
    /// The file system.
    #[error("cannot {action} `{path}` of the layer")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The entry.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Unpacks the layer in `blob` into the empty directory `root`, and compares its diff ID. After an
/// error the directory holds some part of it, which is the caller's to remove.
pub fn unpack(
    blob: impl Read,
    compression: Compression,
    diff_id: Digest,
    root: BorrowedFd<'_>,
    limits: &UnpackLimits,
) -> Result<Unpacked, UnpackError> {
    let of_reader = Limits { entries: limits.entries, ..Limits::default() };
    let hasher = Rc::new(RefCell::new(Hasher::new(Algorithm::Sha256)));
    let tar = decompress(blob, compression, &of_reader).map_err(ReadError::from)?;
    let tar = Hashed { inner: tar, hasher: Rc::clone(&hasher) };
    let mut reader = TarReader::new(BufReader::with_capacity(256 * 1024, tar), &of_reader);
    let mut place = Place::new(root);
    let mut unpacked = Unpacked::default();
    while let Some(entry) = reader.next_entry()? {
        unpacked.entries += 1;
        unpacked.bytes = unpacked.bytes.saturating_add(entry.size);
        if unpacked.bytes > limits.bytes {
            return Err(UnpackError::Size(limits.bytes));
        }
        if !unpack_entry(&mut place, &entry, reader.read_content(), limits)? {
            unpacked.left_out += 1;
        }
    }
    place.finish();
    drop(reader.finish()?);
    let found = hasher.borrow().clone().finish();
    if found != diff_id {
        return Err(UnpackError::DiffId { expected: diff_id, found });
    }
    Ok(unpacked)
}

/// False where the entry was left out.
fn unpack_entry(
    place: &mut Place<'_>,
    entry: &TarEntry,
    content: impl Read,
    limits: &UnpackLimits,
) -> Result<bool, UnpackError> {
    let shown = shown(&entry.path);
    let components = components(&entry.path, limits)?;
    let Some((name, parents)) = components.split_last() else {
        // The root itself: there already.
        if entry.kind == TarKind::Directory {
            place.directory_attributes(&[], entry).map_err(io("set the mode of", &shown))?;
        }
        return Ok(true);
    };
    let within = |error| io("put in its place", &shown)(error);
    let parent = place.parent(parents).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotADirectory => misfit(&shown, "something above it is not a directory"),
        _ => within(error),
    })?;
    if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX.as_bytes()) {
        match hidden {
            b".wh..opq" => place.opaque(&parent).map_err(io("mark as new", &shown))?,
            b"" => return Err(misfit(&shown, "a deletion without a name")),
            // Notes of aufs about itself.
            hidden if hidden.starts_with(WHITEOUT_PREFIX.as_bytes()) => return Ok(false),
            hidden => place.whiteout(&parent, hidden).map_err(io("note the deletion", &shown))?,
        }
        return Ok(true);
    }
    match entry.kind {
        TarKind::File if entry.sparse => return Err(UnpackError::Sparse(shown)),
        TarKind::File => place.file(&parent, name, entry, content).map_err(|error| of_content(error, &shown))?,
        TarKind::Directory => {
            place.directory(&parent, name).map_err(within)?;
            place.directory_attributes(&components, entry).map_err(io("set the mode of", &shown))?;
        }
        TarKind::Symlink => place.symlink(&parent, name, entry).map_err(within)?,
        TarKind::Fifo => place.fifo(&parent, name, entry).map_err(within)?,
        TarKind::HardLink => {
            let target = self::components(&entry.link, limits)?;
            let Some((target, above)) = target.split_last() else {
                return Err(misfit(&shown, "a hard link to the root"));
            };
            place.hard_link(&parent, name, above, target).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                    misfit(&shown, &format!("its target `{}` is not in the layer", self::shown(&entry.link)))
                }
                _ => within(error),
            })?;
        }
        TarKind::Character | TarKind::Block | TarKind::Other(_) => return Ok(false),
    }
    Ok(true)
}

/// The components of a path as it stands in a tar; none of them leads up.
fn components<'p>(path: &'p [u8], limits: &UnpackLimits) -> Result<Vec<&'p [u8]>, UnpackError> {
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(ReadError::Traversal(shown(path)).into()),
            component if component.len() > MAX_COMPONENT => {
                return Err(ReadError::LongPath { length: path.len() }.into());
            }
            component if component.contains(&0) => return Err(misfit(&shown(path), "a NUL character in its name")),
            component => components.push(component),
        }
    }
    if components.len() > limits.depth {
        return Err(UnpackError::Depth { path: shown(path), limit: limits.depth });
    }
    Ok(components)
}

/// A path for a message: escaped, and cut where it is too long to read.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let cut: String = text.chars().take(120).flat_map(char::escape_debug).collect();
    if text.chars().nth(120).is_some() { format!("{cut}…") } else { cut }
}

fn misfit(path: &str, what: &str) -> UnpackError {
    UnpackError::Misfit { path: path.to_owned(), what: what.to_owned() }
}

fn io(action: &'static str, path: &str) -> impl FnOnce(std::io::Error) -> UnpackError {
    move |source| UnpackError::Io { action, path: path.to_owned(), source }
}

/// What fails while content is copied may be the reader's.
fn of_content(error: std::io::Error, path: &str) -> UnpackError {
    match error.downcast::<ReadError>() {
        Ok(error) => error.into(),
        Err(error) => io("write", path)(error),
    }
}
