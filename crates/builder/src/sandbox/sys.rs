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
