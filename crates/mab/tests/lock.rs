//! `mab lock` and what builds do with it, against a registry in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use test_registry::{Fault, TestRegistry};

struct Bench {
    registry: TestRegistry,
    directory: tempfile::TempDir,
    /// Another cache is another machine.
    cache: String,
}

impl Bench {
    /// A base with a moving tag, and an application on it.
    fn new() -> Self {
        let bench =
            Self { registry: TestRegistry::start(), directory: tempfile::tempdir().unwrap(), cache: "cache".into() };
        bench.push_base("one");
        let host = bench.registry.host();
        bench.write("hello", "hi");
        bench.write(
            "build.yaml",
            &format!(
                "version: 1\nimage: {host}/app\nplatforms: [linux/amd64, linux/arm64]\nbase: {host}/base:stable\nfiles: [{{from: hello, to: /srv/hello}}]\nconfig: {{user: \"1:1\"}}\n"
            ),
        );
        bench
    }

    fn push_base(&self, content: &str) {
        let host = self.registry.host();
        self.write("base/file", content);
        let text = format!(
            "version: 1\nimage: {host}/base\ntags: [stable]\nbase: scratch\nplatforms: [linux/amd64, linux/arm64, linux/s390x]\nfiles: [{{from: file, to: /etc/base}}]\nlabels: {{org.opencontainers.image.version: \"{content}\"}}\n"
        );
        self.write("base/build.yaml", &text);
        self.ok(&["build", "-f", "base/build.yaml", "--push", "--progress", "quiet"]);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("mab.lock")).unwrap()
    }

    fn mab(&self, arguments: &[&str]) -> (i32, String, String) {
        let home: &Path = self.directory.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
        command.env_clear().env("HOME", home).env("MAB_CACHE_DIR", home.join(&self.cache));
        let output = command.current_dir(home).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> (String, String) {
        let (code, out, err) = self.mab(arguments);
        assert_eq!(code, 0, "{arguments:?}\n{out}{err}");
        (out, err)
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, says: &[&str]) {
        let (got, out, err) = self.mab(arguments);
        assert_eq!(got, code, "{arguments:?}\n{out}{err}");
        for part in says {
            assert!(out.contains(part) || err.contains(part), "{part:?} is not in:\n{out}{err}");
        }
    }
}

#[test]
fn a_locked_build_stays_where_the_tag_moves() {
    let bench = Bench::new();
    bench.fails(&["build", "--locked"], 7, &["there is no mab.lock", "base:stable", "hint: `mab lock` makes it"]);
    bench.fails(&["build", "--offline"], 7, &["there is no mab.lock"]);
    bench.fails(&["lock", "--check"], 7, &["there is no mab.lock"]);
    assert!(!bench.path("mab.lock").exists());
    let (out, _) = bench.ok(&["lock"]);
    assert!(out.starts_with("added ") && out.contains("/base:stable"), "{out}");
    let (out, err) = bench.ok(&["lock"]);
    assert!(out.is_empty() && err.contains("unchanged"), "{out}{err}");
    let (first, _) = bench.ok(&["build", "--push", "--locked"]);
    let before = bench.lock();

    bench.ok(&["lock", "--check"]);
    bench.push_base("two");
    let (again, _) = bench.ok(&["build", "--push", "--locked", "--tag", "again"]);
    assert_eq!(again, first);
    let (plain, _) = bench.ok(&["build", "--push", "--tag", "plain"]);
    assert_eq!(plain, first, "a plain build uses it too");
    assert_eq!(bench.lock(), before, "and does not move it");
    bench.fails(&["lock", "--check"], 7, &["moved ", "base:stable", "  from sha256:", "  to   sha256:"]);
    assert_eq!(bench.lock(), before);
    let host = bench.registry.host();
    bench.fails(&["lock", "--update", "debian:12"], 2, &["no build file stands on docker.io/library/debian:12"]);
    let (out, _) = bench.ok(&["lock", "--update", &format!("{host}/base:stable")]);
    assert!(out.contains("  org.opencontainers.image.version: one -> two") && out.contains(" of 1970-"), "{out}");
    let changed = before.lines().zip(bench.lock().lines()).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 4, "checksum, image, and a line for each platform");
    assert!(bench.lock().lines().any(|line| line.starts_with(&format!("image = \"{host}/base:stable@sha256:"))));
    bench.ok(&["lock", "--check"]);
    let (moved, _) = bench.ok(&["build", "--push", "--locked", "--tag", "moved"]);
    assert_ne!(moved, first);
}

#[test]
fn a_plain_build_adds_what_is_missing_and_says_so() {
    let bench = Bench::new();
    bench.ok(&["build", "--push"]);
    assert!(!bench.path("mab.lock").exists(), "a build makes none");
    bench.ok(&["lock"]);
    bench.push_base("two");
    let arguments = ["build", "--platform", "linux/amd64,linux/s390x", "--push"];
    bench.fails(&[&arguments[..], &["--locked"]].concat(), 7, &["lacks linux/s390x of ", "base:stable"]);
    let (_, err) = bench.ok(&arguments);
    assert!(err.contains("added to mab.lock: linux/s390x of "), "{err}");
    let (_, err) = bench.ok(&[&arguments[..], &["--locked"]].concat());
    assert!(!err.contains("added"), "{err}");
    // The new platform is the old content's.
    bench.fails(&["lock", "--check"], 7, &["moved "]);
    bench.fails(&["build", "--locked", "--set", "base=static"], 7, &["lacks static"]);
    // A lock for another build file.
    let before = bench.lock();
    let text = fs::read_to_string(bench.path("build.yaml")).unwrap();
    bench.write("other.yaml", &text.replace("base:stable", "other:stable"));
    for arguments in [["build", "--locked", "-f", "other.yaml"], ["build", "--offline", "-f", "other.yaml"]] {
        bench.fails(&arguments, 7, &["/other:stable", "hint: `mab lock`, with the same -f, adds"]);
    }
    assert_eq!(bench.lock(), before);
    let (_, err) = bench.ok(&["build", "--set", "base=static"]);
    assert!(err.contains("added to mab.lock: static"), "{err}");
    assert!(bench.lock().contains("[static]\ndigest = \"sha256:"));
    bench.ok(&["build", "--locked", "--set", "base=static"]);
}

#[test]
fn a_digest_in_the_build_file_is_locked_beside_its_tag() {
    let bench = Bench::new();
    let host = bench.registry.host();
    let digest = bench.registry.tag("base", "stable").unwrap();
    let text = fs::read_to_string(bench.path("build.yaml")).unwrap();
    bench.write("build.yaml", &text.replace("base:stable", &format!("base:stable@{digest}")));
    let (pinned, _) = bench.ok(&["build", "--push"]);
    bench.ok(&["lock"]);
    assert!(bench.lock().contains(&format!("image = \"{host}/base:stable@{digest}\"\npinned = true\n")));
    bench.push_base("two");
    bench.ok(&["lock", "--check"]);
    bench.ok(&["lock", "--update"]);
    let (locked, _) = bench.ok(&["build", "--push", "--locked", "--tag", "locked"]);
    assert_eq!(locked, pinned);
}

#[test]
fn locks_that_were_tampered_with_are_refused_until_they_are_written_anew() {
    let bench = Bench::new();
    bench.ok(&["lock"]);
    let good = bench.lock();
    let bad = [
        (good.replace("linux/arm64", "linux/s390x"), "changed by hand or by a merge"),
        (format!("<<<<<<< ours\n{good}>>>>>>> theirs\n"), "a merge conflict is not resolved"),
        (good.replace("version = 1", "version = 9"), "has version 9; this mab reads version 1"),
        (good[..good.len() / 2].to_owned(), "not a valid lock"),
    ];
    for (text, says) in bad {
        bench.write("mab.lock", &text);
        for arguments in [&["build"][..], &["build", "--locked"], &["lock"], &["lock", "--check"]] {
            bench.fails(arguments, 7, &[says, "hint: "]);
        }
        let (_, err) = bench.ok(&["lock", "--update"]);
        assert!(err.contains("written anew"), "{err}");
        assert_eq!(bench.lock(), good);
    }
}

#[test]
fn registries_that_lie_forget_or_are_away() {
    let bench = Bench::new();
    bench.ok(&["lock"]);
    let locked = bench.lock();
    let manifest = locked.split("linux/amd64\", digest = \"").nth(1).unwrap()[..71].to_owned();
    bench.registry.fault(Fault::on("GET", &manifest).always().body("{}"));
    bench.fails(&["build", "--locked", "--push"], 5, &["content has digest"]);
    bench.registry.clear_faults();
    bench.registry.fault(Fault::on("GET", &manifest).always().error(404, "MANIFEST_UNKNOWN"));
    bench.fails(&["build", "--locked", "--push"], 5, &["404", "hint: "]);
    bench.registry.clear_faults();
    bench.registry.fault(Fault::on("HEAD", "/manifests/").always().status(500));
    bench.fails(&["lock", "--check"], 5, &["unknown ", "base:stable"]);
    assert_eq!(bench.lock(), locked);
}

#[test]
fn facts_beside_the_lock_spare_a_cold_runner_the_bases_layers() {
    let mut bench = Bench::new();
    bench.ok(&["lock", "--facts"]);
    let lock = bench.lock();
    assert_eq!(lock.matches("facts = \"sha256:").count(), 2);
    let (first, _) = bench.ok(&["build", "--push", "--locked"]);
    bench.cache = "cold".to_owned();
    bench.registry.clear_log();
    let (cold, _) = bench.ok(&["build", "--push", "--locked", "--tag", "cold"]);
    assert_eq!(cold, first);
    let layers = bench.registry.log().into_iter().filter(|line| line.starts_with("GET") && line.contains("/blobs/"));
    assert_eq!(layers.count(), 2, "a config for each platform");
    // Another lock's facts do not count.
    bench.push_base("two");
    bench.ok(&["lock", "--update"]);
    assert_eq!(bench.lock().matches("facts = \"sha256:").count(), 2, "they are kept up to date");
    bench.write("mab.lock", &lock);
    bench.cache = "colder".to_owned();
    bench.ok(&["build", "--push", "--locked", "--tag", "colder"]);
    fs::write(bench.path("mab.lock.facts"), b"no facts").unwrap();
    bench.fails(&["build", "--locked"], 7, &["mab.lock.facts cannot be read", "hint: `mab lock --facts`"]);
}

#[test]
fn the_metadata_file_names_everything_that_an_image_was_made_from() {
    let bench = Bench::new();
    bench.write(".gitignore", "*\n!hello\n!.gitignore\n");
    let path = std::env::var_os("PATH").unwrap();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.env_clear().env("PATH", &path).env("HOME", bench.directory.path()).current_dir(bench.directory.path());
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"];
        let output = command.args(identity).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    bench.ok(&["lock"]);
    for (dirty, more) in [(false, ""), (true, "infer: none\n")] {
        let text = fs::read_to_string(bench.path("build.yaml")).unwrap();
        bench.write("build.yaml", &(text + more));
        if dirty {
            bench.write("hello", "changed");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
        command.env_clear().env("PATH", &path).env("HOME", bench.directory.path());
        command.current_dir(bench.directory.path()).args(["build", "--locked", "--metadata-file", "m.json"]);
        assert!(command.output().unwrap().status.success());
        let metadata: serde_json::Value = serde_json::from_slice(&fs::read(bench.path("m.json")).unwrap()).unwrap();
        let mab = &metadata["mab"];
        assert_eq!(mab["mab"], env!("CARGO_PKG_VERSION"));
        assert_eq!(mab["inputs"]["git"]["commit"], git(&["rev-parse", "HEAD"]), "{mab}");
        assert_eq!(mab["inputs"]["git"]["dirty"], dirty, "{mab}");
        let lock = bench.lock();
        let quoted = |before: &str| lock.split(before).nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(mab["inputs"]["lock"], quoted("checksum = \""), "{mab}");
        let image = quoted("image = \"");
        let base = &mab["manifests"][0]["base"];
        assert_eq!(format!("{}@{}", base["name"].as_str().unwrap(), base["digest"].as_str().unwrap()), image);
        assert_eq!(base["manifest"], quoted("linux/amd64\", digest = \""));
        assert_eq!(mab["compilers"], serde_json::json!([]), "nothing was compiled");
    }
}

#[test]
fn compilers_are_a_note_that_can_be_insisted_on() {
    let bench = Bench::new();
    bench.write("go.mod", "module example.com/x\n\ngo 1.22\n");
    bench.write("bin/go", "#!/bin/sh\necho \"${FAKE:-go1.22.1}\"\n");
    let mut permissions = fs::metadata(bench.path("bin/go")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(bench.path("bin/go"), permissions).unwrap();
    bench.write("main.go", "package main\n");
    bench.write("build.yaml", "version: 1\nbase: scratch\nbinaries: [{go: ., to: /x}]\ninfer: none\n");
    let mab = |arguments: &[&str], version: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
        let home = bench.directory.path();
        command.env_clear().env("HOME", home).env("PATH", home.join("bin")).env("FAKE", version);
        let output = command.current_dir(home).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(mab(&["lock"], "go1.22.1").0, 0);
    assert!(bench.lock().contains("[compilers]\n\"go\" = [\"go1.22.1\"]\n"), "{}", bench.lock());
    let (code, err) = mab(&["build", "--locked", "--locked-compilers"], "go1.22.2");
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("go go1.22.2 here, go1.22.1 there"), "{err}");
}
