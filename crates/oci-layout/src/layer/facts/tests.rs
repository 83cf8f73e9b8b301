use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::layer::read::{Limits, ReadError};
use crate::layer::{Content, Entry, EntryKind, LayerOptions, Pool, Xattrs, write_layer};
use crate::media_type::Compression;
use crate::{BlobStore, Digest};

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

/// A tar as other programs write it.
fn tar(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_uid(1);
        header.set_gid(2);
        header.set_size(0);
        if kind.is_file() {
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        } else if text.is_empty() {
            builder.append_data(&mut header, name, &b""[..]).unwrap();
        } else {
            builder.append_link(&mut header, name, text).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

use tar::EntryType::{Directory as D, Link as H, Regular as F, Symlink as L};

fn facts(entries: &[(&str, tar::EntryType, &str)]) -> LayerFacts {
    let tar = tar(entries);
    let (facts, diff_id) = LayerFacts::scan(&tar[..], Compression::None, &Limits::default()).unwrap();
    assert_eq!(diff_id, Digest::of(&tar));
    let json = crate::json::to_bytes(&facts).unwrap();
    assert_eq!(LayerFacts::parse(&json).unwrap().unwrap(), facts);
    facts
}

fn listing(tree: &Tree) -> String {
    tree.iter()
        .map(|(path, node)| {
            let kind = match &node.kind {
                NodeKind::File { size } => format!("f{size}"),
                NodeKind::Directory => "d".to_owned(),
                NodeKind::Symlink { target } => format!(">{target}"),
                NodeKind::Other => "o".to_owned(),
            };
            format!("{path}:{kind}")
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[track_caller]
fn check(layers: &[&[(&str, tar::EntryType, &str)]], expect: &str) {
    let layers: Vec<LayerFacts> = layers.iter().map(|layer| facts(layer)).collect();
    assert_eq!(listing(&Tree::of(&layers)), expect);
}

#[test]
fn names_are_read_in_all_their_spellings() {
    check(
        &[&[("./etc/", D, ""), ("./etc/a", F, "x"), ("usr/bin/", D, ""), ("usr//bin/./b", F, "yy"), ("l", L, "etc/a")]],
        "/:d /etc:d /etc/a:f1 /l:>etc/a /usr:d /usr/bin:d /usr/bin/b:f2",
    );
    let long = "d".repeat(120) + "/" + &"é".repeat(100);
    check(&[&[(&long, F, "x")]], &format!("/:d /{}:d /{long}:f1", "d".repeat(120)));
}

#[test]
fn layers_are_laid_over_each_other() {
    let base: &[_] = &[("a", D, ""), ("a/x", F, "1"), ("a/y", F, "1"), ("b", D, ""), ("b/z", F, "1"), ("c", F, "1")];
    check(&[base, &[("a/.wh.x", F, ""), (".wh.b", F, "")]], "/:d /a:d /a/y:f1 /c:f1");
    // An opaque directory keeps what its own layer has, wherever the marker stands.
    check(&[base, &[("a/new", F, "22"), ("a/.wh..wh..opq", F, "")]], "/:d /a:d /a/new:f2 /b:d /b/z:f1 /c:f1");
    // A file over a directory, a directory over a file, and removal with replacement.
    check(&[base, &[("a", F, "22"), ("c/d", F, "3"), (".wh.b", F, ""), ("b", F, "4")]], "/:d /a:f2 /b:f1 /c:d /c/d:f1");
    check(&[base, &[("a", D, "")]], "/:d /a:d /a/x:f1 /a/y:f1 /b:d /b/z:f1 /c:f1");
    // Metadata of aufs means nothing.
    check(&[&[(".wh..wh.aufs", F, ""), (".wh..wh.plnk/1.2", F, ""), ("a", F, "1")]], "/:d /a:f1");
}

#[test]
fn a_directory_of_an_upper_layer_replaces_a_link_below() {
    let base: &[_] = &[("usr/bin/sh", F, "1"), ("bin", L, "usr/bin")];
    check(&[base, &[("bin/x", F, "1")]], "/:d /bin:d /bin/x:f1 /usr:d /usr/bin:d /usr/bin/sh:f1");
    // Within one layer the link is followed, as unpacking does.
    check(
        &[&[("usr/bin/", D, ""), ("bin", L, "usr/bin"), ("bin/x", F, "1")]],
        "/:d /bin:>usr/bin /usr:d /usr/bin:d /usr/bin/x:f1",
    );
}

#[test]
fn i09_names_that_are_not_utf8_are_left_out_and_counted() {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..3].copy_from_slice(b"a\xff\0");
    header.set_size(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(tar(&[("b", F, "1")]));
    let (facts, _) = LayerFacts::scan(&bytes[..], Compression::None, &Limits::default()).unwrap();
    assert_eq!((facts.entries.len(), facts.left_out), (1, 1));
}

#[test]
fn i12_many_entries_take_linear_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::new(directory.path());
    let pool = Pool::new(2).unwrap();
    let run = |count: usize| {
        let entries: Vec<Entry> = (0..count)
            .map(|number| {
                let path = path(&format!("/d{}/f{number}", number / 100));
                Entry::new(path, EntryKind::File(Content::Bytes(Arc::from(&b"x"[..]))), 0o644)
            })
            .collect();
        let best = (0..3).map(|_| {
            let began = std::time::Instant::now();
            let layer = write_layer(&entries, &LayerOptions::default(), &pool, &store).unwrap();
            let blob = store.open_verified(&layer.descriptor).unwrap();
            let (facts, _) = LayerFacts::scan(blob, Compression::Gzip, &Limits::default()).unwrap();
            let tree = Tree::of([&facts]);
            assert!(tree.len() > count);
            began.elapsed()
        });
        best.min().unwrap().as_secs_f64() / count as f64
    };
    let (few, many) = (run(2_000), run(50_000));
    // Far from quadratic, which would be 25; the machine may be busy.
    assert!(many < 6.0 * few, "{few} s an entry of 2,000, {many} s of 50,000");
}

#[test]
fn hard_links_are_the_file_that_they_name() {
    let layers = [facts(&[("etc/group", F, "g:x:1:"), ("x", H, "etc/group"), ("y", H, "absent")])];
    let tree = Tree::of(&layers);
    assert_eq!(tree.text(&path("/x")), Some("g:x:1:"));
    assert!(tree.get(&path("/y")).is_none());
}

#[test]
fn texts_of_interest_are_kept() {
    let layers = [
        facts(&[
            ("etc/passwd", F, "root:x:0:0::/:/bin/sh\n"),
            ("usr/lib/os-release", F, "ID=x\n"),
            ("etc/os-release", L, "../usr/lib/os-release"),
            ("etc/ld.so.conf.d/a.conf", F, "/opt/lib\n"),
            ("etc/ld.so.conf.d/sub/b.conf", F, "no"),
            ("etc/ld-musl-x86_64.path", F, "/lib\n"),
            ("etc/shadow", F, "root:*:::::::\n"),
            ("etc/gshadow", F, "no"),
        ]),
        facts(&[("etc/passwd", F, "other:x:1:1::/:/bin/sh\n")]),
    ];
    assert_eq!(layers[0].texts.len(), 5);
    let tree = Tree::of(&layers);
    assert!(tree.text(&path("/etc/passwd")).unwrap().starts_with("other"));
    assert_eq!(tree.text(&path("/etc/os-release")), Some("ID=x\n"));
    assert_eq!(tree.text(&path("/etc/shadow")), Some("root:*:::::::\n"));
    assert_eq!(tree.text(&path("/etc/gshadow")), None);
}

#[test]
fn inspectors_see_the_files_they_want() {
    struct Elf;
    impl Inspector for Elf {
        fn version(&self) -> u32 {
            7
        }
        fn inspect(
            &mut self,
            seen: Seen<'_>,
            start: &[u8],
            rest: &mut dyn std::io::Read,
        ) -> std::io::Result<Option<Value>> {
            if !start.starts_with(b"\x7fELF") {
                return Ok(None);
            }
            let mut bytes = start.to_vec();
            rest.read_to_end(&mut bytes)?;
            assert_eq!((bytes.len() as u64, seen.mode), (seen.size, 0o755));
            Ok(Some(bytes.len().into()))
        }
    }
    let elf = format!("\x7fELF{}", "x".repeat(1000));
    let tar = tar(&[("a", F, &elf), ("b", F, "text"), ("c", H, "a")]);
    let (facts, _) = LayerFacts::scan_with(&tar[..], Compression::None, &Limits::default(), &mut Elf).unwrap();
    assert_eq!(facts.inspector, 7);
    assert_eq!(facts.inspected, BTreeMap::from([(path("/a"), Value::from(1004))]));
    let tree = Tree::of([&facts]);
    assert_eq!(tree.get(&path("/c")).unwrap().inspected(), Some(&Value::from(1004)));
}

#[test]
fn facts_of_another_version_are_not_read() {
    assert_eq!(LayerFacts::parse(br#"{"version":99,"entries":{"new":"shape"}}"#).unwrap(), None);
    assert!(LayerFacts::parse(br#"{"version":2,"entries":[{"p":"/../x","t":"f"}]}"#).is_err());
    let json = crate::json::to_bytes(&facts(&[("a/b", F, "x")])).unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"version":2,"entries":[{"p":"/a/b","t":"f","s":1,"m":493,"u":1,"g":2}]}"#
    );
}

#[test]
fn links_are_resolved_inside_the_root() {
    let tree = Tree::of(&[facts(&[
        ("usr/bin/sh", F, "1"),
        ("bin", L, "usr/bin"),
        ("abs", L, "/usr"),
        ("up", L, "../../usr/bin/.."),
        ("chain", L, "abs/bin"),
        ("loop1", L, "loop2"),
        ("loop2", L, "/loop1"),
        ("dangling", L, "/nowhere/at/all"),
        ("bad", L, ".wh.x/y"),
        ("dir/self", L, "."),
    ])]);
    for (from, follow_last, to) in [
        ("/bin/sh", true, "/usr/bin/sh"),
        ("/bin", false, "/bin"),
        ("/bin", true, "/usr/bin"),
        ("/abs/bin/x/y", true, "/usr/bin/x/y"),
        ("/up/bin/sh", true, "/usr/bin/sh"),
        ("/chain/sh", false, "/usr/bin/sh"),
        ("/dangling", true, "/nowhere/at/all"),
        ("/dangling/x", false, "/nowhere/at/all/x"),
        ("/new/path", true, "/new/path"),
        ("/dir/self/self/x", true, "/dir/x"),
        ("/", true, "/"),
    ] {
        assert_eq!(tree.resolve(&path(from), follow_last), Ok(path(to)), "{from}");
    }
    let fails = |from: &str, expect: &str| {
        let error = tree.resolve(&path(from), true).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    fails("/loop1/x", "too many symbolic links");
    fails("/bin/sh/x", "/usr/bin/sh is not a directory");
    fails("/bad", "impossible path");
    assert_eq!(tree.resolve(&path("/loop1"), false), Ok(path("/loop1")));
}

#[test]
fn later_steps_are_inserted_and_resolve_through_each_other() {
    let mut tree = Tree::of(&[facts(&[("tmp/", D, ""), ("a", F, "1"), ("d/x", F, "1")])]);
    let link = |at: &str, to: &str| Entry::new(path(at), EntryKind::Symlink { target: to.to_owned() }, 0o777);
    let file = |at: &str| Entry::new(path(at), EntryKind::File(Content::Bytes(Arc::from(&b"x"[..]))), 0o644);
    assert_eq!(tree.insert(&link("/opt/app", "/srv/app-1")), Ok(None));
    assert!(tree.get(&path("/opt")).unwrap().is_directory());
    assert_eq!(tree.resolve(&path("/opt/app/bin"), true), Ok(path("/srv/app-1/bin")));
    assert!(tree.insert(&file("/a")).unwrap().is_some_and(|old| old.layer == Some(0)));
    assert!(matches!(tree.insert(&file("/a/b")), Err(InsertError::NotDirectory { .. })));
    assert!(matches!(tree.insert(&file("/opt/app/x")), Err(InsertError::NotDirectory { .. })));
    assert!(matches!(tree.insert(&file("/d")), Err(InsertError::NotEmpty { .. })));
    assert!(tree.insert(&Entry::new(path("/d"), EntryKind::Directory, 0o700)).unwrap().is_some());
    assert_eq!(tree.children(&path("/d")).map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["/d/x"]);
    assert_eq!(tree.children(&path("/")).count(), 4);
}

#[test]
fn deletions_are_inserted_as_a_layer_has_them() {
    use tar::EntryType::Regular;
    let below = facts(&[("a/one", Regular, "1"), ("a/two", Regular, "2"), ("b/deep/file", Regular, "x")]);
    let mut tree = Tree::of([&below]);
    for (at, kind) in [("/a", EntryKind::Opaque), ("/b", EntryKind::Whiteout)] {
        tree.insert(&Entry::new(path(at), kind, 0)).unwrap();
    }
    let left: Vec<String> = tree.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(left, ["/", "/a"]);
}

#[test]
fn i19_hostile_tars_are_refused() {
    let scan = |tar: &[u8], limits: &Limits| LayerFacts::scan(tar, Compression::None, limits).unwrap_err();
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..7].copy_from_slice(b"../x\0\0\0");
    header.set_size(0);
    header.set_cksum();
    assert!(matches!(scan(header.as_bytes(), &Limits::default()), ReadError::Traversal(_)));
    // A header that claims more than there is, and a long name of a gigabyte.
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    assert!(matches!(scan(header.as_bytes(), &Limits::default()), ReadError::Malformed { .. }));
    header.as_mut_bytes()[0] = b'x';
    assert!(matches!(scan(header.as_bytes(), &Limits::default()), ReadError::Malformed { .. }));
    let many = tar(&[("a", F, ""), ("b", F, ""), ("c", F, "")]);
    let limits = Limits { entries: 2, ..Limits::default() };
    assert!(matches!(scan(&many, &limits), ReadError::Entries(2)));
    let deep = tar(&[(&"d/".repeat(3000), D, "")]);
    assert!(matches!(scan(&deep, &Limits::default()), ReadError::LongPath { .. }));
    assert!(matches!(scan(&many[..700], &Limits::default()), ReadError::Malformed { .. }));
}

/// Trees for property tests: files, directories, links below a few names.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let name = "(/([a-cé]{1,2}|[x-z]{60,120})){1,4}";
    let kind = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000)
            .prop_map(|bytes| EntryKind::File(Content::Bytes(Arc::from(bytes)))),
        Just(EntryKind::Directory),
        "[a-z/.é]{1,200}".prop_map(|target| EntryKind::Symlink { target }),
    ];
    let xattrs =
        proptest::collection::btree_map("user\\.[a-z=é]{1,20}", proptest::collection::vec(any::<u8>(), 1..40), 0..3);
    let entry = (name, kind, 0..0o10000_u32, any::<u32>(), 0..70_000_u32, xattrs);
    proptest::collection::vec(entry, 0..20).prop_map(|list| {
        list.into_iter()
            .map(|(at, kind, mode, uid, gid, xattrs)| {
                let path = at.parse().unwrap();
                // A key with an equals sign in it cannot be written as a PAX record.
                let xattrs = xattrs.into_iter().filter(|(key, _)| !key.contains('=')).collect();
                Entry { path, kind, mode, uid, gid, xattrs }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_is_written_is_read(entries in entries()) {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::new(directory.path());
        let Ok(layer) = write_layer(&entries, &LayerOptions::default(), &Pool::new(1).unwrap(), &store) else {
            return Ok(());
        };
        let blob = store.open_verified(&layer.descriptor).unwrap();
        let (facts, diff_id) = LayerFacts::scan(blob, Compression::Gzip, &Limits::default()).unwrap();
        prop_assert_eq!(diff_id, layer.diff_id);
        let by_path: BTreeMap<_, _> = entries.iter().map(|entry| (&entry.path, entry)).collect();
        prop_assert_eq!(facts.entries.len(), by_path.len());
        for (fact, (path, entry)) in facts.entries.iter().zip(by_path) {
            prop_assert_eq!(&fact.path, path);
            prop_assert_eq!((fact.uid, fact.gid), (entry.uid.into(), entry.gid.into()));
            match (&fact.kind, &entry.kind) {
                (FactKind::File { size }, EntryKind::File(content)) => prop_assert_eq!(*size, content.size()),
                (FactKind::Symlink { target }, EntryKind::Symlink { target: wanted }) => {
                    prop_assert_eq!(target, wanted);
                    continue;
                }
                (FactKind::Directory, EntryKind::Directory) => {}
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert_eq!(fact.mode, entry.mode);
        }
        let blob = store.read(&layer.descriptor, u64::MAX).unwrap();
        let tar = crate::layer::read::decompress(&blob[..], Compression::Gzip, &Limits::default()).unwrap();
        let mut reader = crate::layer::read::TarReader::new(tar, &Limits::default());
        while let Some(found) = reader.next_entry().unwrap() {
            let name = String::from_utf8(found.path.clone()).unwrap();
            let entry = entries.iter().find(|entry| entry.path.relative() == name.trim_end_matches('/')).unwrap();
            prop_assert_eq!(Xattrs::from(found.xattrs.clone()), entry.xattrs.clone());
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut reader.read_content(), &mut bytes).unwrap();
            if let EntryKind::File(Content::Bytes(wanted)) = &entry.kind {
                prop_assert_eq!(&bytes[..], &wanted[..]);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), seed in 0..3_usize) {
        if seed > 0 && bytes.len() > 512 {
            // A valid checksum, so that what is behind it is reached.
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes[..512]);
            header.set_size(if seed == 1 { 700 } else { 0 });
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
        }
        let _ = LayerFacts::scan(&bytes[..], Compression::None, &Limits::default());
    }
}
