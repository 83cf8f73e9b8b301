use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::blob::BlobSource as _;

fn store() -> (tempfile::TempDir, BlobStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = BlobStore::new(directory.path());
    (directory, store)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn blobs_go_in_and_come_out() {
    let (directory, store) = store();
    let digest = store.put_bytes(b"content").unwrap();
    assert_eq!(digest, Digest::of(b"content"));
    assert_eq!(store.contains(&digest).unwrap(), Some(7));
    assert_eq!(store.contains(&Digest::of(b"other")).unwrap(), None);
    let descriptor = Descriptor::new("x", digest, 7);
    assert_eq!(store.read(&descriptor, 7).unwrap(), b"content");
    assert!(store.read(&descriptor, 6).is_err());
    assert_eq!(store.list().unwrap(), [(digest, 7)]);
    let mut text = String::new();
    store.blob(&descriptor).unwrap().open_at(3).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "tent");
    assert!(store.remove(&digest).unwrap() && !store.remove(&digest).unwrap());
    drop(store);
    assert_eq!(names(directory.path()), ["blobs"]);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let (directory, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"half").unwrap();
    let path = writer.path().to_owned();
    assert!(path.exists());
    drop(writer);
    assert!(!path.exists());
    drop(store);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn what_is_committed_as_something_else_is_refused() {
    let (_directory, store) = store();
    for (wanted, size) in [(&b"contenT"[..], 7), (b"content", 6), (b"content", 8)] {
        let mut writer = store.writer().unwrap();
        writer.write_all(b"content").unwrap();
        let error = writer.commit_as(&Descriptor::new("x", Digest::of(wanted), size)).unwrap_err();
        assert!(matches!(error, StoreError::Content { .. }), "{error}");
    }
    assert!(store.list().unwrap().is_empty());
    let long: Digest = format!(
        "sha512:{}",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    .parse()
    .unwrap();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"abc").unwrap();
    writer.commit_as(&Descriptor::new("x", long, 3)).unwrap();
    assert_eq!(store.contains(&long).unwrap(), Some(3));
}

#[test]
fn i17_blobs_that_are_no_files_are_refused() {
    let (directory, store) = store();
    let digest = store.put_bytes(b"content").unwrap();
    let descriptor = Descriptor::new("x", digest, 7);
    let path = store.path(&digest);
    let elsewhere = directory.path().join("elsewhere");
    let refused = |expect: &str| {
        for error in [
            store.contains(&digest).map(|_| ()).unwrap_err(),
            store.open(&digest).map(|_| ()).unwrap_err(),
            store.read(&descriptor, 100).map(|_| ()).unwrap_err(),
            store.blob(&descriptor).map(|_| ()).unwrap_err(),
        ] {
            assert!(error.to_string().contains(expect), "{error}");
        }
    };
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    refused("a symbolic link");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused("a directory");
    std::fs::remove_dir(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    refused("a fifo");
}

#[test]
fn imports_are_copies_and_are_verified() {
    let (directory, store) = store();
    let file = directory.path().join("file");
    std::fs::write(&file, b"content").unwrap();
    let descriptor = Descriptor::of("x", b"content");
    store.import(&descriptor, &file).unwrap();
    std::fs::write(&file, b"CONTENT").unwrap();
    assert_eq!(store.read(&descriptor, 100).unwrap(), b"content");
    let error = store.import(&descriptor, &file).unwrap_err();
    assert!(matches!(error, StoreError::Content { .. }), "{error}");
    assert_eq!(store.read(&descriptor, 100).unwrap(), b"content");
}

#[test]
fn d06_bytes_that_changed_on_the_disk_are_found() {
    let (_directory, store) = store();
    let digest = store.put_bytes(b"content").unwrap();
    std::fs::write(store.path(&digest), b"CONTENT").unwrap();
    let error = store.read(&Descriptor::new("x", digest, 7), 100).unwrap_err();
    assert!(matches!(error, StoreError::Content { .. }), "{error}");
    // And a fresh write mends them.
    store.put_bytes(b"content").unwrap();
    assert_eq!(store.read(&Descriptor::new("x", digest, 7), 100).unwrap(), b"content");
}

#[test]
fn c04_a_sweep_takes_only_what_the_dead_left() {
    let (directory, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"live").unwrap();
    let dead = directory.path().join(".unfinished-dead");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("0"), b"left").unwrap();
    BlobStore::new(directory.path()).sweep().unwrap();
    assert!(!dead.exists());
    assert_eq!(writer.commit().unwrap().0, Digest::of(b"live"));
}

/// Fails the `nth` operation of one kind, and counts how often that happened.
fn failing(operation: Operation, nth: usize, error: rustix::io::Errno) -> (Seam, Arc<AtomicUsize>) {
    let (seen, hits) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&hits);
    let seam = Seam::new(move |asked, _| {
        if asked == operation && seen.fetch_add(1, Ordering::SeqCst) == nth {
            counter.fetch_add(1, Ordering::SeqCst);
            return Err(error.into());
        }
        Ok(())
    });
    (seam, hits)
}

#[test]
fn d01_d03_a_failing_disk_commits_nothing() {
    use rustix::io::Errno;
    for (operation, nth, errno) in [
        (Operation::Create, 0, Errno::NOSPC),
        (Operation::Create, 1, Errno::NOSPC),
        (Operation::Create, 2, Errno::NOSPC),
        (Operation::Write, 0, Errno::NOSPC),
        (Operation::Write, 1, Errno::IO),
        (Operation::Rename, 0, Errno::IO),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (seam, hits) = failing(operation, nth, errno);
        let store = BlobStore::with_seam(directory.path(), seam);
        let write = || -> Result<Digest, StoreError> {
            let mut writer = store.writer()?;
            let path = writer.path().to_owned();
            for piece in [b"one", b"two"] {
                writer.write_all(piece).map_err(StoreError::io("write", &path))?;
            }
            Ok(writer.commit()?.0)
        };
        let error = write().unwrap_err();
        assert_eq!(hits.load(Ordering::SeqCst), 1, "{operation:?}");
        assert_eq!(error.is_disk_full(), errno == Errno::NOSPC, "{error:?}");
        assert!(store.list().unwrap().is_empty());
        drop(store);
        assert!(names(directory.path()).iter().all(|name| name == "blobs"), "{operation:?}");
    }
}
