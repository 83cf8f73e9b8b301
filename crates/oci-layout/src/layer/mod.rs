//! Layers: written from lists of entries, read without unpacking.
//!
//! Writing is one pass: tar, diff ID, compressor, digest, blob. The bytes depend on the entries
//! and options alone, never on threads, time, user or file system.

mod entry;
mod gzip;
mod header;
mod pool;
mod source;
mod write;

pub use entry::{Content, Entry, EntryKind};
pub use pool::Pool;
pub use write::{LayerError, LayerOptions, WrittenLayer, write_layer};
