//! Starts children, reads what they write, and ends them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::lines::Lines;
use super::{Environment, Stream};

/// Most bytes of standard output that are kept.
const CAPTURE_LIMIT: usize = 64 << 20;
/// Lines of standard error that are kept for messages.
const TAIL_LINES: usize = 100;
/// Longest of these lines, in bytes.
const TAIL_LINE: usize = 2048;
/// How long a pipe may stay open after the child has ended: a daemon that the child left behind
/// (a compiler cache's server, say) may hold it for ever.
const DRAIN: Duration = Duration::from_millis(500);

/// A program to run. Its environment is exactly what stands here.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The program's path.
    pub program: PathBuf,
    /// Arguments.
    pub arguments: Vec<OsString>,
    /// All of its environment.
    pub environment: Environment,
    /// Working directory.
    pub directory: PathBuf,
}

impl Command {
    /// A command without arguments.
    pub fn new(program: impl Into<PathBuf>, directory: impl Into<PathBuf>, environment: Environment) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment, directory: directory.into() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// As a person would type it, without the environment, which may hold secrets.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        self.arguments.iter().try_for_each(|argument| {
            let text = argument.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
            if !text.is_empty() && text.chars().all(plain) {
                write!(f, " {text}")
            } else {
                write!(f, " '{}'", text.replace('\'', r"'\''"))
            }
        })
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a child ended and what it wrote.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, where it was captured.
    pub stdout: Vec<u8>,
    /// The last lines of its standard error.
    pub tail: Vec<String>,
}

/// Why a child did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its pipes or its end could not be waited for.
    #[error("lost contact with {}", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It wrote more than anything that mab asks for is long.
    #[error("{} wrote more than {} MiB", program.display(), CAPTURE_LIMIT >> 20)]
    Flood {
        /// The program.
        program: PathBuf,
    },
    /// The build was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// `exit code 101`, or the signal that ended it with what usually is behind it.
pub fn describe_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(9)) => "killed by signal 9, as happens when memory runs out".to_owned(),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "unknown status".to_owned(),
    }
}

/// All child processes of the program. Shared between threads.
#[derive(Default)]
pub struct Children {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    interrupted: bool,
    /// Each child leads a process group of the same number. A number stays here until just
    /// before the child is reaped, so it cannot have been given to a stranger.
    groups: HashSet<Pid>,
}

impl Children {
    /// No children yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`Children::interrupt`] was called.
    pub fn interrupted(&self) -> bool {
        self.state().interrupted
    }

    /// Ends all children with everything that they started, and lets no other start.
    ///
    /// They are asked (SIGTERM) and after `grace` told (SIGKILL). Returns when all are reaped, or
    /// a second after the latter; blocks until then.
    pub fn interrupt(&self, grace: Duration) {
        let mut state = self.state();
        state.interrupted = true;
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, Duration::from_secs(1))] {
            for group in &state.groups {
                // A group that is gone already is what is wanted.
                let _ = kill_process_group(*group, signal);
            }
            let deadline = Instant::now() + patience;
            while !state.groups.is_empty() {
                let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
                state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Kills all children with everything that they started, lets no other start, and waits for
    /// nothing: for a program that is about to exit.
    pub fn kill(&self) {
        let mut state = self.state();
        state.interrupted = true;
        for group in &state.groups {
            let _ = kill_process_group(*group, Signal::KILL);
        }
    }

    /// Runs a command to its end, with no input. Each line of both pipes goes to `on_line` as it
    /// comes; nothing is captured.
    pub fn run(&self, command: &Command, on_line: &mut dyn FnMut(Stream, &str)) -> Result<Output, ProcessError> {
        self.drive(command, false, on_line)
    }

    /// Runs a command to its end and keeps its standard output.
    pub fn capture(&self, command: &Command) -> Result<Output, ProcessError> {
        self.drive(command, true, &mut |_, _| {})
    }

    fn start(&self, command: &Command) -> Result<(std::process::Child, Pid), ProcessError> {
        // Under the lock: a child is known from the moment it exists, or does not start.
        let mut state = self.state();
        if state.interrupted {
            return Err(ProcessError::Interrupted);
        }
        let mut process = std::process::Command::new(&command.program);
        process
            .args(&command.arguments)
            .env_clear()
            .envs(command.environment.iter())
            .current_dir(&command.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut tries = 0;
        let child = loop {
            match process.spawn() {
                Ok(child) => break child,
                // A program that was written just now: some other child that is about to start
                // holds it open for a moment still.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && tries < 50 => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(source) => return Err(ProcessError::Start { program: command.program.clone(), source }),
            }
        };
        let pid = Pid::from_child(&child);
        state.groups.insert(pid);
        Ok((child, pid))
    }

    fn drive(
        &self,
        command: &Command,
        capture: bool,
        on_line: &mut dyn FnMut(Stream, &str),
    ) -> Result<Output, ProcessError> {
        let lost = |source| ProcessError::Wait { program: command.program.clone(), source };
        let (mut child, pid) = self.start(command)?;
        let (sender, receiver) = sync_channel(64);
        if let Some(pipe) = child.stdout.take() {
            read_pipe(pipe, Stream::Stdout, sender.clone());
        }
        if let Some(pipe) = child.stderr.take() {
            read_pipe(pipe, Stream::Stderr, sender);
        }

        let (mut out, mut err) = (Lines::default(), Lines::default());
        let (mut stdout, mut flooded) = (Vec::new(), false);
        let mut tail = std::collections::VecDeque::new();
        let mut on_stderr = |mut line: String, on_line: &mut dyn FnMut(Stream, &str)| {
            on_line(Stream::Stderr, &line);
            line.truncate(line.floor_char_boundary(TAIL_LINE));
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(line);
        };
        let mut give_up: Option<Instant> = None;
        loop {
            // Both pipes closed is the usual end; looking at the child is for the unusual one.
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok((Stream::Stdout, bytes)) if capture => {
                    flooded |= stdout.len() + bytes.len() > CAPTURE_LIMIT;
                    if !flooded {
                        stdout.extend_from_slice(&bytes);
                    }
                }
                Ok((Stream::Stdout, bytes)) => out.push(&bytes, |line| on_line(Stream::Stdout, &line)),
                Ok((Stream::Stderr, bytes)) => err.push(&bytes, |line| on_stderr(line, on_line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if has_ended(pid, WaitIdOptions::NOHANG).unwrap_or(true) => {
                    let deadline = *give_up.get_or_insert_with(|| Instant::now() + DRAIN);
                    if Instant::now() >= deadline {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        out.finish(|line| on_line(Stream::Stdout, &line));
        err.finish(|line| on_stderr(line, on_line));

        let waited = has_ended(pid, WaitIdOptions::empty());
        let mut state = self.state();
        let interrupted = state.interrupted;
        if interrupted {
            // Its group may outlive it; as long as it is not reaped the number is still its own.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        state.groups.remove(&pid);
        let status = child.wait();
        drop(state);
        self.ended.notify_all();

        waited.map_err(lost)?;
        let status = status.map_err(lost)?;
        if interrupted {
            return Err(ProcessError::Interrupted);
        }
        if flooded {
            return Err(ProcessError::Flood { program: command.program.clone() });
        }
        Ok(Output { status, stdout, tail: tail.into() })
    }
}

/// Whether the child has ended; it is left to be reaped.
fn has_ended(pid: Pid, options: WaitIdOptions) -> std::io::Result<bool> {
    loop {
        match waitid(WaitId::Pid(pid), options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(status) => return Ok(status.is_some()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a pipe until it closes, or nobody listens any more.
fn read_pipe(mut pipe: impl Read + Send + 'static, stream: Stream, sender: SyncSender<(Stream, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    if sender.send((stream, buffer[..length].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn sh(script: &str) -> Command {
        let path = Environment::new([("PATH".into(), "/usr/bin:/bin".into())]);
        Command::new("/bin/sh", "/", path).args(["-c", script])
    }

    #[test]
    fn both_pipes_come_line_by_line_and_the_end_is_told() {
        let mut lines = Vec::new();
        let output = Children::new()
            .run(&sh("echo one; echo two >&2; printf three; exit 3"), &mut |stream, line| {
                lines.push((stream, line.to_owned()));
            })
            .unwrap();
        lines.sort_by_key(|(_, line)| line.clone());
        let expected = [(Stream::Stdout, "one"), (Stream::Stdout, "three"), (Stream::Stderr, "two")];
        assert_eq!(lines, expected.map(|(stream, line)| (stream, line.to_owned())));
        assert_eq!(describe_status(output.status), "exit code 3");
        assert_eq!(output.tail, ["two"]);
    }

    #[test]
    fn a_child_gets_only_the_environment_that_it_is_given_and_no_input() {
        let mut command = sh("cat; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL=");
        command.environment.set("ONLY", "this");
        let output = Children::new().capture(&command).unwrap();
        let mut vars: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        vars.sort_unstable();
        assert_eq!(vars, ["ONLY=this", "PATH=/usr/bin:/bin"]);
    }

    #[test]
    fn megabytes_on_both_pipes_do_not_block() {
        let output = Children::new().capture(&sh("seq 300000 >&2; seq 300000")).unwrap();
        assert_eq!(output.stdout.len(), 1988895);
        assert_eq!(output.tail.last().unwrap(), "300000");
        assert_eq!(output.tail.len(), TAIL_LINES);
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_does_not_keep_the_build() {
        let start = Instant::now();
        let output = Children::new().capture(&sh("setsid sleep 30 & echo $!")).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        let daemon = std::str::from_utf8(&output.stdout).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(daemon).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Children::new().capture(&Command::new("/nowhere/cc", "/", Environment::default())).unwrap_err();
        assert_eq!(error.to_string(), "cannot run /nowhere/cc");
    }

    #[test]
    fn signals_are_told() {
        let output = Children::new().capture(&sh("kill -9 $$")).unwrap();
        assert!(describe_status(output.status).contains("memory"));
    }

    /// Starts `script`, interrupts it as soon as it has written a process id, and returns that.
    fn interrupted(script: &'static str, grace: Duration) -> (Pid, Duration) {
        let children = Arc::new(Children::new());
        let (sender, receiver) = std::sync::mpsc::channel();
        let runner = std::thread::spawn({
            let children = Arc::clone(&children);
            move || {
                children.run(&sh(script), &mut |_, line| {
                    let _ = sender.send(line.parse::<i32>().unwrap());
                })
            }
        });
        let grandchild = Pid::from_raw(receiver.recv().unwrap()).unwrap();
        let start = Instant::now();
        children.interrupt(grace);
        let elapsed = start.elapsed();
        assert!(matches!(runner.join().unwrap(), Err(ProcessError::Interrupted)));
        assert!(matches!(children.capture(&sh("true")), Err(ProcessError::Interrupted)));
        (grandchild, elapsed)
    }

    fn is_gone(pid: Pid) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            // Nobody may reap it here: a zombie is gone too.
            match std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
                Err(_) => return true,
                Ok(stat) if stat.contains(") Z ") => return true,
                Ok(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        false
    }

    #[test]
    fn an_interrupt_ends_what_the_child_has_started() {
        let (grandchild, elapsed) = interrupted("sleep 60 & echo $!; wait", Duration::from_secs(20));
        assert!(is_gone(grandchild));
        assert!(elapsed < Duration::from_secs(10), "asked politely, it ended at once: {elapsed:?}");
    }

    #[test]
    fn who_does_not_listen_is_killed() {
        let (grandchild, _) =
            interrupted("trap '' TERM; sleep 60 & echo $!; wait; sleep 60", Duration::from_millis(200));
        assert!(is_gone(grandchild));
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let command = Command::new("go", "/", Environment::default()).args(["build", "-ldflags", "-s -X 'a=b'", ""]);
        assert_eq!(command.to_string(), r"go build -ldflags '-s -X '\''a=b'\''' ''");
    }
}
