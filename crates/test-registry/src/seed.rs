//! Content put into the registry past its API, and looked at past it.

use bytes::Bytes;
use oci_layout::document::{Document, ImageConfig, ImageIndex, ImageManifest};
use oci_layout::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use oci_layout::{Descriptor, Digest, MediaType, Platform};

use crate::TestRegistry;

/// `size` bytes that repeat late and compress badly, the same every time for one `seed`.
pub fn blob_bytes(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// An image that was made: its documents and blobs.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest's descriptor, with its platform.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Bytes,
    /// Config and layers.
    pub blobs: Vec<(Descriptor, Bytes)>,
}

impl Image {
    /// An image for `platform` with layers of these sizes, the same every time for one `seed`.
    pub fn new(seed: u64, platform: &str, layers: &[usize]) -> Self {
        let platform: Platform = platform.parse().expect("a platform");
        let layers: Vec<(Descriptor, Bytes)> = layers
            .iter()
            .enumerate()
            .map(|(at, size)| {
                let bytes = blob_bytes(seed * 100 + at as u64, *size);
                (Descriptor::of(OCI_LAYER_GZIP, &bytes), bytes)
            })
            .collect();
        let mut config = ImageConfig::new(&platform);
        config.rootfs.diff_ids = layers.iter().map(|(descriptor, _)| descriptor.digest).collect();
        let config = Bytes::from(oci_layout::json::to_bytes(&config).expect("a config is JSON"));
        let config_descriptor = Descriptor::of(OCI_CONFIG, &config);
        let descriptors = layers.iter().map(|(descriptor, _)| descriptor.clone()).collect();
        let manifest = ImageManifest::new(config_descriptor.clone(), descriptors, Default::default());
        let manifest = Bytes::from(oci_layout::json::to_bytes(&manifest).expect("a manifest is JSON"));
        let mut blobs = vec![(config_descriptor, config)];
        blobs.extend(layers);
        let descriptor = Descriptor::of(OCI_MANIFEST, &manifest).with_platform(platform);
        Self { descriptor, manifest, blobs }
    }

    /// The index of `images`.
    pub fn index(images: &[Self]) -> (Descriptor, Bytes) {
        let index = ImageIndex::new(images.iter().map(|image| image.descriptor.clone()).collect(), Default::default());
        let bytes = Bytes::from(oci_layout::json::to_bytes(&index).expect("an index is JSON"));
        (Descriptor::of(OCI_INDEX, &bytes), bytes)
    }
}

impl TestRegistry {
    /// Puts a blob into a repository.
    pub fn put_blob(&self, repository: &str, bytes: &Bytes) -> Descriptor {
        let descriptor = Descriptor::of(OCI_LAYER_GZIP, bytes);
        self.put_blob_as(repository, descriptor.digest, bytes);
        descriptor
    }

    /// Puts bytes into a repository under any digest: they may be the wrong ones.
    pub fn put_blob_as(&self, repository: &str, digest: Digest, bytes: &Bytes) {
        let mut state = self.shared.lock();
        state.store.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest, bytes.clone());
    }

    /// Takes a blob away.
    pub fn remove_blob(&self, repository: &str, digest: &Digest) {
        let mut state = self.shared.lock();
        state.store.repositories.entry(repository.to_owned()).or_default().blobs.remove(digest);
    }

    /// Puts any bytes as a manifest, unchecked.
    pub fn put_manifest(&self, repository: &str, tag: Option<&str>, kind: &str, bytes: &Bytes) -> Descriptor {
        let descriptor = Descriptor::of(kind, bytes);
        self.put_manifest_as(repository, tag, kind, descriptor.digest, bytes);
        descriptor
    }

    /// The same under any digest.
    pub fn put_manifest_as(&self, repository: &str, tag: Option<&str>, kind: &str, digest: Digest, bytes: &Bytes) {
        let mut state = self.shared.lock();
        let repository = state.store.repositories.entry(repository.to_owned()).or_default();
        repository.manifests.insert(digest, (MediaType::from(kind), bytes.clone()));
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest);
        }
        if let Ok(document) = Document::parse(bytes, &kind.into())
            && let Document::Manifest(manifest) = &document
            && let Some(subject) = &manifest.subject
        {
            let entry = crate::api::referrer(&document, kind.into(), digest, bytes.len() as u64);
            repository.referrers.entry(subject.digest).or_default().push(entry);
        }
    }

    /// Puts an image with everything that belongs to it.
    pub fn put_image(&self, repository: &str, tag: Option<&str>, image: &Image) {
        for (_, bytes) in &image.blobs {
            self.put_blob(repository, bytes);
        }
        self.put_manifest(repository, tag, image.descriptor.media_type.as_str(), &image.manifest);
    }

    /// Puts images and their index.
    pub fn put_index(&self, repository: &str, tag: Option<&str>, images: &[Image]) -> Descriptor {
        for image in images {
            self.put_image(repository, None, image);
        }
        let (_, bytes) = Image::index(images);
        self.put_manifest(repository, tag, OCI_INDEX, &bytes)
    }

    /// The bytes of a blob.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        self.shared.lock().store.repositories.get(repository)?.blobs.get(digest).cloned()
    }

    /// The bytes of a manifest, by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Bytes> {
        let state = self.shared.lock();
        let repository = state.store.repositories.get(repository)?;
        let digest = repository.resolve(reference)?;
        repository.manifests.get(&digest).map(|(_, bytes)| bytes.clone())
    }

    /// The digest that a tag names.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.shared.lock().store.repositories.get(repository)?.tags.get(tag).copied()
    }

    /// Uploads that were begun and neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.shared.lock().store.uploads.len()
    }
}
