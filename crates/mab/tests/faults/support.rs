//! A place to run mab in, and ways to look at what it has left.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes, on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A directory with a home, a directory for temporary files, and tools of the test's own before
/// the system's.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) env: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Asserts exit code and parts of standard error; standard output is empty.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.err);
        for part in says {
            assert!(self.err.contains(part), "{part:?} is not in:\n{}", self.err);
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["home", "tmp", "bin"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let at = |name: &str| directory.path().join(name).display().to_string();
        let env = [("HOME", at("home")), ("TMPDIR", at("tmp")), ("PATH", format!("{}:/usr/bin:/bin", at("bin")))];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        Self { directory, env }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A tool of the test's own, in sh.
    pub(crate) fn tool(&self, name: &str, script: &str) {
        let name = format!("bin/{name}");
        self.write(&name, format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(self.path(&name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A Go module with a build file for these platforms, and `script` for what `go build` does:
    /// it gets the platform in $GOARCH and the place of the program in $out.
    pub(crate) fn go(&self, platforms: &str, script: &str) {
        self.write("go.mod", "module example.com/app\n");
        self.write("main.go", "package main\n\nfunc main() {}\n");
        let text = format!("version: 1\nplatforms: [{platforms}]\nbase: scratch\nbinaries: [{{go: ., to: /app}}]\n");
        self.write("build.yaml", text);
        let options = r#"out=; for word; do [ "$last" != -o ] || out=$word; last=$word; done"#;
        self.tool("go", &format!("[ \"$1\" = build ] || exit 0\n{options}\n{script}"));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
        command.env_clear().envs(&self.env).current_dir(self.directory.path()).args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out
    }

    /// Starts mab with its progress as JSON.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.args(["--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running { child, lines, seen: Vec::new() }
    }

    /// Files below a directory by path, with their content: to see whether it is as it was.
    pub(crate) fn content(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        fn add(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    add(&path, files);
                    files.insert(path, Vec::new());
                } else {
                    files.insert(path.clone(), std::fs::read(&path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        add(&self.path(name), &mut files);
        files
    }

    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(directory)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Neither the cache nor the directory for temporary files holds anything unfinished.
    #[track_caller]
    pub(crate) fn assert_nothing_unfinished(&self) {
        assert_eq!(self.names("tmp"), Vec::<String>::new());
        let cache = self.names("home/.cache/mab");
        assert!(!cache.iter().any(|name| name.starts_with(".unfinished") || name.contains("mab-")), "{cache:?}");
    }
}

/// A run that has not ended.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
    /// All of standard error so far.
    pub(crate) seen: Vec<String>,
}

impl Running {
    /// Waits for a line.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) {
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(error) => panic!("{error}; until then:\n{}", self.seen.join("\n")),
            };
            self.seen.push(line);
            if wanted(self.seen.last().unwrap()) {
                return;
            }
        }
    }

    /// Waits until a phase has begun.
    #[track_caller]
    pub(crate) fn wait_for_phase(&mut self, phase: &str) {
        self.wait_for(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            event["event"] == "started" && event["phase"] == phase
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn end(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.seen.extend(self.lines.iter());
        Ended { code: status.code(), out, err: self.seen.join("\n") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process has ended; one that nobody reaps here counts, too.
#[track_caller]
pub(crate) fn assert_ends(pid: &str) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => return,
            Ok(stat) if stat.contains(") Z ") => return,
            Ok(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("process {pid} still runs");
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
