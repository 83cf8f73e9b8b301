//! Owners that steps give, and users that they become.

use super::image::{Image, Run};

#[test]
fn owners_are_recorded_and_seen() {
    let Some(image) = Image::get() else { return };
    let outcome = image.both(
        "stat -c '%n %a %u:%g' /owned /owned/file /data/other /data/set-id /data/closed /tree
         echo x >/srv/a; chown 5:6 /srv/a; mv /srv/a /srv/b; ln /srv/b /srv/c; stat -c '%u:%g' /srv/c
         mkdir /srv/d; echo y >/srv/d/e; ln -s e /srv/d/l; chown -R 7:8 /srv/d; chown -h 9:9 /srv/d/l; stat -c '%n %u:%g' /srv/d/l
         chgrp 50 /owned/file; chown 0:0 /data/other; cp -a /owned /copy; sed -i s/owned/changed/ /owned/file",
        &Run::default(),
    );
    assert_eq!(
        outcome.stdout,
        "/owned 750 33:33\n/owned/file 600 33:33\n/data/other 640 0:42\n/data/set-id 4755 0:0\n/data/closed 0 0:0\n\
         /tree 2775 0:8\n5:6\n/srv/d/l 9:9\n"
    );
    outcome.has_changed(&[
        "/copy d 750 33:33",
        "/copy/file f 600 33:50 `owned\n`",
        "/copy/link -> file 0:0",
        "/data d 755 0:0",
        "/data/other f 640 0:0 `other\n`",
        "/owned d 750 33:33",
        "/owned/file f 600 33:50 `changed\n`",
        "/srv d 755 0:0",
        "/srv/b f 644 5:6 `x\n`",
        "/srv/c = /srv/b",
        "/srv/d d 755 7:8",
        "/srv/d/e f 644 7:8 `y\n`",
        "/srv/d/l -> e 9:9",
    ]);
}

#[test]
fn a_user_alone_is_given_and_the_group_stays_the_directorys() {
    let Some(image) = Image::get() else { return };
    image.changes(
        "mkdir /srv/g; chgrp 33 /srv/g; chmod 2750 /srv/g; echo x >/srv/g/f; ln -s f /srv/g/l; mkdir /srv/g/d
         chown -h 7 /srv/g/l; chown 7 /srv/g/f; chown 8 /owned/file",
        &[
            "/owned d 750 33:33",
            "/owned/file f 600 8:33 `owned\n`",
            "/srv d 755 0:0",
            "/srv/g d 2750 0:33",
            "/srv/g/d d 2755 0:33",
            "/srv/g/f f 644 7:33 `x\n`",
            "/srv/g/l -> f 7:33",
        ],
    );
}

#[test]
fn modes_are_what_a_step_gives() {
    let Some(image) = Image::get() else { return };
    image.changes(
        "chmod 755 /data/set-id; chmod 4755 /data/file; chmod 2755 /data; install -m 6711 /data/mode /srv/x",
        &[
            "/data d 2755 0:0",
            "/data/file f 4755 0:0 `content\n`",
            "/data/set-id f 755 0:0 `set-id\n`",
            "/srv d 755 0:0",
            "/srv/x f 6711 0:0 `mode\n`",
        ],
    );
    // Who gets a program does not get its set-id bits.
    image.changes("chown 5 /data/set-id", &["/data d 755 0:0", "/data/set-id f 755 5:0 `set-id\n`"]);
}

#[test]
fn devices_become_entries() {
    let Some(image) = Image::get() else { return };
    let outcome = image.both(
        "mknod /srv/null c 1 3; mknod -m 660 /srv/disk b 8 1; chown 0:6 /srv/disk; mkfifo /srv/pipe; chown 5:5 /srv/pipe
         stat -c '%n %F %t:%T' /srv/null /srv/disk; mknod /srv/mark c 0 0 2>/dev/null || echo refused",
        &Run::default(),
    );
    assert_eq!(outcome.stdout, "/srv/null character special file 1:3\n/srv/disk block special file 8:1\nrefused\n");
    outcome.has_changed(&[
        "/srv d 755 0:0",
        "/srv/disk block 8 1 660 0:6",
        "/srv/null character 1 3 644 0:0",
        "/srv/pipe pipe 644 5:5",
    ]);
}

#[test]
fn users_that_a_step_becomes_stay_what_they_are() {
    let Some(image) = Image::get() else { return };
    let ids = |options: &str, command: &str| format!("setpriv {options} {command}");
    let script = [
        "id".to_owned(),
        ids("--reuid 1000 --regid 1000 --clear-groups", "id"),
        ids("--reuid 1000 --regid 1000 --groups 5,6", "sh -c '(id -u; id -g; id -G)'"),
        ids("--reuid 1000 --regid 1000 --clear-groups", "setpriv --reuid 0 true 2>/dev/null || echo kept"),
        ids("--reuid 1000 --regid 1000 --clear-groups", "chown 5 /data/file 2>/dev/null || echo refused"),
        ids("--euid 1000", "id -u"),
        ids("--euid 1000", "id -ru"),
        // A process whose parent is gone.
        ids("--reuid 1000 --clear-groups", "sh -c '(sleep 0.3; id -u >/srv/late) &'"),
        "sleep 1; cat /srv/late; rm /srv/late; id -u".to_owned(),
    ]
    .join("\n");
    let outcome = image.both(&script, &Run::default());
    let expected = "uid=0(root) gid=0(root) groups=0(root)\nuid=1000(app) gid=1000(app) groups=1000(app)\n\
                    1000\n1000\n1000 5 6\nkept\nrefused\n1000\n0\n1000\n0\n";
    assert_eq!(outcome.stdout, expected);
    outcome.has_changed(&[]);
}

#[test]
fn another_users_step_owns_what_it_makes() {
    let Some(image) = Image::get() else { return };
    let run = Run { user: "app".to_owned(), ..Run::default() };
    let outcome =
        image.both("id -u; echo x >/srv/x; chown 5 /srv/x 2>/dev/null || echo refused; echo y >>/data/file", &run);
    assert_eq!(outcome.stdout, "1000\nrefused\n");
    outcome.has_changed(&[
        "/data d 755 0:0",
        "/data/file f 644 0:0 `content\ny\n`",
        "/srv d 755 0:0",
        "/srv/x f 644 1000:1000 `x\n`",
    ]);
}

#[test]
fn what_another_user_makes_is_that_ones() {
    let Some(image) = Image::get() else { return };
    let script = "umask 027; echo x >/owned/new; echo y >>/data/file; mkdir /owned/sub/; mkdir -p /owned/sub/deep; ln -s new /owned/l
                  mkfifo /owned/p; mkdir /tree/z; echo z >/tree/z/f; stat -c \"%n %a %u:%g\" /owned/new /owned/sub /tree/z";
    let script = format!("setpriv --reuid 33 --regid 34 --clear-groups sh -c '{script}'");
    let outcome = image.both(&script, &Run::default());
    assert_eq!(outcome.stdout, "/owned/new 640 33:34\n/owned/sub 750 33:34\n/tree/z 2750 33:8\n");
    outcome.has_changed(&[
        "/data d 755 0:0",
        "/data/file f 644 0:0 `content\ny\n`",
        "/owned d 750 33:33",
        "/owned/l -> new 33:34",
        "/owned/new f 640 33:34 `x\n`",
        "/owned/p pipe 640 33:34",
        "/owned/sub d 750 33:34",
        "/owned/sub/deep d 750 33:34",
        "/tree d 2775 0:8",
        "/tree/z d 2750 33:8",
        "/tree/z/f f 640 33:8 `z\n`",
    ]);
}
