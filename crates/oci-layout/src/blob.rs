//! Blobs that can be read again: what is uploaded may have to be sent twice.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use crate::descriptor::Descriptor;

/// A blob with its descriptor, which opens at any offset any number of times.
///
/// The bytes are not verified here: who reads them to the end compares them with the descriptor.
pub trait BlobSource: Send + Sync {
    /// What the blob is.
    fn descriptor(&self) -> &Descriptor;
    /// A reader of the bytes from `offset` on. An offset at or past the end gives an empty reader.
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// A blob in memory: documents.
#[derive(Clone, Debug)]
pub struct BytesBlob {
    descriptor: Descriptor,
    bytes: Arc<[u8]>,
}

impl BytesBlob {
    /// `bytes` as content of type `media_type`.
    pub fn new(media_type: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }

    /// The content.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

impl BlobSource for BytesBlob {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut reader = Cursor::new(Arc::clone(&self.bytes));
        reader.set_position(offset.min(self.bytes.len() as u64));
        Ok(Box::new(reader))
    }
}

/// A blob in a file of its own. Opening follows no symlink and waits for no fifo (row I17).
#[derive(Clone, Debug)]
pub struct FileBlob {
    /// What the file is said to hold.
    pub descriptor: Descriptor,
    /// Where it is.
    pub path: PathBuf,
}

impl BlobSource for FileBlob {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = crate::store::open_regular(&self.path).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_reopen_anywhere() {
        let blob = BytesBlob::new("application/x", &b"0123456789"[..]);
        for (offset, expect) in [(0, "0123456789"), (7, "789"), (10, ""), (99, "")] {
            let mut text = String::new();
            blob.open_at(offset).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, expect);
        }
    }
}
