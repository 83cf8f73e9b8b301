//! What can be installed on this system, and with which command. Looked at only when something
//! is missing.

use std::collections::HashSet;
use std::path::Path;

use super::missing::Mend;
use crate::process::{Children, Command, Environment};
use crate::target::Target;

/// Package managers that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    Apt,
    Dnf,
    Apk,
    Pacman,
    Zypper,
    Brew,
}

/// A system as far as advice depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct System {
    pub(super) manager: Option<Manager>,
    pub(super) is_root: bool,
    pub(super) has_rustup: bool,
    /// The toolchain that rustup takes where nothing says otherwise.
    pub(super) default_toolchain: Option<String>,
    /// All packages that there are, where the package manager has a list.
    pub(super) known_packages: Option<HashSet<String>>,
}

impl System {
    /// A system with a package manager, for a user.
    #[cfg(test)]
    pub(super) fn of(manager: Option<Manager>, is_root: bool) -> Self {
        Self { manager, is_root, ..Self::default() }
    }

    /// Looks at this one.
    pub(crate) fn detect(env: &Environment, children: &Children) -> Self {
        let managers = [
            ("apt-get", Manager::Apt),
            ("dnf", Manager::Dnf),
            ("apk", Manager::Apk),
            ("pacman", Manager::Pacman),
            ("zypper", Manager::Zypper),
            ("brew", Manager::Brew),
        ];
        let manager = managers.iter().find(|(name, _)| env.lookup(name).is_some()).map(|(_, manager)| *manager);
        let ask = |program: &str, arguments: &[&str]| -> Option<String> {
            let command = Command::new(env.lookup(program)?, Path::new("/"), env.clone());
            let output = children.capture(&command.args(arguments.iter().copied())).ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let known_packages = match manager {
            Some(Manager::Apt) => ask("apt-cache", &["pkgnames"]).map(|names| {
                let names: HashSet<String> = names.lines().map(str::to_owned).collect();
                names
            }),
            _ => None,
        };
        let default_toolchain =
            ask("rustup", &["default"]).and_then(|answer| Some(answer.split_whitespace().next()?.to_owned()));
        Self {
            manager,
            is_root: rustix::process::geteuid().is_root(),
            has_rustup: env.lookup("rustup").is_some(),
            default_toolchain,
            // An image of a container has no lists until someone has fetched them.
            known_packages: known_packages.filter(|names| names.len() > 1000),
        }
    }

    /// Whether rustup changes this toolchain where no other is named.
    pub(super) fn is_default_toolchain(&self, name: &str) -> bool {
        self.default_toolchain.as_deref().is_none_or(|default| default == name)
    }

    /// The command that installs packages, where it is known to work.
    pub(super) fn install(&self, packages: &[String]) -> Option<Mend> {
        if let Some(known) = &self.known_packages
            && !packages.iter().all(|package| known.contains(package))
        {
            return None;
        }
        let install = match self.manager? {
            Manager::Apt => "apt-get install",
            Manager::Dnf => "dnf install",
            Manager::Apk => "apk add",
            Manager::Pacman => "pacman -S",
            Manager::Zypper => "zypper install",
            Manager::Brew => "brew install",
        };
        let sudo = if self.is_root || self.manager == Some(Manager::Brew) { "" } else { "sudo " };
        Some(Mend::Packages { install: format!("{sudo}{install}"), packages: packages.to_vec() })
    }

    /// The package with QEMU's static user emulation of an architecture, as QEMU calls it.
    pub(crate) fn qemu(&self, architecture: &str) -> Option<Mend> {
        let package = match self.manager? {
            Manager::Apt | Manager::Dnf | Manager::Pacman => "qemu-user-static".to_owned(),
            Manager::Apk => format!("qemu-{architecture}"),
            Manager::Zypper => "qemu-linux-user".to_owned(),
            Manager::Brew => return None,
        };
        self.install(&[package])
    }

    pub(super) fn go_package(&self) -> &'static str {
        match self.manager {
            Some(Manager::Apt) => "golang-go",
            Some(Manager::Dnf) => "golang",
            _ => "go",
        }
    }

    /// zig, where the system has a package of it. Debian has none.
    pub(super) fn zig(&self) -> Option<Mend> {
        if self.manager? == Manager::Apt { None } else { self.install(&["zig".to_owned()]) }
    }

    /// The packages with a compiler and C library that can link for a target.
    pub(super) fn cross_compiler(&self, target: &Target, native: bool) -> Option<Mend> {
        let packages: Vec<String> = match (self.manager?, native) {
            // Theirs is made for ARMv7.
            (Manager::Apt, false) if target.platform == "linux/arm/v6" => return None,
            (Manager::Apt, true) => vec!["gcc".into(), "libc6-dev".into()],
            (Manager::Apt, false) => vec![target.gcc_package.into(), format!("libc6-dev-{}-cross", target.debian)],
            (Manager::Dnf, true) => vec!["gcc".into(), "glibc-devel".into()],
            (Manager::Apk, true) => vec!["build-base".into()],
            (Manager::Pacman, true) => vec!["gcc".into()],
            (Manager::Zypper, true) => vec!["gcc".into(), "glibc-devel".into()],
            // Arch has cross compilers with a C library for these two.
            (Manager::Pacman, false) if ["arm64", "riscv64"].contains(&target.debian) => {
                vec![format!("{}-gcc", target.gcc_prefix)]
            }
            // The others' cross compilers come without a C library, and cannot link a program.
            _ => return None,
        };
        self.install(&packages)
    }
}
