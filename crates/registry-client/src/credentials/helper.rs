//! Credential helpers: programs `docker-credential-NAME` that speak JSON on stdin and stdout.
//!
//! A helper is somebody else's program: it gets a time limit, its output a cap, and what it writes
//! is never shown (row X04). It runs in a process group of its
//! own that is ended as a whole.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Credential, CredentialsError};
use crate::redact::shown_text;
use crate::secret::Secret;

/// How helpers are found and run.
#[derive(Clone, Debug)]
pub struct Helpers {
    /// Directories that are searched, as in `PATH`. Relative ones are skipped.
    pub directories: Vec<PathBuf>,
    /// How long one may take.
    pub timeout: Duration,
    /// Most bytes that one may write to stdout.
    pub max_output: u64,
}

impl Default for Helpers {
    fn default() -> Self {
        Self { directories: Vec::new(), timeout: Duration::from_secs(60), max_output: 1024 * 1024 }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: Secret,
}

/// What a helper said.
struct Output {
    success: bool,
    stdout: Vec<u8>,
}

impl Helpers {
    /// Asks helper `name` for the credential of `server`; `None` where it has none.
    pub fn get(&self, name: &str, server: &str) -> Result<Option<Credential>, CredentialsError> {
        let output = self.run(name, "get", server.as_bytes())?;
        if !output.success {
            let said = String::from_utf8_lossy(&output.stdout);
            let absent = ["credentials not found", "no usernames for", "no credentials server URL"];
            return match absent.iter().any(|text| said.contains(text)) {
                true => Ok(None),
                false => Err(failure(name, "get")),
            };
        }
        let answer: Answer = serde_json::from_slice(&output.stdout)
            .map_err(|_| problem(name, "its answer is not the JSON that helpers give".to_owned()))?;
        Ok(match (answer.username.as_str(), answer.secret.is_empty()) {
            (_, true) => None,
            ("<token>", false) => Some(Credential::Identity(answer.secret)),
            (_, false) => Some(Credential::Password { username: answer.username, password: answer.secret }),
        })
    }

    /// Has helper `name` keep a credential.
    pub fn store(&self, name: &str, server: &str, username: &str, secret: &Secret) -> Result<(), CredentialsError> {
        let input = serde_json::json!({"ServerURL": server, "Username": username, "Secret": secret.expose()});
        let output = self.run(name, "store", input.to_string().as_bytes())?;
        if output.success { Ok(()) } else { Err(failure(name, "store")) }
    }

    /// Has helper `name` forget the credential of `server`.
    pub fn erase(&self, name: &str, server: &str) -> Result<(), CredentialsError> {
        let output = self.run(name, "erase", server.as_bytes())?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.success || said.contains("credentials not found") { Ok(()) } else { Err(failure(name, "erase")) }
    }

    fn run(&self, name: &str, action: &str, input: &[u8]) -> Result<Output, CredentialsError> {
        let simple = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        if name.is_empty() || !name.bytes().all(simple) {
            return Err(problem(&shown_text(name, &[]), "that is not the name of a helper".to_owned()));
        }
        let program = format!("docker-credential-{name}");
        let path = self
            .directories
            .iter()
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&program))
            .find(|path| path.is_file())
            .ok_or_else(|| problem(name, format!("{program} is not in PATH")))?;
        let mut child = Command::new(&path)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| problem(name, format!("cannot be started: {error}")))?;
        let result = self.converse(name, &mut child, input);
        // Whatever came of it, nothing of the group stays behind.
        end_group(&mut child);
        result
    }

    fn converse(&self, name: &str, child: &mut Child, input: &[u8]) -> Result<Output, CredentialsError> {
        let deadline = Instant::now() + self.timeout;
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            // A helper that does not read its input must not block us: a thread of its own writes.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&input).and_then(|()| stdin.write_all(b"\n"));
            });
        }
        let (sender, receiver) = mpsc::channel();
        let reader = |pipe: Option<Box<dyn Read + Send>>, is_stdout: bool| {
            let sender = sender.clone();
            let limit = self.max_output;
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(pipe) = pipe {
                    let _ = pipe.take(limit + 1).read_to_end(&mut bytes);
                }
                let _ = sender.send((is_stdout, bytes));
            });
        };
        reader(child.stdout.take().map(|pipe| Box::new(pipe) as _), true);
        reader(child.stderr.take().map(|pipe| Box::new(pipe) as _), false);
        let late = || problem(name, format!("no answer within {} s", self.timeout.as_secs_f64()));
        let mut stdout = Vec::new();
        for _ in 0..2 {
            let left = deadline.saturating_duration_since(Instant::now());
            let (is_stdout, bytes) = receiver.recv_timeout(left).map_err(|_| late())?;
            if bytes.len() as u64 > self.max_output {
                return Err(problem(name, format!("wrote more than {} bytes", self.max_output)));
            }
            if is_stdout {
                stdout = bytes;
            }
        }
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(Output { success: status.success(), stdout }),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => return Err(late()),
                Err(error) => return Err(problem(name, error.to_string())),
            }
        }
    }
}

fn end_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

fn problem(name: &str, problem: String) -> CredentialsError {
    CredentialsError::Helper { name: format!("docker-credential-{name}"), problem }
}

/// What a helper writes may hold what it keeps, in whatever shape: none of it is shown.
fn failure(name: &str, action: &str) -> CredentialsError {
    problem(name, format!("failed; `docker-credential-{name} {action}` by hand says why"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A directory with a helper `x` that runs `script`.
    fn helper(script: &str) -> (tempfile::TempDir, Helpers) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-x");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let directories = vec![directory.path().to_owned()];
        (directory, Helpers { directories, timeout: Duration::from_secs(5), max_output: 10_000 })
    }

    fn get(script: &str) -> Result<Option<Credential>, CredentialsError> {
        let (_directory, helpers) = helper(script);
        helpers.get("x", "r.example")
    }

    #[test]
    fn helpers_are_asked_by_the_registrys_name() {
        let script =
            r#"read name; [ "$1 $name" = "get r.example" ] && echo '{"ServerURL":"x","Username":"me","Secret":"pw"}'"#;
        let expect = Credential::Password { username: "me".into(), password: "pw".into() };
        assert_eq!(get(script).unwrap(), Some(expect));
        let token = get(r#"echo '{"Username":"<token>","Secret":"t"}'"#).unwrap();
        assert_eq!(token, Some(Credential::Identity("t".into())));
        assert_eq!(get("echo 'credentials not found in native keychain'; exit 1").unwrap(), None);
        assert_eq!(get(r#"echo '{"Username":"","Secret":""}'"#).unwrap(), None);
    }

    #[test]
    fn x04_a_helper_that_hangs_is_ended_with_its_children() {
        let (directory, mut helpers) = helper("sleep 100 & echo $! > \"$(dirname $0)/child\"; sleep 100");
        helpers.timeout = Duration::from_millis(400);
        let begin = Instant::now();
        let error = helpers.get("x", "r.example").unwrap_err().to_string();
        assert_eq!(error, "credential helper docker-credential-x: no answer within 0.4 s");
        assert!(begin.elapsed() < Duration::from_secs(3));
        let child: i32 = std::fs::read_to_string(directory.path().join("child")).unwrap().trim().parse().unwrap();
        let child = rustix::process::Pid::from_raw(child).unwrap();
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            // A zombie that init has yet to reap counts as gone.
            let state = std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero())).unwrap_or_default();
            state.is_empty() || state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        });
        assert!(gone, "the child runs on");
    }

    #[test]
    fn x04_a_helper_that_leaves_its_output_open_is_ended() {
        let (_directory, mut helpers) = helper("sleep 100 & echo '{}'");
        helpers.timeout = Duration::from_millis(400);
        let begin = Instant::now();
        assert!(helpers.get("x", "r.example").is_err());
        assert!(begin.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn x04_a_helper_that_floods_is_cut() {
        let error = get("yes canary").unwrap_err().to_string();
        assert_eq!(error, "credential helper docker-credential-x: wrote more than 10000 bytes");
        let error = get("yes canary >&2").unwrap_err().to_string();
        assert_eq!(error, "credential helper docker-credential-x: wrote more than 10000 bytes");
    }

    #[test]
    fn x04_what_a_helper_writes_is_not_shown() {
        for script in [
            "echo canary >&2; exit 1",
            "echo canary; exit 1",
            "echo '{\"Secret\": canary'",
            "echo canary >&2; kill -SEGV $$",
            r#"echo '{"Username":"me","Secret":["canary"]}'"#,
        ] {
            let error = get(script).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn storing_and_erasing_speak_json_and_names() {
        let (directory, helpers) = helper("echo $1 >> \"$(dirname $0)/log\"; cat >> \"$(dirname $0)/log\"");
        helpers.store("x", "r.example", "me", &"pw\"".into()).unwrap();
        helpers.erase("x", "r.example").unwrap();
        let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
        let expect =
            "store\n{\"Secret\":\"pw\\\"\",\"ServerURL\":\"r.example\",\"Username\":\"me\"}\nerase\nr.example\n";
        assert_eq!(log, expect);
    }

    #[test]
    fn names_that_lead_elsewhere_and_helpers_that_are_not_there() {
        let (_directory, helpers) = helper("true");
        for name in ["", "../x", "a/b", "a b", "x;y"] {
            assert!(helpers.get(name, "r").unwrap_err().to_string().contains("not the name of a helper"), "{name}");
        }
        assert!(helpers.get("missing", "r").unwrap_err().to_string().contains("not in PATH"));
    }
}
