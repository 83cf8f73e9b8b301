//! `/proc` and `/dev` of the sandbox.
//!
//! They are mounted over directories of the image, found without following any link of it.

use std::io;
use std::os::fd::OwnedFd;

use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, open, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, mount, mount_bind, mount_remount, move_mount,
};

use super::report::{Failure, forbidden, setup};

/// Devices that programs expect; each is the host's own.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// What in `/proc` says more about the host than a program need know, as engines hide it.
const HIDDEN: [&str; 9] =
    ["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list"];
/// What in `/proc` changes the host, for those who may (who runs mab as root would be one).
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Mounts the processes of this namespace.
pub(super) fn proc(root: &str) -> Result<(), Failure> {
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    place("proc", &[], attributes, root, "proc").map_err(forbidden("a /proc of the sandbox's own"))
}

/// Hides and closes what in `/proc` is not for the program.
pub(super) fn close_proc(root: &str) -> Result<(), Failure> {
    let closed = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for name in HIDDEN {
        let path = format!("{root}/proc/{name}");
        let hidden = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => mount("tmpfs", &path, "tmpfs", closed, c"size=0"),
            Ok(_) => mount_bind("/dev/null", &path),
            Err(_) => continue,
        };
        hidden.map_err(setup(format!("hide /proc/{name}")))?;
    }
    for name in READ_ONLY {
        let path = format!("{root}/proc/{name}");
        if fs::metadata(&path).is_err() {
            continue;
        }
        mount_bind(&path, &path).map_err(setup(format!("close /proc/{name}")))?;
        mount_remount(&path, MountFlags::BIND | closed, "").map_err(setup(format!("close /proc/{name}")))?;
    }
    Ok(())
}

/// Mounts a `/dev` with the few devices that programs expect.
pub(super) fn dev(root: &str) -> Result<(), Failure> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("mode", "0755"), ("size", "64k")];
    place("tmpfs", &options, attributes, root, "dev").map_err(setup("mount a /dev"))?;
    for name in DEVICES {
        let path = format!("{root}/dev/{name}");
        fs::write(&path, "").map_err(setup(format!("make /dev/{name}")))?;
        mount_bind(format!("/dev/{name}"), &path).map_err(setup(format!("make /dev/{name}")))?;
    }
    for (name, target) in LINKS {
        symlink(target, format!("{root}/dev/{name}")).map_err(setup(format!("make /dev/{name}")))?;
    }
    let shared = format!("{root}/dev/shm");
    fs::create_dir(&shared).map_err(setup("make /dev/shm"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", &shared, "tmpfs", flags, c"mode=1777").map_err(setup("mount /dev/shm"))
}

/// Mounts terminals of the sandbox's own in its `/dev`.
pub(super) fn terminals(root: &str) -> Result<(), Failure> {
    let path = format!("{root}/dev/pts");
    fs::create_dir(&path).map_err(setup("make /dev/pts"))?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", &path, "devpts", flags, c"newinstance,ptmxmode=0666,mode=0620").map_err(setup("mount /dev/pts"))
}

/// Mounts a new file system over a directory of the root, which takes the place of whatever the image
/// has under that name.
fn place(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags, root: &str, name: &str) -> io::Result<()> {
    let made = make(kind, options, attributes)?;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = open(root, directory, Mode::empty())?;
    match statat(&root, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {}
        Ok(_) => {
            unlinkat(&root, name, AtFlags::empty())?;
            mkdirat(&root, name, Mode::from_raw_mode(0o755))?;
        }
        Err(Errno::NOENT) => mkdirat(&root, name, Mode::from_raw_mode(0o755))?,
        Err(error) => return Err(error.into()),
    }
    let at = openat(&root, name, directory, Mode::empty())?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(&made, "", &at, "", flags)?)
}

/// A new file system that is mounted nowhere yet.
pub(super) fn make(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
