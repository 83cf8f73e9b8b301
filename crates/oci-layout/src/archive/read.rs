//! Reading archives in place: their blobs are ranges of the one file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::{ArchiveError, DockerImage};
use crate::blob::{BlobSource, BytesBlob};
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::document::{Document, DocumentError, ImageIndex, ImageManifest, MAX_DOCUMENT};
use crate::layer::read::{Limits, TarKind, TarReader};
use crate::layout::{CONTAINERD_NAME, REF_NAME, Selected, Selector, names, select};
use crate::media_type::{
    DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_LAYER_TAR, DOCKER_LAYER_ZSTD, DOCKER_MANIFEST, OCI_INDEX,
};
use crate::store::{StoreError, open_regular};
use crate::verify::Blobs;

/// Most bytes of Docker's `manifest.json`.
const MAX_DOCKER_MANIFEST: u64 = MAX_DOCUMENT;

/// An archive of images, open for reading.
pub struct Archive {
    file: Arc<File>,
    index: ImageIndex,
    blobs: BTreeMap<Digest, Place>,
}

/// Where a blob is.
#[derive(Clone)]
pub(super) enum Place {
    Range { offset: u64, size: u64 },
    Memory(Arc<[u8]>),
}

impl Archive {
    /// Opens an oci-archive or docker-archive, an uncompressed tar. Of one that `docker save`
    /// wrote without an OCI layout, the layers are hashed and a manifest is made.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = Arc::new(open_regular(path).map_err(|error| match error {
            StoreError::Io { source, .. } => read_error(source),
            other => read_error(io::Error::other(other)),
        })?);
        let files = scan(&file)?;
        let mut archive = Self { file, index: ImageIndex::new(Vec::new(), BTreeMap::new()), blobs: BTreeMap::new() };
        for (name, (offset, size)) in &files {
            let mut parts = name.split('/');
            if let (Some("blobs"), Some(algorithm), Some(hex), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
                && let Ok(digest) = format!("{algorithm}:{hex}").parse()
            {
                archive.blobs.insert(digest, Place::Range { offset: *offset, size: *size });
            }
        }
        if let Some(range) = files.get("index.json") {
            let bytes = archive.small(*range)?;
            archive.index = match Document::parse(&bytes, &OCI_INDEX.into()) {
                Ok(Document::Index(index)) => index,
                Ok(Document::Manifest(_)) => return Err(invalid(DocumentError::Unsupported(OCI_INDEX.into()))),
                Err(source) => return Err(invalid(source)),
            };
        } else if let Some(range) = files.get("manifest.json") {
            let bytes = archive.small(*range)?;
            let images: Vec<DockerImage> = crate::json::parse(&bytes)
                .map_err(|source| invalid(DocumentError::Json { expected: "manifest.json", source }))?;
            for image in &images {
                archive.add_docker(image, &files)?;
            }
        } else {
            return Err(ArchiveError::NoImage);
        }
        Ok(archive)
    }

    /// The index, as an OCI layout has it.
    pub fn index(&self) -> &ImageIndex {
        &self.index
    }

    /// The entry that `selector` means.
    pub fn resolve(&self, selector: Selector<'_>) -> Result<Descriptor, ArchiveError> {
        let unknown = |wanted: String| ArchiveError::Unknown { wanted, known: names(&self.index) };
        match select(&self.index, selector) {
            Selected::One(descriptor) => Ok(*descriptor),
            Selected::Ambiguous => Err(unknown("without a name".to_owned())),
            Selected::NoName(name) => Err(unknown(name.to_owned())),
            Selected::NoDigest(digest) => {
                for entry in &self.index.manifests {
                    if let Ok(Document::Index(index)) = super::document(self, entry).map(|(_, parsed)| parsed)
                        && let Some(found) = index.manifests.iter().find(|inner| inner.digest == digest)
                    {
                        return Ok(found.clone());
                    }
                }
                Err(unknown(digest.to_string()))
            }
        }
    }

    /// The index or manifest that `descriptor` means, verified, with its own bytes.
    pub fn document(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Document), ArchiveError> {
        super::document(self, descriptor)
    }

    /// A blob that can be opened again and again. Fails where it is missing or has another size.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<ArchiveBlob, ArchiveError> {
        let failed = |source| ArchiveError::Blob { digest: descriptor.digest, source };
        let place = self.blobs.get(&descriptor.digest).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let size = match place {
            Place::Range { size, .. } => *size,
            Place::Memory(bytes) => bytes.len() as u64,
        };
        if size != descriptor.size {
            let message = format!("it has {size} bytes, its descriptor says {}", descriptor.size);
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        Ok(ArchiveBlob { descriptor: descriptor.clone(), file: Arc::clone(&self.file), place: place.clone() })
    }

    /// Digest and size of every blob, sorted.
    pub fn sizes(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.blobs.iter().map(|(digest, place)| match place {
            Place::Range { size, .. } => (*digest, *size),
            Place::Memory(bytes) => (*digest, bytes.len() as u64),
        })
    }

    fn small(&self, (offset, size): (u64, u64)) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_DOCKER_MANIFEST {
            return Err(invalid(DocumentError::TooLarge(usize::try_from(size).unwrap_or(usize::MAX))));
        }
        let mut bytes = Vec::new();
        Range { file: Arc::clone(&self.file), at: offset, left: size }.read_to_end(&mut bytes).map_err(read_error)?;
        Ok(bytes)
    }

    /// Makes an OCI-like entry of one image of `docker save`.
    fn add_docker(&mut self, image: &DockerImage, files: &Files) -> Result<(), ArchiveError> {
        let find = |name: &str| {
            files.get(name).copied().ok_or_else(|| ArchiveError::DockerManifest(format!("{name} is missing")))
        };
        let config = self.hashed(DOCKER_CONFIG, find(&image.config)?)?;
        let mut layers = Vec::with_capacity(image.layers.len());
        for layer in &image.layers {
            let range = find(layer)?;
            let mut start = [0; 4];
            let count = usize::try_from(range.1.min(4)).unwrap_or(0);
            self.file.read_exact_at(&mut start[..count], range.0).map_err(read_error)?;
            let media_type = match start {
                [0x1f, 0x8b, ..] => DOCKER_LAYER_GZIP,
                [0x28, 0xb5, 0x2f, 0xfd] => DOCKER_LAYER_ZSTD,
                _ => DOCKER_LAYER_TAR,
            };
            layers.push(self.hashed(media_type, range)?);
        }
        let mut manifest = ImageManifest::new(config, layers, BTreeMap::new());
        manifest.media_type = Some(DOCKER_MANIFEST.into());
        let blob = BytesBlob::new(DOCKER_MANIFEST, super::json(&manifest)?);
        self.blobs.insert(blob.descriptor().digest, Place::Memory(Arc::clone(blob.bytes())));
        let untagged = [None];
        let tags: Vec<Option<&String>> = image.repo_tags.iter().map(Some).collect();
        for tag in if tags.is_empty() { &untagged[..] } else { &tags[..] } {
            let mut entry = blob.descriptor().clone();
            if let Some(full) = tag {
                let short = full.rsplit_once(':').map_or(full.as_str(), |(_, tag)| tag);
                entry.annotations.insert(REF_NAME.to_owned(), short.to_owned());
                entry.annotations.insert(CONTAINERD_NAME.to_owned(), (*full).clone());
            }
            self.index.manifests.push(entry);
        }
        Ok(())
    }

    fn hashed(&mut self, media_type: &str, (offset, size): (u64, u64)) -> Result<Descriptor, ArchiveError> {
        let mut reader = Range { file: Arc::clone(&self.file), at: offset, left: size };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer).map_err(read_error)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        let digest = hasher.finish();
        self.blobs.insert(digest, Place::Range { offset, size });
        Ok(Descriptor::new(media_type, digest, size))
    }
}

fn read_error(source: io::Error) -> ArchiveError {
    ArchiveError::Io { action: "read", source }
}

fn invalid(source: DocumentError) -> ArchiveError {
    ArchiveError::Document { what: "the archive's index".to_owned(), source }
}

/// Offset and size of each regular file by its path, `./` and the like taken off.
type Files = BTreeMap<String, (u64, u64)>;

fn scan(file: &Arc<File>) -> Result<Files, ArchiveError> {
    let size = file.metadata().map_err(read_error)?.len();
    let whole = Range { file: Arc::clone(file), at: 0, left: size };
    let mut reader = TarReader::new(BufReader::with_capacity(256 * 1024, whole), &Limits::default());
    let mut files = Files::new();
    let mut links = Vec::new();
    while let Some(entry) = reader.next_entry().map_err(ArchiveError::Tar)? {
        let Ok(name) = String::from_utf8(entry.path) else { continue };
        let name = name.trim_start_matches("./").to_owned();
        match entry.kind {
            TarKind::File if !entry.sparse => drop(files.insert(name, (reader.content_offset(), entry.size))),
            // Old versions of `docker save` link layers that two images share.
            TarKind::Symlink | TarKind::HardLink => links.push((name, String::from_utf8(entry.link))),
            _ => {}
        }
    }
    for (name, target) in links {
        let target = target.unwrap_or_default();
        if let Some(place) = files.get(target.trim_start_matches("../").trim_start_matches("./")).copied() {
            files.entry(name).or_insert(place);
        }
    }
    Ok(files)
}

impl Blobs for Archive {
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + '_>> {
        match self.blobs.get(&descriptor.digest) {
            Some(Place::Range { offset, size }) => {
                Ok(Box::new(Range { file: Arc::clone(&self.file), at: *offset, left: *size }))
            }
            Some(Place::Memory(bytes)) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A blob inside an archive.
#[derive(Clone)]
pub struct ArchiveBlob {
    descriptor: Descriptor,
    file: Arc<File>,
    place: Place,
}

impl ArchiveBlob {
    pub(super) fn new(descriptor: Descriptor, file: Arc<File>, place: Place) -> Self {
        Self { descriptor, file, place }
    }
}

impl BlobSource for ArchiveBlob {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn open_at(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        match &self.place {
            Place::Range { offset, size } => {
                let skipped = from.min(*size);
                Ok(Box::new(Range { file: Arc::clone(&self.file), at: offset + skipped, left: size - skipped }))
            }
            Place::Memory(bytes) => {
                let mut reader = Cursor::new(Arc::clone(bytes));
                reader.set_position(from.min(bytes.len() as u64));
                Ok(Box::new(reader))
            }
        }
    }
}

/// A part of a file, read without moving the file's own position.
struct Range {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
