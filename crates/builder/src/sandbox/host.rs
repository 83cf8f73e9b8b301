//! What this system can do for sandboxes, and what would mend the rest.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::emulator::{self, Execution, NoEmulator};
use super::report::Ability;
use super::{SandboxError, start};
use crate::process::{Children, Environment};
use crate::target::TargetPlatform;
use crate::toolchain::System;

/// Something that this system cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What is wrong.
    pub what: String,
    /// What could be done about it, each a command or a sentence.
    pub remedies: Vec<String>,
}

/// What this system can do.
pub struct HostReport {
    /// Each thing that was tried, and why it failed.
    pub abilities: Vec<(Ability, Option<Gap>)>,
    /// Who executes each platform's programs.
    pub platforms: Vec<(TargetPlatform, Result<Execution, Gap>)>,
}

impl HostReport {
    /// Whether programs of this machine's own platform can run.
    pub fn can_run(&self) -> bool {
        let needed = [Ability::Namespaces, Ability::Proc, Ability::Devices, Ability::Confinement];
        needed.iter().all(|needed| self.has(*needed))
    }

    /// Whether something was tried and works.
    pub fn has(&self, ability: Ability) -> bool {
        self.abilities.iter().any(|(tried, gap)| *tried == ability && gap.is_none())
    }

    /// Whether programs of this platform can run.
    pub fn can_run_for(&self, execution: &Execution) -> bool {
        match execution {
            Execution::Native | Execution::Host { .. } => self.can_run(),
            Execution::Emulated(emulator) => self.can_run() && (self.has(Ability::Binfmt) || emulator.host_has_one()),
        }
    }
}

/// Tries everything. `mount_point` is an empty directory.
pub fn survey(executable: &Path, mount_point: PathBuf, env: &Environment, children: &Children) -> HostReport {
    let abilities = match start::probe(executable, mount_point) {
        Ok(found) => found
            .into_iter()
            .map(|(ability, failure)| (ability, failure.map(|failure| gap(SandboxError::of_failure(failure)))))
            .collect(),
        Err(error) => vec![(Ability::Namespaces, Some(gap(error)))],
    };
    let mut system = None;
    let platforms = TargetPlatform::all()
        .map(|platform| {
            let found = emulator::find(platform, env).map_err(|error| {
                let system = system.get_or_insert_with(|| System::detect(env, children));
                Gap { what: error.to_string(), remedies: vec![remedy(platform, system)] }
            });
            (platform, found)
        })
        .collect();
    HostReport { abilities, platforms }
}

fn gap(error: SandboxError) -> Gap {
    let mut what = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        what.push_str(&format!(": {source}"));
    }
    Gap { what, remedies: error.hints() }
}

/// Who executes a platform's programs; where nobody does, why, and what would mend that.
pub fn execution(
    platform: TargetPlatform,
    env: &Environment,
    children: &Children,
) -> Result<Execution, (NoEmulator, String)> {
    emulator::find(platform, env).map_err(|error| (error, remedy(platform, &System::detect(env, children))))
}

fn remedy(platform: TargetPlatform, system: &System) -> String {
    match system.qemu(emulator::qemu_name(platform)) {
        Some(install) => install.to_string(),
        None => "install the package with QEMU's static user emulation, as a rule qemu-user-static".to_owned(),
    }
}

/// What could be done where the system refuses what every sandbox needs.
pub(super) fn remedies(error: &io::Error) -> Vec<String> {
    let setting =
        |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).ok().map(|text| text.trim().to_owned());
    let mut found = Vec::new();
    if setting("user/max_user_namespaces").as_deref() == Some("0") {
        found.push("sudo sysctl user.max_user_namespaces=15000".to_owned());
    }
    // Debian's and Ubuntu's own.
    if setting("kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        found.push("sudo sysctl kernel.unprivileged_userns_clone=1".to_owned());
    }
    if setting("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        found.push("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0".to_owned());
    }
    if in_container() {
        found.push(
            "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined"
                .to_owned(),
        );
    }
    if found.is_empty() && error.raw_os_error() == Some(libc::ENOSYS) {
        found.push("this needs Linux 5.11 or newer".to_owned());
    }
    if found.is_empty() {
        found.push("docs/run.md has what systems forbid, and how each is told to allow it".to_owned());
    }
    found
}

/// Whether this is a container, as far as engines leave marks, or a filter for system calls.
fn in_container() -> bool {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let filtered = || {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
    };
    marks.iter().any(|mark| Path::new(mark).exists()) || filtered()
}
