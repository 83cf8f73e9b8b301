//! Compilers: which of them build a program for a platform, what is missing, and running them.
//!
//! [`survey()`] looks at the machine and turns [`CompileRequest`]s into [`CompileUnit`]s, each
//! one call of cargo or go, or reports at once all that is missing. [`compile()`] runs one unit.
//! Whether a program is linked statically was decided before, in the plan; nothing here looks at
//! a base image, and nothing here changes the user's machine.

mod artifact;
mod c_compiler;
mod cgo;
mod clang;
mod error;
mod go;
mod go_inputs;
mod hints;
mod missing;
mod overview;
mod request;
mod rust;
mod script;
mod survey;
mod system;
mod turn;
mod unit;
mod zig;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

pub use artifact::Artifact;
pub use error::{CompileError, ProgramError, SurveyError};
pub use go::version as go_version;
pub use missing::{Mend, Missing, MissingReport};
pub use overview::{Ability, Overview, PlatformOverview, overview};
pub use request::{CompileRequest, GoProgram, Linkage, Program, RustProgram};
pub use rust::wrapper as rustc_wrapper;
pub use survey::survey;
pub(crate) use system::System;
pub use unit::{CompileUnit, GoUnit, RustTarget, RustUnit};

use crate::bundle::Vendored;
use crate::event::{Event, Reporter};
use crate::process::{Children, Environment};

/// What compiling needs of the rest of the program.
#[derive(Clone, Copy)]
pub struct ToolContext<'a> {
    /// The user's environment.
    pub env: &'a Environment,
    /// All child processes.
    pub children: &'a Children,
    /// Takes compiler output, warnings and notes.
    pub reporter: &'a dyn Reporter,
    /// How many jobs one compiler call may run at a time.
    pub jobs: NonZeroUsize,
    /// Lock files must not change (`--locked`).
    pub locked: bool,
    /// Nothing is fetched (`--offline`).
    pub offline: bool,
    /// What comes from bundles.
    pub vendored: &'a Vendored,
    /// Compilers colour their messages, unless the user's environment says otherwise.
    pub color: bool,
    /// An absolute directory of mab's own for what compilers leave behind; kept between builds.
    pub work_dir: &'a Path,
    /// A program that calls [`rustc_wrapper::run`]: mab itself.
    pub rustc_wrapper: &'a Path,
    /// `SOURCE_DATE_EPOCH` for compilers, where the user's environment has none.
    pub source_date_epoch: Option<u64>,
}

impl ToolContext<'_> {
    pub(crate) fn warn(&self, message: String) {
        self.reporter.report(Event::Warning { message });
    }

    pub(crate) fn note(&self, message: String) {
        self.reporter.report(Event::Note { message });
    }

    /// The environment of a compiler: the user's without registry credentials.
    fn compiler_environment(&self) -> Environment {
        let mut env = self.env.without_credentials();
        // A compiler runs in a process group of its own, which may not read from the terminal:
        // a question there would stop it for ever.
        env.set_default("GIT_TERMINAL_PROMPT", "0");
        // Toolchains that are not there are reported, not fetched behind the user's back.
        env.set_default("RUSTUP_AUTO_INSTALL", "0");
        if let Some(epoch) = self.source_date_epoch {
            env.set_default("SOURCE_DATE_EPOCH", epoch.to_string());
        }
        env
    }

    /// Where cargo keeps what it fetches, as cargo decides it.
    fn cargo_home(&self) -> Option<PathBuf> {
        match self.env.get("CARGO_HOME") {
            Some(path) => Some(PathBuf::from(path)),
            None => Some(self.env.home()?.join(".cargo")),
        }
    }
}

/// What a unit has produced.
#[derive(Debug)]
pub struct Compiled {
    /// The programs, staged where no other compiler call overwrites them.
    pub artifacts: Vec<Artifact>,
    /// Everything that cargo says it has compiled into them, as package ids; empty for Go.
    pub packages: std::collections::BTreeSet<String>,
    /// No compiler was called: all that it is made of is as it was.
    pub is_as_before: bool,
}

/// Runs the compilers for one unit. What they print is reported as output of the piece of work
/// `id`.
pub fn compile(unit: &CompileUnit, id: u64, context: &ToolContext<'_>) -> Result<Compiled, CompileError> {
    match unit {
        CompileUnit::Rust(unit) => rust::build::compile(unit, id, context),
        CompileUnit::Go(unit) => go::compile(unit, id, context),
    }
}
