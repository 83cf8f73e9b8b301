//! `mab inspect bundle:PATH`: the table of contents of a bundle.

use std::path::Path;

use builder::bundle::{Bundle, Contents};
use serde_json::json;

use crate::diagnostics::Look;
use crate::{errors, exit, text};

pub(crate) fn run(path: &Path, as_json: bool, look: Look) -> u8 {
    let bundle = match Bundle::open(path) {
        Ok(bundle) => bundle,
        Err(error) => {
            text::error_line(&errors::draw(&error, &error.hints(), look));
            return exit::of_class(error.class());
        }
    };
    let lines = if as_json {
        let shown = json!({
            "bundle": path.display().to_string(),
            "digest": bundle.digest,
            "size": size(&bundle.contents),
            "contents": bundle.contents,
        });
        vec![serde_json::to_string_pretty(&shown).unwrap_or_default()]
    } else {
        table(path, &bundle)
    };
    for line in lines {
        if !text::result_line(&line) {
            break;
        }
    }
    exit::SUCCESS
}

fn size(contents: &Contents) -> u64 {
    contents.blobs().values().map(|blob| blob.size).sum()
}

fn table(path: &Path, bundle: &Bundle) -> Vec<String> {
    let contents = &bundle.contents;
    let mut lines = vec![format!("{} {} {}", path.display(), bundle.digest, text::size(size(contents)))];
    lines.extend(contents.since.iter().map(|earlier| format!("an update of {earlier}")));
    for image in &contents.images {
        let blobs: u64 = image.blobs.iter().map(|blob| blob.size).sum();
        let platforms = image.platforms.join(" ");
        lines.push(format!("image {}@{} {} {platforms}", image.name, image.root.digest, text::size(blobs)));
    }
    for own in &contents.crates {
        lines.push(format!("crate {} {} {}", own.name, own.version, text::size(own.blob.size)));
    }
    for own in &contents.modules {
        let files: u64 = own.files.values().map(|file| file.size).sum();
        lines.push(format!("module {}@{} {}", own.path, own.version, text::size(files)));
    }
    lines.iter().map(|line| text::tame(line)).collect()
}
