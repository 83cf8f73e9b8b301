//! Build steps with this machine's own shell in an image: what of their changes goes into a layer. Each script
//! runs on an overlay and on a copy, and the layers have to be the same, byte for byte. Where users may not make
//! sandboxes, each test says so and passes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bases;
mod image;
mod owners;

use std::time::{Duration, Instant};

use builder::sandbox::step::{Limits, Secret, StepError, StepMount, StepMountKind};
use builder::sandbox::{Ending, Network};
use image::{Image, Run};

#[test]
fn what_is_made_changed_and_deleted_is_in_the_layer() {
    let Some(image) = Image::get() else { return };
    image.changes(
        "echo new >/srv/new; mkdir -p /srv/deep/er; ln -s ../new /srv/deep/link; chmod 700 /srv/deep/er
         echo more >>/data/file; rm /data/other; chmod 600 /data/mode; mkfifo /data/pipe",
        &[
            "/data d 755 0:0",
            "/data/file f 644 0:0 `content\nmore\n`",
            "/data/mode f 600 0:0 `mode\n`",
            "/data/other whiteout",
            "/data/pipe pipe 644 0:0",
            "/srv d 755 0:0",
            "/srv/deep d 755 0:0",
            "/srv/deep/er d 700 0:0",
            "/srv/deep/link -> ../new 0:0",
            "/srv/new f 644 0:0 `new\n`",
        ],
    );
}

#[test]
fn steps_build_on_each_other() {
    let Some(image) = Image::get() else { return };
    let script = "rm -r /tree/a /data/other; mkdir /tree/a; echo x >/srv/x; ln /srv/x /srv/y; chown 5:6 /srv/x; chmod 4711 /srv/x
                  chown -h 5:6 /data/link; mv /data/file /data/moved; mkfifo /srv/pipe; chown 7:7 /srv/pipe; mkdir -m 500 /srv/closed";
    let next = image.after(&image.both(script, &Run::default()));
    let outcome = next.both(
        "echo /data/* /tree/*; ls -A /tree/a; stat -c '%n %a %u:%g' /srv/x /srv/closed; stat -c %F /srv/pipe
         touch /srv/x; chmod 4711 /srv/y; chown 5:6 /srv/y; chmod 4711 /srv/y; echo new >/data/other",
        &Run::default(),
    );
    assert_eq!(
        outcome.stdout,
        "/data/closed /data/link /data/linked /data/linked-too /data/mode /data/moved /data/set-id /tree/a /tree/b\n\
         /srv/x 4711 5:6\n/srv/closed 500 0:0\nfifo\n"
    );
    outcome.has_changed(&["/data d 755 0:0", "/data/other f 644 0:0 `new\n`"]);
    let outcome = next.both("rm /srv/x; rmdir /srv/closed; rm /data/link; ln -s file /data/link", &Run::default());
    outcome.has_changed(&["/srv d 755 0:0", "/srv/closed whiteout", "/srv/x whiteout"]);
}

#[test]
fn the_same_step_makes_the_same_layer_again() {
    let Some(image) = Image::get() else { return };
    let script =
        "cd /srv; for name in c a b; do echo $name >$name; ln -s $name l-$name; chown 5:6 $name; done; rm /data/file";
    let digests = [(); 2].map(|()| image.both(script, &Run::default()).diff_id());
    assert_eq!(digests[0], digests[1]);
}

/// Nothing waits for the disk: not even for a device, of which the kernel says that it cannot be flushed.
#[test]
fn flushing_does_nothing() {
    let Some(image) = Image::get() else { return };
    assert!(!std::process::Command::new("sync").arg("/dev/null").status().unwrap().success());
    let outcome = image
        .both("for how in '' --data --file-system; do sync $how /dev/null && echo ok; done; sync", &Run::default());
    assert_eq!(outcome.stdout, "ok\nok\nok\n");
}

#[test]
fn what_is_as_it_was_is_not_in_the_layer() {
    let Some(image) = Image::get() else { return };
    image.changes("true", &[]);
    image.changes(
        "touch /data/file; chmod 644 /data/file; cat /data/mode >/x; cat /x >/data/mode; rm /x
         cp -a /data/other /data/x; mv /data/x /data/other; rm /data/link; ln -s file /data/link
         mkdir /data/y; rmdir /data/y; mv /tree/a /tree/x; mv /tree/x /tree/a; chmod 00755 /tree/a; chmod 4755 /data/set-id
         cat /data/closed >/dev/null; chmod 0 /data/closed",
        &[],
    );
}

#[test]
fn directories_that_are_moved_or_replaced_come_out_right() {
    let Some(image) = Image::get() else { return };
    image.changes(
        "mv /tree /moved",
        &[
            "/moved d 2775 0:8",
            "/moved/a d 755 0:0",
            "/moved/a/one f 644 0:0 `1`",
            "/moved/a/two f 644 33:33 `2`",
            "/moved/b d 755 0:0",
            "/moved/b/three f 644 0:0 `3`",
            "/tree whiteout",
        ],
    );
    // All of what was there is gone; one part of it; and none.
    image.changes(
        "rm -r /tree/a; mkdir /tree/a; echo new >/tree/a/new",
        &["/tree d 2775 0:8", "/tree/a d 2755 0:8", "/tree/a opaque", "/tree/a/new f 644 0:8 `new\n`"],
    );
    image.changes(
        "cp /tree/a/one /x; rm -r /tree/a; mkdir /tree/a; cp /x /tree/a/one; rm /x; chmod 00755 /tree/a; chgrp 0 /tree/a /tree/a/one",
        &["/tree d 2775 0:8", "/tree/a d 755 0:0", "/tree/a/two whiteout"],
    );
    image.changes(
        "rm -r /tree/a; echo file >/tree/a; rm /data/file; mkdir /data/file; echo in >/data/file/in; rm -r /tree/b; ln -s a /tree/b",
        &[
            "/data d 755 0:0",
            "/data/file d 755 0:0",
            "/data/file/in f 644 0:0 `in\n`",
            "/tree d 2775 0:8",
            "/tree/a f 644 0:8 `file\n`",
            "/tree/b -> a 0:8",
        ],
    );
    image.changes("chmod 1777 /; chmod 750 /data", &["/ d 1777 0:0", "/data d 750 0:0"]);
}

#[test]
fn hard_links_stay_hard_links() {
    let Some(image) = Image::get() else { return };
    image.changes(
        "echo x >/srv/b; ln /srv/b /srv/a; ln /srv/b /srv/c; ln /data/file /data/again; echo y >>/data/linked",
        &[
            "/data d 755 0:0",
            "/data/again f 644 0:0 `content\n`",
            // Its other name is a file of its own, as in every overlay.
            "/data/linked f 644 0:0 `linked\ny\n`",
            "/srv d 755 0:0",
            "/srv/a f 644 0:0 `x\n`",
            "/srv/b = /srv/a",
            "/srv/c = /srv/a",
        ],
    );
}

#[test]
fn mounts_leave_no_trace() {
    let Some(image) = Image::get() else { return };
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| outside.path().join(name);
    std::fs::create_dir(at("context")).unwrap();
    std::fs::create_dir(at("cache")).unwrap();
    std::fs::write(at("context/file"), "from the context\n").unwrap();
    let mount = |target: &str, kind: StepMountKind| StepMount { target: target.to_owned(), kind };
    let mounts = vec![
        mount("/run/secrets/key", StepMountKind::Secret { content: Secret::new(b"canary\n".to_vec()) }),
        mount("/context", StepMountKind::Bind { source: at("context") }),
        mount("/data/file", StepMountKind::Bind { source: at("context/file") }),
        mount("/var/cache/x", StepMountKind::Cache { source: at("cache") }),
        mount("/tmp", StepMountKind::Tmpfs),
        mount("/link/below", StepMountKind::Tmpfs),
    ];
    let script = "cat /run/secrets/key /context/file /data/file; stat -c %a:%u /run/secrets/key; stat -c %a /tmp
                  echo x 2>/dev/null >/context/new || echo closed; chmod 700 /run/secrets/key 2>/dev/null || echo closed
                  echo kept >>/var/cache/x/kept; chown 5:6 /var/cache/x/kept; echo y >/tmp/y; echo z >/link/below/z; echo mine >/srv/mine";
    let run = Run { mounts, ..Run::default() };
    let outcome = image.both(script, &run);
    outcome.has_changed(&["/srv d 755 0:0", "/srv/mine f 644 0:0 `mine\n`"]);
    let from = "from the context\n";
    assert_eq!(outcome.stdout, format!("canary\n{from}{from}400:0\n1777\nclosed\nclosed\n"));
    assert_eq!(std::fs::read_to_string(at("cache/kept")).unwrap(), "kept\nkept\n");
    assert!(!image.disk_holds("canary"));
    for (target, says) in [
        ("/", "all of the image"),
        ("relative", "not absolute"),
        ("/a/../b", "component"),
        ("/proc/x", "the sandbox's own"),
        ("/dev", "the sandbox's own"),
    ] {
        let run = Run { mounts: vec![mount(target, StepMountKind::Tmpfs)], ..Run::default() };
        let error = image.run("true", true, &run).err().unwrap();
        assert!(matches!(&error, StepError::Target { .. }) && error.to_string().contains(says), "{error}");
    }
    // What the sandbox has made becomes the image's when the step has put something in it.
    let run = Run { mounts: vec![mount("/run/secrets/key", StepMountKind::Tmpfs)], ..Run::default() };
    let outcome = image.both("echo x >/run/secrets/other", &run);
    outcome.has_changed(&["/run d 755 0:0", "/run/secrets d 755 0:0", "/run/secrets/other f 644 0:0 `x\n`"]);
}

#[test]
fn the_networks_files_are_the_sandboxes_own() {
    let Some(image) = Image::get() else { return };
    let run = Run { network: Network::Host, ..Run::default() };
    let outcome = image.both("echo mine >>/etc/hosts; rm -f /etc/resolv.conf; echo x >/etc/x", &run);
    outcome.has_changed(&["/etc d 755 0:0", "/etc/x f 644 0:0 `x\n`"]);
    let outcome = image.both("echo mine >/etc/hosts", &Run::default());
    outcome.has_changed(&["/etc d 755 0:0", "/etc/hosts f 644 0:0 `mine\n`"]);
}

#[test]
fn a_working_directory_is_made_and_kept() {
    let Some(image) = Image::get() else { return };
    let run = Run { directory: "/made/here".to_owned(), ..Run::default() };
    image.both("echo x >file", &run).has_changed(&[
        "/made d 755 0:0",
        "/made/here d 755 0:0",
        "/made/here/file f 644 0:0 `x\n`",
    ]);
}

#[test]
fn what_a_step_cannot_do_is_said() {
    let Some(image) = Image::get() else { return };
    let fails = |script: &str, run: &Run| {
        [true, false].map(|overlay| image.run(script, overlay, run).err().unwrap().to_string())
    };
    for error in fails("touch /srv/.wh.x", &Run::default()) {
        assert!(error.contains("/srv/.wh.x") && error.contains("deletion"), "{error}");
    }
    for error in fails("touch \"$(printf '/srv/\\377')\"", &Run::default()) {
        assert!(error.contains("not UTF-8"), "{error}");
    }
    for error in fails("cd /srv; i=0; while [ $i -lt 300 ]; do mkdir d; cd d; i=$((i+1)); done", &Run::default()) {
        assert!(error.contains("256 directories deep"), "{error}");
    }
    let few = Run { limits: Limits { entries: 3, bytes: 10 }, ..Run::default() };
    for error in fails("mkdir -p /srv/a/b/c", &few) {
        assert_eq!(error, "the command has changed more than 3 files");
    }
    for error in fails("echo 0123456789 >/x", &few) {
        assert_eq!(error, "the files that the command has written have more than 10 bytes");
    }
    let outcome = image.run("echo x >/x; exit 3", true, &Run::default()).unwrap();
    assert_eq!((outcome.ending, outcome.entries.len()), (Ending::Exited(3), 0));
}

#[test]
fn everything_may_be_deleted() {
    let Some(image) = Image::get() else { return };
    for overlay in [true, false] {
        let outcome = image.run("rm -rf --no-preserve-root / 2>/dev/null; exit 0", overlay, &Run::default()).unwrap();
        let lines = outcome.lines();
        assert!(
            lines.contains(&"/data whiteout".to_owned()) && lines.contains(&"/usr whiteout".to_owned()),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| line.ends_with(" whiteout") && line.matches('/').count() == 1), "{lines:?}");
    }
}

#[test]
fn nothing_is_left_on_the_disk() {
    let Some(image) = Image::get() else { return };
    let script = "mkdir -p /srv/closed/in; echo x >/srv/closed/in/file; chmod 0 /srv/closed/in /srv/closed
                  cd /srv; i=0; while [ $i -lt 200 ]; do mkdir d; cd d; i=$((i+1)); done";
    drop(image.run(script, true, &Run::default()).unwrap());
    assert_eq!(image.scratch_count(), 0);
}

#[test]
fn a_step_is_killed_from_another_thread() {
    let Some(image) = Image::get() else { return };
    for overlay in [true, false] {
        let begun = Instant::now();
        let outcome = image.killed("echo x >/x; sleep 1000 & sleep 1000", overlay);
        assert_eq!((outcome.ending, outcome.entries.len()), (Ending::Signaled(9), 0));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    assert_eq!(image.scratch_count(), 0);
    let run = Run { time_limit: Some(Duration::from_millis(500)), ..Run::default() };
    assert_eq!(image.run("sleep 1000", true, &run).unwrap().ending, Ending::TimedOut);
}

#[test]
fn a_hundred_thousand_files_are_no_trouble() {
    let Some(image) = Image::get() else { return };
    let begun = Instant::now();
    let script = "mkdir /many; cd /many; i=0; while [ $i -lt 1000 ]; do mkdir $i; i=$((i+1)); done
                  i=0; while [ $i -lt 100 ]; do eval \"printf '%s\\n' 0 >$i.x\"; for d in 0 1 2 3 4 5 6 7 8 9; do for e in 0 1 2 3 4 5 6 7 8 9; do for f in 0 1 2 3 4 5 6 7 8 9; do : >$((d*100+e*10+f))/$i; done; done; done; i=$((i+1)); done";
    let outcome = image.run(script, true, &Run::default()).unwrap();
    assert_eq!(outcome.entries.len(), 1 + 1000 + 100 + 100_000);
    eprintln!("{:?} for 100,000 files", begun.elapsed());
}
