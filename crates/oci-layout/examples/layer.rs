//! Puts one file into a new OCI layout, as the only file of an image: `layer FILE LAYOUT [gzip|zstd|none]`.
//!
//! What the benchmark against umoci runs.

use std::error::Error;
use std::path::PathBuf;
use std::thread;

use oci_layout::document::{ImageConfig, ImageManifest};
use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, Pool, write_layer};
use oci_layout::media_type::{Compression, OCI_CONFIG, OCI_MANIFEST};
use oci_layout::{Layout, Platform, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), Some(root)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err("usage: layer FILE LAYOUT [gzip|zstd|none]".into());
    };
    let compression = match arguments.next().as_ref().and_then(|text| text.to_str()) {
        Some("zstd") => Compression::Zstd,
        Some("none") => Compression::None,
        _ => Compression::Gzip,
    };
    let layout = Layout::create_or_open(PathBuf::from(root))?;
    let size = file.metadata()?.len();
    let entry = Entry::new("/file".parse()?, EntryKind::File(Content::File { path: file, size }), 0o755);
    let pool = Pool::new(thread::available_parallelism()?.get())?;
    let options = LayerOptions { compression, ..LayerOptions::default() };
    let layer = write_layer(&[entry], &options, &pool, layout.store())?;

    let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
    config.rootfs.diff_ids.push(layer.diff_id);
    let config = layout.store().put_document(OCI_CONFIG, &json::to_bytes(&config)?)?;
    let manifest = ImageManifest::new(config, vec![layer.descriptor], Default::default());
    let manifest = layout.store().put_document(OCI_MANIFEST, &json::to_bytes(&manifest)?)?;
    layout.tag(&manifest, Some("latest"))?;
    Ok(())
}
