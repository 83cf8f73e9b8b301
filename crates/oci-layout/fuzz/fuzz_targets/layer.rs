//! Bytes of a layer in each compression: read or refused, within the limits, and what was read
//! merges into a tree in which every path resolves or says why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_layout::layer::{LayerFacts, Limits, Tree};
use oci_layout::media_type::Compression;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let compression = match kind % 3 {
        0 => Compression::None,
        1 => Compression::Gzip,
        _ => Compression::Zstd,
    };
    let limits = Limits { size: 8 << 20, entries: 1_000, window_log: 20, ..Limits::default() };
    if let Ok((facts, _)) = LayerFacts::scan(data, compression, &limits) {
        let json = oci_layout::json::to_bytes(&facts).expect("facts are JSON");
        assert_eq!(LayerFacts::parse(&json).expect("facts parse").as_ref(), Some(&facts));
        let tree = Tree::of([&facts, &facts]);
        for (path, _) in tree.iter() {
            let _ = tree.resolve(path, true);
        }
    }
});
