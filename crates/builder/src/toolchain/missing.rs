//! The report of what is missing, with what mends it on this system.

use std::fmt;

use super::c_compiler::is_native;
use super::rust::compiler::RustToolchain;
use super::system::System;
use crate::target::{Libc, TargetPlatform};

/// Something that a target needs and this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lack {
    /// cargo, rustc or go.
    Compiler { program: &'static str },
    /// A compiler that is there, but does not work.
    Broken { program: String, said: String },
    /// Rust's standard library.
    Std { triple: &'static str, tier_three: bool },
    /// Rust has no target at all.
    NoTarget { libc: Libc },
    /// A linker that mab looked for, and whether zig would do.
    Linker { program: String, zig: bool },
    /// A C compiler for Go packages that have C in them.
    Cgo { program: String, package: String },
    /// A linker that the user has chosen.
    ChosenLinker { program: String, origin: String },
    /// A linker is there, its C library is not; whether zig would do.
    CLibrary { linker: String, file: &'static str, zig: bool },
    /// A linker whose own C library is made for a newer ARM than the platform's; whether zig
    /// would do.
    NewerArm { linker: String, version: u32, zig: bool },
    /// rustup has no toolchain of this name.
    Toolchain { name: String },
    /// A toolchain is named, but what is on PATH is not rustup's.
    NotRustup { name: String, cargo: String },
}

/// What mends a lack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mend {
    /// `rustup target add`.
    RustupTarget {
        /// The toolchain, where it is not rustup's default.
        toolchain: Option<String>,
        /// The target.
        triple: String,
    },
    /// Packages of the system.
    Packages {
        /// What goes in front: `apt-get install`.
        install: String,
        /// Their names.
        packages: Vec<String>,
    },
    /// Another command.
    Command {
        /// What goes in front: `rustup toolchain install`.
        command: String,
        /// What it is applied to.
        words: Vec<String>,
    },
    /// No command is known to work here; what can be done in words.
    Advice(String),
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RustupTarget { toolchain: Some(toolchain), triple } => {
                write!(f, "rustup target add --toolchain {toolchain} {triple}")
            }
            Self::RustupTarget { toolchain: None, triple } => write!(f, "rustup target add {triple}"),
            Self::Packages { install, packages } => write!(f, "{install} {}", packages.join(" ")),
            Self::Command { command, words } => write!(f, "{command} {}", words.join(" ")),
            Self::Advice(text) => f.write_str(text),
        }
    }
}

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What it is.
    pub what: String,
    /// Which platforms cannot be built without it, sorted.
    pub platforms: Vec<TargetPlatform>,
    /// What mends it.
    pub mend: Mend,
}

/// Everything that is missing for a build, at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingReport {
    /// Each thing once.
    pub items: Vec<Missing>,
}

impl MissingReport {
    /// The commands that mend all of it, joined where they can be.
    pub fn commands(&self) -> Vec<String> {
        let mut joined: Vec<(String, Vec<String>)> = Vec::new();
        for item in &self.items {
            let (command, words) = match &item.mend {
                Mend::RustupTarget { toolchain, triple } => {
                    let toolchain = toolchain.as_ref().map(|name| format!(" --toolchain {name}")).unwrap_or_default();
                    (format!("rustup target add{toolchain}"), vec![triple.clone()])
                }
                Mend::Packages { install, packages } => (install.clone(), packages.clone()),
                Mend::Command { command, words } => (command.clone(), words.clone()),
                Mend::Advice(_) => continue,
            };
            let known = match joined.iter_mut().position(|(known, _)| *known == command) {
                Some(at) => &mut joined[at].1,
                None => {
                    joined.push((command, Vec::new()));
                    &mut joined.last_mut().unwrap_or_else(|| unreachable!("pushed just now")).1
                }
            };
            known.extend(words);
        }
        joined
            .into_iter()
            .map(|(command, mut words)| {
                words.sort();
                words.dedup();
                format!("{command} {}", words.join(" "))
            })
            .collect()
    }
}

impl fmt::Display for MissingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine lacks what the build needs:")?;
        for item in &self.items {
            let platforms: Vec<String> = item.platforms.iter().map(TargetPlatform::to_string).collect();
            write!(f, "\n  for {}: {}\n    {}", platforms.join(", "), item.what, item.mend)?;
        }
        Ok(())
    }
}

impl std::error::Error for MissingReport {}

/// Collects what is lacking and for which platforms.
#[derive(Default)]
pub(super) struct Lacks {
    found: Vec<(Lack, Option<RustToolchain>, Vec<TargetPlatform>)>,
}

impl Lacks {
    pub(super) fn add(&mut self, lack: Lack, toolchain: Option<&RustToolchain>, platform: TargetPlatform) {
        // Of a compiler for hard-float ARM there are two kinds under one name: what brings the one
        // for ARMv7 does not help ARMv6.
        let is_armv6 = |platform: TargetPlatform| platform.target().platform == "linux/arm/v6";
        let same =
            |platforms: &[TargetPlatform]| platforms.first().copied().is_some_and(is_armv6) == is_armv6(platform);
        let known = self
            .found
            .iter_mut()
            .find(|(known, of, platforms)| *known == lack && of.as_ref() == toolchain && same(platforms));
        match known {
            Some((_, _, platforms)) => platforms.push(platform),
            None => self.found.push((lack, toolchain.cloned(), vec![platform])),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn report(self, system: &System) -> MissingReport {
        let items = self.found.into_iter();
        let items = items.map(|(lack, toolchain, platforms)| missing(&lack, toolchain.as_ref(), platforms, system));
        MissingReport { items: items.collect() }
    }
}

/// A lack with what mends it; there is at least one platform.
pub(super) fn missing(
    lack: &Lack,
    toolchain: Option<&RustToolchain>,
    mut platforms: Vec<TargetPlatform>,
    system: &System,
) -> Missing {
    platforms.sort_unstable();
    platforms.dedup();
    Missing { what: describe(lack), mend: mend(lack, toolchain, platforms[0], system), platforms }
}

fn describe(lack: &Lack) -> String {
    match lack {
        Lack::Compiler { program } => format!("`{program}` is not on PATH"),
        Lack::Broken { program, said } => format!("{program} does not work here: {said}"),
        Lack::Std { triple, .. } => format!("Rust's standard library for {triple} is not installed"),
        Lack::NoTarget { libc: Libc::Musl } => "Rust has no target with musl for this platform".to_owned(),
        Lack::NoTarget { libc: Libc::Gnu } => "Rust has no target with glibc for this platform".to_owned(),
        Lack::Linker { program, .. } => format!("the linker {program} is not on PATH"),
        Lack::Cgo { program, package } => {
            format!(
                "the C compiler {program} is not on PATH, or has no C library for it; the Go package {package} has C in it"
            )
        }
        Lack::ChosenLinker { program, origin } => format!("the linker {program}, named by {origin}, is not there"),
        Lack::CLibrary { linker, file, .. } => format!("{linker} has no C library to link with ({file})"),
        Lack::NewerArm { linker, version, .. } => {
            format!("{linker} is made for ARMv{version}: what it links does not run on an older processor")
        }
        Lack::Toolchain { name } => format!("the Rust toolchain {name} is not installed"),
        Lack::NotRustup { name, cargo } => {
            format!(
                "the toolchain {name} is asked for, but {cargo} is not rustup's, which alone knows toolchains by name"
            )
        }
    }
}

fn mend(lack: &Lack, toolchain: Option<&RustToolchain>, platform: TargetPlatform, system: &System) -> Mend {
    let row = platform.target();
    match lack {
        Lack::Compiler { program: "go" } => system
            .install(&[system.go_package().to_owned()])
            .unwrap_or_else(|| Mend::Advice("install Go: https://go.dev/doc/install".to_owned())),
        Lack::Compiler { .. } => Mend::Advice("install Rust with rustup: https://rustup.rs".to_owned()),
        Lack::Broken { .. } => Mend::Advice("see what it says".to_owned()),
        Lack::Std { tier_three: true, .. } => Mend::Advice(format!(
            "rustup has none either: leave {platform} out, or install a Rust toolchain that has it"
        )),
        Lack::Std { triple, .. } => match toolchain.and_then(RustToolchain::rustup_name) {
            Some(name) if system.has_rustup => Mend::RustupTarget {
                toolchain: (!system.is_default_toolchain(name)).then(|| name.to_owned()),
                triple: (*triple).to_owned(),
            },
            _ => {
                let sysroot = toolchain.map(|toolchain| toolchain.sysroot.display().to_string()).unwrap_or_default();
                Mend::Advice(format!(
                    "the Rust in {sysroot} is not rustup's: add the target where it came from, or take rustup's (https://rustup.rs)"
                ))
            }
        },
        Lack::Toolchain { name } => {
            Mend::Command { command: "rustup toolchain install".to_owned(), words: vec![name.clone()] }
        }
        Lack::NotRustup { .. } => Mend::Advice(
            "put rustup's cargo first on PATH (https://rustup.rs), or leave `toolchain` out of the build file"
                .to_owned(),
        ),
        // No package has another C library under that name.
        Lack::NewerArm { zig, .. } => {
            let install = if *zig { system.zig() } else { None };
            install.unwrap_or_else(|| {
                Mend::Advice(match zig {
                    true => "install zig (`pip install ziglang` in a Python environment), or leave the platform out".to_owned(),
                    false => format!(
                        "take musl ({}), name a linker in cargo's configuration (target.{}.linker), or leave the platform out",
                        row.rust_musl.map(|target| format!("rustup target add {target}")).unwrap_or_default(),
                        row.rust_gnu
                    ),
                })
            })
        }
        Lack::NoTarget { .. } => Mend::Advice("take another base, or leave the platform out".to_owned()),
        Lack::ChosenLinker { .. } => Mend::Advice("install it, or correct the setting".to_owned()),
        Lack::Linker { .. } | Lack::CLibrary { .. } | Lack::Cgo { .. } => {
            let native = toolchain.map_or(is_native(row), |toolchain| toolchain.host == row.rust_gnu);
            let zig = match lack {
                Lack::Linker { zig, .. } | Lack::CLibrary { zig, .. } => *zig,
                _ => true,
            };
            let setting = match lack {
                Lack::Cgo { .. } => format!("a C compiler with CC_{}", row.rust_gnu.replace('-', "_")),
                _ => format!("a linker in cargo's configuration (target.{}.linker)", row.rust_gnu),
            };
            let by_zig = || if zig { system.zig() } else { None };
            system.cross_compiler(row, native).or_else(by_zig).unwrap_or_else(|| {
                let zig = if zig { "install zig (`pip install ziglang` in a Python environment), or " } else { "" };
                Mend::Advice(format!("no package of this system is known for it: {zig}name {setting}"))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::system::Manager;

    fn rustup() -> RustToolchain {
        RustToolchain {
            sysroot: "/h/.rustup/toolchains/stable-x86_64-unknown-linux-gnu".into(),
            host: "x86_64-unknown-linux-gnu".into(),
            ..RustToolchain::default()
        }
    }

    fn debian() -> System {
        System { has_rustup: true, ..System::of(Some(Manager::Apt), true) }
    }

    fn check(lacks: &[(Lack, &str)], toolchain: &RustToolchain, system: &System, expected: &str, commands: &[&str]) {
        let mut all = Lacks::default();
        for (lack, platform) in lacks {
            all.add(lack.clone(), Some(toolchain), platform.parse().unwrap());
        }
        let report = all.report(system);
        assert_eq!(report.to_string(), expected);
        assert_eq!(report.commands(), commands);
    }

    fn std(triple: &'static str, tier_three: bool) -> Lack {
        Lack::Std { triple, tier_three }
    }

    #[test]
    fn everything_at_once_each_with_its_command() {
        let gcc = |program: &str| Lack::Linker { program: program.to_owned(), zig: true };
        check(
            &[
                (gcc("aarch64-linux-gnu-gcc"), "linux/arm64"),
                (gcc("arm-linux-gnueabihf-gcc"), "linux/arm/v7"),
                (gcc("arm-linux-gnueabihf-gcc"), "linux/arm/v6"),
                (std("aarch64-unknown-linux-gnu", false), "linux/arm64"),
                (std("armv7-unknown-linux-gnueabihf", false), "linux/arm/v7"),
                (std("s390x-unknown-linux-musl", true), "linux/s390x"),
            ],
            &rustup(),
            &debian(),
            "this machine lacks what the build needs:
  for linux/arm64: the linker aarch64-linux-gnu-gcc is not on PATH
    apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross
  for linux/arm/v7: the linker arm-linux-gnueabihf-gcc is not on PATH
    apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
  for linux/arm/v6: the linker arm-linux-gnueabihf-gcc is not on PATH
    no package of this system is known for it: install zig (`pip install ziglang` in a Python environment), or name a linker in cargo's configuration (target.arm-unknown-linux-gnueabihf.linker)
  for linux/arm64: Rust's standard library for aarch64-unknown-linux-gnu is not installed
    rustup target add aarch64-unknown-linux-gnu
  for linux/arm/v7: Rust's standard library for armv7-unknown-linux-gnueabihf is not installed
    rustup target add armv7-unknown-linux-gnueabihf
  for linux/s390x: Rust's standard library for s390x-unknown-linux-musl is not installed
    rustup has none either: leave linux/s390x out, or install a Rust toolchain that has it",
            &[
                "apt-get install gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf libc6-dev-arm64-cross libc6-dev-armhf-cross",
                "rustup target add aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf",
            ],
        );
    }

    #[test]
    fn a_rust_that_is_not_rustups_gets_no_rustup_command() {
        let distribution = RustToolchain { sysroot: "/usr".into(), ..RustToolchain::default() };
        check(
            &[(std("aarch64-unknown-linux-gnu", false), "linux/arm64")],
            &distribution,
            &debian(),
            "this machine lacks what the build needs:
  for linux/arm64: Rust's standard library for aarch64-unknown-linux-gnu is not installed
    the Rust in /usr is not rustup's: add the target where it came from, or take rustup's (https://rustup.rs)",
            &[],
        );
    }

    #[test]
    fn another_toolchain_than_the_default_is_named() {
        let mut system = debian();
        system.default_toolchain = Some("nightly-x86_64-unknown-linux-gnu".to_owned());
        check(
            &[(std("riscv64gc-unknown-linux-gnu", false), "linux/riscv64")],
            &rustup(),
            &system,
            "this machine lacks what the build needs:
  for linux/riscv64: Rust's standard library for riscv64gc-unknown-linux-gnu is not installed
    rustup target add --toolchain stable-x86_64-unknown-linux-gnu riscv64gc-unknown-linux-gnu",
            &["rustup target add --toolchain stable-x86_64-unknown-linux-gnu riscv64gc-unknown-linux-gnu"],
        );
    }

    #[test]
    fn packages_that_the_archive_does_not_have_are_not_named() {
        let mut system = debian();
        system.known_packages = Some(["gcc-aarch64-linux-gnu".to_owned()].into());
        let lack = Lack::Linker { program: "loongarch64-linux-gnu-gcc".to_owned(), zig: true };
        check(
            &[(lack, "linux/loong64")],
            &rustup(),
            &system,
            "this machine lacks what the build needs:
  for linux/loong64: the linker loongarch64-linux-gnu-gcc is not on PATH
    no package of this system is known for it: install zig (`pip install ziglang` in a Python environment), or name a linker in cargo's configuration (target.loongarch64-unknown-linux-gnu.linker)",
            &[],
        );
    }

    #[test]
    fn where_cross_compilers_have_no_c_library_zig_is_named_if_it_would_do() {
        let check = |zig, expected: &str| {
            let lack = Lack::Linker { program: "aarch64-linux-gnu-gcc".to_owned(), zig };
            let platform = "linux/arm64".parse().unwrap();
            let found = missing(&lack, Some(&rustup()), vec![platform], &System::of(Some(Manager::Dnf), true));
            assert_eq!(found.mend.to_string(), expected);
        };
        check(true, "dnf install zig");
        check(
            false,
            "no package of this system is known for it: name a linker in cargo's configuration (target.aarch64-unknown-linux-gnu.linker)",
        );
    }

    #[test]
    fn an_ordinary_user_is_told_to_ask_for_root() {
        let system = System { has_rustup: true, ..System::of(Some(Manager::Apt), false) };
        let mut lacks = Lacks::default();
        lacks.add(Lack::Compiler { program: "go" }, None, "linux/arm64".parse().unwrap());
        assert_eq!(lacks.report(&system).commands(), ["sudo apt-get install golang-go"]);
    }
}
