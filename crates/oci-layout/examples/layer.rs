//! Puts a file, or all files below a directory, into a new OCI layout as an image of one layer:
//! `layer PATH LAYOUT [gzip|zstd|none]`.
//!
//! What the benchmark against umoci runs.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::thread;

use oci_layout::document::{ImageConfig, ImageManifest};
use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, Pool, write_layer};
use oci_layout::media_type::{Compression, OCI_CONFIG, OCI_MANIFEST};
use oci_layout::{ImagePath, Layout, Platform, json};

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
    let mut entries = Vec::new();
    add(&file, &"/file".parse()?, &mut entries)?;
    let pool = Pool::new(thread::available_parallelism()?.get())?;
    let options = LayerOptions { compression, ..LayerOptions::default() };
    let layer = write_layer(&entries, &options, &pool, layout.store())?;

    let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
    config.rootfs.diff_ids.push(layer.diff_id);
    let config = layout.store().put_document(OCI_CONFIG, &json::to_bytes(&config)?)?;
    let manifest = ImageManifest::new(config, vec![layer.descriptor], Default::default());
    let manifest = layout.store().put_document(OCI_MANIFEST, &json::to_bytes(&manifest)?)?;
    layout.tag(&manifest, Some("latest"))?;
    Ok(())
}

fn add(source: &Path, to: &ImagePath, entries: &mut Vec<Entry>) -> Result<(), Box<dyn Error>> {
    let metadata = source.metadata()?;
    if !metadata.is_dir() {
        let content = Content::File { path: source.into(), size: metadata.len() };
        entries.push(Entry::new(to.clone(), EntryKind::File(content), 0o755));
        return Ok(());
    }
    entries.push(Entry::new(to.clone(), EntryKind::Directory, 0o755));
    for entry in source.read_dir()? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| "a name that is not UTF-8")?;
        add(&entry.path(), &to.join(&name)?, entries)?;
    }
    Ok(())
}
