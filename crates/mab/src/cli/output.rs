//! Where `mab build` writes to.

use std::path::PathBuf;

/// An output on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A directory.
    Layout(PathBuf),
    /// A file.
    OciArchive(PathBuf),
    /// A file that `docker load` takes.
    DockerArchive(PathBuf),
}

pub(crate) fn destination(text: &str) -> Result<Destination, String> {
    let (kind, path) = text.split_once(':').unwrap_or((text, ""));
    let make: fn(PathBuf) -> Destination = match kind {
        "oci" => Destination::Layout,
        "oci-archive" => Destination::OciArchive,
        "docker-archive" => Destination::DockerArchive,
        _ => return Err("write oci:DIR, oci-archive:FILE or docker-archive:FILE".to_owned()),
    };
    match path {
        "" if kind == "oci" => Err("the directory is missing: write oci:DIR".to_owned()),
        "" => Err(format!("the file is missing: write {kind}:FILE")),
        path => Ok(make(path.into())),
    }
}
