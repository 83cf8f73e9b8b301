//! A layer before its bytes are there: its entries and options, and what of them is known without
//! reading a file.

use super::entry::{Content, Entry, EntryKind, arrange};
use super::header;
use super::pool::Pool;
use super::source::{self, SourceStates};
use super::write::{LayerError, LayerOptions, WrittenLayer, hash_tar, write_arranged};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::media_type::Compression;
use crate::store::BlobStore;

/// Version of the bytes that the writer makes of equal entries and options. Part of every key
/// that layers are kept under; a golden digest that changes asks for a new number.
pub const WRITER: u32 = 1;

/// What a layer is to hold, and how it is to be written.
#[derive(Clone, Debug)]
pub struct LayerPlan {
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
        let shape = shape(&arrange(&entries)?, &options);
        Ok(Self { entries, options, shape })
    }

    /// Digest of all that the layer's bytes depend on but the content of files: the writer's
    /// version, the options, each header of the tar. Together with a diff ID it settles the blob.
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
        for entry in arrange(&self.entries)? {
            if let EntryKind::File(Content::File { path, size }) = &entry.kind {
                source::look(path, *size, &mut states)?;
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
        let diff_id = hash_tar(&arrange(&self.entries)?, self.options.mtime, &mut states)?;
        Ok((diff_id, states))
    }

    /// Writes the layer into `store`; says in which states its files were.
    ///
    /// # Errors
    ///
    /// [`LayerError`]; the store is then as it was before.
    pub fn write(&self, pool: &Pool, store: &BlobStore) -> Result<(WrittenLayer, SourceStates), LayerError> {
        let mut states = SourceStates::new();
        let layer = write_arranged(&arrange(&self.entries)?, &self.options, pool, store, &mut states)?;
        Ok((layer, states))
    }
}

fn shape(arranged: &[&Entry], options: &LayerOptions) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&WRITER.to_le_bytes());
    hasher.update(match options.compression {
        Compression::None => b"none",
        Compression::Gzip => b"gzip",
        Compression::Zstd => b"zstd",
    });
    let mut headers = Vec::new();
    for entry in arranged {
        let content = match &entry.kind {
            EntryKind::File(content) => Some(content),
            _ => None,
        };
        headers.clear();
        header::append(&mut headers, entry, content.map_or(0, Content::size), options.mtime);
        hasher.update(&headers);
        if let Some(Content::Bytes(bytes)) = content {
            hasher.update(bytes);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_all_but_the_content_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "1").unwrap();
        let plan = |path: &str, mode, size, compression| {
            let kind = EntryKind::File(Content::File { path: file.clone(), size });
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
