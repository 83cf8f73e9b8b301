//! `mab vendor`, and builds from what it wrote, against a registry in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use test_registry::TestRegistry;

struct Bench {
    registry: TestRegistry,
    directory: tempfile::TempDir,
    cache: &'static str,
}

impl Bench {
    /// A base in a registry, and an application on it with its lock.
    fn new() -> Self {
        let bench = Self { registry: TestRegistry::start(), directory: tempfile::tempdir().unwrap(), cache: "cache" };
        bench.push_base("one");
        let host = bench.registry.host();
        bench.write("hello", "hi");
        bench.write("build.yaml", format!(
            "version: 1\nimage: {host}/app\nplatforms: [linux/amd64, linux/arm64]\nbase: {host}/base:stable\nfiles: [{{from: hello, to: /srv/hello}}]\nconfig: {{user: \"1:1\"}}\n"
        ));
        bench.ok(&["lock"]);
        bench
    }

    fn push_base(&self, content: &str) {
        let host = self.registry.host();
        self.write("base/file", content);
        self.write("base/kept", "the same in every version");
        self.write("base/build.yaml", format!(
            "version: 1\nimage: {host}/base\ntags: [stable]\nbase: scratch\nplatforms: [linux/amd64, linux/arm64, linux/s390x]\nfiles: [{{from: file, to: /etc/base}}]\n"
        ));
        self.ok(&["build", "-f", "base/build.yaml", "--push", "--progress", "quiet"]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let home: &Path = self.directory.path();
        let mut command = Command::new(program);
        command.env_clear().env("HOME", home).env("MAB_CACHE_DIR", home.join(self.cache));
        command.current_dir(home).args(arguments);
        command
    }

    fn run(mut command: Command) -> (i32, String, String) {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> (String, String) {
        let (code, out, err) = Self::run(self.command(env!("CARGO_BIN_EXE_mab"), arguments));
        assert_eq!(code, 0, "{arguments:?}\n{out}{err}");
        (out, err)
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, says: &[&str]) {
        let (got, out, err) = Self::run(self.command(env!("CARGO_BIN_EXE_mab"), arguments));
        assert_eq!(got, code, "{arguments:?}\n{out}{err}");
        for part in says {
            assert!(err.contains(part), "{part:?} is not in:\n{err}");
        }
    }
}

fn digest(reference: &str) -> &str {
    reference.trim().rsplit_once('@').unwrap().1
}

const OFFLINE: [&str; 4] = ["build", "--locked", "--offline", "--bundle"];

#[test]
fn an_offline_build_from_a_bundle_is_the_connected_one() {
    let mut bench = Bench::new();
    let (pushed, _) = bench.ok(&["build", "--locked", "--push"]);
    let (vendored, err) = bench.ok(&["vendor", "-o", "bundle.tar"]);
    assert!(vendored.starts_with("sha256:") && err.contains("1 images"), "{vendored}{err}");
    bench.ok(&["vendor", "-o", "again.tar"]);
    assert!(bench.read("bundle.tar") == bench.read("again.tar"), "the same contents, the same bytes");
    bench.ok(&["vendor", "-o", "bundle.d"]);

    bench.registry.clear_log();
    bench.cache = "cold";
    bench.fails(
        &["build", "--locked", "--offline"],
        7,
        &[
            "this build needs what is not here",
            "/base:stable@sha256:",
            "linux/amd64, linux/arm64",
            "`mab vendor -f build.yaml -o bundle.tar`",
        ],
    );
    let (built, _) = bench.ok(&[&OFFLINE[..], &["bundle.tar"]].concat());
    assert_eq!(digest(&built), digest(&pushed));
    bench.cache = "colder";
    let (built, _) = bench.ok(&[&OFFLINE[..], &["bundle.d", "-o", "oci:other"]].concat());
    assert_eq!(digest(&built), digest(&pushed));
    let mut command = bench.command(env!("CARGO_BIN_EXE_mab"), &["build", "--locked", "--offline"]);
    command.env("MAB_BUNDLE", bench.path("bundle.tar"));
    assert_eq!(Bench::run(command).0, 0);
    assert!(bench.registry.log().is_empty(), "{:?}", bench.registry.log());
    assert!(oci_layout::Layout::open(bench.path("oci")).unwrap().verify().is_empty());

    // Offline, only the output's registry is spoken to, and everything is sent to it.
    let host = bench.registry.host();
    let elsewhere = TestRegistry::start();
    let image = format!("{}/carried/app", elsewhere.host());
    bench.registry.clear_log();
    let (carried, _) = bench.ok(&[&OFFLINE[..], &["bundle.tar", "--push", "--image", &image]].concat());
    assert_eq!(digest(&carried), digest(&pushed));
    assert!(bench.registry.log().is_empty(), "{host}: {:?}", bench.registry.log());
}

#[test]
fn a_base_that_the_cache_holds_whole_serves_without_a_bundle() {
    let bench = Bench::new();
    // An archive takes all of the base, by way of the cache.
    let (connected, _) = bench.ok(&["build", "--locked", "-o", "oci-archive:app.tar"]);
    bench.registry.clear_log();
    let (offline, _) = bench.ok(&["build", "--locked", "--offline", "-o", "oci:out"]);
    assert_eq!(digest(&offline), digest(&connected));
    assert!(bench.registry.log().is_empty(), "{:?}", bench.registry.log());
    // A damaged copy is no copy: it is told like everything that is missing.
    let layer = oci_layout::Layout::open(bench.path("out")).unwrap();
    let blobs: Vec<_> = fs::read_dir(bench.path("cache/blobs/sha256")).unwrap().map(|it| it.unwrap().path()).collect();
    let largest = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    bytes[0] ^= 1;
    fs::write(largest, bytes).unwrap();
    assert!(layer.verify().is_empty());
    bench.fails(&["build", "--locked", "--offline", "-o", "oci:again"], 7, &["base ", "base:stable@sha256:"]);
}

#[test]
fn inspect_shows_and_verifies_a_bundle() {
    let bench = Bench::new();
    let (vendored, _) = bench.ok(&["vendor", "-o", "bundle.tar"]);
    let (out, _) = bench.ok(&["verify", "bundle:bundle.tar"]);
    assert_eq!(out, "bundle.tar: everything is what it says\n");
    let (out, _) = bench.ok(&["inspect", "bundle:bundle.tar"]);
    assert!(out.starts_with(&format!("bundle.tar {}", vendored.trim())), "{out}");
    assert!(out.contains("/base:stable@sha256:") && out.contains("linux/amd64 linux/arm64"), "{out}");
    let (json, _) = bench.ok(&["inspect", "bundle:bundle.tar", "--json"]);
    assert!(json.contains("\"images\"") && json.contains(vendored.trim()), "{json}");
    // For other tools it is an archive of images.
    let archive = oci_layout::archive::Archive::open(&bench.path("bundle.tar")).unwrap();
    assert_eq!(archive.index().manifests.len(), 2);
}

#[test]
fn an_update_holds_what_the_first_one_lacks() {
    let bench = Bench::new();
    bench.ok(&["vendor", "-o", "first.tar", "--image", &format!("{}/base:stable", bench.registry.host())]);
    bench.push_base("two");
    bench.ok(&["lock", "--update"]);
    bench.fails(&[&OFFLINE[..], &["first.tar"]].concat(), 7, &["not in first.tar"]);
    bench.ok(&["vendor", "--since", "first.tar", "-o", "update.tar"]);
    bench.ok(&["vendor", "-o", "whole.tar"]);
    bench.fails(&[&OFFLINE[..], &["update.tar"]].concat(), 7, &["is an update of bundle sha256:", "--bundle FIRST"]);
    let (from_both, _) = bench.ok(&[&OFFLINE[..], &["first.tar", "--bundle", "update.tar", "-o", "oci:a"]].concat());
    let (from_whole, _) = bench.ok(&[&OFFLINE[..], &["whole.tar", "-o", "oci:b"]].concat());
    assert_eq!(digest(&from_both), digest(&from_whole));
    // Nothing new: only documents.
    bench.ok(&["vendor", "--since", "whole.tar", "-o", "nothing.tar"]);
    let (out, _) = bench.ok(&["inspect", "bundle:nothing.tar"]);
    assert!(out.contains(" 0 B\nan update of sha256:"), "{out}");
}

#[test]
fn what_a_bundle_took_along_is_pushed_from_it() {
    let bench = Bench::new();
    bench.ok(&["build", "--locked", "--tag", "v1", "-o", "oci:app"]);
    bench.ok(&["build", "--locked", "--tag", "v2", "-o", "oci:app"]);
    let base = format!("{}/base:stable", bench.registry.host());
    let vendor = ["vendor", "-f", "build.yaml", "--image", "oci:app:v1", "--image", "oci:app:v2"];
    bench.ok(&[&vendor[..], &["-o", "bundle.tar"]].concat());
    bench.ok(&[&vendor[..], &["-o", "bundle.d"]].concat());
    let (farm, app) = (TestRegistry::start(), oci_layout::Layout::open(bench.path("app")).unwrap());
    let index = app.resolve(oci_layout::Selector::Name("v1")).unwrap().digest;
    for (number, bundle) in ["bundle.tar", "bundle.d", "bundle:bundle.tar"].into_iter().enumerate() {
        let target = format!("{}/app-{number}", farm.host());
        let (out, _) = bench.ok(&["push", bundle, &target, "--report", "moved.json"]);
        assert_eq!(digest(&out), index.to_string(), "{out}");
        let at = |tag: &str| farm.tag(&format!("app-{number}"), tag).map(|it| it.to_string());
        assert_eq!((at("v1"), at("v2")), (Some(index.to_string()), Some(index.to_string())));
        assert_eq!(at("stable"), None, "a base is not pushed");
        let log = farm.log();
        let last = |part: &str| log.iter().rposition(|line| line.starts_with(part)).unwrap();
        let first = |part: &str| {
            log.iter().position(|line| line.starts_with(part)).unwrap_or_else(|| panic!("{part}: {log:#?}"))
        };
        let manifests = format!("PUT /v2/app-{number}/manifests/");
        assert!(last(&format!("PUT /v2/app-{number}/blobs/")) < first(&format!("{manifests}#")), "{log:#?}");
        assert!(last(&format!("{manifests}#")) < first(&format!("{manifests}v")), "{log:#?}");
        let report: serde_json::Value = serde_json::from_slice(&bench.read("moved.json")).unwrap();
        assert_eq!(report["images"][0]["digest"], index.to_string(), "{report}");
    }
    // One by its name; a base only so, and only where all of it is there.
    let target = format!("{}/one", farm.host());
    bench.ok(&["push", "bundle:bundle.tar:app:v2", &target]);
    assert!(farm.tag("one", "v2").is_some() && farm.tag("one", "v1").is_none());
    let copy = format!("bundle:bundle.tar:{base}");
    bench.fails(&["copy", &copy, &target], 7, &["is there for linux/amd64, linux/arm64 alone", "hint: "]);
    bench.ok(&["copy", &copy, &format!("{target}:base"), "--platform", "linux/amd64"]);
    let picked = format!("bundle:bundle.tar:{base}x");
    bench.fails(&["copy", &picked, &target], 2, &["has no image ", "it holds ", "hint: name one"]);
    bench.fails(&["copy", &base, "bundle:new.tar"], 2, &["a bundle is written whole"]);
    bench.ok(&["vendor", "-o", "bases.tar"]);
    bench.fails(&["push", "bases.tar", &target], 2, &["has not one image beside the bases"]);
    // The base of a tag that has moved is there beside what the tag names now.
    bench.push_base("two");
    bench.ok(&["vendor", "-f", "build.yaml", "--image", &base, "-o", "both.tar"]);
    bench.ok(&[&OFFLINE[..], &["both.tar", "-o", "oci:from-both"]].concat());
    bench.ok(&["push", "both.tar", &format!("{}/mirror/base", farm.host())]);
    assert_eq!(farm.manifest("mirror/base", "stable"), bench.registry.manifest("base", "stable"));
}

#[test]
fn what_a_bundle_lacks_is_told_in_one_list() {
    let bench = Bench::new();
    bench.ok(&["vendor", "--platform", "linux/amd64", "-o", "amd64.tar"]);
    bench.fails(&[&OFFLINE[..], &["amd64.tar"]].concat(), 7, &["for linux/arm64 (not in amd64.tar)"]);
    bench.ok(&[&OFFLINE[..], &["amd64.tar", "--platform", "linux/amd64"]].concat());
    // With a network, the rest comes from there.
    bench.ok(&["build", "--bundle", "amd64.tar"]);
    bench.write("go.mod", "module example.com/x\n");
    fs::remove_file(bench.path("mab.lock")).unwrap();
    bench.fails(&["vendor", "-o", "x.tar"], 7, &["there is no mab.lock"]);
    assert!(!bench.path("x.tar").exists());
}

#[test]
fn bad_bundles_are_refused_with_a_reason() {
    let bench = Bench::new();
    bench.ok(&["vendor", "-o", "good.tar"]);
    let good = bench.read("good.tar");
    // What is there stays as it is, and nothing comes beside it.
    bench.ok(&[&OFFLINE[..], &["good.tar", "-o", "oci:out", "-o", "oci-archive:out.tar"]].concat());
    fs::remove_dir_all(bench.path("cache")).unwrap();
    bench.write("bad.tar", "");
    let beside = || {
        let home = fs::read_dir(bench.directory.path()).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<_> = home.filter(|name| name != "cache").collect();
        names.sort();
        names
    };
    let before = (bench.read("out/index.json"), bench.read("out.tar"), bench.read("mab.lock"), beside());
    let refused = |bytes: &[u8], code: i32, says: &[&str]| {
        bench.write("bad.tar", bytes);
        let outputs = ["bad.tar", "-o", "oci:out", "-o", "oci-archive:out.tar"];
        bench.fails(&[&OFFLINE[..], &outputs].concat(), code, says);
        let after = (bench.read("out/index.json"), bench.read("out.tar"), bench.read("mab.lock"), beside());
        assert!(after == before, "{says:?}: {:?}", after.3);
        assert!(oci_layout::Layout::open(bench.path("out")).unwrap().verify().is_empty());
        assert!(!Path::new("/tmp/evil").exists());
    };
    refused(&good[..good.len() / 2], 4, &["it is truncated: it ends at byte", "hint: carry it over again"]);
    refused(&good[..good.len() - 100], 4, &["it is truncated"]);
    refused(&[&good[..], &[0; 512]].concat(), 4, &["512 bytes behind its end"]);
    refused(b"", 4, &["it is truncated"]);
    refused(&vec![b'x'; 4096], 2, &["is not a bundle", "hint: `mab vendor"]);
    // Members, as header offset and end.
    let mut members = Vec::new();
    let mut at = 0;
    while good[at] != 0 {
        let size = usize::from_str_radix(std::str::from_utf8(&good[at + 124..at + 135]).unwrap(), 8).unwrap();
        let end = at + 512 + size.div_ceil(512) * 512;
        members.push(at..end);
        at = end;
    }
    let piece = |number: usize| &good[members[number].clone()];
    let count = members.len();
    let before = &good[..members[count - 2].start];
    let tail = &good[at..];
    refused(&[before, piece(count - 1), piece(count - 2), tail].concat(), 4, &["where `blobs/sha256/", "belongs"]);
    refused(&[before, piece(count - 2), piece(count - 2), piece(count - 1), tail].concat(), 4, &["belongs"]);
    let mut renamed = good.clone();
    let header = members[count - 1].start;
    renamed[header..header + 18].copy_from_slice(b"../../../tmp/evil\0");
    refused(&renamed, 4, &["`../../../tmp/evil` where `blobs/sha256/"]);
    // A bit anywhere: in a header, a document, a layer.
    for (number, member) in members.iter().enumerate() {
        let mut flipped = good.clone();
        flipped[member.start + 512.min(member.len() - 1)] ^= 1;
        bench.write("bad.tar", &flipped);
        let code = Bench::run(bench.command(env!("CARGO_BIN_EXE_mab"), &["verify", "bundle:bad.tar"])).0;
        assert!(code == 4 || (number == 0 && code == 2), "member {number}: {code}");
    }
    let newer = String::from_utf8_lossy(&good[members[1].clone()]).replace("bundle.v1", "bundle.v2");
    refused(
        &[piece(0), newer.as_bytes(), &good[members[2].start..]].concat(),
        7,
        &["has version 2; this mab reads version 1", "hint: take a newer mab"],
    );
    bench.fails(&[&OFFLINE[..], &["none.tar"]].concat(), 8, &["none.tar"]);
    bench.fails(&[&OFFLINE[..], &["base"]].concat(), 2, &["is not a bundle: it has no oci-layout"]);
    // A layer that was swapped is found when it is read.
    let last = members[count - 1].clone();
    let mut flipped = good.clone();
    flipped[last.start + 512] ^= 1;
    refused(&flipped, 4, &["cannot be read", "base:stable"]);
    // So it is where the base's facts are known, and its layers are only copied.
    bench.ok(&["build", "--locked", "-o", "oci:known"]);
    bench.fails(
        &[&OFFLINE[..], &["bad.tar", "-o", "oci:fresh"]].concat(),
        4,
        &["bad.tar: image ", "is damaged", "hint: carry it over again"],
    );
}

#[test]
fn a_base_that_is_gone_leaves_the_old_bundle_whole() {
    let bench = Bench::new();
    bench.ok(&["vendor", "-o", "bundle.tar"]);
    bench.ok(&["vendor", "-o", "bundle.d"]);
    let old = bench.read("bundle.tar");
    let lock = fs::read_to_string(bench.path("mab.lock")).unwrap();
    let manifest = lock.split("linux/amd64\", digest = \"").nth(1).unwrap()[..71].to_owned();
    bench.registry.fault(test_registry::Fault::on("GET", &manifest).always().error(404, "MANIFEST_UNKNOWN"));
    for output in ["bundle.tar", "bundle.d"] {
        bench.fails(&["vendor", "-o", output], 5, &["base:stable", "404"]);
        bench.ok(&["verify", &format!("bundle:{output}")]);
    }
    assert!(bench.read("bundle.tar") == old);
    // What is in the bundle is not asked for.
    let mut command = bench.command(env!("CARGO_BIN_EXE_mab"), &["build", "--locked", "--bundle", "bundle.tar"]);
    command.env("MAB_CACHE_DIR", bench.path("cold"));
    assert_eq!(Bench::run(command).0, 0);
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_bundle_whole() {
    let bench = Bench::new();
    bench.write("base/file", vec![7; 1 << 20]);
    bench.ok(&["vendor", "-o", "bundle.tar"]);
    let old = bench.read("bundle.tar");
    let script = format!("trap '' XFSZ; ulimit -f 4; exec {} vendor -o bundle.tar", env!("CARGO_BIN_EXE_mab"));
    let (code, _, err) = Bench::run(bench.command("/bin/bash", &["-c", &script]));
    assert_eq!(code, 8, "{err}");
    assert!(bench.read("bundle.tar") == old);
    let left: Vec<_> = fs::read_dir(bench.directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".tmp")), "{left:?}");
    bench.fails(&["vendor", "-o", "base"], 2, &["base exists and is not a bundle"]);
    assert!(bench.path("base/file").exists());
}
