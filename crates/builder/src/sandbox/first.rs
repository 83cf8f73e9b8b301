//! The first stage: leaves the user's namespaces, and waits for the second one.

use std::io;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::UnshareFlags;

use super::report::{Failure, Report, forbidden, setup};
use super::stage::{Handed, Stage, command, hand_over};
use super::{Network, sys};

pub(super) fn run(handed: Handed) -> u8 {
    match prepare(&handed).and_then(|()| second(&handed)) {
        Ok(mut child) => {
            // The socket is the second stage's alone: it closes when that one ends.
            drop(handed);
            u8::from(child.wait().is_err())
        }
        Err(failure) => {
            handed.say(&Report::Failed(failure));
            1
        }
    }
}

fn prepare(handed: &Handed) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(setup("follow mab"))?;
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().cast_unsigned());
    if parent != Some(handed.orders.parent) {
        // mab was killed before the line above.
        return Err(setup("follow mab")(io::Error::from(io::ErrorKind::BrokenPipe)));
    }
    // Signals of the terminal's keys are for mab.
    let _ = setsid();
    // Groups of the user's would go along and cannot be left later. Only root may.
    let _ = rustix::thread::set_thread_groups(&[]);
    own_user_namespace(0, 0)?;
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if handed.orders.network == Network::None {
        flags |= UnshareFlags::NEWNET;
    }
    sys::unshare(flags).map_err(forbidden("new namespaces for mounts, processes and the network"))
}

/// Enters a new user namespace, in which this process has this user and group and all capabilities.
pub(super) fn own_user_namespace(uid: u32, gid: u32) -> Result<(), Failure> {
    enter_user_namespace(uid, gid).map_err(forbidden("a user namespace"))
}

/// The same, with the system's own error. Between `fork` and `exec` it is for processes without other
/// threads.
pub(super) fn enter_user_namespace(uid: u32, gid: u32) -> io::Result<()> {
    let (own_uid, own_gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER)?;
    // Without it a group cannot be mapped by an ordinary user.
    match std::fs::write("/proc/self/setgroups", "deny") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::write("/proc/self/uid_map", format!("{uid} {own_uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {own_gid} 1"))
}

fn second(handed: &Handed) -> Result<std::process::Child, Failure> {
    let mut command = command(Path::new("/proc/self/exe"), Stage::Init);
    hand_over(&mut command, &handed.file, &handed.socket);
    command.stdin(Stdio::inherit()).current_dir("/");
    command.spawn().map_err(setup("start the first process of the sandbox"))
}
