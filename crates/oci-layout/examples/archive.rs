//! Writes the only image of a layout as an archive: `archive LAYOUT FILE oci|docker NAME:TAG`.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use oci_layout::archive::{ImageName, write_docker_archive, write_oci_archive};
use oci_layout::{Layout, Selector};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layout, file, kind, full] = &arguments[..] else {
        return Err("usage: archive LAYOUT FILE oci|docker NAME:TAG".into());
    };
    let layout = Layout::open(PathBuf::from(layout))?;
    let image = layout.resolve(Selector::Only)?;
    let tag = full.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let names = [ImageName { full: Some(full.clone()), tag: tag.to_owned() }];
    let out = BufWriter::new(File::create(file)?);
    match kind.as_str() {
        "docker" => write_docker_archive(out, &layout, &image, &names)?,
        _ => write_oci_archive(out, &layout, &image, &names)?,
    }
    Ok(())
}
