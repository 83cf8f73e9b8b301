//! What mab writes, read by crates that are not mab's: `oci-client` pulls it and verifies every
//! digest, `oci-spec` parses every document.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod reading;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use oci_spec::image::{
    ANNOTATION_BASE_IMAGE_DIGEST, ANNOTATION_BASE_IMAGE_NAME, ImageConfiguration, ImageIndex, ImageManifest, MediaType,
    OciLayout,
};
use test_registry::TestRegistry;

use crate::reading::{PLATFORMS, gunzip, pull, sha256};

/// Runs mab in `directory` with an empty environment, and gives what it prints.
fn mab(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
    let output = command.env_clear().env("HOME", directory).current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A build file in a directory of its own, with a file `x` beside it.
fn build_file(under: &Path, name: &str, text: &str) -> PathBuf {
    let directory = under.join(name);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("x"), name).unwrap();
    fs::write(directory.join("build.yaml"), text).unwrap();
    directory
}

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
