//! The outer side of a sandbox: starts it, passes signals on, and learns how its program has ended.

use std::fs::File;
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType,
    recvmsg, send, shutdown, socketpair,
};

use super::report::{Ability, Failure, Orders, Report};
use super::stage::{Stage, command, hand_over};
use super::step::StepOrders;
use super::{Ending, Files, Request, SandboxError};
use crate::spec::accounts::Numbers;

/// Longest report that is read: more is no report.
const MAX_REPORT: usize = 1 << 20;

/// Standard input, output and errors of a program without a terminal.
pub struct Streams {
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard errors.
    pub stderr: Stdio,
}

impl Streams {
    fn none() -> Self {
        Self { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }
    }
}

/// A program that runs in a sandbox. Dropped before its end, it is killed.
pub struct Running {
    link: Link,
    files: Files,
}

/// What a sandbox is told while it runs.
pub struct Control(OwnedFd);

impl Control {
    /// Sends the program a signal, unless it has ended; one that a terminal's keys send goes to its whole
    /// process group.
    pub fn signal(&self, number: u8) {
        let _ = send(&self.0, &[number], SendFlags::NOSIGNAL);
    }

    /// Kills the program and everything that it has started.
    pub fn kill(&self) {
        let _ = shutdown(&self.0, Shutdown::Write);
    }
}

impl Running {
    /// How the image's files are put together.
    pub fn files(&self) -> Files {
        self.files
    }

    /// The outer end of the program's terminal, if it has one. It is given once.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.link.received.take()
    }

    /// For signals from another thread.
    pub fn control(&self) -> io::Result<Control> {
        Ok(Control(self.link.socket.try_clone()?))
    }

    /// Waits for the end of the program, which is the end of everything that it has started.
    pub fn wait(mut self) -> Result<Ending, SandboxError> {
        let report = self.link.report();
        self.link.end();
        match report? {
            Some(Report::Ended(ending)) => Ok(ending),
            Some(Report::Failed(failure)) => Err(SandboxError::of_failure(failure)),
            _ => Err(SandboxError::Killed),
        }
    }
}

/// Starts a program, and comes back when it runs or cannot.
///
/// The calling thread has to live until the program has ended: the kernel ends the sandbox with it.
pub fn start(request: Request<'_>, streams: Option<Streams>) -> Result<Running, SandboxError> {
    begin(request, None, streams.unwrap_or_else(Streams::none)).map(|(running, _)| running)
}

/// The same, of a build step or not; says who the program's user is.
pub(super) fn begin(
    request: Request<'_>,
    step: Option<StepOrders>,
    streams: Streams,
) -> Result<(Running, Numbers), SandboxError> {
    let orders = Orders {
        parent: std::process::id(),
        mount_point: request.mount_point,
        layers: request.layers,
        overlay: request.overlay,
        network: request.network,
        emulator: request.execution.emulator().cloned(),
        terminal: request.container.terminal,
        milliseconds: request.time_limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        container: Some(request.container),
        step,
    };
    let mut link = Link::to(request.executable, &orders, streams)?;
    match link.report()? {
        Some(Report::Started { files, user: (uid, gid) }) => Ok((Running { link, files }, Numbers { uid, gid })),
        Some(Report::Failed(failure)) => Err(SandboxError::of_failure(failure)),
        _ => Err(SandboxError::Killed),
    }
}

/// Sees what this system can do, each thing tried; an error where it can do nothing at all.
pub(super) fn probe(executable: &Path, mount_point: PathBuf) -> Result<Vec<(Ability, Option<Failure>)>, SandboxError> {
    let orders = Orders {
        parent: std::process::id(),
        mount_point,
        layers: Vec::new(),
        overlay: true,
        network: super::Network::None,
        emulator: None,
        terminal: false,
        milliseconds: None,
        container: None,
        step: None,
    };
    match Link::to(executable, &orders, Streams::none())?.report()? {
        Some(Report::Probed(found)) => Ok(found),
        Some(Report::Failed(failure)) => Err(SandboxError::of_failure(failure)),
        _ => Err(SandboxError::Killed),
    }
}

/// The stages, and the socket to them.
struct Link {
    child: Child,
    socket: OwnedFd,
    /// Bytes of reports that are not read yet.
    pending: Vec<u8>,
    /// A descriptor that came with one.
    received: Option<OwnedFd>,
}

impl Link {
    fn to(executable: &Path, orders: &Orders, streams: Streams) -> Result<Self, SandboxError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source: io::Error| SandboxError::Setup { what, source }
        };
        let text = serde_json::to_vec(orders).map_err(|_| {
            let odd = orders.layers.iter().chain([&orders.mount_point]).find(|path| path.to_str().is_none());
            SandboxError::Unfit { what: odd.map_or("the image".to_owned(), |path| format!("{}", path.display())) }
        })?;
        let file = memfd_create("orders", MemfdFlags::CLOEXEC)
            .map_err(|errno| failed("make a file in memory")(errno.into()))?;
        let mut file = File::from(file);
        file.write_all(&text).map_err(failed("write a file in memory"))?;
        let file = OwnedFd::from(file);
        let flags = SocketFlags::CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|errno| failed("make a socket")(errno.into()))?;
        let mut command = command(executable, Stage::First);
        hand_over(&mut command, &file, &theirs);
        command.stdin(streams.stdin).stdout(streams.stdout).stderr(streams.stderr).current_dir("/");
        let child = command.spawn().map_err(failed("start mab once more"))?;
        Ok(Self { child, socket, pending: Vec::new(), received: None })
    }

    /// The next report; none where the stages have ended.
    fn report(&mut self) -> Result<Option<Report>, SandboxError> {
        let lost = |source: io::Error| SandboxError::Setup { what: "hear from the sandbox".to_owned(), source };
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|error| lost(error.into()));
            }
            if self.pending.len() > MAX_REPORT || !self.receive().map_err(lost)? {
                return Ok(None);
            }
        }
    }

    /// Reads more; false where there is no more.
    fn receive(&mut self) -> io::Result<bool> {
        let mut bytes = [0_u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                // The stages were killed with orders unread.
                Err(Errno::CONNRESET) => return Ok(false),
                received => break received?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.received = descriptors.last().or(self.received.take());
            }
        }
        self.pending.extend_from_slice(&bytes[..message.bytes]);
        Ok(message.bytes > 0)
    }

    /// Ends what still runs, and waits for it.
    fn end(&mut self) {
        let _ = shutdown(&self.socket, Shutdown::Write);
        let _ = self.child.wait();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}
