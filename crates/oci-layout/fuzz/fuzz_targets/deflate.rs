//! Any content goes through the layer writer and comes back, whatever the compression.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oci_layout::layer::{Content, Entry, EntryKind, LayerFacts, LayerOptions, Limits, Pool, write_layer};
use oci_layout::media_type::Compression;
use oci_layout::BlobStore;

fuzz_target!(|data: &[u8]| {
    // Short inputs are repeated with changes, so that blocks and windows are filled.
    let mut bytes = data.to_vec();
    while !bytes.is_empty() && bytes.len() < 200_000 && data.len() % 2 == 1 {
        let length = bytes.len();
        bytes.extend_from_within(..);
        bytes[length] ^= 1;
    }
    let directory = tempdir();
    let store = BlobStore::new(&directory);
    let kind = EntryKind::File(Content::Bytes(Arc::from(bytes)));
    let entries = [Entry::new("/f".parse().expect("a path"), kind, 0o644)];
    let pool = Pool::new(1).expect("a thread");
    let layer = write_layer(&entries, &LayerOptions::default(), &pool, &store).expect("a layer");
    let blob = store.open_verified(&layer.descriptor).expect("the blob");
    let (_, diff_id) = LayerFacts::scan(blob, Compression::Gzip, &Limits::default()).expect("it reads");
    assert_eq!(diff_id, layer.diff_id);
    drop(store);
    std::fs::remove_dir_all(&directory).expect("removed");
});

fn tempdir() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("oci-layout-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    path
}
