//! Answers the calls that the kernel asks about.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::{ffi::CStr, ffi::OsStr, io};

use oci_layout::layer::notes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, XattrFlags, chownat, fchmod, fsetxattr, getxattr, listxattr,
    openat, removexattr, setxattr, statx,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::calls::{self, Action, Which};
use super::identity::{Identities, Identity, MAX_GROUPS, UNCHANGED};
use super::place::{self, Named, Processes};
use super::status::Status;
use super::{device, memory};
use crate::sandbox::step::record::FileId;
use crate::sandbox::sys::{self, Notification, Reply};
use crate::sandbox::syscalls::Abi;

/// Most links and pipes whose owners are recorded.
const MAX_OWNERS: usize = 1_000_000;
/// The kernel's words for "from where the process is" and "the path may be empty".
const AT_CURRENT: i32 = libc::AT_FDCWD;
const TYPE: u32 = libc::S_IFMT;

/// Owners of what notes have no room in, by file.
pub(in crate::sandbox) type Owners = Arc<Mutex<HashMap<FileId, (u32, u32)>>>;

/// What answers a step's calls.
pub(in crate::sandbox) struct Supervisor {
    listener: OwnedFd,
    processes: Processes,
    identities: Identities,
    /// The owner of a file without a note.
    default: (u32, u32),
    /// What is written on disk.
    upper: OwnedFd,
    owners: Owners,
}

/// An answer: a number, or that the kernel is to do what it would have done.
pub(super) enum Answer {
    Value(u32),
    GoOn,
}

impl Supervisor {
    /// `listener` is the kernel's end, `upper` the directory that takes what is written.
    pub(in crate::sandbox) fn new(
        listener: OwnedFd,
        identity: Identity,
        upper: OwnedFd,
        owners: Owners,
    ) -> io::Result<Self> {
        let default = (identity.user.real, identity.group.real);
        let (processes, identities) = (Processes::open()?, Identities::new(identity));
        Ok(Self { listener, processes, identities, default, upper, owners })
    }

    /// Answers until nobody is left to ask.
    pub(in crate::sandbox) fn serve(mut self) {
        sys::take_turns(&self.listener);
        loop {
            match sys::next_notification(&self.listener) {
                Ok(asked) => {
                    let reply = match self.answer(&asked) {
                        Ok(Answer::Value(value)) => Reply::Value(value.into()),
                        Ok(Answer::GoOn) => Reply::GoOn,
                        Err(errno) => Reply::Error(errno.raw_os_error()),
                    };
                    // Who was killed meanwhile needs no answer.
                    let _ = sys::reply(&self.listener, asked.id, reply);
                }
                // Who asked was killed meanwhile, or a signal came.
                Err(error) if [Some(libc::ENOENT), Some(libc::EINTR)].contains(&error.raw_os_error()) => {
                    let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
                    if poll(&mut polled, None).is_ok() && polled[0].revents().contains(PollFlags::HUP) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn answer(&mut self, asked: &Notification) -> Result<Answer, Errno> {
        let abi = Abi::NATIVE.iter().copied().find(|abi| abi.audit() == asked.architecture);
        let Some((abi, (action, wide))) = abi.and_then(|abi| Some((abi, calls::action(abi, asked.number)?))) else {
            return Ok(Answer::GoOn);
        };
        let call = Call { id: asked.id, process: asked.process, arguments: asked.arguments, abi, wide };
        match action {
            Action::Chown => self.change_owner(&call, call.path(0, true)?, 1),
            Action::Lchown => self.change_owner(&call, call.path(0, false)?, 1),
            Action::Fchown => self.change_owner(&call, call.open_file(), 1),
            Action::Fchownat => self.change_owner(&call, call.path_from(Some(4))?, 2),
            Action::Chmod => self.change_mode(&call, call.path(0, true)),
            Action::Fchmod => self.change_mode(&call, Ok(call.open_file())),
            Action::Fchmodat => self.change_mode(&call, call.path_from(None)),
            Action::Fchmodat2 => self.change_mode(&call, call.path_from(Some(3))),
            Action::Stat => self.status(&call, call.path(0, true), 1),
            Action::Lstat => self.status(&call, call.path(0, false), 1),
            Action::Fstat => self.status(&call, Ok(call.open_file()), 1),
            Action::Fstatat => self.status(&call, call.path_from(Some(3)), 2),
            Action::Statx => self.full_status(&call),
            Action::Mknod => self.make_node(&call, None, 0),
            Action::Mknodat => self.make_node(&call, call.directory(), 1),
            Action::Open => self.open(&call, None, 0, (call.word(1), call.word(2))),
            Action::Creat => self.open(&call, None, 0, (libc::O_WRONLY.cast_unsigned(), call.word(1))),
            Action::Openat => self.open(&call, call.directory(), 1, (call.word(2), call.word(3))),
            Action::Mkdir => self.make_directory(&call, None, 0, call.word(1)),
            Action::Mkdirat => self.make_directory(&call, call.directory(), 1, call.word(2)),
            Action::Symlink => self.make_link(&call, None, 1),
            Action::Symlinkat => self.make_link(&call, call.directory_at(1), 2),
            Action::Rename => self.rename(&call, [call.path(0, false), call.path(1, false)]),
            Action::Renameat => self.rename(&call, [call.path_at(0, 1), call.path_at(2, 3)]),
            Action::KeepRights => {
                let mut identity = self.identity(&call);
                identity.keeps = call.word(1) != 0;
                self.identities.give(call.process, identity)?;
                Ok(Answer::GoOn)
            }
            Action::Set(set) => {
                let ids = [0, 1, 2].map(|index| call.id(index));
                let mut identity = self.identity(&call);
                let was_root = identity.is_root();
                let value = identity.set(set, ids)?;
                identity.keep_rights(was_root, self.processes.stack(call.process));
                self.identities.give(call.process, identity)?;
                Ok(Answer::Value(value))
            }
            Action::SetGroups => self.set_groups(&call),
            Action::Get(whose, which) => {
                let ids = self.identities.of(call.process).ids(whose);
                let id = match which {
                    Which::Real => ids.real,
                    Which::Effective => ids.effective,
                };
                Ok(Answer::Value(if wide { id } else { memory::narrowed(id).into() }))
            }
            Action::GetAll(whose) => {
                let ids = self.identities.of(call.process).ids(whose);
                for (index, id) in [ids.real, ids.effective, ids.saved].into_iter().enumerate() {
                    memory::write_ids(call.process, call.arguments[index], &[id], wide)?;
                }
                Ok(Answer::Value(0))
            }
            Action::GetGroups => self.groups(&call),
        }
    }

    /// Who a process is by now.
    pub(super) fn identity(&self, call: &Call) -> Identity {
        let mut identity = self.identities.of(call.process).clone();
        if identity.kept.is_some() && identity.kept != self.processes.stack(call.process) {
            (identity.keeps, identity.kept) = (false, None);
        }
        identity
    }

    /// The owner of a file without a note.
    pub(super) fn default_owner(&self) -> (u32, u32) {
        self.default
    }

    pub(super) fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// What is taken from the modes of the files that a process makes.
    pub(super) fn umask(&self, call: &Call) -> u32 {
        let umask = self.processes.status(call.process, "Umask:");
        umask.and_then(|umask| u32::from_str_radix(&umask, 8).ok()).unwrap_or(0o022)
    }

    fn set_groups(&mut self, call: &Call) -> Result<Answer, Errno> {
        let mut identity = self.identity(call);
        if !identity.is_root() {
            return Err(Errno::PERM);
        }
        let count = call.word(0) as usize;
        if count > MAX_GROUPS {
            return Err(Errno::INVAL);
        }
        identity.groups = memory::ids(call.process, call.arguments[1], count, call.wide)?;
        identity.groups.sort_unstable();
        self.identities.give(call.process, identity)?;
        Ok(Answer::Value(0))
    }

    fn groups(&self, call: &Call) -> Result<Answer, Errno> {
        let groups = &self.identities.of(call.process).groups;
        let count = groups.len() as u32;
        let room = call.word(0);
        if room.cast_signed() < 0 {
            return Err(Errno::INVAL);
        }
        if room > 0 {
            if room < count {
                return Err(Errno::INVAL);
            }
            memory::write_ids(call.process, call.arguments[1], groups, call.wide)?;
        }
        Ok(Answer::Value(count))
    }

    /// The file that a call names.
    pub(super) fn find(&self, call: &Call, named: &Named) -> Result<OwnedFd, Errno> {
        let found = self.processes.find(call.process, named)?;
        // Its number may be another process's by now, and the file that one's.
        if sys::still_waits(&self.listener, call.id) { Ok(found) } else { Err(Errno::SRCH) }
    }

    fn change_owner(&mut self, call: &Call, named: Named, from: usize) -> Result<Answer, Errno> {
        let (user, group) = (call.id(from), call.id(from + 1));
        let identity = self.identity(call);
        let may = identity.is_root()
            || (user == UNCHANGED || user == identity.user.for_files)
                && (group == UNCHANGED || identity.has_group(group));
        let file = match self.find(call, &named) {
            // A link of /proc, or the like: the kernel knows where it leads.
            Err(Errno::LOOP | Errno::XDEV | Errno::AGAIN) => return Ok(Answer::GoOn),
            found => found?,
        };
        if !may {
            return Err(Errno::PERM);
        }
        // Whose a file without a note is, only the layers below and its directory say.
        let known = self.noted_owner(&file)?.unwrap_or((UNCHANGED, UNCHANGED));
        let owner = (if user == UNCHANGED { known.0 } else { user }, if group == UNCHANGED { known.1 } else { group });
        // As a change for the kernel, which copies a layer's file up and drops set-id bits.
        let (root, empty) = (Some(Uid::ROOT), AtFlags::EMPTY_PATH);
        match chownat(&file, "", root, Some(Gid::ROOT), empty) {
            // Devices of the host and the like, which belong to others.
            Err(Errno::PERM | Errno::INVAL) => return Ok(Answer::GoOn),
            changed => changed?,
        }
        self.record(&file, owner)?;
        Ok(Answer::Value(0))
    }

    /// Notes an owner with the file, or in the table where the file has no room for it.
    pub(super) fn record(&self, file: &OwnedFd, owner: (u32, u32)) -> Result<(), Errno> {
        let mode = kind(file)?;
        if holds_notes(mode) {
            let name = place::own_name(file);
            let text = notes::owner(owner.0, owner.1);
            match setxattr(&name, notes::OWNER, text.as_bytes(), XattrFlags::empty()) {
                // Not a place that goes into a layer.
                Err(Errno::OPNOTSUPP) => return Ok(()),
                set => set?,
            }
            if mode & TYPE == libc::S_IFREG
                && let Some(noted) = note(file, notes::MODE)?.and_then(|note| notes::parse_mode(&note))
            {
                self.drop_set_id(&name, noted)?;
            }
            return Ok(());
        }
        let Some(id) = self.upper_id(file)? else { return Ok(()) };
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= MAX_OWNERS && !owners.contains_key(&id) {
            return Err(Errno::NOSPC);
        }
        owners.insert(id, owner);
        Ok(())
    }

    /// Who gets a program does not get its set-id bits, noted or not.
    fn drop_set_id(&self, name: &str, noted: u32) -> Result<(), Errno> {
        let set_group = if noted & 0o010 == 0 { 0 } else { 0o2000 };
        let left = noted & !(0o4000 | set_group);
        match left {
            left if left == noted => Ok(()),
            left if left & 0o6000 == 0 && left & 0o400 != 0 => removexattr(name, notes::MODE),
            left => setxattr(name, notes::MODE, notes::mode(left).as_bytes(), XattrFlags::empty()),
        }
    }

    /// The recorded owner, if there is one.
    pub(super) fn owner(&self, file: &OwnedFd) -> Result<Option<(u32, u32)>, Errno> {
        let known = |id: u32, default: u32| if id == UNCHANGED { default } else { id };
        let noted = self.noted_owner(file)?;
        Ok(noted.map(|(user, group)| (known(user, self.default.0), known(group, self.default.1))))
    }

    /// The same, with [`UNCHANGED`] for what was not given away.
    fn noted_owner(&self, file: &OwnedFd) -> Result<Option<(u32, u32)>, Errno> {
        if holds_notes(kind(file)?) {
            return Ok(note(file, notes::OWNER)?.and_then(|note| notes::parse_owner(&note)));
        }
        if self.owners.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return Ok(None);
        }
        let Some(id) = self.upper_id(file)? else { return Ok(None) };
        Ok(self.owners.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied())
    }

    /// What a file is on disk, if it is there: overlay file systems give their files other numbers.
    fn upper_id(&self, file: &OwnedFd) -> Result<Option<FileId>, Errno> {
        let path = place::path_of(file)?;
        let Some(path) = path.strip_prefix(b"/").filter(|path| !path.is_empty()) else { return Ok(None) };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let Ok(found) = place::look(&self.upper, path, OFlags::NOFOLLOW, resolve) else { return Ok(None) };
        if kind(&found)? & TYPE != kind(file)? & TYPE {
            return Ok(None);
        }
        let found = statx(&found, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
        Ok(Some(FileId { number: found.stx_ino, born: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec) }))
    }

    /// An overlay does not rename a directory of the layers below: neither does a copy of them.
    fn rename(&self, call: &Call, named: [Result<Named, Errno>; 2]) -> Result<Answer, Errno> {
        for named in named {
            if let Ok(file) = named.and_then(|named| self.find(call, &named))
                && let Some(mark) = note(&file, notes::MERGED)?
                && notes::is_merged(&mark, rustix::fs::fstat(&file)?.st_ino)
            {
                return Err(Errno::XDEV);
            }
        }
        Ok(Answer::GoOn)
    }

    /// From now on the file has the mode that the kernel gives it.
    fn change_mode(&self, call: &Call, named: Result<Named, Errno>) -> Result<Answer, Errno> {
        if let Ok(file) = named.and_then(|named| self.find(call, &named))
            && note(&file, notes::MODE)?.is_some()
        {
            match removexattr(place::own_name(&file), notes::MODE) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Answer::GoOn)
    }

    fn status(&self, call: &Call, named: Result<Named, Errno>, to: usize) -> Result<Answer, Errno> {
        let Some(status) = self.noted_status(call, named, 0, StatxFlags::BASIC_STATS.bits()) else {
            return Ok(Answer::GoOn);
        };
        memory::write(call.process, call.arguments[to], &status.stat(call.abi))?;
        Ok(Answer::Value(0))
    }

    fn full_status(&self, call: &Call) -> Result<Answer, Errno> {
        let (flags, mask) = (call.word(2), call.word(3));
        let Some(status) = self.noted_status(call, call.path_from(Some(2)), flags, mask) else {
            return Ok(Answer::GoOn);
        };
        memory::write(call.process, call.arguments[4], status.statx())?;
        Ok(Answer::Value(0))
    }

    /// Whether anything is noted about a file: of nearly all there is not, and this is the cheapest question.
    fn may_have_notes(&self, file: &OwnedFd) -> bool {
        let mut names = [0_u8; 1024];
        match listxattr(place::own_name(file), &mut names[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => {}
            _ => return true,
        }
        let table_is_empty = self.owners.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        !table_is_empty && !kind(file).is_ok_and(holds_notes)
    }

    /// What there is to say of a file that has notes; nothing of others, of which the kernel knows all.
    fn noted_status(&self, call: &Call, named: Result<Named, Errno>, flags: u32, mask: u32) -> Option<Status> {
        const SYNC: u32 = 0x6000;
        let file = self.find(call, &named.ok()?).ok()?;
        if !self.may_have_notes(&file) {
            return None;
        }
        let owner = self.owner(&file).ok()?;
        let mode = note(&file, notes::MODE).ok()?.and_then(|note| notes::parse_mode(&note));
        let device = note(&file, device::NOTE).ok()?.and_then(|note| device::parse(&note));
        if owner.is_none() && mode.is_none() && device.is_none() {
            return None;
        }
        let mut status = Status::new(sys::status(&file, flags & SYNC, mask).ok()?);
        let (user, group) = owner.unwrap_or(self.default);
        status.set_owner(user, group);
        if let Some(mode) = mode {
            status.set_mode(status.mode() & TYPE | mode);
        }
        if let Some((block, major, minor)) = device {
            let kind = if block { libc::S_IFBLK } else { libc::S_IFCHR };
            status.set_mode(status.mode() & !TYPE | kind);
            status.set_device(major, minor);
        }
        Some(status)
    }

    /// A device node becomes a file with a note.
    fn make_node(&self, call: &Call, directory: Option<i32>, at: usize) -> Result<Answer, Errno> {
        let (mode, number) = (call.word(at + 1), call.word(at + 2));
        let block = match mode & TYPE {
            libc::S_IFCHR => false,
            libc::S_IFBLK => true,
            libc::S_IFIFO => return self.make_pipe(call, directory, at, mode),
            _ => return Ok(Answer::GoOn),
        };
        let (major, minor) = ((number >> 8) & 0xfff, number & 0xff | (number >> 12) & 0xf_ff00);
        // The mark of a deletion is none of these.
        if !self.identity(call).is_root() || (block, major, minor) == (false, 0, 0) {
            return Err(Errno::PERM);
        }
        let path = memory::path(call.process, call.arguments[at])?;
        let (above, name) = place::split(&path).ok_or(Errno::EXIST)?;
        let above = Named { directory, path: above.to_vec(), follow: true, may_be_empty: false };
        let above = self.find(call, &above)?;
        let umask = self.umask(call);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&above, OsStr::from_bytes(name), flags, Mode::from_raw_mode(0o600))?;
        fsetxattr(made.as_fd(), device::NOTE, device::note(block, major, minor).as_bytes(), XattrFlags::empty())?;
        fchmod(&made, Mode::from_raw_mode(mode & 0o7777 & !umask))?;
        Ok(Answer::Value(0))
    }
}

/// A call with its arguments.
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) process: u32,
    pub(super) arguments: [u64; 6],
    abi: Abi,
    /// Whether users and groups have 32 bits.
    wide: bool,
}

impl Call {
    fn word(&self, index: usize) -> u32 {
        self.arguments[index] as u32
    }

    /// A user or group.
    fn id(&self, index: usize) -> u32 {
        if self.wide { self.word(index) } else { memory::widened(self.word(index)) }
    }

    fn path(&self, index: usize, follow: bool) -> Result<Named, Errno> {
        let path = memory::path(self.process, self.arguments[index])?;
        Ok(Named { directory: None, path, follow, may_be_empty: false })
    }

    /// A path from a directory, with the flags that say how it is to be read.
    fn path_from(&self, flags: Option<usize>) -> Result<Named, Errno> {
        let flags = flags.map_or(0, |index| self.word(index).cast_signed());
        let may_be_empty = flags & libc::AT_EMPTY_PATH != 0;
        let path = match self.arguments[1] {
            // As newer systems take it.
            0 if may_be_empty => Vec::new(),
            address => memory::path(self.process, address)?,
        };
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        Ok(Named { directory: self.directory(), path, follow, may_be_empty })
    }

    fn open_file(&self) -> Named {
        let directory = Some(self.word(0).cast_signed());
        Named { directory, path: Vec::new(), follow: true, may_be_empty: true }
    }

    /// The directory that a path begins at.
    fn directory(&self) -> Option<i32> {
        self.directory_at(0)
    }

    fn directory_at(&self, index: usize) -> Option<i32> {
        Some(self.word(index).cast_signed()).filter(|number| *number != AT_CURRENT)
    }

    /// A path whose last link is not followed.
    fn path_at(&self, directory: usize, path: usize) -> Result<Named, Errno> {
        let path = memory::path(self.process, self.arguments[path])?;
        Ok(Named { directory: self.directory_at(directory), path, follow: false, may_be_empty: false })
    }
}

/// Type and mode of a file.
fn kind(file: &OwnedFd) -> Result<u32, Errno> {
    Ok(rustix::fs::fstat(file)?.st_mode)
}

/// Whether owners are noted with files of this mode; those of links and pipes are in the table.
fn holds_notes(mode: u32) -> bool {
    matches!(mode & TYPE, libc::S_IFREG | libc::S_IFDIR)
}

/// A note on a file that is open for nothing else.
fn note(file: &OwnedFd, name: &CStr) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0_u8; 64];
    match getxattr(place::own_name(file), name, &mut value[..]) {
        Ok(count) => Ok(Some(value[..count].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(error) => Err(error),
    }
}
