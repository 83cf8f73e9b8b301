//! A layer before its bytes are there: its entries and options, and what of them is known without
//! reading a file.

use std::fs::Metadata;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::Path;

use super::entry::{Content, Entry, EntryKind, arrange};
use super::pool::Pool;
use super::source::{self, SourceStates};
use super::write::{LayerError, LayerOptions, WrittenLayer, hash_tar, write_arranged};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::media_type::Compression;
use crate::store::BlobStore;

/// Version of the bytes that the writer makes of equal entries and options. Part of every key
/// that layers are kept under; a golden digest that changes asks for a new number.
pub const WRITER: u32 = 2;

/// Files whose states are held at a time.
const LOOKED_AT: usize = 8_192;
/// So many files are looked at before another thread would have started.
const FEW: usize = 256;

/// What a layer is to hold, and how it is to be written.
#[derive(Clone, Debug)]
pub struct LayerPlan {
    /// In the order in which they are written.
    entries: Vec<Entry>,
    options: LayerOptions,
    shape: Digest,
}

impl LayerPlan {
    /// A layer of `entries`.
    ///
    /// # Errors
    ///
    /// [`LayerError`] for entries that contradict each other. No file is looked at.
    pub fn new(entries: Vec<Entry>, options: LayerOptions) -> Result<Self, LayerError> {
        let entries = arrange(entries)?;
        let shape = shape(&entries, &options);
        Ok(Self { entries, options, shape })
    }

    /// Digest of all that the layer's bytes depend on but the content of files: the writer's
    /// version, the options, what each header of the tar is made from. Together with a diff ID it settles the blob.
    pub fn shape(&self) -> Digest {
        self.shape
    }

    /// The states of its files now, which are not read.
    ///
    /// # Errors
    ///
    /// [`LayerError`] where one is missing, not a regular file, or of another size.
    pub fn look(&self) -> Result<SourceStates, LayerError> {
        let mut states = SourceStates::new();
        // Asking how many there are takes longer than looking at a few.
        let threads = match self.entries.len() > FEW {
            true => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            false => 1,
        };
        for some in self.entries.chunks(LOOKED_AT) {
            // Asking the system is most of it, and is done side by side; noting is done in the entries' order.
            let looked = std::thread::scope(|scope| {
                let mut parts = some.chunks(some.len().div_ceil(threads).max(FEW));
                let own = parts.next().unwrap_or_default();
                let others: Vec<_> = parts.map(|part| scope.spawn(move || look_at(part))).collect();
                let mut looked = look_at(own);
                for other in others {
                    looked.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
                }
                looked
            });
            for looked in looked {
                let (path, metadata) = looked?;
                states.note(path, &metadata);
            }
        }
        Ok(states)
    }

    /// Reads the files for the diff ID alone; nothing is compressed.
    ///
    /// # Errors
    ///
    /// As for [`LayerPlan::write`].
    pub fn diff_id(&self) -> Result<(Digest, SourceStates), LayerError> {
        let mut states = SourceStates::new();
        let diff_id = hash_tar(&self.entries, self.options.mtime, &mut states)?;
        Ok((diff_id, states))
    }

    /// Writes the layer into `store`; says in which states its files were.
    ///
    /// # Errors
    ///
    /// [`LayerError`]; the store is then as it was before.
    pub fn write(&self, pool: &Pool, store: &BlobStore) -> Result<(WrittenLayer, SourceStates), LayerError> {
        let mut states = SourceStates::new();
        let layer = write_arranged(&self.entries, &self.options, pool, store, &mut states)?;
        Ok((layer, states))
    }
}

/// The states of the files among `entries`.
fn look_at(entries: &[Entry]) -> Vec<Result<(&Path, Metadata), LayerError>> {
    let files = entries.iter().filter_map(|entry| match &entry.kind {
        EntryKind::File(Content::File { path, size }) => Some((&**path, *size)),
        _ => None,
    });
    files.map(|(path, size)| Ok((path, source::look(path, size)?))).collect()
}

fn shape(arranged: &[Entry], options: &LayerOptions) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&WRITER.to_le_bytes());
    hasher.update(match options.compression {
        Compression::None => b"none",
        Compression::Gzip => b"gzip",
        Compression::Zstd => b"zstd",
    });
    hasher.update(&options.mtime.to_le_bytes());
    let mut text = Vec::new();
    for entry in arranged {
        describe(&mut text, entry);
        if text.len() >= 1 << 16 {
            hasher.update(&text);
            text.clear();
        }
        if let EntryKind::File(Content::Bytes(bytes)) = &entry.kind {
            hasher.update(&std::mem::take(&mut text));
            hasher.update(bytes);
        }
    }
    hasher.update(&text);
    hasher.finish()
}

/// Appends all that the header of `entry` is made from, so that it could be read back: numbers first, then each
/// text with its length in front. A tenth of a header's bytes.
fn describe(out: &mut Vec<u8>, entry: &Entry) {
    let Entry { path, kind, mode, uid, gid, xattrs } = entry;
    let (kind, link, numbers) = match kind {
        EntryKind::File(content) => (0, "", [content.size(), 0]),
        EntryKind::Directory => (1, "", [0, 0]),
        EntryKind::Symlink { target } => (2, target.as_str(), [0, 0]),
        EntryKind::HardLink { to } => (3, to.as_str(), [0, 0]),
        EntryKind::Device { block: false, major, minor } => (4, "", [u64::from(*major), u64::from(*minor)]),
        EntryKind::Device { block: true, major, minor } => (5, "", [u64::from(*major), u64::from(*minor)]),
        EntryKind::Fifo => (6, "", [0, 0]),
        EntryKind::Whiteout => (7, "", [0, 0]),
        EntryKind::Opaque => (8, "", [0, 0]),
    };
    out.push(kind);
    [*mode, *uid, *gid].iter().for_each(|number| out.extend(number.to_le_bytes()));
    numbers.iter().chain([&(xattrs.len() as u64)]).for_each(|number| out.extend(number.to_le_bytes()));
    let mut text = |text: &[u8]| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text);
    };
    text(path.as_str().as_bytes());
    text(link.as_bytes());
    for (name, value) in xattrs.iter() {
        text(name.as_bytes());
        text(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever stands in an entry is in its description.
    #[test]
    fn no_two_entries_have_one_description() {
        let path = |text: &str| text.parse().unwrap();
        let file = |size| EntryKind::File(Content::File { path: std::path::Path::new("/x").into(), size });
        let device = |block, major, minor| EntryKind::Device { block, major, minor };
        let mut entries: Vec<Entry> = [
            file(0),
            file(1),
            EntryKind::Directory,
            EntryKind::Symlink { target: "b".to_owned() },
            EntryKind::Symlink { target: "c".to_owned() },
            EntryKind::HardLink { to: path("/b") },
            EntryKind::HardLink { to: path("/c") },
            device(false, 1, 2),
            device(false, 2, 1),
            device(true, 1, 2),
            EntryKind::Fifo,
            EntryKind::Whiteout,
            EntryKind::Opaque,
        ]
        .map(|kind| Entry::new(path("/a"), kind, 0o644))
        .into();
        entries.push(Entry::new(path("/ab"), file(0), 0o644));
        entries.push(Entry::new(path("/a"), file(0), 0o755));
        entries.push(Entry::new(path("/a"), file(0), 0o644).owned_by(1, 0));
        entries.push(Entry::new(path("/a"), file(0), 0o644).owned_by(0, 1));
        for xattrs in [vec![("a", "b")], vec![("a", "c")], vec![("ab", "b")], vec![("a", "b"), ("b", "a")]] {
            let mut entry = Entry::new(path("/a"), file(0), 0o644);
            entry.xattrs = xattrs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
            entries.push(entry);
        }
        let described = |entry: &Entry| {
            let mut text = Vec::new();
            describe(&mut text, entry);
            text
        };
        let all: std::collections::BTreeSet<Vec<u8>> = entries.iter().map(described).collect();
        assert_eq!(all.len(), entries.len());
    }

    #[test]
    fn a_shape_is_all_but_the_content_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "1").unwrap();
        let plan = |path: &str, mode, size, compression| {
            let kind = EntryKind::File(Content::File { path: file.as_path().into(), size });
            let options = LayerOptions { compression, ..LayerOptions::default() };
            LayerPlan::new(vec![Entry::new(path.parse().unwrap(), kind, mode)], options).unwrap()
        };
        let first = plan("/a", 0o644, 1, Compression::Gzip);
        std::fs::write(&file, "2").unwrap();
        assert_eq!(first.shape(), plan("/a", 0o644, 1, Compression::Gzip).shape());
        for other in [
            plan("/b", 0o644, 1, Compression::Gzip),
            plan("/a", 0o755, 1, Compression::Gzip),
            plan("/a", 0o644, 2, Compression::Gzip),
            plan("/a", 0o644, 1, Compression::Zstd),
        ] {
            assert_ne!(first.shape(), other.shape());
        }
        let store = BlobStore::new(directory.path());
        let (written, states) = first.write(&Pool::new(1).unwrap(), &store).unwrap();
        let (diff_id, again) = first.diff_id().unwrap();
        assert_eq!(written.diff_id, diff_id);
        assert_eq!(states.digest(), again.digest());
        assert_eq!(states.digest(), first.look().unwrap().digest());
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(first.look(), Err(LayerError::Source { .. })));
    }
}
