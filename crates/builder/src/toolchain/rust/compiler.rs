//! The Rust compiler that cargo will call, and what it says about itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::process::{Children, Command, Environment, Output, ProcessError, describe_status};

/// cargo and rustc, as found for one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RustToolchain {
    /// cargo's path.
    pub cargo: PathBuf,
    /// rustc's path.
    pub rustc: PathBuf,
    /// `1.95.0 (59807616e 2026-04-14)`.
    pub version: String,
    /// The commit that rustc was built from, where it knows.
    pub commit: Option<String>,
    /// The target that runs here.
    pub host: String,
    /// Where its libraries are.
    pub sysroot: PathBuf,
}

/// Why rustc did not tell.
#[derive(Debug, thiserror::Error)]
pub(in crate::toolchain) enum RustcError {
    /// It could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It ended with an error.
    #[error("{} does not work ({status}): {said}", rustc.display())]
    Failed {
        /// rustc's path.
        rustc: PathBuf,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
}

impl RustToolchain {
    /// Asks rustc, as started in `directory` (rustup decides by it).
    pub(in crate::toolchain) fn find(
        cargo: &Path,
        rustc: &Path,
        directory: &Path,
        env: &Environment,
        children: &Children,
    ) -> Result<Self, RustcError> {
        let ask = |arguments: &[&str]| -> Result<String, RustcError> {
            let command = Command::new(rustc, directory, env.clone()).args(arguments.iter().copied());
            let Output { status, stdout, tail } = children.capture(&command)?;
            if !status.success() {
                let (rustc, status) = (rustc.to_owned(), describe_status(status));
                return Err(RustcError::Failed { rustc, status, said: tail.join("\n") });
            }
            Ok(String::from_utf8_lossy(&stdout).into_owned())
        };
        // rustup's proxies take longer than the compiler behind them.
        let (about, sysroot) = std::thread::scope(|scope| {
            let sysroot = scope.spawn(|| ask(&["--print", "sysroot"]));
            (ask(&["-vV"]), sysroot.join())
        });
        let about = about?;
        let sysroot = match sysroot {
            Ok(sysroot) => sysroot?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Ok(Self {
            cargo: cargo.to_owned(),
            rustc: rustc.to_owned(),
            version: about.lines().next().unwrap_or_default().trim_start_matches("rustc ").to_owned(),
            commit: field("commit-hash:").filter(|hash| *hash != "unknown").map(str::to_owned),
            host: field("host:").unwrap_or_default().to_owned(),
            sysroot: PathBuf::from(sysroot.trim_end_matches('\n')),
        })
    }

    fn libraries(&self, triple: &str) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(triple).join("lib")
    }

    /// Whether the standard library for a target is installed.
    pub fn has_std(&self, triple: &str) -> bool {
        let Ok(entries) = fs_err::read_dir(self.libraries(triple)) else { return false };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            name.starts_with(b"libstd-") && name.ends_with(b".rlib")
        })
    }

    /// Whether a target's standard library comes with start files and C library, as rustup's do
    /// for musl and a distribution's do not.
    pub fn is_self_contained(&self, triple: &str) -> bool {
        self.libraries(triple).join("self-contained/crt1.o").exists()
    }

    /// Whether the toolchain brings its own lld.
    pub fn has_lld(&self) -> bool {
        self.sysroot.join("lib/rustlib").join(&self.host).join("bin/rust-lld").exists()
    }

    /// rustup's name of the toolchain, where it is one of rustup's.
    pub fn rustup_name(&self) -> Option<&str> {
        let parent = self.sysroot.parent().and_then(Path::file_name);
        (parent == Some(OsStr::new("toolchains"))).then(|| self.sysroot.file_name()?.to_str()).flatten()
    }
}
