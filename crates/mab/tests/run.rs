//! `mab run` with this machine's own shell in an image: what it is given, how it ends, and that nothing
//! is left. Where users may not make sandboxes, each test says so and passes. Other platforms, and the
//! ways out that are tried, are in tests/e2e/run.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A layout with a shell in it, and a home. One for all tests.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// None where there is nothing to see, which is told.
    fn get() -> Option<&'static Self> {
        static PLACE: OnceLock<Result<Place, String>> = OnceLock::new();
        match PLACE.get_or_init(Self::make) {
            Ok(place) => Some(place),
            Err(reason) => {
                eprintln!("SKIPPED: {reason}");
                None
            }
        }
    }

    fn make() -> Result<Self, String> {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let root = place.path("root");
        let ldd = Command::new("ldd").arg("/bin/sh").output().map_err(|error| format!("ldd: {error}"))?;
        let libraries = String::from_utf8_lossy(&ldd.stdout).into_owned();
        let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.chain(["/bin/sh", "/usr/bin/env", "/bin/sleep", "/bin/cat"]) {
            let to = root.join(file.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(file, to).map_err(|error| format!("{file}: {error}"))?;
        }
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:\n").unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\nusers:x:100:\n").unwrap();
        let text = "version: 1\nbase: scratch\nfiles: [{from: root, to: /}]\n\
                    config: {entrypoint: [/bin/sh, -c], cmd: [echo from the image], env: {GREETING: hello}, user: '0:0'}\n";
        let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
        std::fs::write(place.path("build.yaml"), format!("{text}platforms: [{platform}]\n")).unwrap();
        let built = place.command(&["build", "--progress", "quiet"]).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let checked = place.command(&["check", "--sandbox"]).output().unwrap();
        match checked.status.success() {
            true => Ok(place),
            false => Err(format!("users cannot make sandboxes here:\n{}", String::from_utf8_lossy(&checked.stdout))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("HOME", self.directory.path()).env("PATH", path).env("CANARY", "secret");
        command.current_dir(self.directory.path()).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["run", "oci:oci"];
        all.extend(arguments);
        self.command(&all).output().unwrap()
    }

    /// A shell script that runs to its end.
    #[track_caller]
    fn prints(&self, arguments: &[&str], expected: &str) {
        let output = self.run(arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{err}");
        assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""));
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, says: &[&str]) {
        let output = self.run(arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        for part in says {
            assert!(err.contains(part), "{part:?} is not in:\n{err}");
        }
    }

    fn start(&self, script: &str) -> Child {
        let mut command = self.command(&["run", "oci:oci", "--", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// Reads a line, byte by byte.
fn line(child: &mut Child) -> String {
    let mut line = String::new();
    let mut byte = [0];
    while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(char::from(byte[0]));
    }
    line
}

/// The processes whose command line has this word in it, mab's own aside.
fn processes(word: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let commands = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    commands.filter(|command| command.contains(word) && !command.contains("oci:oci")).collect()
}

#[track_caller]
fn assert_gone(word: &str) {
    let begun = Instant::now();
    while !processes(word).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "still there: {:?}", processes(word));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_has_what_the_image_says_and_nothing_of_the_host() {
    let Some(place) = Place::get() else { return };
    place.prints(&[], "from the image\n");
    place.prints(&["--", "echo $GREETING $HOME ${CANARY-none}"], "hello /root none\n");
    place.prints(
        &["--", "echo /*; cd /proc; echo $$ [0-9]*"],
        "/bin /dev /etc /lib /lib64 /proc /usr\n2 1 2\n"
            .replace(" /lib64", if Path::new("/lib64").exists() { " /lib64" } else { "" })
            .as_str(),
    );
    let script = "echo $PWD ~; while read -r name value _; do case $name in Uid:|Gid:|CapEff:) echo $name $value; esac; done </proc/self/status";
    place.prints(
        &["--user", "app", "--workdir", "/home/app", "--", script],
        "/home/app /home/app\nUid: 1000\nGid: 100\nCapEff: 0000000000000000\n",
    );
}

#[test]
fn exit_codes_are_those_of_engines() {
    let Some(place) = Place::get() else { return };
    place.fails(&["--", "exit 7"], 7, &[]);
    place.fails(&["--", "kill -9 $$"], 137, &[]);
    place.fails(&["--entrypoint", "absent"], 127, &["error: absent is not in the image"]);
    place.fails(&["--entrypoint", "/etc/passwd"], 126, &["error: cannot execute /etc/passwd"]);
    place.fails(&["--entrypoint", "/etc"], 126, &["error: cannot execute /etc"]);
    place.fails(&["--user", "absent"], 125, &["error: the image has no user `absent`", "hint: "]);
    place.fails(&["--entrypoint", ""], 125, &["neither an entrypoint nor a command"]);
    place.fails(&["--platform", "linux/riscv64"], 125, &["has no image for linux/riscv64"]);
    place.fails(&["--no-such-flag"], 125, &["--no-such-flag"]);
    place.fails(&["--timeout", "0.3", "--", "echo x; sleep 60"], 124, &["more than 0.3 s"]);
}

#[test]
fn a_copy_serves_as_well_as_an_overlay() {
    let Some(place) = Place::get() else { return };
    let mut command = place.command(&["run", "oci:oci", "--", "echo mine >/etc/passwd; cat /etc/passwd"]);
    let output = command.env("MAB_SANDBOX_COPY", "1").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "mine\n", "{}", String::from_utf8_lossy(&output.stderr));
    place.prints(&["--", "read -r line </etc/passwd; echo $line"], "root:x:0:0::/root:/bin/sh\n");
}

#[test]
fn input_and_output_pass_through() {
    let Some(place) = Place::get() else { return };
    let mut child = place.start("while read -r line; do echo got $line; done; echo end >&2");
    let mut stdin = child.stdin.take().unwrap();
    for word in ["one", "two"] {
        writeln!(stdin, "{word}").unwrap();
        assert_eq!(line(&mut child), format!("got {word}"));
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "end\n");
    assert!(output.status.success());
}

#[test]
fn s01_signals_reach_the_program_and_nothing_is_left() {
    let Some(place) = Place::get() else { return };
    let mut child = place.start("trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done");
    assert_eq!(line(&mut child), "ready");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(line(&mut child), "caught");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    // In the place of what does not listen, with what it has left running.
    for (signal, again, code) in
        [(Signal::INT, false, Some(130)), (Signal::TERM, true, Some(137)), (Signal::KILL, false, None)]
    {
        let number = 7_000_000 + std::process::id();
        let trap = if again { "trap '' TERM; " } else { "" };
        // Said by what the shell waits for: a signal between its last look and its next child is lost to that child,
        // and the shell waits on.
        let script = format!("{trap}sleep {number} & sh -c 'echo ready; exec sleep {number}'");
        let mut child = place.start(&script);
        assert_eq!(line(&mut child), "ready");
        kill_process(Pid::from_child(&child), signal).unwrap();
        if again {
            std::thread::sleep(Duration::from_millis(300));
            assert!(child.try_wait().unwrap().is_none(), "the first is ignored");
            kill_process(Pid::from_child(&child), signal).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), code, "{signal:?}");
        assert_gone(&number.to_string());
    }
}
