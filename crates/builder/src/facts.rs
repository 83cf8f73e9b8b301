//! Finds out what the build file's texts ask for: git, Cargo.toml, go.mod, the environment.
//!
//! Only what a file asks for is looked at, and git, because the result says what was checked out. What
//! is not there is no error here: a text without a value says so itself, with its place. Whoever
//! records the inputs of a build records the
//! result.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, Package};

use crate::process::{Children, Command, Environment, ProcessError};
use crate::spec::model::{BinarySource, GoSpec, Infer, RustSpec};
use crate::spec::variable::{CargoFacts, GitFacts, GoFacts};
use crate::spec::{BuildSpec, Facts};

/// The facts that `spec` asks for. `env` is the user's own environment.
pub fn gather(spec: &BuildSpec, env: &Environment, children: &Children) -> Result<Facts, ProcessError> {
    let asks = |group: &str| {
        spec.infer != Infer::Off || spec.variables.iter().any(|variable| variable.to_string().starts_with(group))
    };
    let sources = || spec.binaries.iter().map(|binary| &binary.value.source);
    let rust = sources().find_map(|source| match source {
        BinarySource::Rust(rust) => Some(rust),
        _ => None,
    });
    let go = sources().find_map(|source| match source {
        BinarySource::Go(go) => Some(go),
        _ => None,
    });
    let value = |name: &String| Some((name.clone(), env.text(name)?.to_owned()));
    Ok(Facts {
        env: spec.env.iter().filter_map(value).collect(),
        git: git(&spec.directory, env, children)?,
        cargo: match rust.filter(|_| asks("cargo.")) {
            Some(rust) => cargo(&spec.directory, rust, env, children)?,
            None => None,
        },
        go: go.filter(|_| asks("go.")).and_then(|go| go_module(&spec.directory, go)),
    })
}

/// Whether git could find a repository, as far as that can be seen without starting it: gitrepository-layout(5). What
/// builds from unpacked sources does without the process.
fn may_be_checked_out(directory: &Path, env: &Environment) -> bool {
    if env.get("GIT_DIR").is_some() {
        return true;
    }
    let Ok(start) = fs_err::canonicalize(directory) else { return true };
    let is_bare = |above: &Path| above.join("HEAD").exists() && above.join("objects").exists();
    start.ancestors().any(|above| above.join(".git").exists() || is_bare(above))
}

/// None where there is no git, no repository or no commit.
fn git(directory: &Path, env: &Environment, children: &Children) -> Result<Option<GitFacts>, ProcessError> {
    if !may_be_checked_out(directory, env) {
        return Ok(None);
    }
    let Some(program) = env.lookup("git") else { return Ok(None) };
    let mut env = env.without_credentials();
    env.set("LC_ALL", "C");
    env.set("GIT_OPTIONAL_LOCKS", "0");
    env.set("GIT_TERMINAL_PROMPT", "0");
    // A repository's own file system monitor is a program that would be run.
    let ask = &|arguments: &[&str]| -> Result<Option<String>, ProcessError> {
        let command = Command::new(&program, directory, env.clone())
            .args(["-c", "core.fsmonitor=false"])
            .args(arguments.to_vec());
        let output = children.capture(&command)?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        Ok(output.status.success().then_some(text))
    };
    let Some(head) = ask(&["log", "-1", "--no-show-signature", "--format=%H %ct", "HEAD"])? else { return Ok(None) };
    let Some((commit, seconds)) = head.split_once(' ') else { return Ok(None) };
    let date = seconds.parse().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    // Each is a process, and none waits for another's answer.
    let questions: [&[&str]; 5] = [
        &["tag", "--points-at", "HEAD", "--sort=-version:refname"],
        &["status", "--porcelain", "--untracked-files=no"],
        &["describe", "--tags", "--always", "--dirty"],
        &["symbolic-ref", "--quiet", "--short", "HEAD"],
        &["config", "--get", "remote.origin.url"],
    ];
    let answers = std::thread::scope(|scope| {
        let asked = questions.map(|question| scope.spawn(move || ask(question)));
        asked.map(|answer| answer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let [tags, changed, describe, branch, remote] = answers;
    Ok(Some(GitFacts {
        commit: commit.to_owned(),
        tag: tags?.and_then(|tags| tags.lines().next().map(str::to_owned)),
        describe: describe?.unwrap_or_else(|| commit.to_owned()),
        branch: branch?,
        date: date.unwrap_or_default().to_string(),
        dirty: changed?.is_some_and(|changed| !changed.is_empty()),
        remote: remote?.map(|url| without_credentials(&url)),
    }))
}

/// A remote's address without the user and password that it may hold (fault row X01).
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

/// None where cargo cannot say: the toolchain's own survey tells why.
fn cargo(
    directory: &Path,
    rust: &RustSpec,
    env: &Environment,
    children: &Children,
) -> Result<Option<CargoFacts>, ProcessError> {
    let directory = directory.join(&rust.path.value);
    let (Some(program), true) = (env.lookup("cargo"), directory.is_dir()) else { return Ok(None) };
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--color=never"];
    let output = children.capture(&Command::new(program, &directory, env.without_credentials()).args(arguments))?;
    let metadata = serde_json::from_slice::<Metadata>(&output.stdout).ok().filter(|_| output.status.success());
    Ok(metadata.and_then(|metadata| Some(cargo_facts(package(&metadata, &directory, rust)?))))
}

/// The package that is named, that the directory is in, or that is the only one.
fn package<'a>(metadata: &'a Metadata, directory: &Path, rust: &RustSpec) -> Option<&'a Package> {
    let mut packages = metadata.packages.iter();
    if let Some(name) = &rust.package {
        return packages.find(|package| package.name.as_str() == name.value);
    }
    let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = real(directory);
    let root = |package: &&Package| package.manifest_path.parent().map(|root| real(root.as_std_path()));
    let within = packages.filter(|package| root(package).is_some_and(|root| directory.starts_with(root)));
    within.max_by_key(|package| root(package).map_or(0, |root| root.components().count())).or(
        match &metadata.packages[..] {
            [only] => Some(only),
            _ => None,
        },
    )
}

fn cargo_facts(package: &Package) -> CargoFacts {
    CargoFacts {
        name: package.name.to_string(),
        version: package.version.to_string(),
        description: package.description.clone(),
        license: package.license.clone(),
        repository: package.repository.clone(),
        homepage: package.homepage.clone(),
        documentation: package.documentation.clone(),
        authors: package.authors.clone(),
    }
}

/// The module that a package's directory is in. None where it has none.
fn go_module(directory: &Path, go: &GoSpec) -> Option<GoFacts> {
    let start: PathBuf = fs_err::canonicalize(directory.join(&go.path.value)).ok()?;
    let text = start.ancestors().find_map(|above| fs_err::read_to_string(above.join("go.mod")).ok())?;
    let word = |directive: &str| {
        let rest = text.lines().find_map(|line| {
            let line = line.split("//").next().unwrap_or_default().trim();
            line.strip_prefix(directive).filter(|rest| rest.starts_with([' ', '\t', '"', '`']))
        })?;
        Some(rest.trim().trim_matches(['"', '`']).to_owned())
    };
    Some(GoFacts { module: word("module")?, version: word("go") })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::spec::{Overrides, parse};

    fn environment(home: &Path) -> Environment {
        let own = ["PATH", "CARGO_HOME", "RUSTUP_HOME"]
            .into_iter()
            .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let mut env = Environment::new(own);
        // What rustup's cargo would look for below the home that the test takes away.
        let real = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        env.set_default("RUSTUP_HOME", real.join(".rustup"));
        env.set_default("CARGO_HOME", real.join(".cargo"));
        env.set("HOME", home);
        env.set("BUILD", "7");
        env.set("SECRET", "canary");
        env
    }

    fn run(directory: &Path, env: &Environment, arguments: &[&str]) {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"];
        let program = env.lookup("git").unwrap();
        let command = Command::new(program, directory, env.clone()).args(identity).args(arguments.to_vec());
        assert!(Children::new().capture(&command).unwrap().status.success(), "{arguments:?}");
    }

    fn gathered(directory: &Path, env: &Environment, text: &str) -> Facts {
        let spec =
            parse(&directory.join("build.yaml"), &format!("version: 1\n{text}\n"), &Overrides::default()).unwrap();
        gather(&spec, env, &Children::new()).unwrap()
    }

    #[test]
    fn git_says_what_is_checked_out() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path();
        let mut env = environment(directory);
        env.set("GIT_COMMITTER_DATE", "1700000000 +0200");
        assert_eq!(gathered(directory, &env, "labels: {a: '${git.tag:-}'}").git, None);
        assert!(!may_be_checked_out(directory, &env), "nothing is started");
        run(directory, &env, &["init", "--quiet", "--initial-branch=main"]);
        assert_eq!(gathered(directory, &env, "").git, None, "no commit yet");
        fs_err::write(directory.join("file"), "1").unwrap();
        run(directory, &env, &["add", "file"]);
        run(directory, &env, &["commit", "--quiet", "--message=x"]);
        run(directory, &env, &["remote", "add", "origin", "https://user:canary@example.com/x.git"]);
        let git = gathered(directory, &env, "").git.unwrap();
        assert_eq!((git.commit.len(), git.tag, git.branch.as_deref(), git.dirty), (40, None, Some("main"), false));
        assert_eq!(git.date, "2023-11-14T22:13:20Z");
        assert!(git.commit.starts_with(&git.describe));
        assert_eq!(git.remote.as_deref(), Some("https://example.com/x.git"));

        for tag in ["v1.9.0", "v1.10.0"] {
            run(directory, &env, &["tag", tag]);
        }
        run(directory, &env, &["checkout", "--quiet", "--detach"]);
        fs_err::write(directory.join("file"), "2").unwrap();
        let git = gathered(directory, &env, "").git.unwrap();
        assert_eq!((git.tag.as_deref(), git.branch, git.dirty), (Some("v1.10.0"), None, true));
        assert!(git.describe.ends_with("-dirty"), "{}", git.describe);
        assert!(gathered(directory, &env, "infer: none").git.is_some(), "the result says it, whatever asks");

        // Wherever in it, in a working tree beside it, and where a variable says so.
        let (below, beside) = (directory.join("a/b"), temporary.path().join("beside"));
        fs_err::create_dir_all(&below).unwrap();
        assert!(gathered(&below, &env, "").git.is_some());
        run(directory, &env, &["worktree", "add", "--quiet", beside.to_str().unwrap()]);
        assert!(gathered(&beside, &env, "").git.is_some());
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(gathered(elsewhere.path(), &env, "").git, None);
        env.set("GIT_DIR", directory.join(".git"));
        assert!(gathered(elsewhere.path(), &env, "").git.is_some());
    }

    #[test]
    fn only_listed_variables_of_the_environment_are_read() {
        let temporary = tempfile::tempdir().unwrap();
        let facts = gathered(temporary.path(), &environment(temporary.path()), "env: [BUILD, UNSET]\ninfer: none");
        assert_eq!(facts, Facts { env: [("BUILD".to_owned(), "7".to_owned())].into(), ..Facts::default() });
    }

    #[test]
    fn packages_and_modules_say_what_they_are() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path();
        let write = |path: &str, text: &str| {
            fs_err::create_dir_all(directory.join(path).parent().unwrap()).unwrap();
            fs_err::write(directory.join(path), text).unwrap();
        };
        write(
            "Cargo.toml",
            "[workspace]\nmembers = [\"app\", \"other\"]\nresolver = \"3\"\n[workspace.package]\nversion = \"1.2.3\"\n",
        );
        let package = |name: &str| {
            format!("[package]\nname = \"{name}\"\nversion.workspace = true\nedition = \"2024\"\nlicense = \"MIT\"\n")
        };
        write("app/Cargo.toml", &package("app"));
        write("app/src/main.rs", "fn main() {}");
        write("other/Cargo.toml", &package("other"));
        write("other/src/main.rs", "fn main() {}");
        write("go.mod", "// a comment\nmodule example.com/team/agent // x\n\ngo 1.22\n");
        write("cmd/agent/main.go", "package main\n");
        let env = environment(directory);
        let facts = gathered(directory, &env, "binaries: [{rust: app, to: /a}, {go: ./cmd/agent, to: /b}]");
        let cargo = facts.cargo.unwrap();
        assert_eq!(
            (cargo.name.as_str(), cargo.version.as_str(), cargo.license.as_deref()),
            ("app", "1.2.3", Some("MIT"))
        );
        let go = GoFacts { module: "example.com/team/agent".to_owned(), version: Some("1.22".to_owned()) };
        assert_eq!(facts.go, Some(go));
        let facts = gathered(directory, &env, "binaries: [{rust: {path: ., package: other}, to: /a}]");
        assert_eq!(facts.cargo.unwrap().name, "other");
        let facts = gathered(directory, &env, "binaries: [{rust: ., to: /a}]");
        assert_eq!(facts.cargo, None, "a workspace of two");
    }
}
