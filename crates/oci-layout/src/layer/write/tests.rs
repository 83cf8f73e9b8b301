use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::layer::Xattrs;

fn store() -> (tempfile::TempDir, BlobStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::new(directory.path());
    (directory, store)
}

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn file(at: &str, text: &str) -> Entry {
    Entry::new(path(at), EntryKind::File(Content::Bytes(Arc::from(text.as_bytes()))), 0o644)
}

fn directory(at: &str) -> Entry {
    Entry::new(path(at), EntryKind::Directory, 0o755)
}

fn symlink(at: &str, target: &str) -> Entry {
    Entry::new(path(at), EntryKind::Symlink { target: target.to_owned() }, 0)
}

fn hard_link(at: &str, to: &str) -> Entry {
    Entry::new(path(at), EntryKind::HardLink { to: path(to) }, 0o644)
}

fn from_disk(at: &str, source: &Path, size: u64) -> Entry {
    Entry::new(path(at), EntryKind::File(Content::File { path: source.into(), size }), 0o755)
}

fn write(entries: &[Entry]) -> Result<WrittenLayer, LayerError> {
    let (_directory, store) = store();
    write_layer(entries, &LayerOptions::default(), &Pool::new(2).unwrap(), &store)
}

/// Writes a layer and takes it apart with readers of others.
fn tar_of(entries: &[Entry], compression: Compression) -> Vec<u8> {
    let (_directory, store) = store();
    let options = LayerOptions { compression, ..LayerOptions::default() };
    let layer = write_layer(entries, &options, &Pool::new(2).unwrap(), &store).unwrap();
    let blob = store.read(&layer.descriptor, u64::MAX).unwrap();
    let mut tar = Vec::new();
    match compression {
        Compression::None => tar = blob,
        // One that stops after the first member: there must be no other.
        Compression::Gzip => drop(flate2::read::GzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap()),
        Compression::Zstd => zstd::stream::copy_decode(&blob[..], &mut tar).unwrap(),
    }
    assert_eq!(Digest::of(&tar), layer.diff_id);
    assert_eq!(tar.len() as u64, layer.size_uncompressed);
    tar
}

/// Bytes that compress somewhat, different all along.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x3f
        })
        .collect()
}

#[test]
fn any_compression_holds_the_same_tar() {
    let big = String::from_utf8(noise(3 << 20)).unwrap();
    let entries = [directory("/etc"), file("/etc/a", "one"), file("/etc/big", &big), symlink("/etc/l", "../x")];
    let plain = tar_of(&entries, Compression::None);
    assert_eq!(tar_of(&entries, Compression::Gzip), plain);
    assert_eq!(tar_of(&entries, Compression::Zstd), plain);
    assert_eq!(plain.len() % 512, 0);
}

#[test]
fn what_goes_in_comes_out_of_another_reader() {
    let long = format!("/{}/{}/ü", "d".repeat(200), "e".repeat(255));
    let mut capable = file("/capable", "x").owned_by(3_000_000, 7);
    capable.xattrs = Xattrs::from_iter([("security.capability".to_owned(), vec![1, 0, 0, 2, 0, 0xff])]);
    let entries = [
        capable,
        directory("/d"),
        file(&long, "deep"),
        hard_link("/a", "/d/z"),
        file("/d/z", "linked"),
        symlink("/s", &format!("/{}", "t".repeat(300))),
    ];
    let tar = tar_of(&entries, Compression::Gzip);
    let mut archive = tar::Archive::new(&tar[..]);
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let records: Vec<(String, Vec<u8>)> = entry
            .pax_extensions()
            .unwrap()
            .into_iter()
            .flatten()
            .map(|record| record.unwrap())
            .map(|record| (record.key().unwrap().to_owned(), record.value_bytes().to_owned()))
            .collect();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let link = entry.link_name().unwrap().map(|link| link.to_str().unwrap().to_owned());
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        if name == "capable" {
            assert_eq!(entry.header().uid().unwrap(), 3_000_000);
            assert!(records.contains(&("SCHILY.xattr.security.capability".into(), vec![1, 0, 0, 2, 0, 255])));
        }
        assert_eq!(entry.header().mtime().unwrap(), 1);
        seen.push((name, text, link));
    }
    let expect = |name: &str, text: &str, link: Option<&str>| (name.to_owned(), text.to_owned(), link.map(Into::into));
    assert_eq!(
        seen,
        [
            expect("capable", "x", None),
            expect("d/", "", None),
            expect("d/z", "linked", None),
            expect(&long[1..], "deep", None),
            expect("s", "", Some(&format!("/{}", "t".repeat(300)))),
            expect("a", "", Some("d/z")),
        ]
    );
}

#[test]
fn order_threads_and_umask_do_not_change_the_bytes() {
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), noise(5_000_001)).unwrap();
    let mut entries = vec![
        directory("/d"),
        from_disk("/d/big", source.path(), 5_000_001),
        file("/x", "1"),
        file("/y", "2"),
        directory("/d"),
    ];
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let options = LayerOptions { compression, ..LayerOptions::default() };
        let mut results = Vec::new();
        for threads in [1, 2, 3, 8] {
            entries.rotate_left(1);
            let mode = if threads == 2 { 0o600 } else { 0o755 };
            std::fs::set_permissions(source.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let (_directory, store) = store();
            results.push(write_layer(&entries, &options, &Pool::new(threads).unwrap(), &store).unwrap());
        }
        assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    }
}

#[test]
fn layers_side_by_side_share_one_pool() {
    let (_directory, store) = store();
    let pool = Pool::new(2).unwrap();
    let text = String::from_utf8(noise(9 << 20)).unwrap();
    let entries = [file("/big", &text)];
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let write = || write_layer(&entries, &LayerOptions::default(), &pool, &store).unwrap().descriptor.digest;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(write)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn i11_contradictions_fail() {
    let fails = |entries: &[Entry], expect: &str| {
        let error = write(entries).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    fails(&[file("/a", "1"), file("/a", "2")], "two different entries for /a");
    fails(&[directory("/a"), file("/a", "2")], "two different entries for /a");
    fails(&[file("/a", "1"), file("/a/b", "2")], "/a/b cannot be below /a");
    fails(&[symlink("/a", "/b"), file("/a/c/d", "2")], "/a/c/d cannot be below /a");
    fails(&[hard_link("/a", "/b")], "not a file of the same layer");
    fails(&[hard_link("/a", "/b"), directory("/b")], "not a file of the same layer");
    fails(&[symlink("/a", "")], "empty");
    assert!(write(&[file("/a", "1"), file("/a", "1"), file("/ab", "2"), file("/a.b", "3")]).is_ok());
}

#[test]
fn i05_i06_sources_that_are_no_files_fail_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("file"), "x").unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    for (name, expect) in [
        ("link", "a symbolic link"),
        ("fifo", "a fifo"),
        ("socket", "a socket"),
        ("directory", "a directory"),
        ("absent", "cannot read"),
    ] {
        let error = write(&[from_disk("/x", &at(name), 1)]).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
    let error = write(&[from_disk("/x", Path::new("/dev/null"), 0)]).unwrap_err().to_string();
    assert!(error.contains("a device"), "{error}");
}

#[test]
fn i13_a_file_that_changes_fails() {
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), "four").unwrap();
    for size in [3, 5] {
        let error = write(&[from_disk("/x", source.path(), size)]).unwrap_err();
        assert!(matches!(error, LayerError::SourceChanged { .. }), "{error}");
    }
    // Rewritten with the same size between opening and the end.
    let mut file = SourceFile::open(source.path(), 4).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(source.path(), "FOUR").unwrap();
    assert_eq!(file.read(&mut [0; 9]).unwrap(), 4);
    assert!(matches!(file.finish(&mut SourceStates::new()), Err(LayerError::SourceChanged { .. })));
    // Cut short.
    let mut file = SourceFile::open(source.path(), 4).unwrap();
    std::fs::write(source.path(), "").unwrap();
    assert!(matches!(file.read(&mut [0; 9]), Err(LayerError::SourceChanged { .. })));
}

#[test]
fn d01_a_failed_layer_leaves_nothing() {
    let (directory, store) = store();
    let pool = Pool::new(2).unwrap();
    let entries = [file("/a", "1"), from_disk("/x", Path::new("/nonexistent"), 1)];
    write_layer(&entries, &LayerOptions::default(), &pool, &store).unwrap_err();
    assert!(store.list().unwrap().is_empty());
    drop(store);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// The bytes of layers are part of the format: a change here changes the digest of every image, and wants a new
/// number here and in `builder::image::FORMAT`.
#[test]
fn golden_digests() {
    let mut capable = file("/usr/bin/tool", "#!/bin/sh\n").owned_by(0, 3_000_000);
    capable.mode = 0o4755;
    capable.xattrs = Xattrs::from_iter([("security.capability".to_owned(), vec![1, 0, 0, 2, 0, 4, 0, 0, 10, 0])]);
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), noise(2_500_000)).unwrap();
    let entries = [
        directory("/usr"),
        directory("/usr/bin"),
        capable,
        hard_link("/usr/bin/alias", "/usr/bin/tool"),
        symlink("/bin", "usr/bin"),
        from_disk("/usr/bin/größe", source.path(), 2_500_000),
        file(&format!("/{}/{}", "d".repeat(150), "f".repeat(150)), &"the quick brown fox\n".repeat(5_000)),
    ];
    let digest = |compression| {
        let (_directory, store) = store();
        let options = LayerOptions { compression, ..LayerOptions::default() };
        let layer = write_layer(&entries, &options, &Pool::new(3).unwrap(), &store).unwrap();
        format!("{} {}", layer.descriptor.size, layer.descriptor.digest)
    };
    assert_eq!(crate::layer::WRITER, 2, "what follows is what this number stands for");
    assert_eq!(
        digest(Compression::None),
        "2608640 sha256:f64002ca2391e30fa6c1c04bec220c071b6fb60b64dfdc5f6118fcd0869dd960",
        "the tar has changed"
    );
    assert_eq!(
        digest(Compression::Gzip),
        "1889972 sha256:324c1411597e1cb69895ef77acb63075a4173147a7ec8881737fa89f4fa65ed5",
        "the deflate encoder has changed"
    );
    assert_eq!(
        digest(Compression::Zstd),
        "1877262 sha256:bf72557ae4d6d4fedf8a1828b1123dd088c71822f723e3a7033d96dec3849cd1",
        "the zstd library has changed"
    );
}

#[test]
fn deletions_pipes_and_devices_are_read_as_they_are_written() {
    let entry = |at: &str, kind: EntryKind| Entry::new(path(at), kind, 0o640);
    let entries = [
        entry("/dev/disk", EntryKind::Device { block: true, major: 259, minor: 70_000 }),
        entry("/dev/null", EntryKind::Device { block: false, major: 1, minor: 3 }),
        entry("/gone", EntryKind::Whiteout),
        directory("/new"),
        entry("/new", EntryKind::Opaque),
        file("/new/file", "x"),
        entry("/new/gone", EntryKind::Whiteout),
        entry("/pipe", EntryKind::Fifo),
    ];
    let tar = tar_of(&entries, Compression::Gzip);
    let mut archive = tar::Archive::new(&tar[..]);
    let found: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let kind = char::from(header.entry_type().as_byte());
            let device = match kind {
                '3' | '4' => format!(" {:?}", (header.device_major().unwrap(), header.device_minor().unwrap())),
                _ => String::new(),
            };
            format!("{} {kind}{device}", entry.path().unwrap().display())
        })
        .collect();
    assert_eq!(
        found,
        [
            "dev/disk 4 (Some(259), Some(70000))",
            "dev/null 3 (Some(1), Some(3))",
            ".wh.gone 0",
            "new/ 5",
            "new/.wh..wh..opq 0",
            "new/file 0",
            "new/.wh.gone 0",
            "pipe 6",
        ]
    );
    // The order in which they come is of no meaning.
    let mut turned = entries.clone();
    turned.reverse();
    assert_eq!(tar_of(&turned, Compression::Gzip), tar);
}

#[test]
fn deletions_that_cannot_be_written_are_errors() {
    let whiteout = |at: &str| Entry::new(path(at), EntryKind::Whiteout, 0);
    let long = format!("/{}", "x".repeat(252));
    for entry in [whiteout("/"), whiteout(&long)] {
        assert!(matches!(write(&[entry]), Err(LayerError::Whiteout { .. })));
    }
    assert!(write(&[whiteout(&long[..252])]).is_ok());
    assert!(matches!(write(&[whiteout("/a"), file("/a", "x")]), Err(LayerError::Conflict { .. })));
    assert!(matches!(write(&[whiteout("/a"), file("/a/b", "x")]), Err(LayerError::NotDirectory { .. })));
    let opaque = Entry::new(path("/a"), EntryKind::Opaque, 0);
    assert!(write(&[opaque.clone(), file("/a/b", "x")]).is_ok(), "its directory may be another layer's");
    assert!(matches!(write(&[opaque, file("/a", "x")]), Err(LayerError::Conflict { .. })));
    let device = EntryKind::Device { block: false, major: 1 << 22, minor: 0 };
    assert!(matches!(write(&[Entry::new(path("/a"), device, 0)]), Err(LayerError::Device { .. })));
}
