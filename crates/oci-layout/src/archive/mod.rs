//! Images in one tar file: `oci-archive` (an OCI layout in a tar) and `docker-archive` (what
//! `docker load` takes).
//!
//! Written as a stream, the same bytes for the same images. A docker-archive is written as Docker
//! itself has done since version 25: an OCI layout with a `manifest.json` beside it, which older
//! versions and other tools read. Layers stay compressed; all of them look at the bytes.

mod read;
mod series;

pub use read::{Archive, ArchiveBlob};
pub use series::{SeriesError, SeriesReader, SeriesWriter};

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::descriptor::Descriptor;
use crate::digest::{Digest, VerifyingReader};
use crate::document::{Document, DocumentError, ImageIndex, ImageManifest, MAX_DOCUMENT};
use crate::layer::tar_header;
use crate::layout::{CONTAINERD_NAME, MAX_DEPTH, REF_NAME};
use crate::platform::Platform;
use crate::verify::Blobs;

/// Why an archive was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive's own file.
    #[error("cannot {action} the archive")]
    Io {
        /// `write` or `read`.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A blob that cannot be read, or is not what its digest says.
    #[error("cannot read blob {digest}")]
    Blob {
        /// Which.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// A document that is not valid.
    #[error("{what} is not valid")]
    Document {
        /// Digest or file name.
        what: String,
        /// Why.
        source: DocumentError,
    },
    /// Indexes in indexes without end.
    #[error("{0} is nested more than {MAX_DEPTH} levels deep")]
    Depth(Digest),
    /// A docker-archive holds one platform only.
    #[error("a docker-archive holds exactly one platform, but the image has {}", list(.0))]
    Platforms(Vec<String>),
    /// Not a tar.
    #[error("not a tar archive")]
    Tar(#[source] crate::layer::ReadError),
    /// A tar with neither an OCI layout nor Docker's manifest in it.
    #[error("the archive holds no image: it has neither index.json nor manifest.json")]
    NoImage,
    /// Docker's `manifest.json` names a file that is not there, or nothing.
    #[error("manifest.json of the archive is not usable: {0}")]
    DockerManifest(String),
    /// No such image in the archive.
    #[error("the archive has no image {wanted}; it has {}", list(known))]
    Unknown {
        /// Name or digest that was looked for.
        wanted: String,
        /// Names that are there.
        known: Vec<String>,
    },
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// A name that an image gets in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// In full, as `docker load` shows it: `registry.example.com/team/app:1`. None where the image
    /// belongs to no repository.
    pub full: Option<String>,
    /// The tag alone.
    pub tag: String,
}

/// One entry of Docker's `manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default, deserialize_with = "crate::json::null_is_empty")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "crate::json::null_is_empty")]
    layers: Vec<String>,
}

/// Writes `image`, an index or manifest with all that it leads to, as an oci-archive.
///
/// # Errors
///
/// [`ArchiveError`]; what was written until then is of no use.
pub fn write_oci_archive(
    out: impl Write,
    blobs: &dyn Blobs,
    image: &Descriptor,
    names: &[ImageName],
) -> Result<(), ArchiveError> {
    let mut documents = BTreeMap::new();
    let reached = reach(blobs, image, &mut documents)?;
    let mut tar = TarFile::new(out);
    layout_files(&mut tar, image, names)?;
    blob_files(&mut tar, blobs, &reached, &documents)?;
    tar.finish()
}

/// Writes the only platform of `image` as a docker-archive.
///
/// # Errors
///
/// [`ArchiveError::Platforms`] where there is another number of platforms than one.
pub fn write_docker_archive(
    out: impl Write,
    blobs: &dyn Blobs,
    image: &Descriptor,
    names: &[ImageName],
) -> Result<(), ArchiveError> {
    let (descriptor, manifest) = only_platform(blobs, image)?;
    let mut documents = BTreeMap::new();
    let reached = reach(blobs, &descriptor, &mut documents)?;
    let docker = [DockerImage {
        config: blob_path(&manifest.config.digest),
        repo_tags: names.iter().filter_map(|name| name.full.clone()).collect(),
        layers: manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
    }];
    let mut tar = TarFile::new(out);
    layout_files(&mut tar, &descriptor, names)?;
    tar.file("manifest.json", &json(&docker)?)?;
    blob_files(&mut tar, blobs, &reached, &documents)?;
    tar.finish()
}

fn only_platform(blobs: &dyn Blobs, image: &Descriptor) -> Result<(Descriptor, ImageManifest), ArchiveError> {
    match document(blobs, image)?.1 {
        Document::Manifest(manifest) => Ok((image.clone(), manifest)),
        Document::Index(index) => {
            let real = |entry: &&Descriptor| !entry.platform.as_ref().is_some_and(Platform::is_unknown);
            let entries: Vec<&Descriptor> = index.manifests.iter().filter(real).collect();
            match entries[..] {
                [only] if only.media_type.is_manifest() => only_platform(blobs, only),
                _ => {
                    let name = |entry: &&Descriptor| {
                        entry.platform.as_ref().map_or_else(|| entry.digest.short(), ToString::to_string)
                    };
                    Err(ArchiveError::Platforms(entries.iter().map(name).collect()))
                }
            }
        }
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, ArchiveError> {
    crate::json::to_bytes(value).map_err(|source| ArchiveError::Document {
        what: "a new document".to_owned(),
        source: DocumentError::Json { expected: "document", source },
    })
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The bytes of an index or manifest, verified, and what they say.
fn document(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<(Vec<u8>, Document), ArchiveError> {
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT.min(descriptor.size);
    blobs
        .open(descriptor)
        .and_then(|reader| {
            VerifyingReader::new(reader, descriptor.digest, descriptor.size).take(limit + 1).read_to_end(&mut bytes)
        })
        .map_err(|source| ArchiveError::Blob { digest: descriptor.digest, source })?;
    let parsed = Document::parse(&bytes, &descriptor.media_type)
        .map_err(|source| ArchiveError::Document { what: descriptor.digest.to_string(), source })?;
    Ok((bytes, parsed))
}

type Documents = BTreeMap<Digest, Vec<u8>>;

/// All blobs that `image` leads to, by digest; the documents among them with their bytes.
fn reach(
    blobs: &dyn Blobs,
    image: &Descriptor,
    documents: &mut Documents,
) -> Result<BTreeMap<Digest, Descriptor>, ArchiveError> {
    let mut reached = BTreeMap::new();
    let mut waiting = vec![(image.clone(), 0)];
    while let Some((descriptor, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return Err(ArchiveError::Depth(descriptor.digest));
        }
        if descriptor.stays_elsewhere() && is_absent(blobs, &descriptor) {
            continue;
        }
        if reached.insert(descriptor.digest, descriptor.clone()).is_some() {
            continue;
        }
        if descriptor.media_type.is_index() || descriptor.media_type.is_manifest() {
            let (bytes, parsed) = document(blobs, &descriptor)?;
            documents.insert(descriptor.digest, bytes);
            let children: Vec<Descriptor> = match parsed {
                Document::Index(index) => index.manifests,
                Document::Manifest(manifest) => std::iter::once(manifest.config).chain(manifest.layers).collect(),
            };
            waiting.extend(children.into_iter().map(|child| (child, depth + 1)));
        }
    }
    Ok(reached)
}

pub(crate) fn is_absent(blobs: &dyn Blobs, descriptor: &Descriptor) -> bool {
    matches!(blobs.open(descriptor), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn layout_files(tar: &mut TarFile<impl Write>, image: &Descriptor, names: &[ImageName]) -> Result<(), ArchiveError> {
    let mut entries: Vec<Descriptor> = names
        .iter()
        .map(|name| {
            let mut entry = image.clone();
            entry.annotations.insert(REF_NAME.to_owned(), name.tag.clone());
            if let Some(full) = &name.full {
                entry.annotations.insert(CONTAINERD_NAME.to_owned(), full.clone());
            }
            entry
        })
        .collect();
    if entries.is_empty() {
        entries.push(image.clone());
    }
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.file("index.json", &json(&ImageIndex::new(entries, BTreeMap::new()))?)
}

fn blob_files(
    tar: &mut TarFile<impl Write>,
    blobs: &dyn Blobs,
    reached: &BTreeMap<Digest, Descriptor>,
    documents: &Documents,
) -> Result<(), ArchiveError> {
    tar.directory("blobs/")?;
    let mut algorithm = None;
    for (digest, descriptor) in reached {
        if algorithm != Some(digest.algorithm()) {
            algorithm = Some(digest.algorithm());
            tar.directory(&format!("blobs/{}/", digest.algorithm().name()))?;
        }
        match documents.get(digest) {
            Some(bytes) => tar.file(&blob_path(digest), bytes)?,
            None => {
                let reader = blobs.open(descriptor).map_err(|source| ArchiveError::Blob { digest: *digest, source })?;
                tar.blob(&blob_path(digest), descriptor, reader)?;
            }
        }
    }
    Ok(())
}

/// A tar of short names, written as a stream.
struct TarFile<W> {
    out: W,
}

impl<W: Write> TarFile<W> {
    fn new(out: W) -> Self {
        Self { out }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.out.write_all(bytes).map_err(|source| ArchiveError::Io { action: "write", source })
    }

    fn directory(&mut self, name: &str) -> Result<(), ArchiveError> {
        self.write(&tar_header::plain(name, b'5', 0o755, 0))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.write(&tar_header::plain(name, b'0', 0o644, bytes.len() as u64))?;
        self.write(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.write(&[0; tar_header::BLOCK][..tar_header::padding(size)])
    }

    fn blob(&mut self, name: &str, descriptor: &Descriptor, reader: impl Read) -> Result<(), ArchiveError> {
        self.write(&tar_header::plain(name, b'0', 0o644, descriptor.size))?;
        let mut reader = VerifyingReader::new(reader, descriptor.digest, descriptor.size);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ArchiveError::Blob { digest: descriptor.digest, source }),
            }
        }
        self.pad(descriptor.size)
    }

    fn finish(self) -> Result<(), ArchiveError> {
        self.end().map(drop)
    }

    fn end(mut self) -> Result<W, ArchiveError> {
        self.write(&[0; 2 * tar_header::BLOCK])?;
        self.out.flush().map_err(|source| ArchiveError::Io { action: "write", source })?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests;
