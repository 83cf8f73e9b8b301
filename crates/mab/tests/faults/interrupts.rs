//! SIGINT and SIGTERM in each phase (rows S01, S02).

use std::cell::Cell;
use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use test_registry::{Fault, TestRegistry};

use crate::support::{Place, assert_ends, until};

const SIGNALS: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

/// A place with an older image in `oci`, built from one small file.
fn place() -> Place {
    let place = Place::new();
    place.write("small", "older");
    place.write("older.yaml", "version: 1\nbase: scratch\nfiles: [{from: small, to: /small}]\n");
    place.succeeds(&["build", "-f", "older.yaml"]);
    place
}

/// Interrupts a build as soon as `ready` returns, with each signal: the exit code is the signal's,
/// the old layout is as it was, nothing unfinished is left.
#[track_caller]
fn interrupted(place: &Place, arguments: &[&str], ready: impl Fn(&mut crate::support::Running)) {
    let before = place.content("oci");
    for (signal, code) in SIGNALS {
        let mut running = place.start(arguments);
        ready(&mut running);
        running.signal(signal);
        running.end().fails(code, &["interrupted"]);
        assert_eq!(place.content("oci"), before, "after {signal:?}");
        place.assert_nothing_unfinished();
    }
}

#[test]
fn s01_interrupted_while_the_base_is_resolved() {
    let place = place();
    // Connections come about, but nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("base: {}/base:v1\n", listener.local_addr().unwrap());
    place.write("build.yaml", format!("version: 1\n{base}files: [{{from: small, to: /small}}]\n"));
    interrupted(&place, &["build"], |running| running.wait_for_phase("resolve"));
}

#[test]
fn s01_interrupted_while_compilers_run() {
    let place = place();
    place.go("linux/amd64, linux/arm64", "echo $$ >$PWD/$GOARCH.pid\nsleep 300 &\necho $! >>$PWD/$GOARCH.pid\nwait");
    interrupted(&place, &["build"], |running| {
        running.wait_for_phase("compile");
        // As many at a time as there are jobs.
        until(|| std::fs::read_to_string(place.path("amd64.pid")).is_ok_and(|pids| pids.lines().count() == 2));
    });
    for name in ["amd64.pid", "arm64.pid"] {
        let pids = std::fs::read_to_string(place.path(name)).unwrap_or_default();
        pids.lines().for_each(assert_ends);
    }
}

#[test]
fn s01_interrupted_while_a_layer_is_written() {
    let place = place();
    place.write("build.yaml", "version: 1\nbase: scratch\nfiles: [{from: big, to: /big}]\n");
    // More than can be compressed before anyone looks.
    std::fs::File::create(place.path("big")).unwrap().set_len(1 << 40).unwrap();
    let unfinished = |directory: &str| {
        let is_there =
            |name: &String| name.starts_with(".unfinished") && !place.names(&format!("{directory}/{name}")).is_empty();
        place.names(directory).iter().any(is_there)
    };
    interrupted(&place, &["build"], |running| {
        running.wait_for_phase("assemble");
        until(|| unfinished("oci"));
    });
    // The same on the way to a registry: the layer is in the cache then.
    let registry = TestRegistry::start();
    let image = format!("{}/app", registry.host());
    interrupted(&place, &["build", "--push", "--image", &image], |running| {
        running.wait_for_phase("assemble");
        until(|| unfinished("home/.cache/mab"));
    });
}

#[test]
fn s01_interrupted_while_it_is_pushed() {
    let place = place();
    let registry = TestRegistry::start();
    let image = format!("{}/app", registry.host());
    place.succeeds(&["build", "-f", "older.yaml", "--push", "--image", &image]);
    let tagged = registry.tag("app", "latest");
    assert!(tagged.is_some());
    place.write("build.yaml", "version: 1\nbase: scratch\nfiles: [{from: small, to: /other}]\n");
    for (method, part) in [("POST", "/blobs/uploads/"), ("PUT", "/manifests/sha256"), ("PUT", "/manifests/latest")] {
        // The registry itself never sees the request.
        registry.clear_faults();
        registry.fault(Fault::on(method, part).status(503).pause(Duration::from_secs(600)).always());
        let count = || registry.requests().iter().filter(|it| it.method == method && it.target.contains(part)).count();
        let before = Cell::new(count());
        interrupted(&place, &["build", "--push", "--image", &image], |running| {
            running.wait_for_phase("deliver");
            until(|| count() > before.get());
            before.set(count());
        });
        assert_eq!(registry.tag("app", "latest"), tagged);
    }
    registry.clear_faults();
    place.succeeds(&["build", "--push", "--image", &image]);
}

#[test]
fn s02_a_second_interrupt_ends_at_once() {
    let place = place();
    // A compiler that does not listen: the first interrupt waits for it.
    place.go("linux/amd64", "trap '' TERM INT\necho $$ >$PWD/pids\nsleep 300 &\necho $! >>$PWD/pids\nwait\nwait");
    let before = place.content("oci");
    let mut running = place.start(&["build"]);
    running.wait_for_phase("compile");
    until(|| std::fs::read_to_string(place.path("pids")).is_ok_and(|pids| pids.lines().count() == 2));
    running.signal(Signal::INT);
    running.wait_for(|line| line.contains("once more to end at once"));
    running.signal(Signal::INT);
    let ended = running.end();
    ended.fails(130, &[]);
    // It did not wait for the compiler: that piece of work never came to its end.
    assert!(!ended.err.contains("\"finished\""), "{}", ended.err);
    std::fs::read_to_string(place.path("pids")).unwrap().lines().for_each(assert_ends);
    let named = |name: &str| before.iter().find(|(path, _)| path.ends_with(name)).map(|(_, bytes)| bytes.clone());
    assert_eq!(std::fs::read(place.path("oci/index.json")).ok(), named("index.json"));
}
