//! The command line from outside: messages on standard error, exit codes, results alone on
//! standard output. Each test has an empty environment and a fresh directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use assert_cmd::Command;
use oci_layout::Layout;

/// Exit code, standard output, standard error.
fn mab(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
    let output = command.env_clear().env("HOME", directory).current_dir(directory).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn fails(directory: &Path, arguments: &[&str], code: i32, says: &[&str]) {
    let (got, out, err) = mab(directory, arguments);
    assert_eq!((got, out.as_str()), (code, ""), "{err}");
    for part in says {
        assert!(err.contains(part), "{part:?} is not in:\n{err}");
    }
}

#[test]
fn usage_errors_exit_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fails(directory, &["build", "--no-such-flag"], 2, &["--no-such-flag"]);
    fails(directory, &["build", "-o", "tar:x"], 2, &["oci:DIR"]);
    fails(directory, &["build", "-o", "oci:"], 2, &["the directory is missing"]);
    fails(directory, &["build", "--jobs", "0"], 2, &["--jobs"]);
    fails(directory, &["build", "--tag", "no tag"], 2, &["no tag"]);
    fails(directory, &["inspect", "UPPER/case:"], 2, &["`UPPER/case:`", "hint: "]);
}

#[test]
fn a_missing_build_file_says_what_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    fails(directory.path(), &["build"], 2, &["build.yaml", "build.yml", "hint: ", "version: 1"]);
    fails(directory.path(), &["build", "-f", "other.yaml"], 2, &["cannot read the build file other.yaml"]);
    fails(directory.path(), &["build", "-f", "."], 2, &["not a file"]);
}

#[test]
fn an_unknown_key_has_its_place() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("build.yaml"), "version: 1\nbinarys: []\n").unwrap();
    fails(directory.path(), &["build"], 2, &["build.yaml:2:1", "did you mean `binaries`?"]);
    assert!(!directory.path().join("oci").exists());
}

#[test]
fn what_is_no_layout_exits_with_8() {
    let directory = tempfile::tempdir().unwrap();
    fails(directory.path(), &["inspect", "oci:nothing"], 8, &["error: ", "nothing"]);
}

#[test]
fn an_empty_layout_has_nothing_to_inspect() {
    let directory = tempfile::tempdir().unwrap();
    Layout::create_or_open(directory.path().join("empty")).unwrap();
    fails(directory.path(), &["inspect", "oci:empty"], 8, &["error: "]);
    fails(directory.path(), &["inspect", "oci:empty:v1"], 8, &["v1"]);
}

#[test]
fn what_an_older_image_alone_had_goes() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("build.yaml"), "version: 1\nbase: scratch\nfiles: [{from: it, to: /it}]\n").unwrap();
    for content in ["old", "new"] {
        std::fs::write(directory.join("it"), content).unwrap();
        // The default layout is a path relative to the working directory.
        let (code, _, err) = mab(directory, &["build"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(err.contains("6 blobs removed"), content == "new", "{err}");
    }
    assert_eq!(Layout::open(directory.join("oci")).unwrap().verify(), []);
}

#[test]
fn version_schema_and_completions_go_to_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, says) in
        [(&["--version"][..], "mab "), (&["schema"], "\"binaries\""), (&["completions", "bash"], "_mab")]
    {
        let (code, out, err) = mab(directory.path(), arguments);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(says), "{out}");
    }
}

#[test]
fn a_date_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("build.yaml"),
        "version: 1\nbase: scratch\nfiles: [{from: build.yaml, to: /x}]\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
    command.env_clear().env("HOME", directory.path()).current_dir(directory.path()).arg("build");
    let output = command.env("SOURCE_DATE_EPOCH", "yesterday").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("SOURCE_DATE_EPOCH is `yesterday`"));
}

#[test]
fn files_become_an_image_that_can_be_shown() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("hello"), "hi").unwrap();
    let text = "version: 1\nbase: scratch\nfiles: [{from: hello, to: /srv/hello}]\nconfig: {user: \"7:8\"}\n";
    std::fs::write(directory.join("build.yaml"), text).unwrap();
    let (code, first, err) = mab(directory, &["build"]);
    assert_eq!(code, 0, "{err}");
    let (_, again, _) = mab(directory, &["build"]);
    assert_eq!(first, again);
    assert!(Layout::open(directory.join("oci")).unwrap().verify().is_empty());
    let (code, out, err) = mab(directory, &["inspect", "oci:oci"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("linux/amd64") && out.contains("linux/arm64") && out.contains("none"), "{out}");
    let (_, json, _) = mab(directory, &["inspect", "oci:oci:latest", "--json"]);
    assert!(json.contains("\"platform\": \"linux/arm64\""), "{json}");
}

#[test]
fn platforms_without_a_compiler_names_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, err) = mab(directory.path(), &["platforms"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("no Rust, no Go\n"), "{out}");
    assert!(out.lines().any(|line| line.split_whitespace().eq(["linux/arm/v7", "-", "-", "-", "-", "-"])), "{out}");
    let (code, out, _) = mab(directory.path(), &["platforms", "--json"]);
    assert_eq!(code, 0);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["go"], serde_json::Value::Null);
    let s390x = found["platforms"].as_array().unwrap().iter().find(|row| row["platform"] == "linux/s390x").unwrap();
    assert_eq!(s390x["rustGlibc"]["available"], false);
    assert!(s390x["rustGlibc"]["missing"][0]["what"].as_str().unwrap().contains("PATH"), "{s390x}");
}
