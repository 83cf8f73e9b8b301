//! What mab writes, read by crates that are not mab's: `oci-client` pulls it and verifies every
//! digest, `oci-spec` parses every document.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_spec::distribution::Reference;
use oci_spec::image::{
    ANNOTATION_BASE_IMAGE_DIGEST, ANNOTATION_BASE_IMAGE_NAME, ImageConfiguration, ImageIndex, ImageManifest, MediaType,
    OciLayout,
};
use sha2::{Digest, Sha256};
use test_registry::TestRegistry;

/// Runs mab in `directory` with an empty environment, and gives what it prints.
fn mab(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
    let output = command.env_clear().env("HOME", directory).current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// What an image said about itself, with its layers unpacked.
struct Pulled {
    manifest_digest: String,
    manifest: ImageManifest,
    config: ImageConfiguration,
    layers: Vec<Vec<u8>>,
}

impl Pulled {
    fn layer_digests(&self) -> Vec<String> {
        self.manifest.layers().iter().map(|layer| layer.digest().to_string()).collect()
    }

    fn annotation(&self, key: &str) -> &str {
        self.manifest.annotations().as_ref().unwrap()[key].as_str()
    }

    /// Paths of the files of the last layer, as its archive names them.
    fn last_layer(&self) -> Vec<String> {
        let mut archive = tar::Archive::new(self.layers.last().unwrap().as_slice());
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned()).collect()
    }
}

/// An index and the image of each of its platforms, in the index's order.
struct PulledIndex {
    digest: String,
    index: ImageIndex,
    images: Vec<(String, Pulled)>,
}

impl PulledIndex {
    fn platforms(&self) -> Vec<&str> {
        self.images.iter().map(|(platform, _)| platform.as_str()).collect()
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(bytes), &mut tar).unwrap();
    tar
}

/// Pulls an index and everything that it refers to. oci-client compares each digest; that the
/// documents agree with each other is compared here.
fn pull(reference: &str) -> PulledIndex {
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

/// A build file in a directory of its own, with a file `x` beside it.
fn build_file(under: &Path, name: &str, text: &str) -> PathBuf {
    let directory = under.join(name);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("x"), name).unwrap();
    fs::write(directory.join("build.yaml"), text).unwrap();
    directory
}

const PLATFORMS: [&str; 5] = ["linux/amd64", "linux/arm/v7", "linux/arm64", "linux/ppc64le", "linux/s390x"];

#[test]
fn a_pushed_index_is_pulled_by_oci_client_and_parsed_by_oci_spec() {
    let registry = TestRegistry::start();
    let host = registry.host();
    let directory = tempfile::tempdir().unwrap();
    let base = build_file(
        directory.path(),
        "base",
        &format!(
            "version: 1\nimage: {host}/base/small\ntags: [one]\nplatforms: [{}]\nbase: scratch\n\
             files: [{{from: x, to: /etc/x}}]\n",
            PLATFORMS.join(", ")
        ),
    );
    let base_reference = mab(&base, &["build", "--push"]);
    let image = build_file(
        directory.path(),
        "image",
        &format!(
            "version: 1\nimage: {host}/team/image\ntags: [v1, latest]\nplatforms: [{}]\nbase: {host}/base/small:one\n\
             directories: [{{path: /data, owner: \"7:8\", mode: \"0750\"}}]\nfiles: [{{from: x, to: /srv/x, mode: \"0755\"}}]\n\
             config: {{user: \"7:8\", entrypoint: [/srv/x], env: {{A: b}}, workdir: /data, expose: [80/tcp]}}\n\
             allow: [entrypoint]\nlabels: {{one: two}}\nannotations: {{org.opencontainers.image.title: three}}\n",
            PLATFORMS.join(", ")
        ),
    );
    let reference = mab(&image, &["build", "--push"]);

    let below = pull(&base_reference);
    let pulled = pull(&reference);
    assert!(reference.ends_with(&pulled.digest), "{reference}");
    assert_eq!(pull(&format!("{host}/team/image:v1")).digest, pulled.digest);
    assert_eq!(pulled.index.media_type(), &Some(MediaType::ImageIndex));
    assert_eq!(pulled.platforms(), PLATFORMS);
    let annotations = pulled.index.annotations().as_ref().unwrap();
    assert_eq!(annotations[ANNOTATION_BASE_IMAGE_DIGEST], below.digest);
    assert_eq!(annotations[ANNOTATION_BASE_IMAGE_NAME], format!("{host}/base/small:one"));
    assert_eq!(annotations["org.opencontainers.image.title"], "three");

    for ((platform, image), (_, base)) in pulled.images.iter().zip(&below.images) {
        assert_eq!(image.manifest.media_type(), &Some(MediaType::ImageManifest), "{platform}");
        assert_eq!(image.annotation(ANNOTATION_BASE_IMAGE_DIGEST), base.manifest_digest, "{platform}");
        assert!(image.layer_digests().starts_with(&base.layer_digests()), "{platform}");
        assert_eq!(image.last_layer().last().unwrap(), "srv/x", "{platform}");
        let config = image.config.config().as_ref().unwrap();
        assert_eq!(config.user().as_deref(), Some("7:8"));
        assert_eq!(config.entrypoint(), &Some(vec!["/srv/x".to_owned()]));
        assert_eq!(config.env(), &Some(vec!["A=b".to_owned()]));
        assert_eq!(config.working_dir().as_deref(), Some("/data"));
        assert_eq!(config.exposed_ports(), &Some(vec!["80/tcp".to_owned()]));
        assert_eq!(config.labels().as_ref().unwrap()["one"], "two");
    }
}

#[test]
fn a_layout_is_parsed_by_oci_spec() {
    let directory = tempfile::tempdir().unwrap();
    let directory = build_file(
        directory.path(),
        "layout",
        "version: 1\nplatforms: [linux/amd64, linux/arm/v7]\nbase: static\nfiles: [{from: x, to: /srv/x}]\n",
    );
    let reference = mab(&directory, &["build", "-o", "oci:out", "--tag", "v1"]);
    let layout = directory.join("out");
    assert_eq!(OciLayout::from_file(layout.join("oci-layout")).unwrap().image_layout_version(), "1.0.0");

    let blob = |digest: &str| {
        let bytes = fs::read(layout.join("blobs").join(digest.replacen(':', "/", 1))).unwrap();
        assert_eq!(sha256(&bytes), digest);
        bytes
    };
    let top = ImageIndex::from_file(layout.join("index.json")).unwrap();
    let [entry] = &top.manifests()[..] else { panic!("{top:?}") };
    assert_eq!(entry.annotations().as_ref().unwrap()["org.opencontainers.image.ref.name"], "v1");
    let digest = entry.digest().to_string();
    assert!(reference.ends_with(&digest), "{reference}");
    let index = ImageIndex::from_reader(&blob(&digest)[..]).unwrap();
    assert_eq!(index.manifests().len(), 2);
    for entry in index.manifests() {
        let manifest = ImageManifest::from_reader(&blob(entry.digest().as_ref())[..]).unwrap();
        let config = ImageConfiguration::from_reader(&blob(manifest.config().digest().as_ref())[..]).unwrap();
        assert_eq!(config.architecture(), entry.platform().as_ref().unwrap().architecture());
        let diff_ids = manifest.layers().iter().map(|layer| sha256(&gunzip(&blob(layer.digest().as_ref()))));
        assert_eq!(config.rootfs().diff_ids(), &diff_ids.collect::<Vec<_>>());
    }
}

/// The end-to-end tests run this on images that are in a real registry:
/// `MAB_READ="REFERENCE…" cargo test -p mab --test other_readers -- --ignored`
#[test]
#[ignore = "wants a registry with images of mab's, whose references are in MAB_READ"]
fn images_in_a_real_registry_are_pulled_and_parsed() {
    let references = std::env::var("MAB_READ").expect("MAB_READ names images");
    let references: Vec<&str> = references.split_whitespace().collect();
    assert!(!references.is_empty(), "MAB_READ names images");
    for reference in references {
        let pulled = pull(reference);
        assert!(reference.ends_with(&pulled.digest), "{reference}");
        assert_eq!(pulled.platforms(), PLATFORMS, "{reference}");
        for (platform, image) in &pulled.images {
            assert!(image.layers.len() >= 2, "{reference} {platform}: a base and a program");
            assert_eq!(image.manifest.config().media_type(), &MediaType::ImageConfig);
        }
        println!("{reference}: read");
    }
}
