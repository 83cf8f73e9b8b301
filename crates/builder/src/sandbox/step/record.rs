//! What the sandbox tells of a step when it ends: what it has made itself, and the owners of what has no room
//! for a note.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

/// The record's name in the scratch directory.
const NAME: &str = "record";

/// What the sandbox itself has put among the image's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Traces {
    /// Paths that are the sandbox's with all that is below them.
    pub(in crate::sandbox) left_out: Vec<String>,
    /// Directories that it has made on the way, which belong to the image as soon as it has something in them.
    pub(in crate::sandbox) made: Vec<String>,
}

/// A file that a note has no room in: its number and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::sandbox) struct FileId {
    pub(in crate::sandbox) number: u64,
    /// Seconds and nanoseconds; numbers are used again.
    pub(in crate::sandbox) born: (i64, u32),
}

/// What is known of a step when it has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Record {
    pub(in crate::sandbox) traces: Traces,
    /// Owners, user and group each, of links and pipes.
    pub(in crate::sandbox) owners: Vec<(FileId, u32, u32)>,
}

impl Record {
    /// Leaves it in the scratch directory.
    pub(in crate::sandbox) fn leave(&self, scratch: &OwnedFd) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(scratch, NAME, flags, Mode::from_raw_mode(0o600))?;
        File::from(file).write_all(&serde_json::to_vec(self)?)
    }

    /// Takes it from there.
    pub(super) fn take(scratch: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs_err::read(scratch.join(NAME))?)?)
    }
}
