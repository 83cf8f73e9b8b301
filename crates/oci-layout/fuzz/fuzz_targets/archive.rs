//! Bytes of an archive: opened or refused; every blob that it claims reads or fails.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_layout::archive::Archive;

fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("oci-archive-fuzz-{}", std::process::id()));
    std::fs::write(&path, data).expect("written");
    if let Ok(archive) = Archive::open(&path) {
        let _ = oci_layout::verify::verify(&archive, &archive.index().manifests, "archive");
    }
    std::fs::remove_file(&path).expect("removed");
});
