//! Pulling an image with `oci-client` and parsing it with `oci-spec`.

use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_spec::distribution::Reference;
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use sha2::{Digest, Sha256};

/// What the images here are for.
pub(crate) const PLATFORMS: [&str; 5] = ["linux/amd64", "linux/arm/v7", "linux/arm64", "linux/ppc64le", "linux/s390x"];

/// What an image said about itself, with its layers unpacked.
pub(crate) struct Pulled {
    pub(crate) manifest_digest: String,
    pub(crate) manifest: ImageManifest,
    pub(crate) config: ImageConfiguration,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Pulled {
    pub(crate) fn layer_digests(&self) -> Vec<String> {
        self.manifest.layers().iter().map(|layer| layer.digest().to_string()).collect()
    }

    pub(crate) fn annotation(&self, key: &str) -> &str {
        self.manifest.annotations().as_ref().unwrap()[key].as_str()
    }

    /// Paths of the files of the last layer, as its archive names them.
    pub(crate) fn last_layer(&self) -> Vec<String> {
        let mut archive = tar::Archive::new(self.layers.last().unwrap().as_slice());
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned()).collect()
    }
}

/// An index and the image of each of its platforms, in the index's order.
pub(crate) struct PulledIndex {
    pub(crate) digest: String,
    pub(crate) index: ImageIndex,
    pub(crate) images: Vec<(String, Pulled)>,
}

impl PulledIndex {
    pub(crate) fn platforms(&self) -> Vec<&str> {
        self.images.iter().map(|(platform, _)| platform.as_str()).collect()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(bytes), &mut tar).unwrap();
    tar
}

/// Pulls an index and everything that it refers to. oci-client compares each digest; that the
/// documents agree with each other is compared here.
pub(crate) fn pull(reference: &str) -> PulledIndex {
    // reqwest is built without a provider of cryptography of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        let client = Client::new(config);
        let auth = RegistryAuth::Anonymous;
        let reference: Reference = reference.parse().unwrap();
        let (theirs, digest) = client.pull_manifest(&reference, &auth).await.unwrap();
        let OciManifest::ImageIndex(theirs) = theirs else { panic!("{reference} is no index") };
        let accepted = [theirs.media_type.as_deref().unwrap()];
        let (bytes, _) = client.pull_manifest_raw(&reference, &auth, &accepted).await.unwrap();
        assert_eq!(sha256(&bytes), digest);
        let index = ImageIndex::from_reader(&bytes[..]).unwrap();

        let mut images = Vec::new();
        for (entry, theirs) in index.manifests().iter().zip(&theirs.manifests) {
            assert_eq!(entry.digest().to_string(), theirs.digest);
            let platform = entry.platform().as_ref().unwrap();
            let one = reference.clone_with_digest(theirs.digest.clone());
            let data = client.pull(&one, &auth, vec![IMAGE_LAYER_GZIP_MEDIA_TYPE]).await.unwrap();
            let (bytes, manifest_digest) =
                client.pull_manifest_raw(&one, &auth, &[theirs.media_type.as_str()]).await.unwrap();
            assert_eq!((manifest_digest.as_str(), bytes.len() as u64), (theirs.digest.as_str(), entry.size()));
            let manifest = ImageManifest::from_reader(&bytes[..]).unwrap();
            let config = ImageConfiguration::from_reader(&data.config.data[..]).unwrap();
            assert_eq!(config.architecture(), platform.architecture());
            assert_eq!(config.os(), platform.os());
            assert_eq!(config.variant(), platform.variant());
            // The layers come in the order in which they arrived.
            let layers: Vec<Vec<u8>> = manifest
                .layers()
                .iter()
                .map(|wanted| {
                    let found =
                        |layer: &&oci_client::client::ImageLayer| layer.sha256_digest() == wanted.digest().to_string();
                    let layer = data.layers.iter().find(found).expect("each layer was pulled");
                    assert_eq!(layer.data.len() as u64, wanted.size());
                    gunzip(&layer.data)
                })
                .collect();
            let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
            assert_eq!(config.rootfs().diff_ids(), &diff_ids);
            let written = config.history().iter().flatten().filter(|entry| entry.empty_layer() != Some(true));
            assert_eq!(written.count(), layers.len());
            let mut name = format!("{}/{}", platform.os(), platform.architecture());
            if let Some(variant) = platform.variant() {
                name = format!("{name}/{variant}");
            }
            images.push((name, Pulled { manifest_digest, manifest, config, layers }));
        }
        PulledIndex { digest, index, images }
    })
}
