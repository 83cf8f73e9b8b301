use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::document::{ImageConfig, ImageManifest};
use crate::media_type::{OCI_CONFIG, OCI_LAYER_TAR, OCI_MANIFEST};
use crate::platform::Platform;
use crate::store::Operation;

/// Puts an image with one layer of `text` into a layout, and returns its manifest.
pub(crate) fn image(layout: &Layout, text: &str) -> Descriptor {
    let store = layout.store();
    let layer = store.put_document(OCI_LAYER_TAR, text.as_bytes()).unwrap();
    let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
    config.rootfs.diff_ids.push(layer.digest);
    let config = store.put_document(OCI_CONFIG, &crate::json::to_bytes(&config).unwrap()).unwrap();
    let manifest = ImageManifest::new(config, vec![layer], Default::default());
    store.put_document(OCI_MANIFEST, &crate::json::to_bytes(&manifest).unwrap()).unwrap()
}

fn layout() -> (tempfile::TempDir, Layout) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create_or_open(directory.path()).unwrap();
    (directory, layout)
}

fn blobs(layout: &Layout) -> usize {
    layout.store().list().unwrap().len()
}

#[test]
fn a_new_layout_has_what_the_spec_asks_for() {
    let (directory, layout) = layout();
    let manifest = image(&layout, "one");
    layout.tag(&manifest, Some("latest")).unwrap();
    drop(layout);
    let mut names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
    let read = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert!(read("index.json").starts_with(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"#
    ));
    let layout = Layout::open(directory.path()).unwrap();
    assert_eq!(layout.resolve(Selector::Only).unwrap().digest, manifest.digest);
}

#[test]
fn names_replace_their_own_entry_only() {
    let (_directory, layout) = layout();
    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    layout.tag(&one, Some("a")).unwrap();
    layout.tag(&one, Some("b")).unwrap();
    layout.tag(&two, Some("a")).unwrap();
    layout.tag(&two, None).unwrap();
    let resolve = |name| layout.resolve(Selector::Name(name)).map(|descriptor| descriptor.digest);
    assert_eq!(resolve("a").unwrap(), two.digest);
    assert_eq!(resolve("b").unwrap(), one.digest);
    assert_eq!(layout.index().unwrap().manifests.len(), 2);
    assert!(resolve("c").unwrap_err().to_string().contains("it has a, b"));
    assert!(layout.resolve(Selector::Only).unwrap_err().to_string().contains("holds 2 images"));
}

#[test]
fn images_inside_an_index_are_found_by_digest() {
    let (_directory, layout) = layout();
    let inner = image(&layout, "one");
    let index = ImageIndex::new(vec![inner.clone()], Default::default());
    let index = layout.store().put_document(OCI_INDEX, &crate::json::to_bytes(&index).unwrap()).unwrap();
    layout.tag(&index, None).unwrap();
    assert_eq!(layout.resolve(Selector::Digest(inner.digest)).unwrap(), inner);
    assert_eq!(layout.resolve(Selector::Digest(index.digest)).unwrap().digest, index.digest);
    assert!(layout.resolve(Selector::Digest(Digest::of(b"absent"))).is_err());
    assert_eq!(layout.reach(&index).unwrap().len(), 4);
}

#[test]
fn what_nothing_refers_to_goes() {
    let (_directory, layout) = layout();
    layout.tag(&image(&layout, "one"), Some("a")).unwrap();
    layout.tag(&image(&layout, "two"), Some("a")).unwrap();
    assert_eq!(blobs(&layout), 6);
    assert_eq!(layout.remove_unreferenced().unwrap(), 3);
    assert_eq!(blobs(&layout), 3);
    layout.reach(&layout.resolve(Selector::Only).unwrap()).unwrap();
}

#[test]
fn what_nothing_refers_to_goes_from_a_relative_directory_too() {
    let directory = tempfile::tempdir().unwrap();
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let layout = Layout::create_or_open(up.join(directory.path().strip_prefix("/").unwrap()).join("oci")).unwrap();
    layout.store().put_bytes(b"nobody's").unwrap();
    assert_eq!(layout.remove_unreferenced().unwrap(), 1);
}

#[test]
fn c04_a_clean_up_leaves_other_writers_their_blobs() {
    let (directory, layout) = layout();
    let other = Layout::create_or_open(directory.path()).unwrap();
    let unnamed = image(&other, "not yet named");
    let mut half = other.store().writer().unwrap();
    half.write_all(b"half").unwrap();
    layout.tag(&image(&layout, "one"), Some("a")).unwrap();
    assert_eq!(layout.remove_unreferenced().unwrap(), 0);
    half.commit().unwrap();
    other.tag(&unnamed, Some("b")).unwrap();
    drop(other);
    assert_eq!(layout.remove_unreferenced().unwrap(), 1, "the half one, which nothing names");
    assert_eq!(layout.index().unwrap().manifests.len(), 2);
}

#[test]
fn c02_ten_writers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..10 {
            let root = directory.path();
            scope.spawn(move || {
                let layout = Layout::create_or_open(root).unwrap();
                let manifest = image(&layout, &format!("image {number}"));
                layout.tag(&manifest, Some(&format!("tag-{number}"))).unwrap();
                layout.remove_unreferenced().unwrap();
            });
        }
    });
    let layout = Layout::open(directory.path()).unwrap();
    assert_eq!(names(&layout.index().unwrap()).len(), 10);
    for entry in layout.index().unwrap().manifests {
        layout.reach(&entry).unwrap();
    }
}

#[test]
fn d07_a_broken_index_is_an_error_and_stays() {
    let (directory, layout) = layout();
    layout.tag(&image(&layout, "one"), Some("a")).unwrap();
    let path = directory.path().join("index.json");
    let whole = std::fs::read(&path).unwrap();
    let truncated = &whole[..whole.len() / 2];
    let duplicate = br#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
    for broken in [truncated, b"", &duplicate[..], br#"{"schemaVersion":2,"config":{},"layers":[]}"#] {
        std::fs::write(&path, broken).unwrap();
        let two = image(&layout, "two");
        let error = layout.tag(&two, Some("a")).unwrap_err();
        assert!(matches!(error, LayoutError::Document { .. }), "{error}");
        layout.remove_unreferenced().unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), broken);
    }
    assert_eq!(blobs(&layout), 6);
}

#[test]
fn i17_an_index_that_is_no_file_is_refused() {
    let (directory, layout) = layout();
    let path = directory.path().join("index.json");
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(layout.index().unwrap_err().to_string().contains("a symbolic link"));
}

#[test]
fn i18_r42_indexes_nested_too_deep_fail() {
    let (_directory, layout) = layout();
    let mut top = image(&layout, "one");
    for _ in 0..=MAX_DEPTH {
        let index = ImageIndex::new(vec![top], Default::default());
        top = layout.store().put_document(OCI_INDEX, &crate::json::to_bytes(&index).unwrap()).unwrap();
    }
    assert!(matches!(layout.tag(&top, Some("a")), Err(LayoutError::Depth { .. })));
    // An index whose bytes name itself cannot have the right digest.
    let digest = Digest::of(b"x");
    let text =
        format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI_INDEX}","digest":"{digest}","size":1}}]}}"#);
    std::fs::write(layout.store().path(&digest), &text).unwrap();
    assert!(layout.tag(&Descriptor::new(OCI_INDEX, digest, text.len() as u64), None).is_err());
}

#[test]
fn d05_an_index_never_names_what_is_missing_or_short() {
    let (_directory, layout) = layout();
    let manifest = image(&layout, "one");
    let layer = layout.store().path(&Digest::of(b"one"));
    std::fs::write(&layer, b"on").unwrap();
    assert!(matches!(layout.tag(&manifest, None), Err(LayoutError::Store(StoreError::Content { .. }))));
    std::fs::remove_file(&layer).unwrap();
    assert!(matches!(layout.tag(&manifest, None), Err(LayoutError::Store(StoreError::Missing { .. }))));
    assert!(layout.index().unwrap().manifests.is_empty());
}

#[test]
fn d05_blobs_are_flushed_before_the_index_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seam = {
        let log = Arc::clone(&log);
        Seam::new(move |operation, path| {
            log.lock().unwrap().push((operation, path.to_owned()));
            Ok(())
        })
    };
    let layout = Layout::create_or_open_with(directory.path(), seam).unwrap();
    let manifest = image(&layout, "one");
    layout.tag(&manifest, Some("a")).unwrap();
    let log = log.lock().unwrap();
    let position = |operation, path: &Path| {
        log.iter().rposition(|entry| (entry.0, &*entry.1) == (operation, path)).unwrap_or_else(|| panic!("{path:?}"))
    };
    let index = directory.path().join("index.json");
    let renamed = position(Operation::Rename, &index);
    for (digest, _) in layout.store().list().unwrap() {
        let path = layout.store().path(&digest);
        let flushed = position(Operation::Sync, &path);
        assert!(position(Operation::Rename, &path) < flushed && flushed < renamed);
    }
    assert!(position(Operation::Sync, &directory.path().join("blobs/sha256")) < renamed);
    assert!(position(Operation::Sync, directory.path()) > renamed);
}

#[test]
fn d01_d03_whatever_fails_the_old_index_stays() {
    // Counts the operations of a build, then fails each of them in turn.
    let build = |root: &Path, seam: Seam| -> Result<(), LayoutError> {
        let layout = Layout::create_or_open_with(root, seam)?;
        let layer = layout.store().put_document(OCI_LAYER_TAR, b"layer of the second build")?;
        let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
        config.rootfs.diff_ids.push(layer.digest);
        let config = layout.store().put_document(OCI_CONFIG, &crate::json::to_bytes(&config).unwrap())?;
        let manifest = ImageManifest::new(config, vec![layer], Default::default());
        let manifest = layout.store().put_document(OCI_MANIFEST, &crate::json::to_bytes(&manifest).unwrap())?;
        layout.tag(&manifest, Some("a"))
    };
    let fresh = || {
        let (directory, layout) = layout();
        layout.tag(&image(&layout, "old"), Some("a")).unwrap();
        directory
    };
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let count = Seam::new(move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    build(fresh().path(), count).unwrap();
    let total = seen.load(Ordering::SeqCst);
    assert!(total > 20, "{total}");
    for nth in 0..total {
        let directory = fresh();
        let old = std::fs::read(directory.path().join("index.json")).unwrap();
        let (seen, hit) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let hits = Arc::clone(&hit);
        let index_replaced = Arc::new(AtomicUsize::new(0));
        let replaced = Arc::clone(&index_replaced);
        let seam = Seam::new(move |operation, path| {
            if seen.fetch_add(1, Ordering::SeqCst) == nth {
                hits.fetch_add(1, Ordering::SeqCst);
                return Err(rustix::io::Errno::NOSPC.into());
            }
            if operation == Operation::Rename && path.ends_with("index.json") {
                replaced.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        let error = build(directory.path(), seam).unwrap_err();
        assert_eq!(hit.load(Ordering::SeqCst), 1, "the fault was not delivered");
        assert!(matches!(&error, LayoutError::Store(error) if error.is_disk_full()), "{error:?}");
        let layout = Layout::open(directory.path()).unwrap();
        if index_replaced.load(Ordering::SeqCst) == 0 {
            assert_eq!(std::fs::read(directory.path().join("index.json")).unwrap(), old);
        }
        layout.reach(&layout.resolve(Selector::Name("a")).unwrap()).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
        // And running again succeeds.
        build(directory.path(), Seam::default()).unwrap();
    }
}

#[test]
fn d02_a_read_only_place_fails_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    assert!(Layout::create_or_open(directory.path().join("file/oci")).is_err());
    let seam = Seam::new(|operation, _| match operation {
        Operation::Create => Err(rustix::io::Errno::ROFS.into()),
        _ => Ok(()),
    });
    let error = Layout::create_or_open_with(directory.path().join("oci"), seam).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, LayoutError::Store(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    );
}

#[test]
fn d04_what_a_killed_build_leaves_is_cleaned_and_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    // Killed while the layout was made, and in the middle of a blob.
    std::fs::create_dir_all(directory.path().join(".unfinished-1")).unwrap();
    std::fs::write(directory.path().join(".unfinished-1/0"), "half").unwrap();
    std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
    let layout = Layout::create_or_open(directory.path()).unwrap();
    layout.tag(&image(&layout, "one"), Some("a")).unwrap();
    layout.remove_unreferenced().unwrap();
    assert!(!directory.path().join(".unfinished-1").exists());
}

#[test]
fn d08_c03_a_held_lock_ends_in_an_error_and_a_dropped_one_does_not() {
    let (directory, layout) = layout();
    let layout = layout.with_lock_limit(Duration::from_millis(30));
    let holder = File::open(directory.path().join("oci-layout")).unwrap();
    holder.lock().unwrap();
    let manifest = image(&layout, "one");
    let error = layout.tag(&manifest, Some("a")).unwrap_err();
    assert!(matches!(error, LayoutError::Store(StoreError::Lock(_))), "{error}");
    drop(holder);
    layout.tag(&manifest, Some("a")).unwrap();
}

#[test]
fn directories_of_others_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine"), "").unwrap();
    assert!(matches!(Layout::create_or_open(directory.path()), Err(LayoutError::Occupied { .. })));
    assert!(matches!(Layout::open(directory.path()), Err(LayoutError::NotLayout { .. })));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    std::fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Layout::create_or_open(directory.path()), Err(LayoutError::Version { .. })));
}

#[test]
fn i21_a_layer_that_stays_elsewhere_need_not_be_there() {
    let (_directory, layout) = layout();
    let mut manifest = ImageManifest::new(
        layout.store().put_document("application/vnd.oci.empty.v1+json", b"{}").unwrap(),
        Vec::new(),
        Default::default(),
    );
    let mut foreign = Descriptor::of("application/vnd.oci.image.layer.nondistributable.v1.tar", b"elsewhere");
    foreign.urls.push("https://elsewhere.example/layer".to_owned());
    manifest.layers = vec![foreign.clone(), foreign.clone()];
    let put = |manifest: &ImageManifest| {
        layout.store().put_document(OCI_MANIFEST, &crate::json::to_bytes(manifest).unwrap()).unwrap()
    };
    layout.tag(&put(&manifest), Some("a")).unwrap();
    assert_eq!(layout.verify(), []);
    let mut archive = Vec::new();
    crate::archive::write_oci_archive(&mut archive, &layout, &put(&manifest), &[]).unwrap();
    // One that says nothing of another place is missing.
    manifest.layers[0].urls.clear();
    assert!(matches!(layout.tag(&put(&manifest), Some("b")), Err(LayoutError::Store(StoreError::Missing { .. }))));
}

#[test]
fn a_failed_build_takes_back_what_it_has_added_and_nothing_else() {
    let (directory, layout) = layout();
    layout.tag(&image(&layout, "one"), Some("a")).unwrap();
    let mine = layout.store().put_bytes(b"somebody's own").unwrap();
    drop(layout);

    let failed = Layout::create_or_open(directory.path()).unwrap();
    image(&failed, "two");
    failed.store().put_bytes(b"somebody's own").unwrap();
    let mut half = failed.store().writer().unwrap();
    half.write_all(b"half").unwrap();
    assert_eq!(failed.discard().unwrap(), 3);
    // Whoever still writes is stopped, and cannot make anything visible.
    assert!(half.write_all(b"more").is_err());
    assert!(half.commit().is_err());
    assert!(failed.store().put_bytes(b"late").is_err());
    drop(failed);

    let layout = Layout::open(directory.path()).unwrap();
    assert_eq!(blobs(&layout), 4);
    assert!(layout.store().contains(&mine).unwrap().is_some());
    layout.reach(&layout.resolve(Selector::Name("a")).unwrap()).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "no temporary files");
}

#[test]
fn c04_a_failed_build_leaves_what_another_may_have_found() {
    let (directory, failed) = layout();
    let other = Layout::create_or_open(directory.path()).unwrap();
    let shared = image(&failed, "both have it");
    image(&other, "both have it");
    assert_eq!(failed.discard().unwrap(), 0);
    other.tag(&shared, Some("a")).unwrap();
    other.reach(&shared).unwrap();
}
