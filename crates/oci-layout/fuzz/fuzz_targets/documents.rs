//! Documents of every kind: parsed or refused; what was parsed is written and parsed to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_layout::document::{Document, ImageConfig};
use oci_layout::layer::LayerFacts;
use oci_layout::media_type::{OCI_INDEX, OCI_MANIFEST};
use oci_layout::{Digest, ImagePath, Platform, json};

fuzz_target!(|data: &[u8]| {
    if let Ok(Document::Index(index)) = Document::parse(data, &OCI_INDEX.into()) {
        let again = json::to_bytes(&index).expect("an index is JSON");
        assert_eq!(Document::parse(&again, &OCI_INDEX.into()).expect("it parses"), Document::Index(index));
    }
    if let Ok(Document::Manifest(manifest)) = Document::parse(data, &OCI_MANIFEST.into()) {
        let again = json::to_bytes(&manifest).expect("a manifest is JSON");
        assert_eq!(Document::parse(&again, &OCI_MANIFEST.into()).expect("it parses"), Document::Manifest(manifest));
    }
    if let Ok(config) = json::parse::<ImageConfig>(data) {
        let again = json::to_bytes(&config).expect("a config is JSON");
        assert_eq!(json::parse::<ImageConfig>(&again).expect("it parses"), config);
    }
    let _ = LayerFacts::parse(data);
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(digest) = text.parse::<Digest>() {
            assert_eq!(digest.to_string(), text);
        }
        if let Ok(path) = text.parse::<ImagePath>() {
            assert_eq!(path.to_string(), text);
        }
        let _ = text.parse::<Platform>();
    }
});
