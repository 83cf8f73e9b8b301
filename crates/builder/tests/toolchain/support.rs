//! A machine in a temporary directory: home, checkout and the real compilers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use builder::bundle::Vendored;
use builder::event::{Event, Reporter};
use builder::process::{Children, Command, Environment};
use builder::target::{Libc, TargetPlatform};
use builder::toolchain::{
    CompileRequest, CompileUnit, Compiled, GoProgram, Linkage, Program, RustProgram, ToolContext, compile, survey,
};

/// Keeps what was reported.
#[derive(Default)]
pub(crate) struct Record(Mutex<Vec<Event>>);

impl Reporter for Record {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Record {
    pub(crate) fn warnings(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let warnings = events.iter().filter_map(|event| match event {
            Event::Warning { message } => Some(message.clone()),
            _ => None,
        });
        warnings.collect()
    }

    pub(crate) fn output(&self) -> String {
        let events = self.0.lock().unwrap();
        let lines = events.iter().filter_map(|event| match event {
            Event::Output { line, .. } => Some(format!("{line}\n")),
            _ => None,
        });
        lines.collect()
    }
}

pub(crate) struct Machine {
    pub(crate) root: PathBuf,
    pub(crate) env: Environment,
    pub(crate) children: Children,
    pub(crate) record: Record,
    pub(crate) jobs: NonZeroUsize,
    _temporary: tempfile::TempDir,
}

impl Machine {
    /// A machine with home and cargo home of its own. `depth` more directories are between them
    /// and the root, so that two machines have no path in common.
    pub(crate) fn new(depth: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(temporary.path()).unwrap().join(depth);
        for directory in ["home", "cargo", "work", "checkout"] {
            fs_err::create_dir_all(root.join(directory)).unwrap();
        }
        let mut env = Environment::default();
        let outer = |name: &str| std::env::var_os(name);
        env.set("PATH", outer("PATH").unwrap());
        env.set("HOME", root.join("home"));
        env.set("CARGO_HOME", root.join("cargo"));
        // rustup, where it is, and Go find what they have unpacked before.
        let home = PathBuf::from(outer("HOME").unwrap_or_default());
        env.set("RUSTUP_HOME", outer("RUSTUP_HOME").unwrap_or_else(|| home.join(".rustup").into()));
        env.set("GOCACHE", outer("GOCACHE").unwrap_or_else(|| home.join(".cache/go-build").into()));
        for name in ["RUSTUP_TOOLCHAIN", "RUSTUP_AUTO_INSTALL"] {
            if let Some(value) = outer(name) {
                env.set(name, value);
            }
        }
        let jobs = NonZeroUsize::new(2).unwrap();
        Self { root, env, children: Children::new(), record: Record::default(), jobs, _temporary: temporary }
    }

    pub(crate) fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.root.join("checkout").join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
    }

    pub(crate) fn checkout(&self) -> PathBuf {
        self.root.join("checkout")
    }

    /// Runs `then` with the context of this machine.
    pub(crate) fn with<T>(&self, then: impl FnOnce(&ToolContext<'_>) -> T) -> T {
        let wrapper = wrapper();
        let work_dir = self.root.join("work");
        then(&ToolContext {
            env: &self.env,
            children: &self.children,
            reporter: &self.record,
            jobs: self.jobs,
            locked: false,
            offline: true,
            vendored: Vendored::NONE,
            color: false,
            work_dir: &work_dir,
            rustc_wrapper: &wrapper,
            source_date_epoch: None,
        })
    }

    pub(crate) fn survey(&self, requests: &[CompileRequest]) -> Result<Vec<CompileUnit>, String> {
        self.with(|context| survey(requests, context)).map_err(|error| self.cleaned(&error))
    }

    pub(crate) fn compile(&self, unit: &CompileUnit) -> Result<Compiled, String> {
        self.with(|context| compile(unit, 1, context)).map_err(|error| self.cleaned(&error))
    }

    /// Surveys and compiles; the first program's path.
    pub(crate) fn build(&self, request: &CompileRequest) -> PathBuf {
        let units = self.survey(std::slice::from_ref(request)).unwrap();
        let compiled = self.compile(&units[0]).unwrap_or_else(|error| panic!("{error}\n{}", self.record.output()));
        compiled.artifacts[0].path.clone()
    }

    /// An error with its causes, and without the machine's own paths.
    pub(crate) fn cleaned(&self, error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text.replace(self.root.to_str().unwrap(), "ROOT")
    }
}

/// The example of that name, which cargo builds together with the tests.
pub(crate) fn wrapper() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/rustc-wrapper")
}

pub(crate) fn host() -> TargetPlatform {
    if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" }.parse().unwrap()
}

pub(crate) fn rust(directory: &Path) -> CompileRequest {
    CompileRequest {
        binary: 0,
        name: "/app".to_owned(),
        platform: host(),
        linkage: Linkage::Dynamic(Libc::Gnu),
        program: Program::Rust(RustProgram {
            directory: directory.to_owned(),
            package: None,
            bin: None,
            features: Vec::new(),
            default_features: true,
            all_features: false,
            profile: "release".to_owned(),
            target_cpu: None,
            env: BTreeMap::new(),
            glibc: None,
            toolchain: None,
        }),
    }
}

pub(crate) fn go(directory: &Path, platform: &str) -> CompileRequest {
    CompileRequest {
        binary: 0,
        name: "/agent".to_owned(),
        platform: platform.parse().unwrap(),
        linkage: Linkage::Static,
        program: Program::Go(GoProgram {
            directory: directory.to_owned(),
            ldflags: Vec::new(),
            tags: Vec::new(),
            env: BTreeMap::new(),
        }),
    }
}

/// Runs a program and returns what it prints.
pub(crate) fn run(program: &Path) -> String {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("program");
    fs_err::copy(program, &copy).unwrap();
    fs_err::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let command = Command::new(copy, "/", Environment::default());
    String::from_utf8(Children::new().capture(&command).unwrap().stdout).unwrap()
}

/// A tool that a test puts into a directory of its own.
pub(crate) fn script(path: &Path, text: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

pub(crate) fn which(name: &str) -> Option<PathBuf> {
    Environment::new([("PATH".into(), std::env::var_os("PATH").unwrap())]).lookup(OsStr::new(name))
}

pub(crate) fn os(text: &str) -> OsString {
    text.into()
}

/// The user's `PATH` without directories that zig is in, or may be found through.
pub(crate) fn without_zig(machine: &Machine) -> OsString {
    let path = machine.env.text("PATH").unwrap();
    let directories = path.split(':').filter(|directory| !Path::new(directory).join("zig").exists());
    os(&directories.collect::<Vec<_>>().join(":"))
}
