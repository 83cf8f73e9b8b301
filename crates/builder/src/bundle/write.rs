//! Writing a bundle: a tar as one stream, or a directory. Visible only when it is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use oci_layout::archive::SeriesWriter;
use oci_layout::{BlobStore, Descriptor, Digest};

use super::contents::Documents;
use super::{BundleError, Contents};
use crate::base::{BaseError, Source};
use crate::transfer::SourceError;

/// Where a bundle's blobs come from.
pub(super) type Origins = BTreeMap<Digest, std::sync::Arc<Source>>;

/// A tar that is being written under a name of its own.
struct Unfinished {
    path: PathBuf,
    done: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes the bundle as a tar in place of what is at `path`. Gives its digest.
pub(super) async fn tar(path: &Path, contents: &Contents, origins: &Origins) -> Result<Digest, WriteError> {
    let io = |action| {
        let path = path.to_owned();
        move |source| BundleError::Io { action, path, source }
    };
    let Documents { index, manifest, table } = contents.documents().map_err(|error| internal(path, error))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let mut unfinished = Unfinished { path: path.with_file_name(name), done: false };
    let file = File::create(&unfinished.path).map_err(io("write"))?;
    let failed = |source| BundleError::Write { path: path.to_owned(), source };
    let mut series = SeriesWriter::new(BufWriter::with_capacity(1 << 16, file));
    series.file("oci-layout", MARKER).map_err(failed)?;
    series.file("index.json", &index).map_err(failed)?;
    series.directory("blobs/").map_err(failed)?;
    series.directory("blobs/sha256/").map_err(failed)?;
    for (descriptor, bytes) in [&manifest, &table] {
        series.file(&blob_path(&descriptor.digest), bytes).map_err(failed)?;
    }
    let mut algorithm = oci_layout::digest::Algorithm::Sha256;
    for (digest, descriptor) in contents.blobs() {
        if digest.algorithm() != algorithm {
            algorithm = digest.algorithm();
            series.directory(&format!("blobs/{}/", algorithm.name())).map_err(failed)?;
        }
        let source = origins.get(&digest).ok_or_else(|| internal(path, format!("{digest} comes from nowhere")))?;
        let (at, member) = (path.to_owned(), descriptor.clone());
        let written: Result<_, BaseError> = source
            .read_unverified(&descriptor, move |reader| {
                let written = series.blob(&blob_path(&member.digest), &member, reader);
                Ok((series, written.map_err(|source| BundleError::Write { path: at, source })))
            })
            .await;
        let (back, written) = written?;
        written?;
        series = back;
    }
    let mut out = series.into_inner().map_err(failed)?;
    out.flush().map_err(io("write"))?;
    // Not flushed to the disk: who reads a bundle verifies all that it takes from it.
    drop(out);
    std::fs::rename(&unfinished.path, path).map_err(io("replace"))?;
    unfinished.done = true;
    Ok(manifest.0.digest)
}

/// Writes the bundle as a directory, a new one or in place of a bundle.
pub(super) async fn directory(path: &Path, contents: &Contents, origins: &Origins) -> Result<Digest, WriteError> {
    let io = |action, at: &Path| {
        let path = at.to_owned();
        move |source| BundleError::Io { action, path, source }
    };
    if path.exists() && std::fs::read_dir(path).map_err(io("list", path))?.next().is_some() {
        super::Bundle::open(path).map_err(|_| BundleError::Occupied { path: path.to_owned() })?;
    }
    let Documents { index, manifest, table } = contents.documents().map_err(|error| internal(path, error))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let fresh = path.with_file_name(name);
    std::fs::create_dir(&fresh).map_err(io("create", &fresh))?;
    let written = fill(&fresh, contents, origins, &index, [&manifest, &table]).await;
    let placed = match written {
        Ok(()) => {
            // A directory cannot be replaced by another in one step everywhere.
            let old = fresh.with_extension("old");
            let had = std::fs::rename(path, &old).is_ok();
            let placed = std::fs::rename(&fresh, path).map_err(io("replace", path));
            if had {
                let _ = if placed.is_ok() { std::fs::remove_dir_all(&old) } else { std::fs::rename(&old, path) };
            }
            placed.map_err(WriteError::from)
        }
        Err(error) => Err(error),
    };
    if placed.is_err() {
        let _ = std::fs::remove_dir_all(&fresh);
    }
    placed.map(|()| manifest.0.digest)
}

async fn fill(
    directory: &Path,
    contents: &Contents,
    origins: &Origins,
    index: &[u8],
    documents: [&(Descriptor, Vec<u8>); 2],
) -> Result<(), WriteError> {
    let store = BlobStore::new(directory);
    let stored = |source: oci_layout::StoreError| WriteError::Base(source.into());
    for (_, bytes) in documents {
        store.put_bytes(bytes).map_err(stored)?;
    }
    for (digest, descriptor) in contents.blobs() {
        let source = origins.get(&digest).ok_or_else(|| internal(directory, format!("{digest} comes from nowhere")))?;
        source.copy(&descriptor, &store, None).await.map_err(BaseError::from)?;
    }
    for (name, bytes) in [("index.json", index), ("oci-layout", MARKER)] {
        let path = directory.join(name);
        std::fs::write(&path, bytes).map_err(|source| BundleError::Io { action: "write", path, source })?;
    }
    Ok(())
}

/// Why a bundle was not written: the bundle, or where its content comes from.
#[derive(Debug)]
pub(super) enum WriteError {
    Bundle(BundleError),
    Base(BaseError),
}

impl From<BundleError> for WriteError {
    fn from(error: BundleError) -> Self {
        Self::Bundle(error)
    }
}

impl From<BaseError> for WriteError {
    fn from(error: BaseError) -> Self {
        Self::Base(error)
    }
}

impl From<SourceError> for WriteError {
    fn from(error: SourceError) -> Self {
        Self::Base(error.into())
    }
}

fn internal(path: &Path, error: impl ToString) -> BundleError {
    let source = std::io::Error::other(error.to_string());
    BundleError::Io { action: "write", path: path.to_owned(), source }
}

/// `oci-layout` of a bundle.
pub(super) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Where a blob is in a bundle.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
