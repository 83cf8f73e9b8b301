//! What a step sees that is not part of the image, mounted where it wants it.
//!
//! Done before the host's files are left. Targets are found below the image's root alone, whatever its links
//! say.

use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{
    CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, mkdirat, open, openat, openat2, readlinkat, statvfs,
};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, mount_bind, mount_remount, move_mount, open_tree,
};

use super::{StepMount, StepMountKind, Traces};
use crate::sandbox::devices;
use crate::sandbox::report::{Failure, setup};

/// In memory, where what is to be mounted is prepared. Nobody in the sandbox sees it.
const STAGING: &str = "mounts";

/// Mounts all of them, those first that others may lie in.
pub(in crate::sandbox) fn mount_all(root: &str, mounts: &[StepMount], traces: &mut Traces) -> Result<(), Failure> {
    if mounts.is_empty() {
        return Ok(());
    }
    fs::create_dir(STAGING).map_err(setup("create a directory in memory"))?;
    let mut order: Vec<(usize, &StepMount)> = mounts.iter().enumerate().collect();
    order.sort_by_key(|(_, mount)| mount.target.split('/').filter(|part| !part.is_empty()).count());
    for (number, mount) in order {
        let what = || format!("mount something at {} of the image", mount.target);
        let (tree, is_directory) = tree(&format!("{STAGING}/{number}"), &mount.kind).map_err(setup(what()))?;
        let place = place(root, &mount.target, is_directory, traces).map_err(setup(what()))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &place, "", flags).map_err(setup(what()))?;
    }
    Ok(())
}

/// What is to be mounted, and whether it is a directory.
fn tree(staged: &str, kind: &StepMountKind) -> io::Result<(OwnedFd, bool)> {
    let is_directory = match kind {
        StepMountKind::Tmpfs => {
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
            return Ok((devices::make("tmpfs", &[("mode", "1777")], attributes)?, true));
        }
        StepMountKind::Bind { source } => stage(source, staged, MountFlags::RDONLY)?,
        StepMountKind::Cache { source } => stage(source, staged, MountFlags::empty())?,
        StepMountKind::Secret { content } => {
            let secret = format!("{staged}.secret");
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&secret)?;
            file.write_all(content.content())?;
            stage(Path::new(&secret), staged, MountFlags::RDONLY)?
        }
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok((open_tree(CWD, staged, flags)?, is_directory))
}

/// Mounts a file or directory of this system with fewer rights than it has here.
fn stage(source: &Path, staged: &str, closed: MountFlags) -> io::Result<bool> {
    let is_directory = fs::metadata(source)?.is_dir();
    if is_directory {
        fs::create_dir(staged)?;
    } else {
        fs::write(staged, "")?;
    }
    mount_bind(source, staged)?;
    // What the system's own mount forbids has to stay forbidden.
    let kept = statvfs(staged)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let flags = pairs
        .iter()
        .filter(|(is, _)| kept.contains(*is))
        .fold(MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | closed, |all, (_, flag)| all | *flag);
    mount_remount(staged, flags, "")?;
    Ok(is_directory)
}

/// The place in the image, made where it is not there.
fn place(root: &str, target: &str, is_directory: bool, traces: &mut Traces) -> io::Result<OwnedFd> {
    let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut above = inside(&root, ".", OFlags::DIRECTORY)?;
    let mut path = String::new();
    let mut parts = target.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        path = format!("{path}/{part}");
        let flags = if last { OFlags::empty() } else { OFlags::DIRECTORY };
        let next = match inside(&root, &path, flags) {
            Err(Errno::NOENT) => {
                if last && !is_directory {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    openat(&above, part, flags, Mode::from_raw_mode(0o644))?;
                } else {
                    // Fails where a link is there that leads nowhere.
                    mkdirat(&above, part, Mode::from_raw_mode(0o755))?;
                }
                let made = inside(&root, &path, flags)?;
                if !last {
                    traces.made.push(path_below(&root, &made)?);
                }
                made
            }
            next => next?,
        };
        above = next;
    }
    traces.left_out.push(path_below(&root, &above)?);
    Ok(above)
}

fn inside(root: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// Where in the image a file really is.
pub(in crate::sandbox) fn path_below(root: &OwnedFd, file: &OwnedFd) -> io::Result<String> {
    let shown = |of: &OwnedFd| readlinkat(CWD, format!("/proc/self/fd/{}", of.as_raw_fd()), Vec::new());
    let (root, file) = (shown(root)?.into_bytes(), shown(file)?.into_bytes());
    let below = file.strip_prefix(root.as_slice()).unwrap_or(&file);
    String::from_utf8(below.to_vec()).map_err(|_| io::Error::other("its name is not UTF-8"))
}
