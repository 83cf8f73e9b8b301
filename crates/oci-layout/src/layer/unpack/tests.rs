use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::*;

/// An entry as somebody who means harm writes it: nothing is checked.
fn entry(tar: &mut Vec<u8>, path: &str, kind: u8, link: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(mode);
    header.set_uid(1234);
    header.set_gid(1234);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    let fields = header.as_mut_bytes();
    fields[..path.len()].copy_from_slice(path.as_bytes());
    fields[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn tar(entries: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, kind, text) in entries {
        let (link, content) = if *kind == b'0' { ("", text.as_bytes()) } else { (*text, &b""[..]) };
        entry(&mut tar, path, *kind, link, if *kind == b'5' { 0o755 } else { 0o644 }, content);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn unpack_to(root: &Path, tar: &[u8], limits: &UnpackLimits) -> Result<Unpacked, UnpackError> {
    let directory = File::open(root).unwrap();
    unpack(tar, Compression::None, Digest::of(tar), directory.as_fd(), limits)
}

fn unpacked(entries: &[(&str, u8, &str)]) -> (tempfile::TempDir, Result<Unpacked, UnpackError>) {
    let root = tempfile::tempdir().unwrap();
    let outcome = unpack_to(root.path(), &tar(entries), &UnpackLimits::default());
    (root, outcome)
}

fn is_whiteout(path: &Path) -> bool {
    let found = path.symlink_metadata().unwrap();
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0_u8; 8];
    rustix::fs::getxattr(path, c"user.overlay.opaque", &mut value[..]).is_ok_and(|count| &value[..count] == b"y")
}

#[test]
fn everything_comes_out_as_it_is_written() {
    let mut tar = Vec::new();
    entry(&mut tar, "./", b'5', "", 0o755, b"");
    entry(&mut tar, "etc/", b'5', "", 0o555, b"");
    entry(&mut tar, "etc/file", b'0', "", 0o4640, b"content");
    entry(&mut tar, "etc/same", b'1', "etc/file", 0o640, b"");
    entry(&mut tar, "bin", b'2', "usr/bin", 0o777, b"");
    entry(&mut tar, "usr/bin/tool", b'0', "", 0o755, b"tool");
    entry(&mut tar, "queue", b'6', "", 0o600, b"");
    entry(&mut tar, "disk", b'4', "", 0o600, b"");
    tar.resize(tar.len() + 1024, 0);
    let root = tempfile::tempdir().unwrap();
    let outcome = unpack_to(root.path(), &tar, &UnpackLimits::default()).unwrap();
    assert_eq!(outcome, Unpacked { entries: 8, bytes: 11, left_out: 1 });
    let at = |path: &str| root.path().join(path).symlink_metadata().unwrap();
    assert_eq!(std::fs::read_to_string(root.path().join("etc/same")).unwrap(), "content");
    assert_eq!(at("etc/same").ino(), at("etc/file").ino());
    assert_eq!(at("etc/file").permissions().mode() & 0o7777, 0o640, "without its set-id bit");
    assert_eq!(at("etc").permissions().mode() & 0o7777, 0o755, "open to its owner");
    assert_eq!(
        (at("etc").mtime(), at("etc/file").mtime(), at("bin").mtime()),
        (1_000_000_000, 1_000_000_000, 1_000_000_000)
    );
    assert_eq!(at("usr/bin").permissions().mode() & 0o777, 0o755, "made on the way");
    assert!(at("queue").file_type().is_fifo() && !root.path().join("disk").exists());
}

#[test]
fn what_the_disk_does_not_keep_is_noted() {
    let mut tar = Vec::new();
    entry(&mut tar, "owned/", b'5', "", 0o3555, b"");
    entry(&mut tar, "owned/program", b'0', "", 0o4711, b"x");
    entry(&mut tar, "owned/closed", b'0', "", 0, b"x");
    entry(&mut tar, "plain", b'0', "", 0o644, b"x");
    tar.resize(tar.len() + 1024, 0);
    let root = tempfile::tempdir().unwrap();
    unpack_to(root.path(), &tar, &UnpackLimits::default()).unwrap();
    let check = |path: &str, mode: u32, noted: Option<u32>| {
        let path = root.path().join(path);
        let mut value = [0_u8; 32];
        let mut note =
            |name| rustix::fs::getxattr(&path, name, &mut value[..]).ok().map(|count| value[..count].to_vec());
        assert_eq!(note(notes::OWNER).and_then(|note| notes::parse_owner(&note)), Some((1234, 1234)));
        assert_eq!(note(notes::MODE).and_then(|note| notes::parse_mode(&note)), noted);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
    };
    check("owned", 0o3755, Some(0o3555));
    check("owned/program", 0o711, Some(0o4711));
    check("owned/closed", 0o400, Some(0));
    check("plain", 0o644, None);
}

#[test]
fn i19_links_lead_to_places_inside_and_nothing_gets_out() {
    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().to_str().unwrap();
    let up = "../".repeat(20);
    for (link, inside) in [(outside.to_owned(), outside[1..].to_owned()), (up, String::new())] {
        // Links that lead nowhere inside are an error for what is below them.
        let (_, outcome) = unpacked(&[("out", b'2', "/nowhere"), ("out/evil", b'0', "x")]);
        assert!(matches!(outcome, Err(UnpackError::Misfit { .. } | UnpackError::Io { .. })), "{outcome:?}");
        let (root, outcome) =
            unpacked(&[(&format!("{inside}/"), b'5', ""), ("out", b'2', &link), ("out/evil", b'0', "x")]);
        outcome.unwrap();
        assert!(root.path().join(&inside).join("evil").is_file());
    }
    for entries in [
        &[("../evil", b'0', "x")][..],
        &[("a/../../evil", b'0', "x")],
        &[("link", b'1', "../../etc/passwd")],
        &[("link", b'1', "/etc/passwd")],
        &[("passwd", b'2', "/etc/passwd"), ("link", b'1', "passwd/x")],
    ] {
        assert!(unpacked(entries).1.is_err(), "{entries:?}");
    }
    // Another name of a link is a link, and what is written to it replaces it.
    let (root, outcome) = unpacked(&[("passwd", b'2', outside), ("link", b'1', "passwd"), ("link", b'0', "mine")]);
    outcome.unwrap();
    assert_eq!(std::fs::read_to_string(root.path().join("link")).unwrap(), "mine");
    assert!(root.path().join("passwd").is_symlink());
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn deletions_become_marks_of_overlays_and_spare_what_the_layer_itself_has() {
    let (root, outcome) = unpacked(&[
        ("gone/.wh.file", b'0', ""),
        ("kept", b'0', "x"),
        (".wh.kept", b'0', ""),
        ("new/", b'5', ""),
        ("new/.wh..wh..opq", b'0', ""),
        ("again/", b'5', ""),
        (".wh.again", b'0', ""),
        (".wh.later", b'0', ""),
        ("later/", b'5', ""),
        (".wh.file", b'0', ""),
        ("file", b'0', "x"),
        (".wh..wh.plnk", b'0', ""),
    ]);
    assert_eq!(outcome.unwrap().left_out, 1);
    let at = |path: &str| root.path().join(path);
    assert!(is_whiteout(&at("gone/file")));
    assert!(at("kept").is_file() && at("file").is_file());
    assert!(is_opaque(&at("new")) && is_opaque(&at("again")) && is_opaque(&at("later")));
    assert!(!is_opaque(&at("gone")));
}

#[test]
fn what_comes_later_replaces_what_was_there() {
    let (root, outcome) = unpacked(&[
        ("a/", b'5', ""),
        ("a/b/c", b'0', "x"),
        ("a", b'0', "file now"),
        ("l", b'2', "a"),
        ("l/", b'5', ""),
        ("l/x", b'0', "x"),
    ]);
    outcome.unwrap();
    assert_eq!(std::fs::read_to_string(root.path().join("a")).unwrap(), "file now");
    assert!(root.path().join("l/x").is_file() && !root.path().join("l").is_symlink());
    let (_, outcome) = unpacked(&[("a", b'0', "x"), ("a/b", b'0', "x")]);
    assert!(matches!(outcome, Err(UnpackError::Misfit { .. })));
}

#[test]
fn i19_limits_hold() {
    let limits = UnpackLimits { bytes: 10, entries: 3, depth: 4 };
    let check = |entries: &[(&str, u8, &str)]| {
        let root = tempfile::tempdir().unwrap();
        unpack_to(root.path(), &tar(entries), &limits)
    };
    assert!(check(&[("a", b'0', "12345"), ("b", b'0', "12345"), ("a/b", b'5', "")]).is_err());
    assert!(check(&[("1/2/3/4", b'0', "1234567890")]).is_ok());
    assert!(matches!(check(&[("a", b'0', "12345678901")]), Err(UnpackError::Size(10))));
    assert!(matches!(check(&[("1/2/3/4/5", b'5', "")]), Err(UnpackError::Depth { limit: 4, .. })));
    let many: Vec<(String, u8, &str)> = (0..4).map(|number| (number.to_string(), b'0', "")).collect();
    let many: Vec<(&str, u8, &str)> = many.iter().map(|(path, kind, text)| (path.as_str(), *kind, *text)).collect();
    assert!(matches!(check(&many), Err(UnpackError::Read(ReadError::Entries(3)))));
}

#[test]
fn other_content_than_the_config_says_is_found() {
    let root = tempfile::tempdir().unwrap();
    let directory = File::open(root.path()).unwrap();
    let bytes = tar(&[("a", b'0', "x")]);
    let outcome =
        unpack(&bytes[..], Compression::None, Digest::of(b"other"), directory.as_fd(), &UnpackLimits::default());
    assert!(matches!(outcome, Err(UnpackError::DiffId { .. })));
}

#[test]
fn attributes_of_users_come_along_and_notes_of_overlays_do_not() {
    let root = tempfile::tempdir().unwrap();
    let directory = File::open(root.path()).unwrap();
    let xattrs =
        ["user.mine", "user.overlay.opaque", "security.capability"].map(|name| (name.to_owned(), b"y".to_vec()));
    let of_directory = TarEntry {
        path: b"d/".to_vec(),
        kind: TarKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0,
        link: Vec::new(),
        xattrs: BTreeMap::from(xattrs),
        sparse: false,
    };
    let mut place = Place::new(directory.as_fd());
    unpack_entry(&mut place, &of_directory, std::io::empty(), &UnpackLimits::default()).unwrap();
    let path = root.path().join("d");
    let mut value = [0_u8; 8];
    assert!(rustix::fs::getxattr(&path, c"user.mine", &mut value[..]).is_ok());
    assert!(!is_opaque(&path));
}
