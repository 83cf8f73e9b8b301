//! Builds that are killed, in processes of their own.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use oci_layout::document::{ImageConfig, ImageManifest};
use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, Pool, write_layer};
use oci_layout::media_type::{OCI_CONFIG, OCI_MANIFEST};
use oci_layout::verify::Problem;
use oci_layout::{Layout, Platform, Selector, json};

const ROOT: &str = "OCI_LAYOUT_TEST_ROOT";
const SEED: &str = "OCI_LAYOUT_TEST_SEED";

fn build(root: &Path, seed: u64) {
    let layout = Layout::create_or_open(root).expect("a layout");
    // The first blob byte is about to be written: the parent counts from here.
    println!("\nbuilding");
    let mut state = seed;
    let bytes: Vec<u8> = (0..2_000_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 60) as u8
        })
        .collect();
    let entries = [Entry::new("/f".parse().expect("a path"), EntryKind::File(Content::Bytes(Arc::from(bytes))), 0o644)];
    let pool = Pool::new(2).expect("threads");
    let layer = write_layer(&entries, &LayerOptions::default(), &pool, layout.store()).expect("a layer");
    let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
    config.rootfs.diff_ids.push(layer.diff_id);
    let put = |media_type, bytes: Vec<u8>| layout.store().put_document(media_type, &bytes).expect("stored");
    let config = put(OCI_CONFIG, json::to_bytes(&config).expect("JSON"));
    let manifest = ImageManifest::new(config, vec![layer.descriptor], Default::default());
    let manifest = put(OCI_MANIFEST, json::to_bytes(&manifest).expect("JSON"));
    layout.tag(&manifest, Some("latest")).expect("tagged");
    layout.remove_unreferenced().expect("cleaned");
}

/// Not a test: what the others run in a process that they can kill.
#[test]
fn child() {
    if let (Some(root), Ok(seed)) = (std::env::var_os(ROOT), std::env::var(SEED)) {
        build(Path::new(&root), seed.parse().expect("a number"));
    }
}

#[test]
fn d04_c03_killed_at_any_moment_the_layout_is_old_or_new() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("oci");
    build(&root, 0);
    let (mut killed, mut finished) = (0, 0);
    for round in 1..=40_u64 {
        let before = Layout::open(&root).expect("a layout").resolve(Selector::Name("latest")).expect("an image");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child", "--nocapture"])
            .env(ROOT, &root)
            .env(SEED, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line == "building"));
        // A round later each time, over the time that a build takes.
        std::thread::sleep(Duration::from_micros(round * 4_000));
        child.kill().expect("killed");
        if child.wait().expect("waited").success() {
            finished += 1
        } else {
            killed += 1
        }
        let layout = Layout::open(&root).expect("still a layout");
        let findings = layout.verify();
        assert!(findings.iter().all(|finding| finding.problem == Problem::Unreachable), "{round}: {findings:#?}");
        let after = layout.resolve(Selector::Name("latest")).expect("still an image");
        if finished == 0 && after != before {
            // Killed between the rename and the end: the new one, whole.
            layout.reach(&after).expect("whole");
        }
    }
    assert!(killed >= 3, "{killed} killed, {finished} finished");
    // Running again succeeds, and cleans up after all of them.
    build(&root, 99);
    assert_eq!(Layout::open(&root).expect("a layout").verify(), []);
    assert_eq!(std::fs::read_dir(&root).expect("listed").count(), 3);
}
