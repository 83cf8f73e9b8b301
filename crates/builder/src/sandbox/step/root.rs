//! The image's root directory, whose mode and owner no lower directory gives to an overlay.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_layout::ImagePath;
use oci_layout::layer::{Tree, notes};
use rustix::fs::{CWD, Mode, OFlags, fchmod, fremovexattr, openat};
use serde::{Deserialize, Serialize};

/// Mode and owner of the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Root {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Root {
    pub(super) fn of(tree: &Tree) -> Self {
        let (mode, (uid, gid)) = tree.get(&ImagePath::root()).map_or((0o755, (0, 0)), |node| (node.mode, node.owner()));
        Self { mode, uid, gid }
    }

    /// The mode that it has on disk.
    pub(super) fn given(self) -> u32 {
        self.mode & 0o3777 | 0o700
    }
}

/// Gives a directory what the image's root has.
pub(in crate::sandbox) fn prepare(directory: &Path, root: Root) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory: OwnedFd = openat(CWD, directory, flags, Mode::empty())?;
    for note in [notes::OWNER, notes::MODE] {
        let _ = fremovexattr(&directory, note);
    }
    fchmod(&directory, Mode::from_raw_mode(root.given()))?;
    Ok(notes::write(&directory, (root.uid.into(), root.gid.into()), root.mode, root.given())?)
}
