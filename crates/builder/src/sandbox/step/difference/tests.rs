use std::os::unix::fs::{PermissionsExt, symlink};

use fs_err as fs;
use oci_layout::layer::notes;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use super::*;
use crate::sandbox::step::Traces;

/// Two layers and what was written over them, by hand.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["low", "high", "upper"] {
            fs::create_dir(place.at(name)).unwrap();
            fs::set_permissions(place.at(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    fn directory(&self, path: &str) {
        fs::create_dir_all(self.at(path)).unwrap();
    }

    fn delete(&self, path: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        mknodat(CWD, self.at(path), FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).unwrap();
    }

    fn note(&self, path: &str, name: impl rustix::path::Arg, value: &str) {
        setxattr(self.at(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }

    fn entries(&self, files: Files, traces: Traces, limits: &Limits) -> Result<Vec<Entry>, StepError> {
        let source = Source {
            written: self.at("upper"),
            files,
            layers: vec![self.at("low"), self.at("high")],
            below: &Tree::default(),
            root: Root::of(&Tree::default()),
            user: Numbers { uid: 0, gid: 0 },
            record: Record { traces, owners: Vec::new() },
        };
        entries(&source, limits)
    }

    #[track_caller]
    fn check(&self, files: Files, expected: &[&str]) {
        let found = self.entries(files, Traces::default(), &Limits::default()).unwrap();
        let lines: Vec<String> = found.iter().map(line).collect();
        assert_eq!(lines, expected);
    }
}

fn line(entry: &Entry) -> String {
    let kind = match &entry.kind {
        EntryKind::File(_) => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink { .. } => "link",
        EntryKind::HardLink { .. } => "hard link",
        EntryKind::Fifo => "pipe",
        EntryKind::Device { .. } => "device",
        EntryKind::Whiteout => "whiteout",
        EntryKind::Opaque => "opaque",
    };
    let xattrs: String =
        entry.xattrs.iter().map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value))).collect();
    format!("{} {kind} {:o} {}:{}{xattrs}", entry.path, entry.mode, entry.uid, entry.gid)
}

#[test]
fn an_upper_directory_is_compared_with_the_layers() {
    let place = Place::new();
    for (path, text) in [
        ("low/same", "same"),
        ("low/changed", "old"),
        ("low/gone", "x"),
        ("low/hidden", "x"),
        ("low/tree/kept", "x"),
        ("low/tree/gone", "x"),
        ("low/anew/one", "1"),
        ("low/anew/two", "2"),
        ("low/part/one", "1"),
        ("low/part/two", "2"),
        ("high/same", "new"),
        ("upper/same", "new"),
        ("upper/changed", "new"),
        ("upper/anew/three", "3"),
        ("upper/part/one", "1"),
        ("upper/made", "x"),
    ] {
        place.write(path, text);
    }
    for path in ["high/hidden", "upper/gone", "upper/hidden", "upper/never", "upper/tree/gone"] {
        place.delete(path);
    }
    for path in ["upper/anew", "upper/part"] {
        place.note(path, c"user.overlay.opaque", "y");
    }
    let expected = [
        "/anew directory 755 0:0",
        "/anew opaque 0 0:0",
        "/anew/three file 644 0:0",
        "/changed file 644 0:0",
        "/gone whiteout 0 0:0",
        "/made file 644 0:0",
        "/part directory 755 0:0",
        "/part/two whiteout 0 0:0",
        "/tree directory 755 0:0",
        "/tree/gone whiteout 0 0:0",
    ];
    place.check(Files::Overlay, &expected);
    // The same, as a whole.
    let whole = Place::new();
    for (path, text) in [
        ("upper/same", "new"),
        ("upper/changed", "new"),
        ("upper/anew/three", "3"),
        ("upper/part/one", "1"),
        ("upper/made", "x"),
        ("upper/tree/kept", "x"),
    ] {
        whole.write(path, text);
    }
    for name in ["low", "high"] {
        fs::remove_dir(whole.at(name)).unwrap();
        symlink(place.at(name), whole.at(name)).unwrap();
    }
    whole.check(Files::Copy, &expected);
}

#[test]
fn attributes_and_notes_decide_too() {
    let place = Place::new();
    for name in ["low", "upper"] {
        for path in ["owned", "mode", "mine", "noted", "replaced"] {
            place.write(&format!("{name}/{path}"), path);
        }
        for path in ["owned", "noted"] {
            place.note(&format!("{name}/{path}"), notes::OWNER, "33:34");
        }
        place.note(&format!("{name}/noted"), notes::MODE, "4644");
    }
    place.note("low/replaced", notes::OWNER, "33:34");
    place.note("low/mine", "user.mine", "old");
    place.note("upper/mine", "user.mine", "new");
    place.note("upper/mine", "user.overlay.origin", "x");
    place.note("upper/mode", "user.empty", "");
    place.check(Files::Overlay, &["/mine file 644 0:0 user.mine=new", "/replaced file 644 0:0"]);
    place.note("upper/owned", notes::OWNER, "33:5");
    fs::set_permissions(place.at("upper/mode"), PermissionsExt::from_mode(0o4000)).unwrap();
    // Whoever wrote that did not mean an owner.
    place.note("upper/replaced", notes::OWNER, "nobody");
    let expected =
        ["/mine file 644 0:0 user.mine=new", "/mode file 4000 0:0", "/owned file 644 33:5", "/replaced file 644 0:0"];
    place.check(Files::Overlay, &expected);
}

#[test]
fn what_is_the_sandboxes_own_is_left_out() {
    let place = Place::new();
    place.write("low/etc/hosts", "theirs");
    place.write("low/etc/other", "x");
    place.write("upper/etc/hosts", "the host's");
    place.write("upper/run/secrets/key", "");
    place.write("upper/run/mine", "x");
    place.directory("upper/proc");
    place.directory("upper/dev/shm");
    place.directory("upper/made/way");
    place.delete("upper/etc/other");
    let list = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    let traces = Traces {
        left_out: list(&["/etc/hosts", "/run/secrets/key"]),
        made: list(&["/run", "/run/secrets", "/made", "/made/way"]),
    };
    let found = place.entries(Files::Overlay, traces, &Limits::default()).unwrap();
    let lines: Vec<String> = found.iter().map(line).collect();
    assert_eq!(
        lines,
        ["/etc directory 755 0:0", "/etc/other whiteout 0 0:0", "/run directory 755 0:0", "/run/mine file 644 0:0"]
    );
}

#[test]
fn a_file_with_several_names_is_written_once() {
    let place = Place::new();
    place.write("low/known", "x");
    place.write("upper/known", "x");
    place.write("upper/sub/first", "new");
    for name in ["upper/again", "upper/sub/second"] {
        fs::hard_link(place.at("upper/sub/first"), place.at(name)).unwrap();
    }
    fs::hard_link(place.at("upper/known"), place.at("upper/other")).unwrap();
    fs::set_permissions(place.at("upper/again"), PermissionsExt::from_mode(0o0)).unwrap();
    place.check(
        Files::Overlay,
        &[
            "/again file 0 0:0",
            "/other file 644 0:0",
            "/sub directory 755 0:0",
            "/sub/first hard link 0 0:0",
            "/sub/second hard link 0 0:0",
        ],
    );
}
