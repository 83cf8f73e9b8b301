//! What goes into a layer.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::header;
use super::write::LayerError;
use crate::path::{ImagePath, MAX_COMPONENT, WHITEOUT_PREFIX};

/// A file, directory or link of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lands.
    pub path: ImagePath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission and set-id bits, at most 0o7777. Of no meaning for links and deletions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes by full name, such as `security.capability`.
    pub xattrs: Xattrs,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Its text, as it is stored in the link.
        target: String,
    },
    /// Another name of a file of the same layer.
    HardLink {
        /// That file.
        to: ImagePath,
    },
    /// A named pipe.
    Fifo,
    /// A device node.
    Device {
        /// Of blocks; else of characters.
        block: bool,
        /// Its numbers.
        major: u32,
        /// The second one.
        minor: u32,
    },
    /// What the layers below have at this path is gone.
    Whiteout,
    /// Nothing that the layers below have in this directory is there any more. Stands beside the
    /// directory's own entry.
    Opaque,
}

/// Where the bytes of a file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// From memory.
    Bytes(Arc<[u8]>),
    /// From a file, which must be a regular file of exactly this size while it is read.
    File {
        /// The file. Its last component must not be a symlink. Shared with who has found it.
        path: Arc<Path>,
        /// Its size in bytes.
        size: u64,
    },
}

impl Content {
    /// Number of bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }
}

/// Extended attributes: names, and values that are not text. There can be millions of entries, most of them
/// without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::box_collection, reason = "a map is three times as large as a box, in each entry")]
pub struct Xattrs(Option<Box<BTreeMap<String, Vec<u8>>>>);

impl Xattrs {
    /// Sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.0.iter().flat_map(|xattrs| xattrs.iter())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |xattrs| xattrs.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl From<BTreeMap<String, Vec<u8>>> for Xattrs {
    fn from(xattrs: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Some(xattrs).filter(|xattrs| !xattrs.is_empty()).map(Box::new))
    }
}

impl FromIterator<(String, Vec<u8>)> for Xattrs {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(xattrs: I) -> Self {
        xattrs.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl Entry {
    /// An entry of root's without extended attributes.
    pub fn new(path: ImagePath, kind: EntryKind, mode: u32) -> Self {
        Self { path, kind, mode, uid: 0, gid: 0, xattrs: Xattrs::default() }
    }

    /// The same with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }
}

/// The entries in the order in which they are written: sorted by path, equal ones once, hard
/// links after everything that they can mean. Fails on what contradicts itself (row I11).
pub(super) fn arrange<E: Borrow<Entry>>(mut entries: Vec<E>) -> Result<Vec<E>, LayerError> {
    let is_opaque = |entry: &Entry| matches!(entry.kind, EntryKind::Opaque);
    let order = |a: &E, b: &E| {
        let (a, b) = (a.borrow(), b.borrow());
        a.path.cmp(&b.path).then(is_opaque(a).cmp(&is_opaque(b)))
    };
    // Sorting takes half as much memory again, whether there is something to sort or not.
    if !entries.is_sorted_by(|a, b| order(a, b).is_le()) {
        entries.sort_by(order);
    }
    // Equal ones once, in place: there can be millions.
    entries.dedup_by(|entry, previous| (*previous).borrow() == (*entry).borrow());
    for (previous, entry) in entries.iter().zip(entries.iter().skip(1)) {
        let (previous, entry) = (previous.borrow(), entry.borrow());
        if previous.path == entry.path {
            if !(is_opaque(entry) && matches!(previous.kind, EntryKind::Directory)) {
                return Err(LayerError::Conflict { path: entry.path.clone() });
            }
            continue;
        }
        let is_directory = matches!(previous.kind, EntryKind::Directory | EntryKind::Opaque);
        if !is_directory && entry.path.starts_with(&previous.path) {
            return Err(LayerError::NotDirectory { path: previous.path.clone(), below: entry.path.clone() });
        }
    }
    for entry in entries.iter().map(Borrow::borrow) {
        if entry.mode > 0o7777 {
            return Err(LayerError::Mode { path: entry.path.clone(), mode: entry.mode });
        }
        if let Some((name, _)) = entry
            .xattrs
            .iter()
            .find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || name.len() > 255 || value.is_empty())
        {
            return Err(LayerError::Xattr { path: entry.path.clone(), name: name.clone() });
        }
        match &entry.kind {
            EntryKind::HardLink { to } => {
                let found = entries.binary_search_by(|other| other.borrow().path.cmp(to)).ok();
                let target = found.map(|at| entries[at].borrow());
                if !target.is_some_and(|target| matches!(target.kind, EntryKind::File(_))) {
                    return Err(LayerError::HardLink { path: entry.path.clone(), to: to.clone() });
                }
            }
            EntryKind::Symlink { target } if target.is_empty() || target.contains('\0') || target.len() > 4095 => {
                return Err(LayerError::Symlink { path: entry.path.clone() });
            }
            EntryKind::Whiteout
                if entry.path.file_name().is_none_or(|name| name.len() + WHITEOUT_PREFIX.len() > MAX_COMPONENT) =>
            {
                return Err(LayerError::Whiteout { path: entry.path.clone() });
            }
            EntryKind::Device { major, minor, .. } if *major.max(minor) > header::DEVICE_MAX => {
                return Err(LayerError::Device { path: entry.path.clone() });
            }
            _ => {}
        }
    }
    let is_link = |entry: &E| matches!(entry.borrow().kind, EntryKind::HardLink { .. });
    if entries.iter().any(is_link) {
        entries.sort_by_key(is_link);
    }
    Ok(entries)
}
