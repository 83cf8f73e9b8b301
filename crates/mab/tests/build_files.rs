//! What is made of build files, seen from outside: checks, plans and results.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use assert_cmd::Command;
use builder::result::{ImageResult, join};
use oci_layout::{Digest, Layout, Selector};
use serde_json::Value;

/// Exit code, standard output, standard error; with an empty environment but for `env`.
fn run(directory: &Path, env: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
    command.env_clear().env("HOME", directory).envs(env.iter().copied()).current_dir(directory).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn good(directory: &Path, env: &[(&str, &str)], arguments: &[&str]) -> String {
    let (code, out, err) = run(directory, env, arguments);
    assert_eq!(code, 0, "{arguments:?}\n{out}{err}");
    out
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn json(directory: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join(name)).unwrap()).unwrap()
}

const FILES: &str = "version: 1
image: registry.example.com/team/app
tags: [v1, latest]
platforms: [linux/amd64, linux/arm64, linux/s390x]
base: scratch
files: [{from: hello, to: /srv/hello}]
annotations: {com.example.a: b, 'descriptor:d': '${platform.arch}'}
per-platform: {linux/s390x: {base: static}}
";

#[test]
fn a_check_tells_everything_that_is_wrong_with_its_place_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "src/.wh.gone", "x");
    write(directory, "src/sub/a", "x");
    let text = "version: 1
platforms: [linux/amd64, linux/arm64]
files:
  - {from: src, to: /b}
  - {from: src/sub/a, to: /etc/passwd}
  - {from: src/sub/, to: /home, owner: nobody-knows}
directories:
  - {path: /etc/passwd/x}
config: {entrypoint: [/none]}
";
    write(directory, "build.yaml", text);
    let (code, out, err) = run(directory, &[], &["check", "--offline"]);
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    for (place, words) in [
        ("build.yaml:4:21", "`.wh.`"),
        ("build.yaml:5:27", "/etc/passwd cannot be in the image: the base has it already"),
        ("build.yaml:6:40", "there is no user `nobody-knows` in the image"),
        ("build.yaml:8:12", "/etc/passwd/x"),
    ] {
        assert!(err.contains(place), "{place} is not in:\n{err}");
        assert!(err.contains(words), "{words:?} is not in:\n{err}");
    }
    assert_eq!(err.matches("nobody-knows").count(), 2, "once for all platforms, with its excerpt:\n{err}");
    // What is not there at all is looked for before anything else.
    write(directory, "build.yaml", &text.replace("from: src,", "from: nothing,"));
    let (code, _, err) = run(directory, &[], &["check", "--offline"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("build.yaml:4:12"), "{err}");
    assert!(!directory.join("oci").exists());
}

#[test]
fn i10_a_source_that_would_delete_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for name in [".wh.x", ".wh."] {
        write(directory, &format!("src-{}/{name}", name.len()), "x");
        write(
            directory,
            "build.yaml",
            &format!("version: 1\nbase: scratch\nfiles: [{{from: src-{}, to: /d}}]\n", name.len()),
        );
        let (code, _, err) = run(directory, &[], &["check"]);
        assert_eq!(code, 4, "{err}");
        assert!(err.contains("build.yaml:3:") && err.contains(".wh."), "{err}");
    }
}

#[test]
fn i11_a_file_where_a_directory_is_has_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "file", "x");
    write(directory, "build.yaml", "version: 1\nfiles:\n  - {from: file, to: /home, replace: true}\n");
    let (code, _, err) = run(directory, &[], &["check"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("build.yaml:3:22") && err.contains("/home is a directory"), "{err}");
}

#[test]
fn a_good_file_is_checked_and_planned_alike() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "hello", "hi");
    write(directory, "build.yaml", FILES);
    let (code, out, err) = run(directory, &[], &["check"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("build.yaml: nothing is wrong: 3 platforms, 0 programs each"), "{err}");

    let plan: Value = serde_json::from_str(&good(directory, &[], &["build", "--dry-run", "--json"])).unwrap();
    assert_eq!(plan["version"], 1);
    assert_eq!(plan["tags"], serde_json::json!(["v1", "latest"]));
    assert_eq!(plan["platforms"][0]["base"], Value::Null);
    assert_eq!(plan["platforms"][2]["base"]["reference"], "static");
    assert_eq!(plan["platforms"][0]["layers"][0]["bytes"], 2);
    assert_eq!(plan["platforms"][2]["config"]["User"], "65532:65532");
    assert!(!directory.join("oci").exists());
    let text = good(directory, &[], &["build", "--dry-run"]);
    assert!(text.starts_with("registry.example.com/team/app from build.yaml\n"), "{text}");
}

#[test]
fn a_base_of_a_registry_is_not_looked_at_offline() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    // Nothing listens at port 1.
    write(directory, "build.yaml", "version: 1\nbase: localhost:1/x:y\nlabels: {a: b}\n");
    assert_eq!(run(directory, &[], &["check"]).0, 5);
    let (code, _, err) = run(directory, &[], &["check", "--offline"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("localhost:1/x:y was not looked at"), "{err}");
}

#[test]
fn results_have_buildx_keys_and_the_document() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "hello", "hi");
    write(directory, "build.yaml", FILES);
    let files = ["--metadata-file", "metadata.json", "--image-refs", "refs", "--iidfile", "iid"];
    let out = good(directory, &[], &[&["build"][..], &files].concat());
    let metadata = json(directory, "metadata.json");
    let digest = metadata["containerimage.digest"].as_str().unwrap().to_owned();
    assert_eq!(out, format!("oci:oci@{digest}\n"));
    assert_eq!(std::fs::read_to_string(directory.join("refs")).unwrap(), out);
    assert_eq!(std::fs::read_to_string(directory.join("iid")).unwrap(), digest);
    assert_eq!(metadata["containerimage.descriptor"]["digest"], digest.as_str());
    assert_eq!(metadata["image.name"], "registry.example.com/team/app:v1,registry.example.com/team/app:latest");
    let document: ImageResult = serde_json::from_value(metadata["mab"].clone()).unwrap();
    assert_eq!(document.manifests.len(), 3);
    assert_eq!(document.index.digest.to_string(), digest);
    // One platform alone has a config that buildx would name.
    good(directory, &[], &["build", "--platform", "linux/arm64", "--metadata-file", "one.json"]);
    let one = json(directory, "one.json");
    assert_eq!(one["containerimage.config.digest"], one["mab"]["manifests"][0]["config"]["digest"]);
    assert_eq!(one["mab"]["platforms"].as_array().unwrap().len(), 3);
}

#[test]
fn what_several_machines_build_joins_to_the_index_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "hello", "hi");
    write(directory, "build.yaml", FILES);
    let part = |platforms: &str, name: &str| -> ImageResult {
        good(
            directory,
            &[],
            &["build", "--platform", platforms, "-o", &format!("oci:layout-{name}"), "--metadata-file", name],
        );
        serde_json::from_value(json(directory, name)["mab"].clone()).unwrap()
    };
    good(directory, &[], &["build", "-o", "oci:whole", "--metadata-file", "whole.json"]);
    let whole: ImageResult = serde_json::from_value(json(directory, "whole.json")["mab"].clone()).unwrap();
    let joined = join(&[part("linux/arm64,linux/s390x", "a.json"), part("linux/amd64", "b.json")]).unwrap();
    let layout = Layout::open(directory.join("whole")).unwrap();
    let root = layout.resolve(Selector::Name("v1")).unwrap();
    let (bytes, _) = layout.document(&root).unwrap();
    assert_eq!(joined.bytes, bytes);
    assert_eq!(joined.index.digest, whole.index.digest);
    assert_eq!(Digest::of(&joined.bytes), root.digest);
}

#[test]
fn several_build_files_are_built_together_and_told_by_image() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "hello", "hi");
    let other = FILES.replace("team/app", "team/other").replace("/srv/hello", "/srv/other");
    write(directory, "one/build.yaml", &FILES.replace("from: hello", "from: build.yaml"));
    write(directory, "two/build.yaml", &other.replace("from: hello", "from: build.yaml"));
    let both = ["-f", "one/build.yaml", "-f", "two/build.yaml"];
    let out = good(directory, &[], &[&["build", "--metadata-file", "m.json"][..], &both].concat());
    assert_eq!(out.lines().count(), 2);
    assert!(out.lines().next().unwrap().starts_with("oci:one/oci@sha256:"), "{out}");
    let metadata = json(directory, "m.json");
    let keys: Vec<&String> = metadata.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["registry.example.com/team/app", "registry.example.com/team/other"]);
    let (code, _, err) = run(directory, &[], &[&["build", "--iidfile", "x"][..], &both].concat());
    assert_eq!(code, 2);
    assert!(err.contains("--metadata-file"), "{err}");
}

/// What platforms have in common is decided once; each has what is its own all the same.
#[test]
fn a_plan_has_what_each_platform_has_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (name, text) in [("hello", "hi"), ("for/amd64", "a"), ("for/arm64", "ab"), ("for/s390x", "abc")] {
        write(directory, name, text);
    }
    // Entries and bytes above each platform's base.
    let planned = |text: &str| -> Vec<(u64, u64)> {
        write(directory, "build.yaml", text);
        let plan = good(directory, &[], &["build", "--dry-run", "--json"]);
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let above = |platform: &Value| {
            let layers = platform["layers"].as_array().unwrap();
            let sum = |key: &str| layers.iter().map(|layer| layer[key].as_u64().unwrap()).sum();
            (sum("entries"), sum("bytes"))
        };
        plan["platforms"].as_array().unwrap().iter().map(above).collect()
    };
    let with = |files: &str| FILES.replace("files: [", &format!("files: [{files}, "));
    assert_eq!(planned(FILES), [(2, 2), (2, 2), (2, 2)]);
    assert_eq!(planned(&with("{from: 'for/${platform.arch}', to: /srv/own}")), [(3, 3), (3, 4), (3, 5)]);
    assert_eq!(planned(&with("{from: for/amd64, to: '/${platform.arch}/own'}")), [(4, 3), (4, 3), (4, 3)]);
    // Of the base `static`, which s390x alone stands on: there /etc needs no other entry than its own.
    assert_eq!(planned(&with("{from: for/amd64, to: /etc/own}")), [(4, 3), (4, 3), (4, 3)]);
    let (code, _, err) = run(directory, &[], &["check", "--set", "files=[{from: hello, to: /etc/passwd}]"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("the base has it already"), "{err}");
}

#[test]
fn what_the_command_line_says_goes_before_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "hello", "hi");
    write(directory, "build.yaml", FILES);
    let env = [("MAB_REPO", "localhost:5000/mine/")];
    let image = |env: &[(&str, &str)], more: &[&str]| {
        let out = good(directory, env, &[&["build", "--dry-run", "--json"][..], more].concat());
        serde_json::from_str::<Value>(&out).unwrap()["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(image(&[], &[]), "registry.example.com/team/app");
    assert_eq!(image(&env, &[]), "localhost:5000/mine/app");
    assert_eq!(image(&env, &["--set", "image=example.com/other"]), "example.com/other");
    assert_eq!(image(&env, &["--image", "example.com/third"]), "example.com/third");
    assert_eq!(image(&env, &["--set", "config.workdir=/x"]), "localhost:5000/mine/app");
}

#[test]
fn the_date_is_told_where_it_was_said() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, "hello", "hi");
    write(directory, "build.yaml", FILES);
    let created = |env: &[(&str, &str)]| {
        good(directory, env, &["build", "--metadata-file", "m.json"]);
        json(directory, "m.json")["mab"]["annotations"]["org.opencontainers.image.created"].clone()
    };
    assert_eq!(created(&[]), Value::Null);
    assert_eq!(created(&[("SOURCE_DATE_EPOCH", "1700000000")]), "2023-11-14T22:13:20Z");
}
