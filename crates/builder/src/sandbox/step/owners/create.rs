//! Files that somebody else than the step's user makes: after a process has become another user, what it makes
//! is that one's.
//!
//! They are made here, with their notes, and handed over. Where something is there already, the kernel goes on.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmodat, fchmod, mkdirat, mknodat, openat, statat, symlinkat};
use rustix::io::Errno;

use super::memory;
use super::place::{self, Named};
use super::supervisor::{Answer, Call, Supervisor};
use crate::sandbox::sys;

/// What of the flags of `open` stays with an open file.
const FLAGS: u32 =
    (libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK | libc::O_DSYNC | libc::O_SYNC | libc::O_NOATIME)
        .cast_unsigned();

/// Where something is to be made.
struct Spot {
    above: OwnedFd,
    name: Vec<u8>,
    /// Whose it will be.
    owner: (u32, u32),
    /// Whether the directory hands its group on.
    inherited: bool,
}

impl Spot {
    fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }
}

impl Supervisor {
    /// Whose it is what a process makes, if it is not the step's user.
    fn other_owner(&self, call: &Call) -> Option<(u32, u32)> {
        let identity = self.identity(call);
        Some((identity.user.for_files, identity.group.for_files)).filter(|owner| *owner != self.default_owner())
    }

    /// The place that a call names; none where the step's user makes something, or nothing can be made.
    fn spot(&self, call: &Call, directory: Option<i32>, path: usize) -> Result<Option<Spot>, Errno> {
        let Some(owner) = self.other_owner(call) else { return Ok(None) };
        self.spot_of(call, directory, &memory::path(call.process, call.arguments[path])?, owner)
    }

    fn spot_of(
        &self,
        call: &Call,
        directory: Option<i32>,
        path: &[u8],
        owner: (u32, u32),
    ) -> Result<Option<Spot>, Errno> {
        let Some((above, name)) = place::split(path) else { return Ok(None) };
        let named = Named { directory, path: above.to_vec(), follow: true, may_be_empty: false };
        let Ok(above) = self.find(call, &named) else { return Ok(None) };
        let inherited = rustix::fs::fstat(&above)?.st_mode & 0o2000 != 0;
        let group = match inherited {
            true => self.owner(&above)?.unwrap_or(self.default_owner()).1,
            false => owner.1,
        };
        match statat(&above, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(Some(Spot { above, name: name.to_vec(), owner: (owner.0, group), inherited })),
            _ => Ok(None),
        }
    }

    /// The mode that a new file gets.
    fn new_mode(&self, call: &Call, mode: u32) -> Mode {
        Mode::from_raw_mode(mode & 0o7777 & !self.umask(call))
    }

    pub(super) fn open(
        &self,
        call: &Call,
        directory: Option<i32>,
        path: usize,
        (flags, mode): (u32, u32),
    ) -> Result<Answer, Errno> {
        let Some(spot) = self.spot(call, directory, path)? else { return Ok(Answer::GoOn) };
        let kept = OFlags::from_bits_retain(flags & FLAGS);
        let always = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Somebody was faster, or it is no place for files: the kernel knows.
        let Ok(file) = openat(&spot.above, spot.name(), kept | always, Mode::from_raw_mode(0o600)) else {
            return Ok(Answer::GoOn);
        };
        fchmod(&file, self.new_mode(call, mode))?;
        self.record(&file, spot.owner)?;
        let close_on_exec = flags & libc::O_CLOEXEC.cast_unsigned() != 0;
        match sys::give_descriptor(self.listener(), call.id, &file, close_on_exec) {
            Ok(number) => Ok(Answer::Value(number)),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }

    pub(super) fn make_directory(
        &self,
        call: &Call,
        directory: Option<i32>,
        path: usize,
        mode: u32,
    ) -> Result<Answer, Errno> {
        let Some(owner) = self.other_owner(call) else { return Ok(Answer::GoOn) };
        let mut path = memory::path(call.process, call.arguments[path])?;
        // A directory may be called one.
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let Some(spot) = self.spot_of(call, directory, &path, owner)? else { return Ok(Answer::GoOn) };
        mkdirat(&spot.above, spot.name(), Mode::from_raw_mode(0o700))?;
        let handed_on = if spot.inherited { 0o2000 } else { 0 };
        let mode = Mode::from_raw_mode(mode & 0o1777 & !self.umask(call) | handed_on);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&spot.above, spot.name(), flags, Mode::empty())?;
        fchmod(&made, mode)?;
        self.record(&made, spot.owner)?;
        Ok(Answer::Value(0))
    }

    /// The first argument is the link's text.
    pub(super) fn make_link(&self, call: &Call, directory: Option<i32>, path: usize) -> Result<Answer, Errno> {
        let Some(spot) = self.spot(call, directory, path)? else { return Ok(Answer::GoOn) };
        let target = memory::path(call.process, call.arguments[0])?;
        symlinkat(OsStr::from_bytes(&target), &spot.above, spot.name())?;
        self.record_at(&spot)
    }

    pub(super) fn make_pipe(
        &self,
        call: &Call,
        directory: Option<i32>,
        path: usize,
        mode: u32,
    ) -> Result<Answer, Errno> {
        let Some(spot) = self.spot(call, directory, path)? else { return Ok(Answer::GoOn) };
        let mode = self.new_mode(call, mode);
        mknodat(&spot.above, spot.name(), FileType::Fifo, mode, 0)?;
        chmodat(&spot.above, spot.name(), mode, AtFlags::empty())?;
        self.record_at(&spot)
    }

    fn record_at(&self, spot: &Spot) -> Result<Answer, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.record(&openat(&spot.above, spot.name(), flags, Mode::empty())?, spot.owner)?;
        Ok(Answer::Value(0))
    }
}
