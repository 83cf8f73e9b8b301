//! Where mab, started again, becomes a stage of a sandbox.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::report::{Orders, Report};
use super::{first, init, sys};

/// What a stage is called, where mab is called by its path.
const NAME: &str = "mab-sandbox";

/// The stages, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Leaves the user's namespaces.
    First,
    /// Is the first process of the new ones.
    Init,
    /// Ends at once: in the place of a program, where it is only to be seen whether one could run.
    Nothing,
}

impl Stage {
    const ALL: [Self; 3] = [Self::First, Self::Init, Self::Nothing];

    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Init => "init",
            Self::Nothing => "nothing",
        }
    }
}

/// What a stage has been handed.
pub(super) struct Handed {
    pub(super) orders: Orders,
    /// The file that the orders are in, for the next stage.
    pub(super) file: OwnedFd,
    /// Where it says what comes of them.
    pub(super) socket: OwnedFd,
}

impl Handed {
    pub(super) fn say(&self, report: &Report) {
        // Who does not listen any more has ended, and with it this process.
        let _ = rustix::io::write(&self.socket, &line(report));
    }
}

/// A report as it travels.
pub(super) fn line(report: &Report) -> Vec<u8> {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    line
}

/// A command that starts a stage, with nothing of this process's environment.
pub(super) fn command(executable: &Path, stage: Stage) -> Command {
    let mut command = Command::new(executable);
    command.arg0(NAME).arg(stage.name()).env_clear();
    command
}

/// Hands orders and socket over to the stage that the command starts.
pub(super) fn hand_over(command: &mut Command, file: &OwnedFd, socket: &OwnedFd) {
    let numbers = [file.as_raw_fd(), socket.as_raw_fd()];
    command.args(numbers.map(|number| number.to_string()));
    sys::before_exec(command, move || numbers.into_iter().try_for_each(sys::keep_on_exec));
}

/// Does a stage's work, if this process was started for one, and gives its exit code. To be called
/// before anything else: nothing may have been opened, and no thread been started.
pub fn enter(mut arguments: impl Iterator<Item = OsString>) -> Option<u8> {
    if arguments.next().as_deref() != Some(OsStr::new(NAME)) {
        return None;
    }
    let mut word = || arguments.next()?.into_string().ok();
    let stage = word().and_then(|name| Stage::ALL.into_iter().find(|stage| stage.name() == name));
    let handed = match stage {
        Some(Stage::Nothing) => return Some(0),
        Some(stage) => take(word(), word()).map(|handed| (stage, handed)),
        None => None,
    };
    match handed {
        Some((Stage::Init, handed)) => Some(init::run(handed)),
        Some((_, handed)) => Some(first::run(handed)),
        // Somebody has called mab by this name.
        None => Some(1),
    }
}

fn take(file: Option<String>, socket: Option<String>) -> Option<Handed> {
    let descriptor = |number: Option<String>| sys::handed_over(number?.parse().ok()?).ok();
    let (file, socket) = (descriptor(file)?, descriptor(socket)?);
    sys::close_others(&[&file, &socket]).ok()?;
    let mut file = File::from(file);
    file.seek(SeekFrom::Start(0)).ok()?;
    let orders = serde_json::from_reader(std::io::BufReader::new(&file)).ok()?;
    Some(Handed { orders, file: file.into(), socket })
}
