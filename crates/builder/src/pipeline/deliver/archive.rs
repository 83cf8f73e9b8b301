//! Into an archive: one file, there when it is whole.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oci_layout::archive::{ArchiveError, ImageName, write_docker_archive, write_oci_archive};
use oci_layout::blob::BytesBlob;
use oci_layout::verify::Blobs;
use oci_layout::{BlobSource, Descriptor, Digest};

use super::*;

pub(in crate::pipeline) struct ToArchive {
    kind: ArchiveKind,
    path: PathBuf,
    stock: Mutex<Stock>,
}

/// The blobs that go in, to be read when all of them are known.
#[derive(Clone, Default)]
struct Stock(BTreeMap<Digest, Arc<dyn BlobSource>>);

impl Blobs for Stock {
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + '_>> {
        match self.0.get(&descriptor.digest) {
            Some(blob) => Ok(blob.open_at(0)?),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the build has no such blob")),
        }
    }
}

impl ToArchive {
    pub(super) fn open(kind: ArchiveKind, path: PathBuf, spec: &BuildSpec) -> Result<Self, BuildError> {
        if kind == ArchiveKind::Docker && spec.platforms.len() != 1 {
            let platforms = spec.platforms.iter().map(|platform| platform.value.to_string()).collect();
            return Err(BuildError::Archive { path, source: ArchiveError::Platforms(platforms) });
        }
        let parent = directory(&path);
        if !parent.is_dir() {
            let source = io::Error::new(io::ErrorKind::NotFound, format!("there is no directory {}", parent.display()));
            return Err(BuildError::Archive { path, source: ArchiveError::Io { action: "write", source } });
        }
        Ok(Self { kind, path, stock: Mutex::default() })
    }

    pub(super) async fn take(&self, shared: &Shared, base: Option<&Base>, image: &Finished) -> Result<(), BuildError> {
        let mut blobs: Vec<Arc<dyn BlobSource>> = Vec::new();
        if let Some(base) = base {
            for layer in &image.base_layers {
                let fetched = base.source.fetch(layer, shared.cache.as_ref(), &shared.maker.store).await;
                blobs.push(fetched.map_err(|error| of_base(base, error))?);
            }
        }
        blobs.extend(image.new_layers.iter().map(|layer| Arc::clone(layer) as Arc<dyn BlobSource>));
        for (descriptor, bytes) in [(&image.config, &image.config_bytes), (&image.manifest, &image.manifest_bytes)] {
            blobs.push(Arc::new(BytesBlob::new(descriptor.media_type.as_str(), bytes.to_vec())));
        }
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        stock.0.extend(blobs.into_iter().map(|blob| (blob.descriptor().digest, blob)));
        Ok(())
    }

    pub(super) async fn complete(&self, shared: &Shared, result: &Delivery<'_>) -> Result<String, BuildError> {
        let name = format!("{}:{}", self.kind.name(), self.path.display());
        let piece = shared.work.start(Phase::Deliver, None, format!("write {name}"), None);
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let index = BytesBlob::new(result.index.media_type.as_str(), result.index_bytes.to_vec());
        stock.0.insert(result.index.digest, Arc::new(index));
        let names: Vec<ImageName> = result
            .tags
            .iter()
            .map(|tag| ImageName {
                full: result.spec.image.as_ref().map(|image| image.value.tagged(tag.clone()).to_string()),
                tag: tag.to_string(),
            })
            .collect();
        let (kind, path, index) = (self.kind, self.path.clone(), result.index.clone());
        let children = Arc::clone(&shared.children);
        blocking(move || {
            write(kind, &path, &stock, &index, &names, &children).map_err(|source| BuildError::Archive { path, source })
        })
        .await?;
        piece.done(String::new());
        Ok(format!("{name}@{}", result.index.digest))
    }
}

/// Writes beside the place and renames; what was there before stays until then.
fn write(
    kind: ArchiveKind,
    path: &Path,
    stock: &Stock,
    image: &Descriptor,
    names: &[ImageName],
    children: &Children,
) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Io { action: "write", source };
    let parent = directory(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mab-").permissions(std::fs::Permissions::from_mode(0o666));
    let mut file = builder.tempfile_in(parent).map_err(failed)?;
    let mut out = BufWriter::with_capacity(256 * 1024, Stoppable { file: file.as_file_mut(), children });
    match kind {
        ArchiveKind::Oci => write_oci_archive(&mut out, stock, image, names)?,
        ArchiveKind::Docker => write_docker_archive(&mut out, stock, image, names)?,
    }
    out.flush().map_err(failed)?;
    drop(out);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    std::fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// A file that takes no more once the build is interrupted.
struct Stoppable<'a> {
    file: &'a mut std::fs::File,
    children: &'a Children,
}

impl io::Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.children.interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
