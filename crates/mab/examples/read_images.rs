//! Reads images of mab's in a registry with crates that are not mab's: `read_images REFERENCE…`.
//! The end-to-end tests run it on the examples, pushed for five platforms onto a base.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "the tests look at more")]
#[path = "../tests/other_readers/reading.rs"]
mod reading;

use oci_spec::image::MediaType;

fn main() {
    let references: Vec<String> = std::env::args().skip(1).collect();
    assert!(!references.is_empty(), "name images: read_images REFERENCE…");
    for reference in references {
        let pulled = reading::pull(&reference);
        assert!(reference.ends_with(&pulled.digest), "{reference}");
        assert_eq!(pulled.platforms(), reading::PLATFORMS, "{reference}");
        for (platform, image) in &pulled.images {
            assert!(image.layers.len() >= 2, "{reference} {platform}: a base and a program");
            assert_eq!(image.manifest.config().media_type(), &MediaType::ImageConfig);
        }
        println!("{reference}: read");
    }
}
