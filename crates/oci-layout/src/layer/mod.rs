//! Layers: written from lists of entries, read without unpacking, unpacked where programs are to run.
//!
//! Writing is one pass: tar, diff ID, compressor, digest, blob. The bytes depend on the entries
//! and options alone, never on threads, time, user or file system.

mod deflate;
mod entry;
pub mod facts;
mod gzip;
pub(crate) mod header;
mod plan;
mod pool;
pub mod read;
mod source;
mod unpack;
mod write;

pub(crate) use header as tar_header;

pub use entry::{Content, Entry, EntryKind, Xattrs};
pub use facts::{LayerFacts, Tree};
pub use plan::{LayerPlan, WRITER};
pub use pool::{Pool, Turn};
pub use read::{Limits, ReadError};
pub use source::{Moment, SourceStates};
pub use unpack::{HardLinks, UnpackError, UnpackLimits, Unpacked, merge as merge_unpacked, notes, unpack};
pub use write::{LayerError, LayerOptions, WrittenLayer, write_layer};
