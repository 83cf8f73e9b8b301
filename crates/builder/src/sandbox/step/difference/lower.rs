//! The layers below, merged as overlay file systems merge them, a directory at a time.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::disk;

/// The directories of the layers that are one directory of the image, the highest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Lower {
    directories: Vec<PathBuf>,
}

/// What the layers have under a name.
pub(super) enum Below {
    Nothing,
    Directory(Lower),
    /// A file or link, in the highest layer that has it.
    Other(PathBuf, Metadata),
}

impl Lower {
    /// The root; layers come lowest first.
    pub(super) fn of(layers: &[PathBuf]) -> Self {
        Self { directories: layers.iter().rev().cloned().collect() }
    }

    /// The directory whose mode and attributes count.
    pub(super) fn top(&self) -> Option<&Path> {
        self.directories.first().map(PathBuf::as_path)
    }

    pub(super) fn look(&self, name: &OsStr) -> io::Result<Below> {
        let mut directories = Vec::new();
        for directory in &self.directories {
            let path = directory.join(name);
            let found = match path.symlink_metadata() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if found.is_dir() {
                let opaque = disk::is_opaque(&path);
                directories.push(path);
                if opaque {
                    break;
                }
            } else if disk::is_whiteout(&path, &found) || !directories.is_empty() {
                break;
            } else {
                return Ok(Below::Other(path, found));
            }
        }
        Ok(if directories.is_empty() { Below::Nothing } else { Below::Directory(Self { directories }) })
    }

    /// All names in it.
    pub(super) fn names(&self) -> io::Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        let mut hidden = HashSet::new();
        for directory in &self.directories {
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                let name = entry.file_name();
                if names.contains(&name) || hidden.contains(&name) {
                    continue;
                }
                if disk::is_whiteout(&entry.path(), &entry.metadata()?) {
                    hidden.insert(name);
                } else {
                    names.insert(name);
                }
            }
        }
        Ok(names)
    }
}
