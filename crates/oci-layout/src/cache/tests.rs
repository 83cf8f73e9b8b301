use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::layer::{Content, Entry, EntryKind, LayerError, LayerOptions, LayerPlan, Pool};
use crate::store::Operation;

fn cache() -> (tempfile::TempDir, Cache) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path().join("a/cache")).unwrap();
    (directory, cache)
}

fn facts() -> LayerFacts {
    LayerFacts::parse(br#"{"version":2,"entries":[{"p":"/a","t":"d","m":493}]}"#).unwrap().unwrap()
}

#[test]
fn what_was_put_comes_back() {
    let (_directory, cache) = cache();
    let key = Digest::of(b"layer");
    assert_eq!(cache.facts(&key), None);
    cache.put_facts(&key, &facts()).unwrap();
    assert_eq!(cache.facts(&key), Some(facts()));
    cache.put_document(&key, &["any"]).unwrap();
    assert_eq!(cache.document::<Vec<String>>(&key), Some(vec!["any".to_owned()]));
    let digest = cache.store().put_bytes(b"blob").unwrap();
    let descriptor = Descriptor::new("x", digest, 4);
    assert!(cache.blob(&descriptor).is_some());
    assert_eq!(cache.read_blob(&descriptor, 9).unwrap(), b"blob");
    assert_eq!(cache.summary().unwrap()["blobs"], (1, 4));
}

#[test]
fn d06_damaged_blobs_and_records_are_as_good_as_absent() {
    let (_directory, cache) = cache();
    let key = Digest::of(b"layer");
    cache.put_facts(&key, &facts()).unwrap();
    let path = cache.record_path(Kind::Facts, &key);
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in [good.replace("/a", "/b"), good[..good.len() - 1].to_owned(), String::new(), "x\n{}".to_owned()] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(cache.facts(&key), None);
        assert!(!path.exists());
    }
    // A whole record under another key.
    cache.put_facts(&key, &facts()).unwrap();
    let other = Digest::of(b"other");
    std::fs::rename(&path, cache.record_path(Kind::Facts, &other)).unwrap();
    assert_eq!(cache.facts(&other), None);

    let digest = cache.store().put_bytes(b"blob").unwrap();
    std::fs::write(cache.store().path(&digest), b"BLOB").unwrap();
    assert_eq!(cache.read_blob(&Descriptor::new("x", digest, 4), 9), None);
    assert_eq!(cache.store().contains(&digest).unwrap(), None);
}

#[test]
fn c06_a_cache_that_is_not_private_is_refused() {
    let (directory, cache) = cache();
    let root = cache.root().to_owned();
    assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
    drop(cache);
    for mode in [0o755, 0o770, 0o701, 0o777] {
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Cache::open(&root), Err(CacheError::Open { .. })));
    }
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700)).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&root, &link).unwrap();
    assert!(matches!(Cache::open(&link), Err(CacheError::NotDirectory { .. })));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&root, Some(65_534), None).unwrap();
        assert!(matches!(Cache::open(&root), Err(CacheError::Foreign { owner: 65_534, .. })));
    }
}

#[test]
fn d02_a_cache_that_cannot_be_written_is_an_error_to_live_without() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    assert!(Cache::open(directory.path().join("file/cache")).is_err());
    let seam = Seam::new(|operation, _| match operation {
        Operation::Create => Err(rustix::io::Errno::ROFS.into()),
        _ => Ok(()),
    });
    let cache = Cache::open_with(directory.path().join("cache"), seam).unwrap();
    assert!(cache.put_facts(&Digest::of(b""), &facts()).is_err());
    assert_eq!(cache.facts(&Digest::of(b"")), None);
    // Layers are still to be had.
    let elsewhere = BlobStore::new(directory.path());
    let layer = || cache.layer(&plan(&[directory.path().join("file")]), &Pool::new(1).unwrap(), &elsewhere).unwrap();
    assert_eq!((layer().1, layer().1), (Origin::Written, Origin::Written));
}

#[test]
fn d01_a_full_disk_leaves_no_half_record() {
    let directory = tempfile::tempdir().unwrap();
    let seam = Seam::new(|operation, _| match operation {
        Operation::Write => Err(rustix::io::Errno::NOSPC.into()),
        _ => Ok(()),
    });
    let cache = Cache::open_with(directory.path().join("cache"), seam).unwrap();
    let error = cache.put_facts(&Digest::of(b""), &facts()).unwrap_err();
    assert!(matches!(&error, CacheError::Store(error) if error.is_disk_full()), "{error}");
    let root = cache.root().to_owned();
    drop(cache);
    let mut left: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name != "in-use" && name != "facts-2");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_least_recently_used_goes_first() {
    let (_directory, mut cache) = cache();
    let blobs: Vec<Descriptor> = [b"aaaa", b"bbbb", b"cccc"]
        .map(|bytes| {
            std::thread::sleep(Duration::from_millis(20));
            Descriptor::new("x", cache.store().put_bytes(bytes).unwrap(), 4)
        })
        .into();
    std::thread::sleep(Duration::from_millis(20));
    assert!(cache.blob(&blobs[0]).is_some());
    assert_eq!(cache.size().unwrap(), 12);
    assert_eq!(cache.prune(8).unwrap(), Pruned { files: 1, bytes: 4, left: 8, busy: false });
    assert!(cache.blob(&blobs[0]).is_some() && cache.blob(&blobs[1]).is_none() && cache.blob(&blobs[2]).is_some());
    assert_eq!(cache.prune(0).unwrap().left, 0);
}

#[test]
fn a_clean_up_that_is_due_is_done_once_a_day() {
    let (_directory, mut cache) = cache();
    let now = std::time::SystemTime::now();
    let day = Duration::from_secs(24 * 60 * 60 + 60);
    assert_eq!(cache.prune_if_due(4, now).unwrap().unwrap().left, 0);
    cache.store().put_bytes(b"aaaa").unwrap();
    cache.store().put_bytes(b"bbbb").unwrap();
    assert_eq!(cache.prune_if_due(4, now).unwrap(), None);
    // While a build uses the cache it stays due.
    let build = Cache::open(cache.root()).unwrap();
    assert_eq!(cache.prune_if_due(4, now + day).unwrap(), None);
    drop(build);
    assert_eq!(cache.prune_if_due(4, now + day).unwrap().unwrap().left, 4);
    // The clock was ahead once: that does not put it off for ever.
    assert!(cache.prune_if_due(4, now - day).unwrap().is_some());
}

#[test]
fn c04_nothing_goes_while_a_build_uses_the_cache() {
    let (_directory, mut cache) = cache();
    cache.store().put_bytes(b"blob").unwrap();
    let build = Cache::open(cache.root()).unwrap();
    assert_eq!(cache.prune(0).unwrap(), Pruned { left: 4, busy: true, ..Pruned::default() });
    drop(build);
    assert_eq!(cache.prune(0).unwrap().files, 1);
    // The lock is shared again afterwards.
    let mut other = Cache::open(cache.root()).unwrap();
    assert!(other.prune(0).unwrap().busy);
}

#[test]
fn c01_many_at_once_see_whole_records() {
    let (_directory, cache) = cache();
    let key = Digest::of(b"layer");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let root = cache.root();
            scope.spawn(move || {
                let cache = Cache::open(root).unwrap();
                for _ in 0..50 {
                    cache.put_facts(&key, &facts()).unwrap();
                    assert_eq!(cache.facts(&key), Some(facts()));
                    cache.store().put_bytes(b"one blob").unwrap();
                }
            });
        }
    });
    assert_eq!(cache.store().list().unwrap().len(), 1);
}

#[test]
fn what_compilers_read_is_counted_and_goes() {
    let (_directory, mut cache) = cache();
    let unpacked = cache.root().join(UNPACKED).join("crates-1");
    std::fs::create_dir_all(unpacked.join("a-1.0.0/src")).unwrap();
    std::fs::write(unpacked.join("a-1.0.0/src/lib.rs"), "12345").unwrap();
    assert_eq!(cache.summary().unwrap()["bundles"], (1, 5));
    assert_eq!(cache.prune(0).unwrap().bytes, 5);
    assert!(!unpacked.exists());
}

#[test]
fn a_program_goes_as_a_whole() {
    let (_directory, mut cache) = cache();
    for name in ["old", "new"] {
        let program = cache.root().join(PROGRAMS).join(name);
        std::fs::create_dir_all(program.join("staged")).unwrap();
        std::fs::write(program.join("app"), "12345").unwrap();
        std::fs::write(program.join("staged/app"), "12345").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(cache.summary().unwrap()["compile"], (4, 20));
    let pruned = cache.prune(10).unwrap();
    assert_eq!((pruned.files, pruned.bytes, pruned.left), (2, 10, 10));
    assert!(!cache.root().join(PROGRAMS).join("old").exists());
    assert!(cache.root().join(PROGRAMS).join("new/staged/app").exists());
}

fn plan(files: &[PathBuf]) -> LayerPlan {
    let entries = files.iter().map(|path| {
        let size = std::fs::metadata(path).unwrap().len();
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = EntryKind::File(Content::File { path: path.as_path().into(), size });
        Entry::new(format!("/{name}").parse().unwrap(), kind, 0o644)
    });
    LayerPlan::new(entries.collect(), LayerOptions::default()).unwrap()
}

#[test]
fn a_layer_is_written_once_and_its_files_are_read_only_when_they_may_have_changed() {
    let (directory, cache) = cache();
    let (pool, elsewhere) = (Pool::new(1).unwrap(), BlobStore::new(directory.path()));
    let files = [directory.path().join("x"), directory.path().join("y")];
    files.iter().for_each(|file| std::fs::write(file, "one").unwrap());
    let layer = || cache.layer(&plan(&files), &pool, &elsewhere).unwrap();
    let (first, origin) = layer();
    assert_eq!(origin, Origin::Written);
    // Just written: not to be trusted yet, so they are read; and then no more.
    std::thread::sleep(Duration::from_millis(30));
    let (again, origin) = layer();
    // On a busy machine they may have been old enough when they were first looked at.
    assert!(matches!(origin, Origin::SameContent | Origin::Unchanged), "{origin:?}");
    assert_eq!(again, first);
    assert_eq!(layer(), (first.clone(), Origin::Unchanged));
    // Same size, and even the same time of modification.
    let modified = std::fs::metadata(&files[1]).unwrap().modified().unwrap();
    std::fs::write(&files[1], "two").unwrap();
    File::options().write(true).open(&files[1]).unwrap().set_modified(modified).unwrap();
    let (second, origin) = layer();
    assert_eq!(origin, Origin::Written);
    assert_ne!(second, first);
    // Back again, and under another name: known by what is in it.
    std::fs::write(&files[1], "one").unwrap();
    assert_eq!(layer(), (first.clone(), Origin::SameContent));
    // The blob was never the cache's.
    assert_eq!(cache.store().list().unwrap(), []);
    assert_eq!(elsewhere.list().unwrap().len(), 2);
    std::fs::remove_file(&files[0]).unwrap();
    std::os::unix::fs::symlink(&files[1], &files[0]).unwrap();
    assert!(matches!(cache.layer(&plan(&files), &pool, &elsewhere), Err(LayerError::SourceKind { .. })));
}

#[test]
fn d06_a_damaged_blob_of_a_layer_is_found_and_removed() {
    let (_directory, cache) = cache();
    let descriptor = Descriptor::new("x", cache.store().put_bytes(b"blob").unwrap(), 4);
    let path = cache.verified_blob(&descriptor).unwrap();
    std::fs::write(&path, "BLOB").unwrap();
    assert_eq!(cache.verified_blob(&descriptor), None);
    assert!(!path.exists());
}
