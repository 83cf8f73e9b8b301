//! The second stage, process 1 of the sandbox: puts the files together, starts the program, reaps
//! what is orphaned, and takes everything with it when it ends.
//!
//! The program cannot signal it (the kernel drops signals to process 1 that it has no handlers for)
//! and cannot look into it (it is in another user namespace).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg, socket};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, chdir, fchdir, getpid, kill_process, kill_process_group, pivot_root,
    set_dumpable_behavior, set_parent_process_death_signal, umask, wait,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use super::ending::killed_for_memory;
use super::report::{Ability, Failure, Orders, Report, setup};
use super::seccomp::Owners;
use super::stage::{Handed, Stage, command, line};
use super::step::owners::{self, Identity, Supervisor};
use super::step::{self, Record, StepOrders, Traces};
use super::{Container, Ending, Files, Network, confine, devices, emulator, files, program, sys};
use crate::spec::accounts::Numbers;

/// What the sandbox is called to those in it.
const HOST_NAME: &[u8] = b"mab";

pub(super) fn run(handed: Handed) -> u8 {
    match handed.orders.container.clone() {
        Some(container) => match start(&handed, &container) {
            Ok(running) => supervise(handed, running),
            Err(failure) => {
                handed.say(&Report::Failed(failure));
                1
            }
        },
        None => {
            let report = match begin() {
                Ok(()) => Report::Probed(probe(&handed)),
                Err(failure) => Report::Failed(failure),
            };
            handed.say(&report);
            0
        }
    }
}

/// A program that runs.
struct Running {
    program: Pid,
    /// How many programs the kernel had killed for want of memory before.
    killed: Option<u64>,
    /// Of a build step.
    kept: Option<Kept>,
    /// The sandbox's binfmt_misc, which is there for as long as this is open.
    _binfmt: Option<OwnedFd>,
}

/// What is to be known of a step when it has ended.
struct Kept {
    /// The directory that takes it.
    scratch: OwnedFd,
    traces: Traces,
    owners: owners::Owners,
}

impl Kept {
    fn leave(self) -> io::Result<()> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut owners: Vec<_> = owners.iter().map(|(id, (user, group))| (*id, *user, *group)).collect();
        owners.sort_unstable();
        Record { traces: self.traces, owners }.leave(&self.scratch)
    }
}

fn begin() -> Result<(), Failure> {
    if getpid() != Pid::INIT {
        return Err(setup("be the first process")(io::Error::from(io::ErrorKind::Unsupported)));
    }
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(setup("follow the first stage"))?;
    // Not the user's: what a program finds is the same for all.
    umask(Mode::from_raw_mode(0o022));
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(setup("part the mounts"))
}

fn start(handed: &Handed, container: &Container) -> Result<Running, Failure> {
    begin()?;
    let orders = &handed.orders;
    let binfmt = match &orders.emulator {
        Some(emulator) => emulator::register(emulator)?,
        None => None,
    };
    files::scratch(&orders.mount_point)?;
    let files = match &orders.step {
        Some(step) => on_disk(orders, step)?,
        None => files::assemble(&orders.layers, orders.overlay, files::Upper::Memory)?,
    };
    let mut traces = Traces::default();
    devices::proc(files::ROOT)?;
    devices::dev(files::ROOT)?;
    let terminals = devices::terminals(files::ROOT);
    match orders.network {
        Network::Host => files::network_files(files::ROOT, &mut traces)?,
        Network::None => own_network()?,
    }
    devices::close_proc(files::ROOT)?;
    let kept = match &orders.step {
        Some(step) => Some(kept(step, traces)?),
        None => None,
    };
    rustix::system::sethostname(HOST_NAME).map_err(setup("give the sandbox a name"))?;
    enter(files::ROOT)?;
    let terminal = match orders.terminal {
        true => {
            terminals?;
            Some(terminal().map_err(setup("make a terminal"))?)
        }
        false => None,
    };
    rustix::thread::set_no_new_privs(true).map_err(setup("give up new privileges"))?;
    let prepared = program::prepare(container)?;
    let user = prepared.identity();
    let killed = killed_for_memory();
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(setup("close the first process to others"))?;
    let (master, slave) = terminal.unzip();
    let owners = if kept.is_some() { Owners::Listener } else { Owners::Kernel };
    let spawned = program::spawn(prepared, slave, owners)?;
    if let (Some(kept), Some(listener)) = (&kept, spawned.listener) {
        listen_to_calls(kept, listener, user).map_err(setup("answer the program's system calls"))?;
    }
    started(handed, &Report::Started { files, user: (user.uid, user.gid) }, master)
        .map_err(setup("report that the program runs"))?;
    Ok(Running { program: spawned.pid, killed, kept, _binfmt: binfmt })
}

/// Has a thread answer what the kernel asks about a step's calls.
fn listen_to_calls(kept: &Kept, listener: OwnedFd, user: Numbers) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = openat(&kept.scratch, "upper", flags, Mode::empty())?;
    let supervisor = Supervisor::new(listener, Identity::new(user), upper, Arc::clone(&kept.owners))?;
    std::thread::Builder::new().name("owners".to_owned()).spawn(move || supervisor.serve()).map(drop)
}

/// Puts the files of a step together.
fn on_disk(orders: &Orders, step: &StepOrders) -> Result<Files, Failure> {
    files::disk(&step.scratch)?;
    let prepare = || {
        let upper = Path::new(files::Upper::Disk.directory());
        step::prepare(upper, step.root).map_err(setup("prepare the image's root directory"))
    };
    // An overlay has its root's mode from the moment that it is mounted; copying gives it that of a layer's.
    prepare()?;
    let files = files::assemble(&orders.layers, orders.overlay, files::Upper::Disk)?;
    prepare()?;
    Ok(files)
}

/// What belongs to a step alone.
fn kept(step: &StepOrders, mut traces: Traces) -> Result<Kept, Failure> {
    step::mount_all(files::ROOT, &step.mounts, &mut traces)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let scratch = open(files::DISK, flags, Mode::empty()).map_err(setup("open the directory for what is written"))?;
    Ok(Kept { scratch, traces, owners: owners::Owners::default() })
}

/// Loopback alone, where every user may take any port: there is nobody to take one from.
fn own_network() -> Result<(), Failure> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(setup("open a socket"))?;
    sys::loopback_up(&any).map_err(setup("turn the loopback interface on"))?;
    // Older kernels have no such setting.
    let _ = std::fs::write(format!("{}/proc/sys/net/ipv4/ip_unprivileged_port_start", files::ROOT), "0");
    Ok(())
}

/// Makes the directory the root of everything, and leaves what was there before.
fn enter(root: &str) -> Result<(), Failure> {
    let what = "enter the image's file system";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(root, flags, Mode::empty()).map_err(setup(what))?;
    fchdir(&root).map_err(setup(what))?;
    pivot_root(".", ".").map_err(setup(what))?;
    // The old root lies over the new one now.
    unmount(".", UnmountFlags::DETACH).map_err(setup("leave the host's file system"))?;
    chdir("/").map_err(setup(what))
}

/// Both ends of a terminal of the sandbox's own: one to be looked at from outside, one to run in.
fn terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = open("/dev/pts/ptmx", flags, Mode::empty())?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((master, slave))
}

/// Says that the program runs, and sends its terminal along.
fn started(handed: &Handed, report: &Report, terminal: Option<OwnedFd>) -> rustix::io::Result<()> {
    let line = line(report);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = terminal.as_ref().map(|terminal| [terminal.as_fd()]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(&handed.socket, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the program. What it leaves running ends with this process.
fn supervise(handed: Handed, running: Running) -> u8 {
    let program = running.program;
    let timed_out = Arc::new(AtomicBool::new(false));
    let deadline = handed.orders.milliseconds.map(|limit| Instant::now() + Duration::from_millis(limit));
    if let Ok(socket) = handed.socket.try_clone() {
        let timed_out = Arc::clone(&timed_out);
        std::thread::spawn(move || listen(&socket, program, deadline, &timed_out));
    }
    let status = loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == program => break Some(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break None,
        }
    };
    let ending = match status {
        _ if timed_out.load(Ordering::SeqCst) => Ending::TimedOut,
        Some(status) => {
            let is_short = running.killed.zip(killed_for_memory()).is_some_and(|(before, now)| now > before);
            match (status.exit_status(), status.terminating_signal().unwrap_or_default()) {
                (Some(0), _) => Ending::Exited(0),
                (Some(code), _) if is_short => Ending::OutOfMemory(code),
                (None, signal) if is_short => Ending::OutOfMemory(128 + signal),
                (Some(code), _) => Ending::Exited(code),
                (None, signal) => Ending::Signaled(signal),
            }
        }
        None => Ending::Signaled(Signal::KILL.as_raw()),
    };
    let report = match running.kept.map(Kept::leave) {
        Some(Err(error)) => Report::Failed(setup("note what the command has left")(error)),
        _ => Report::Ended(ending),
    };
    handed.say(&report);
    0
}

/// Passes signals on, and ends the program when its time is up or mab is gone.
fn listen(socket: &OwnedFd, program: Pid, deadline: Option<Instant>, timed_out: &AtomicBool) {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut polled = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => {
                timed_out.store(true, Ordering::SeqCst);
                break;
            }
            Err(Errno::INTR) => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        let mut signals = [0_u8; 16];
        match rustix::io::read(socket, &mut signals[..]) {
            Err(Errno::INTR) => {}
            Err(_) | Ok(0) => break,
            Ok(count) => {
                signals[..count].iter().for_each(|signal| pass_on(program, i32::from(*signal)));
            }
        }
    }
    let _ = kill_process(program, Signal::KILL);
}

/// What a terminal's keys send goes to the program with what it has started, as a terminal does it: a
/// shell waits for what it has started, and that has to end first.
fn pass_on(program: Pid, signal: i32) {
    let Some(signal) = Signal::from_named_raw(signal) else { return };
    let _ = match [Signal::INT, Signal::QUIT, Signal::HUP].contains(&signal) {
        true => kill_process_group(program, signal),
        false => kill_process(program, signal),
    };
}

/// What this system can do, each thing tried.
fn probe(handed: &Handed) -> Vec<(Ability, Option<Failure>)> {
    let mut found = vec![(Ability::Namespaces, None)];
    let mut note = |ability, outcome: Result<(), Failure>| found.push((ability, outcome.err()));
    let files = files::scratch(&handed.orders.mount_point);
    if files.is_ok() {
        let overlay = files::overlay(&[], files::Upper::Memory);
        if overlay.is_err() {
            // The others can be tried all the same.
            let _ = files::copy(&[], files::Upper::Memory);
        }
        note(Ability::Overlay, overlay);
        note(Ability::Proc, devices::proc(files::ROOT).and_then(|()| devices::close_proc(files::ROOT)));
        note(Ability::Devices, devices::dev(files::ROOT));
        note(Ability::Terminals, devices::terminals(files::ROOT));
    } else {
        note(Ability::Overlay, files);
    }
    note(Ability::Binfmt, emulator::binfmt().map(drop));
    let confined = confinement(Owners::Kernel);
    if confined.is_ok() {
        note(Ability::Owners, confinement(Owners::Listener));
    }
    note(Ability::Confinement, confined);
    found
}

/// Whether a process can be confined as programs are.
fn confinement(owners: Owners) -> Result<(), Failure> {
    let what = match owners {
        Owners::Kernel => "start a program without privileges",
        Owners::Listener => confine::LISTEN,
    };
    rustix::thread::set_no_new_privs(true).map_err(setup(what))?;
    let mut command = command(Path::new("/proc/self/exe"), Stage::Nothing);
    let confinement = confine::Confinement::new(Numbers { uid: 1, gid: 1 }, owners);
    // Nobody listens here, and a program would be told that there are no such calls: it is not begun.
    const CONFINED: Errno = Errno::CANCELED;
    sys::before_exec(&mut command, move || match (confinement.enter(), owners) {
        (Ok(_), Owners::Kernel) => Ok(()),
        (Ok(_), Owners::Listener) => Err(CONFINED.into()),
        (Err((_, error)), _) => Err(error),
    });
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(setup(what)(io::Error::other(status.to_string()))),
        Err(error) if error.raw_os_error() == Some(CONFINED.raw_os_error()) => Ok(()),
        Err(error) => Err(setup(what)(error)),
    }
}
