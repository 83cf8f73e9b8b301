//! Finds the file that a process means, as the kernel would find it for that process.
//!
//! Links of `/proc` that lead to what a process has open are not followed, but where the path is nothing else:
//! the thread that looks is another process, and may open more. What cannot be found for sure is not found.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2, readlinkat};
use rustix::io::Errno;

/// How often a path is looked up again while others rename what is on it: they may never stop.
const ATTEMPTS: usize = 16;

/// `/proc` of the sandbox.
pub(super) struct Processes(OwnedFd);

/// A file as a call names it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The directory that the path begins at, as the process has it open; its current one, if none.
    pub(super) directory: Option<i32>,
    pub(super) path: Vec<u8>,
    /// Whether a link at the end of the path is followed.
    pub(super) follow: bool,
    /// Whether an empty path is the directory itself.
    pub(super) may_be_empty: bool,
}

impl Processes {
    pub(super) fn open() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open("/proc", flags, Mode::empty())?))
    }

    /// What a process has open under a number.
    pub(super) fn descriptor(&self, process: u32, number: i32) -> Result<OwnedFd, Errno> {
        if number < 0 {
            return Err(Errno::BADF);
        }
        self.link(process, &format!("fd/{number}")).map_err(|error| match error {
            Errno::NOENT => Errno::BADF,
            error => error,
        })
    }

    fn link(&self, process: u32, name: &str) -> Result<OwnedFd, Errno> {
        openat(&self.0, format!("{process}/{name}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    fn link_text(&self, process: u32, name: &str) -> Result<Vec<u8>, Errno> {
        Ok(readlinkat(&self.0, format!("{process}/{name}"), Vec::new())?.into_bytes())
    }

    /// A line of a process's status.
    pub(super) fn status(&self, process: u32, field: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.0, format!("{process}/status"), flags, Mode::empty()).ok()?;
        let text = io::read_to_string(std::fs::File::from(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
    }

    /// Where the stack of the program begins that a process runs: another program has another one.
    pub(super) fn stack(&self, process: u32) -> Option<u64> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.0, format!("{process}/stat"), flags, Mode::empty()).ok()?;
        let text = io::read_to_string(std::fs::File::from(file)).ok()?;
        // Behind the name, which may hold anything: fields from the third on, of which this is the 28th.
        text.rsplit_once(')')?.1.split_whitespace().nth(25)?.parse().ok()
    }

    /// The file that a process names.
    pub(super) fn find(&self, process: u32, named: &Named) -> Result<OwnedFd, Errno> {
        let Named { directory, path, follow, may_be_empty } = named;
        if path.is_empty() {
            return match (may_be_empty, directory) {
                (false, _) => Err(Errno::NOENT),
                (true, Some(number)) => self.descriptor(process, *number),
                (true, None) => self.link(process, "cwd"),
            };
        }
        if let Some(number) = open_file(path, process).filter(|_| *follow) {
            return self.descriptor(process, number);
        }
        let last = if *follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        if path.starts_with(b"/") {
            return in_root(&self.link(process, "root")?, path, last);
        }
        let base = match directory {
            Some(number) => format!("fd/{number}"),
            None => "cwd".to_owned(),
        };
        // Most paths neither go through links nor up.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match look(&self.link(process, &base)?, path, last, resolve) {
            Err(Errno::LOOP | Errno::XDEV) => {}
            found => return found,
        }
        // Both as this process sees them, whose root the sandbox's is.
        let (root, base) = (self.link_text(process, "root")?, self.link_text(process, &base)?);
        let below = match root.as_slice() {
            b"/" => base.as_slice(),
            root => base.strip_prefix(root).ok_or(Errno::XDEV)?,
        };
        if !below.is_empty() && !below.starts_with(b"/") {
            return Err(Errno::XDEV);
        }
        in_root(&self.link(process, "root")?, &[below, b"/", path].concat(), last)
    }
}

fn in_root(root: &OwnedFd, path: &[u8], last: OFlags) -> Result<OwnedFd, Errno> {
    look(root, path, last, ResolveFlags::IN_ROOT)
}

pub(super) fn look(from: impl AsFd, path: &[u8], last: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | last;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match openat2(&from, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            found => return found,
        }
    }
    Err(Errno::AGAIN)
}

/// The number in a path that is nothing but a name for what a process has open itself.
fn open_file(path: &[u8], process: u32) -> Option<i32> {
    let own = format!("/proc/{process}/fd/");
    let ways: [&[u8]; 4] = [b"/proc/self/fd/", b"/proc/thread-self/fd/", b"/dev/fd/", own.as_bytes()];
    let number = ways.iter().find_map(|way| path.strip_prefix(*way))?;
    let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(number).ok().filter(|_| is_number)?.parse().ok()
}

/// Where a file is, as this process sees it.
pub(super) fn path_of(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    Ok(readlinkat(CWD, own_name(file), Vec::new())?.into_bytes())
}

/// A path of this process's for a file that it has open, and cannot use otherwise.
pub(super) fn own_name(file: &OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The directory and the name of what is to be made at a path.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (&path[..1], &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b"."[..], path),
    };
    (!name.is_empty() && name != b"." && name != b"..").then_some((above, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_have_names_that_are_known() {
        for (path, number) in [
            ("/proc/self/fd/7", Some(7)),
            ("/proc/12/fd/7", Some(7)),
            ("/dev/fd/0", Some(0)),
            ("/proc/13/fd/7", None),
            ("/proc/self/fd/7/x", None),
            ("/proc/self/fd/", None),
            ("/proc/self/fd/-1", None),
            ("/proc/self/fd/99999999999", None),
        ] {
            assert_eq!(open_file(path.as_bytes(), 12), number, "{path}");
        }
    }

    #[test]
    fn a_program_has_a_stack() {
        let processes = Processes::open().unwrap();
        let stack = processes.stack(std::process::id()).unwrap();
        let text = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = text.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        assert!((from..to).contains(&stack));
    }

    #[test]
    fn what_is_made_has_a_directory_and_a_name() {
        let split = |path: &'static str| split(path.as_bytes());
        assert_eq!(split("/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(split("/a/b"), Some((&b"/a"[..], &b"b"[..])));
        assert_eq!(split("b"), Some((&b"."[..], &b"b"[..])));
        assert_eq!((split(""), split("/"), split("a/"), split("a/..")), (None, None, None, None));
    }

    #[test]
    fn files_are_found_from_where_a_process_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(at("real/file"), "x").unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        let (own, processes) = (std::process::id(), Processes::open().unwrap());
        let opened = std::fs::File::open(directory.path()).unwrap();
        let base = std::os::fd::AsRawFd::as_raw_fd(&opened);
        let find = |directory, path: &str, follow| {
            let named = Named { directory, path: path.into(), follow, may_be_empty: false };
            processes.find(own, &named).map(|found| path_of(&found).unwrap())
        };
        let path = |name: &str| {
            Ok(std::fs::canonicalize(directory.path()).unwrap().join(name).into_os_string().into_encoded_bytes())
        };
        assert_eq!(find(Some(base), "real/file", true), path("real/file"));
        assert_eq!(find(Some(base), "link/file", true), path("real/file"));
        assert_eq!(find(Some(base), "real/../link", false), path("link"));
        assert_eq!(find(None, at("link/file").to_str().unwrap(), true), path("real/file"));
        assert_eq!(find(Some(base), "absent", true), Err(Errno::NOENT));
        assert_eq!(find(Some(base), "", true), Err(Errno::NOENT));
        assert_eq!(find(Some(9999), "x", true), Err(Errno::NOENT));
        assert_eq!(find(None, "/proc/self/exe", true), Err(Errno::LOOP));
        // A link to a directory of /proc that only this process has.
        std::os::unix::fs::symlink("/proc/self/fd/0", at("odd")).unwrap();
        assert_eq!(find(Some(base), "odd", true), Err(Errno::LOOP));
    }
}
