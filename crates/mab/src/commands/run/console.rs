//! Standard input and output of the program: a terminal of its own, or pipes.
//!
//! Nothing that mab itself has open reaches the program, for what is open can be used for more than
//! reading and writing: mab passes the bytes on.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use builder::process::Environment;
use builder::sandbox::{Ending, Request, SandboxError, Streams, start};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::forward::Signals;

/// How the program talks.
pub(super) struct Console {
    terminal: bool,
}

impl Console {
    /// A terminal where people type and read; pipes where anything of that is not so.
    pub(super) fn find() -> Self {
        Self { terminal: io::stdin().is_terminal() && io::stdout().is_terminal() }
    }

    /// The kind of the terminal, if it is one.
    pub(super) fn terminal_kind(&self, env: &Environment) -> Option<String> {
        self.terminal.then(|| env.text("TERM").unwrap_or("xterm").to_owned())
    }

    /// Runs the program to its end.
    pub(super) fn run(&self, request: Request<'_>, signals: Signals) -> Result<Ending, SandboxError> {
        if self.terminal { in_terminal(request, signals) } else { in_pipes(request, signals) }
    }
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> SandboxError {
    let what = what.to_owned();
    move |source| SandboxError::Setup { what, source }
}

fn in_pipes(request: Request<'_>, signals: Signals) -> Result<Ending, SandboxError> {
    let pipe = || io::pipe().map_err(failed("make a pipe"));
    let (stdin, to_program) = pipe()?;
    let (from_program, stdout) = pipe()?;
    let (errors_of_program, stderr) = pipe()?;
    let streams = Streams { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
    let follower = signals.follow();
    let running = start(request, Some(streams))?;
    follower.attach(running.control().map_err(failed("reach the sandbox"))?, None);
    // It may wait for input for ever, and is left to it.
    pass(own(io::stdin().as_fd())?, to_program.into());
    let output = pass(from_program.into(), own(io::stdout().as_fd())?);
    let errors = pass(errors_of_program.into(), own(io::stderr().as_fd())?);
    let ending = running.wait();
    for thread in [output, errors] {
        let _ = thread.join();
    }
    ending
}

fn in_terminal(request: Request<'_>, signals: Signals) -> Result<Ending, SandboxError> {
    let follower = signals.follow();
    let mut running = start(request, None)?;
    let terminal = running.terminal().ok_or_else(|| failed("reach the terminal")(io::ErrorKind::NotFound.into()))?;
    let copy = || terminal.try_clone().map_err(failed("reach the terminal"));
    resize(&terminal);
    let raw = Raw::begin();
    follower.attach(running.control().map_err(failed("reach the sandbox"))?, Some(copy()?));
    pass(own(io::stdin().as_fd())?, copy()?);
    let output = pass(copy()?, own(io::stdout().as_fd())?);
    let ending = running.wait();
    // The terminal is closed by now on the other side, and what was written to it can still be read.
    let _ = output.join();
    drop(raw);
    ending
}

/// A descriptor that reads or writes without the standard library's buffers and locks.
fn own(stream: BorrowedFd<'_>) -> Result<OwnedFd, SandboxError> {
    stream.try_clone_to_owned().map_err(failed("open standard input or output"))
}

/// Passes bytes on until there are no more, or nobody takes them.
fn pass(from: OwnedFd, to: OwnedFd) -> JoinHandle<()> {
    let (mut from, mut to) = (File::from(from), File::from(to));
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => {
                    if to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The end of a terminal is an error.
                Err(_) => break,
            }
        }
    })
}

/// Gives a terminal the size of this one.
pub(super) fn resize(terminal: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(io::stdout()) {
        let _ = tcsetwinsize(terminal, size);
    }
}

/// This terminal without a will of its own: keys go to the program's. As it was before when this is
/// dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut raw) = before.clone() {
            raw.make_raw();
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}
