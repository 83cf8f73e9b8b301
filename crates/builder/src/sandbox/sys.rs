//! The system calls of the sandbox that no safe interface has: all `unsafe` code of the crate.

#![allow(unsafe_code, reason = "these system calls have no safe interface")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The first descriptor behind the standard ones.
const FIRST: RawFd = 3;
/// `KEYCTL_JOIN_SESSION_KEYRING`.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Leaves namespaces of this process for new ones.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the one flag that changes what other code relies on is `FILES`, which nobody asks for.
    Ok(unsafe { unshare_unsafe(flags.difference(UnshareFlags::FILES)) }?)
}

/// The descriptor with this number, which the parent process has handed over for good. To be called
/// once for a number, at the start of a stage.
pub(super) fn handed_over(number: RawFd) -> io::Result<OwnedFd> {
    if number < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: asks for flags alone; a number that is no descriptor is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as was just seen, and nothing else in this new process knows the number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes what this process has inherited beside the standard descriptors and those that are kept.
/// To be called at the start of a stage, when nothing else has been opened.
pub(super) fn close_others(kept: &[&OwnedFd]) -> io::Result<()> {
    let mut numbers: Vec<RawFd> = kept.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    numbers.sort_unstable();
    let mut from = FIRST;
    for number in numbers {
        if from < number {
            close_range(from, number - 1, 0)?;
        }
        from = number + 1;
    }
    close_range(from, RawFd::MAX, 0)
}

/// Lets the next program have no descriptors but the standard ones.
pub(super) fn close_on_exec() -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    close_range(FIRST, RawFd::MAX, CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: plain numbers. What it closes belongs to nobody in this process: see the callers.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the new process do something before it becomes the command.
///
/// `work` runs between `fork` and `exec`. In a process with several threads it may only make system
/// calls, on what was allocated before.
pub(super) fn before_exec(command: &mut Command, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the callers keep to what is said above.
    unsafe { command.pre_exec(work) };
}

/// Lets a descriptor survive the start of another program. For [`before_exec`].
pub(super) fn keep_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: sets a flag; a number that is no descriptor is an error.
    match unsafe { libc::fcntl(number, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Becomes a program; comes back only with an error. Unlike the C library's `execvp`, a file that no
/// system can run is not given to a shell.
pub(super) fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: all strings end with NUL and both lists with a null pointer; all of them live on.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Leaves the user's keyrings behind for an empty one. Without keyrings in the kernel there are
/// none to leave.
pub(super) fn join_new_keyring() -> io::Result<()> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name asks for a new keyring without one.
    if unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) } >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        error => Err(error),
    }
}

/// Lets this process, and what it becomes and starts, make only the system calls that `filter` lets
/// through.
pub(super) fn install_filter(filter: &[libc::sock_filter]) -> io::Result<()> {
    let length = filter.len().try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, of that length, and writes nothing to it.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same, and has the kernel ask whoever holds what comes back about the calls for which the filter says so.
pub(super) fn install_filter_to_listen_to(filter: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    /// Who waits for an answer is woken by what kills it alone. Since Linux 5.19.
    const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
    let length = filter.len().try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the kernel copies the program, of that length, and writes nothing to it.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) }
    };
    let mut number = install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE);
    if number < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        number = install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    }
    match RawFd::try_from(number) {
        // SAFETY: a new descriptor that nobody else knows.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A system call that a process waits in for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notification {
    pub(super) id: u64,
    /// The thread.
    pub(super) process: u32,
    pub(super) architecture: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// An answer to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    /// The call returns this.
    Value(i64),
    /// It fails with this error.
    Error(i32),
    /// The kernel does what it would have done.
    GoOn,
}

// Of linux/seccomp.h: `_IOWR('!', 0, …)`, `_IOWR('!', 1, …)`, `_IOW('!', 2, …)` and so on, with sizes.
const NOTIFICATION_RECEIVE: u32 = 0xc050_2100;
const NOTIFICATION_SEND: u32 = 0xc018_2101;
const NOTIFICATION_IS_VALID: u32 = 0x4008_2102;
const NOTIFICATION_GIVE: u32 = 0x4018_2103;
const NOTIFICATION_SET_FLAGS: u32 = 0x4008_2104;

/// Waits for the next one. `ENOENT` where who asked is gone.
pub(super) fn next_notification(listener: &OwnedFd) -> io::Result<Notification> {
    // SAFETY: all zeros is a valid `seccomp_notif`, and what the kernel wants: plain numbers.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one of these, whose size is part of the request's number.
    if unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFICATION_RECEIVE as _, &raw mut asked) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Notification {
        id: asked.id,
        process: asked.pid,
        architecture: asked.data.arch,
        number: asked.data.nr.cast_unsigned(),
        arguments: asked.data.args,
    })
}

/// Opens a file of this process's in the one that asked; gives its number there.
pub(super) fn give_descriptor(listener: &OwnedFd, id: u64, file: &OwnedFd, close_on_exec: bool) -> io::Result<u32> {
    let given = libc::seccomp_notif_addfd {
        id,
        flags: 0,
        srcfd: file.as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
    };
    // SAFETY: the kernel reads one of these, whose size is part of the request's number.
    let number = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFICATION_GIVE as _, &raw const given) };
    u32::try_from(number).map_err(|_| io::Error::last_os_error())
}

/// Has who asks and who answers take turns on one processor: either waits for the other anyway. Since Linux 6.6.
pub(super) fn take_turns(listener: &OwnedFd) {
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the argument is a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFICATION_SET_FLAGS as _, SYNC_WAKE_UP) };
}

/// Whether who asked still waits.
pub(super) fn still_waits(listener: &OwnedFd, id: u64) -> bool {
    // SAFETY: the kernel reads a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFICATION_IS_VALID as _, &raw const id) == 0 }
}

pub(super) fn reply(listener: &OwnedFd, id: u64, reply: Reply) -> io::Result<()> {
    let (val, error, flags) = match reply {
        Reply::Value(value) => (value, 0, 0),
        Reply::Error(errno) => (0, -errno, 0),
        Reply::GoOn => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
    };
    let answer = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: the kernel reads one of these, whose size is part of the request's number.
    match unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFICATION_SEND as _, &raw const answer) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Copies another process's memory; how much of it was there.
pub(super) fn read_memory(process: u32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let (pid, remote) = (process.cast_signed(), remote(address, into.len())?);
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: the kernel writes to the local one, which is there and as long as it says; it checks the other.
    let count = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes to another process's memory; how much of it was there.
pub(super) fn write_memory(process: u32, address: u64, bytes: &[u8]) -> io::Result<usize> {
    let (pid, remote) = (process.cast_signed(), remote(address, bytes.len())?);
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the kernel reads the local one, which is there and as long as it says; it checks the other.
    let count = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn remote(address: u64, length: usize) -> io::Result<libc::iovec> {
    let address = usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
    Ok(libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: length })
}

/// The limit on file locks of a process, soft and hard, of which the kernel makes no use.
pub(super) fn spare_limit(process: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to the last one; there is no new limit.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            process,
            libc::RLIMIT_LOCKS as libc::c_int,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    if done == 0 { Ok((limit.rlim_cur, limit.rlim_max)) } else { Err(io::Error::last_os_error()) }
}

/// Sets it, softly.
pub(super) fn set_spare_limit(process: u32, value: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: value, rlim_max: spare_limit(process)?.1 };
    // SAFETY: the kernel reads the new limit, and is not asked for the old one.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            process,
            libc::RLIMIT_LOCKS as libc::c_int,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What `statx` says of an open file, as the kernel writes it.
pub(super) fn status(file: &OwnedFd, flags: u32, mask: u32) -> io::Result<[u8; 256]> {
    // Aligned as the kernel's own.
    let mut words = [0_u64; 32];
    let flags = flags.cast_signed() | libc::AT_EMPTY_PATH;
    // SAFETY: the path is empty and ends with NUL; the kernel writes 256 bytes, which are there.
    let done =
        unsafe { libc::syscall(libc::SYS_statx, file.as_raw_fd(), c"".as_ptr(), flags, mask, words.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut bytes = [0; 256];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(bytes)
}

/// Turns the loopback interface of this network namespace on.
pub(super) fn loopback_up(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: all zeros is a valid `ifreq`: plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the kernel reads the request, which is of the type that this one wants.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
