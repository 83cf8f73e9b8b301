//! The outer side of a step: starts it, and turns what it has left into entries.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use oci_layout::ImagePath;
use oci_layout::layer::Tree;
use rustix::fs::{XattrFlags, removexattr, setxattr};

use super::difference::{self, Source};
use super::{Limits, Record, Root, StepError, StepMount, StepOrders, StepOutcome, StepRequest};
use crate::sandbox::start::begin;
use crate::sandbox::{Control, Ending, Files, Running, SandboxError, Streams};
use crate::spec::accounts::Numbers;

/// Where the sandbox has its own things; nothing is mounted there.
const OWN: [&str; 2] = ["/proc", "/dev"];

/// A step that runs. Dropped before its end, it is killed.
pub struct StepRunning<'a> {
    running: Running,
    user: Numbers,
    below: &'a Tree,
    layers: Vec<PathBuf>,
    scratch: &'a Path,
    root: Root,
    limits: Limits,
}

/// Starts a step, and comes back when it runs or cannot.
///
/// The calling thread has to live until the step has ended: the kernel ends the sandbox with it.
pub fn run_step(step: StepRequest<'_>, streams: Streams) -> Result<StepRunning<'_>, StepError> {
    let StepRequest { request, below, scratch, mounts, limits } = step;
    mounts.iter().try_for_each(check_target)?;
    make_places(scratch)?;
    let root = Root::of(below);
    let orders = StepOrders { scratch: scratch.to_owned(), root, mounts };
    let layers = request.layers.clone();
    let (running, user) = begin(request, Some(orders), streams)?;
    Ok(StepRunning { running, user, below, layers, scratch, root, limits })
}

impl StepRunning<'_> {
    /// How the image's files are put together.
    pub fn files(&self) -> Files {
        self.running.files()
    }

    /// For signals from another thread.
    pub fn control(&self) -> io::Result<Control> {
        self.running.control()
    }

    /// Waits for the end of the step and of everything that it has started, and finds out what it has changed.
    pub fn wait(self) -> Result<StepOutcome, StepError> {
        let Self { running, user, below, layers, scratch, root, limits } = self;
        let files = running.files();
        let ending = running.wait()?;
        if ending != Ending::Exited(0) {
            return Ok(StepOutcome { ending, files, entries: Vec::new() });
        }
        let record = Record::take(scratch).map_err(StepError::io("read the record of a step in", scratch))?;
        let source = Source { written: scratch.join("upper"), files, layers, below, root, user, record };
        Ok(StepOutcome { ending, files, entries: difference::entries(&source, &limits)? })
    }
}

/// Whether something can be mounted there at all.
fn check_target(mount: &StepMount) -> Result<(), StepError> {
    let target = &mount.target;
    let refused = |why: String| Err(StepError::Target { target: target.clone(), why });
    match target.parse::<ImagePath>() {
        Err(error) => refused(error.to_string()),
        Ok(path) if path.is_root() => refused("it is all of the image".to_owned()),
        Ok(path) if OWN.iter().any(|own| own.parse().is_ok_and(|own| path.starts_with(&own))) => {
            refused("that is the sandbox's own".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

fn make_places(scratch: &Path) -> Result<(), StepError> {
    for name in ["upper", "work"] {
        let path = scratch.join(name);
        fs::create_dir(&path).map_err(StepError::io("create", &path))?;
    }
    let upper = scratch.join("upper");
    let tried = setxattr(&upper, c"user.mab.try", b"y", XattrFlags::empty())
        .and_then(|()| removexattr(&upper, c"user.mab.try"));
    tried.map_err(|errno| StepError::NoAttributes { path: scratch.to_owned(), source: errno.into() })?;
    scratch
        .to_str()
        .map(drop)
        .ok_or_else(|| StepError::Sandbox(SandboxError::Unfit { what: scratch.display().to_string() }))
}
