//! The image's files: unpacked layers below, memory on top; or, of a build step, a directory on disk.
//!
//! Everything else lies on a file system in memory of the sandbox's own, mounted over a directory that is
//! there for that: when the last process goes, it goes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fs_err as fs;
use oci_layout::layer::{HardLinks, merge_unpacked};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, open, openat, openat2, unlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::chdir;

use super::Files;
use super::report::{Failure, setup};
use super::step::{Traces, path_below};

/// Where the image's files are put together, from [`scratch`] on.
pub(super) const ROOT: &str = "root";
/// Where the disk is that takes what a build step writes, if it is one.
pub(super) const DISK: &str = "disk";
/// Files that say how the network is used.
const NETWORK_FILES: [&str; 2] = ["resolv.conf", "hosts"];
/// Most bytes of one of them.
const MAX_NETWORK_FILE: u64 = 1 << 20;

/// Where what is written goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upper {
    /// Into memory, to be forgotten.
    Memory,
    /// To the disk of [`disk`], to be looked at.
    Disk,
}

impl Upper {
    /// Relative to the file system in memory.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Memory => "upper",
            Self::Disk => "disk/upper",
        }
    }
}

/// Mounts memory over the directory, and goes there.
pub(super) fn scratch(directory: &Path) -> Result<(), Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", directory, "tmpfs", flags, c"mode=0755").map_err(setup("mount a file system in memory"))?;
    chdir(directory).map_err(setup("enter a file system in memory"))?;
    for name in ["layers", "layers/empty", "upper", "work", ROOT] {
        fs::create_dir(name).map_err(setup(format!("create {name} in memory")))?;
    }
    Ok(())
}

/// Mounts the directory that takes what a step writes where an overlay finds it.
pub(super) fn disk(scratch: &Path) -> Result<(), Failure> {
    let what = "mount the directory for what is written";
    fs::create_dir(DISK).map_err(setup(what))?;
    mount_bind(scratch, DISK).map_err(setup(what))
}

/// Puts layers together, the lowest first.
pub(super) fn assemble(layers: &[PathBuf], may_overlay: bool, upper: Upper) -> Result<Files, Failure> {
    if may_overlay && overlay(layers, upper).is_ok() {
        return Ok(Files::Overlay);
    }
    copy(layers, upper)?;
    Ok(Files::Copy)
}

/// By an overlay file system, whose notes are attributes that users may set.
pub(super) fn overlay(layers: &[PathBuf], upper: Upper) -> Result<(), Failure> {
    let what = "mount an overlay file system";
    // Under short names that need no escapes: all of them have to fit into a page.
    let mut lower = vec!["layers/empty".to_owned()];
    for (number, layer) in layers.iter().enumerate() {
        let name = format!("layers/{number}");
        fs::create_dir_all(&name).map_err(setup(what))?;
        mount_bind(layer, &name).map_err(setup(what))?;
        lower.push(name);
    }
    lower.reverse();
    // What is on disk is read once and thrown away: nobody has to wait for the disk.
    let (upper, work) = match upper {
        Upper::Memory => (upper.directory(), "work"),
        Upper::Disk => (upper.directory(), "disk/work,volatile"),
    };
    let options = format!("userxattr,lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
    let options = std::ffi::CString::new(options).map_err(|error| setup(what)(io::Error::from(error)))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("overlay", ROOT, "overlay", flags, options.as_c_str()).map_err(setup(what))
}

/// By copying all of them.
pub(super) fn copy(layers: &[PathBuf], upper: Upper) -> Result<(), Failure> {
    let (to, hard_links) = match upper {
        Upper::Memory => (ROOT, HardLinks::Keep),
        // What is compared with the layers has to be as an overlay would have it.
        Upper::Disk => (upper.directory(), HardLinks::Part),
    };
    merge_unpacked(layers, Path::new(to), hard_links).map_err(setup("copy the image's files"))?;
    // What is to become the root has to be a mount.
    mount_bind(to, ROOT).map_err(setup("mount the image's files"))
}

/// Gives the image the host's names and name servers.
pub(super) fn network_files(root: &str, traces: &mut Traces) -> Result<(), Failure> {
    let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(setup("open the image's file system"))?;
    for name in NETWORK_FILES {
        let path = Path::new("/etc").join(name);
        let text = match fs::metadata(&path) {
            Ok(found) if found.len() <= MAX_NETWORK_FILE => fs::read(&path).map_err(setup("read the host's names"))?,
            _ => continue,
        };
        put(&root, name, &text, traces).map_err(setup(format!("write /etc/{name} in the image")))?;
    }
    Ok(())
}

/// Writes a file of the image's `/etc`, in the place of what is there. No link of the image leads out.
fn put(root: &OwnedFd, name: &str, text: &[u8], traces: &mut Traces) -> io::Result<()> {
    match mkdirat(root, "etc", Mode::from_raw_mode(0o755)) {
        Ok(()) => traces.made.push("/etc".to_owned()),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let etc = openat2(root, "etc", flags, Mode::empty(), resolve)?;
    traces.left_out.push(format!("{}/{name}", path_below(root, &etc)?));
    match unlinkat(&etc, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&etc, name, flags, Mode::from_raw_mode(0o644))?;
    io::Write::write_all(&mut std::fs::File::from(file), text)
}
