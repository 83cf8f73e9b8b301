//! What builds leave behind that fail or are killed, and who removes it.

use oci_layout::{Layout, ScratchDirectory};
use rustix::process::Signal;

use crate::support::{Place, until};

/// Copies the smallest program there is for linux/amd64 to where go is told to put it.
fn copy_program() -> String {
    format!("cp {}/testdata/bad-build/inputs/true-amd64 \"$out\"", crate::support::repository().display())
}

#[test]
fn a_build_that_fails_takes_its_blobs_back() {
    let place = Place::new();
    place.go("linux/amd64", &copy_program());
    place.succeeds(&["build"]);
    let before = place.content("oci");
    let blobs = place.names("oci/blobs/sha256").len();

    // One platform is there, its layers are written; then another one does not compile.
    let wait = format!("until [ $(ls oci/blobs/sha256 | wc -l) -gt {blobs} ]; do sleep 0.05; done");
    let fail = "echo 'main.go:3: broken' >&2; exit 1";
    let script = format!("if [ $GOARCH = arm64 ]; then {wait}; {fail}; fi\n{}\necho more >>\"$out\"", copy_program());
    place.go("linux/amd64, linux/arm64", &script);
    let ended = place.run(&["build"]);
    ended.fails(3, &["linux/arm64 | main.go:3: broken", "go build failed for linux/arm64"]);
    assert_eq!(place.content("oci"), before);
    place.assert_nothing_unfinished();
}

#[test]
fn c04_what_killed_builds_left_goes_and_what_is_in_use_stays() {
    let place = Place::new();
    place.write("build.yaml", "version: 1\nbase: scratch\nfiles: [{from: build.yaml, to: /x}]\n");
    place.succeeds(&["build"]);
    let living = ScratchDirectory::create(&place.path("home/.cache/mab"), ".unfinished-").unwrap();
    place.write("home/.cache/mab/.unfinished-dead/0", "half");
    place.succeeds(&["build"]);
    assert!(living.path().is_dir());
    assert!(!place.path("home/.cache/mab/.unfinished-dead").exists());
    drop(living);
    place.assert_nothing_unfinished();
}

#[test]
fn c04_the_same_without_a_cache() {
    let mut place = Place::new();
    place.env.remove("HOME");
    place.write("build.yaml", "version: 1\nbase: scratch\nfiles: [{from: build.yaml, to: /x}]\n");
    let living = ScratchDirectory::create(&place.path("tmp"), "mab-build-").unwrap();
    place.write("tmp/mab-build-dead/blobs/sha256/0", "left");
    place.write("tmp/mab-other/file", "not ours");
    place.succeeds(&["build"]);
    assert!(living.path().is_dir());
    drop(living);
    assert_eq!(place.names("tmp"), ["mab-other"]);
}

#[test]
fn d04_a_build_that_is_killed_leaves_the_old_layout_and_the_next_one_cleans_up() {
    for cached in [true, false] {
        let mut place = Place::new();
        if !cached {
            place.env.remove("HOME");
        }
        place.write("build.yaml", "version: 1\nbase: scratch\nfiles: [{from: small, to: /x}]\n");
        place.write("small", "older");
        place.succeeds(&["build"]);
        let index = std::fs::read(place.path("oci/index.json")).unwrap();

        std::fs::File::create(place.path("small")).unwrap().set_len(1 << 40).unwrap();
        let mut running = place.start(&["build"]);
        running.wait_for_phase("assemble");
        until(|| place.names("oci").iter().any(|name| name.starts_with(".unfinished")));
        running.signal(Signal::KILL);
        assert_eq!(running.end().code, None);
        assert_eq!(std::fs::read(place.path("oci/index.json")).unwrap(), index);
        assert!(place.names("oci").len() > 3);

        place.write("small", "newer");
        place.succeeds(&["build"]);
        assert_eq!(place.names("oci"), ["blobs", "index.json", "oci-layout"]);
        assert_eq!(Layout::open(place.path("oci")).unwrap().verify(), []);
        place.assert_nothing_unfinished();
    }
}

#[test]
fn c02_two_builds_in_one_checkout_both_succeed() {
    let place = Place::new();
    // A compiler that may not run twice at a time in one place, and makes other bytes each time.
    let alone = "mkdir busy 2>/dev/null || { echo 'two at a time' >&2; exit 1; }\nsleep 0.3";
    place.go("linux/amd64", &format!("{alone}\n{}\necho $$ >>\"$out\"\nrmdir busy", copy_program()));
    let builds = ["oci:one", "oci:two"].map(|output| place.start(&["build", "-o", output]));
    for build in builds {
        let ended = build.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    }
    for name in ["one", "two"] {
        assert_eq!(Layout::open(place.path(name)).unwrap().verify(), []);
    }
    place.assert_nothing_unfinished();
}
