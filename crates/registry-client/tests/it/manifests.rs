//! Manifests and indexes.

use registry_client::{ErrorKind, TagOrDigest};
use test_registry::{Fault, Image, TestRegistry};

use crate::support::{assert_log, client, noting, repository, tag};

#[tokio::test]
async fn what_is_put_is_what_is_read() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "team/app");
    let client = client();
    let image = Image::new(1, "linux/amd64", &[1000]);
    for (_, bytes) in &image.blobs {
        crate::support::push(&client, &repo, bytes).await.unwrap();
    }
    registry.clear_log();
    assert_eq!(client.head_manifest(&repo, &tag("v1")).await.unwrap(), None);
    client.put_manifest(&repo, &tag("v1"), &image.descriptor.media_type, image.manifest.clone()).await.unwrap();
    let head = client.head_manifest(&repo, &tag("v1")).await.unwrap().unwrap();
    assert_eq!((head.digest, head.size), (image.descriptor.digest, image.descriptor.size));
    let fetched = client.manifest(&repo, &TagOrDigest::Digest(head.digest)).await.unwrap();
    assert_eq!(fetched.bytes, image.manifest);
    assert_eq!(fetched.descriptor.media_type, image.descriptor.media_type);
    assert_log(
        &registry,
        &[
            "HEAD /v2/team/app/manifests/v1 404",
            "PUT /v2/team/app/manifests/v1 201",
            "HEAD /v2/team/app/manifests/v1 200",
            "GET /v2/team/app/manifests/# 200",
        ],
    );
}

#[tokio::test]
async fn a_head_without_what_makes_a_descriptor_becomes_a_get() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "a");
    let image = Image::new(1, "linux/amd64", &[10]);
    registry.put_image("a", Some("x"), &image);
    registry.fault(Fault::on("HEAD", "manifests").without_header("Docker-Content-Digest").always());
    let head = client().head_manifest(&repo, &tag("x")).await.unwrap().unwrap();
    assert_eq!(head.digest, image.descriptor.digest);
    assert_log(&registry, &["HEAD /v2/a/manifests/x 200", "GET /v2/a/manifests/x 200"]);
}

#[tokio::test]
async fn r17_a_wrong_digest_header_is_a_warning() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "a");
    let image = Image::new(1, "linux/amd64", &[10]);
    registry.put_image("a", Some("x"), &image);
    let other = oci_layout::Digest::of(b"other").to_string();
    registry.fault(Fault::on("GET", "manifests").header("Docker-Content-Digest", other.clone()));
    let (config, notices) = noting();
    let client = registry_client::Client::new(config).unwrap();
    let fetched = client.manifest(&repo, &tag("x")).await.unwrap();
    assert_eq!(fetched.descriptor.digest, image.descriptor.digest, "our own hash decides");
    let notices = notices.lock().unwrap();
    assert!(
        matches!(&notices[..], [notice] if notice.is_warning() && notice.to_string().contains(&other)),
        "{notices:?}"
    );
    assert_log(&registry, &["GET /v2/a/manifests/x 200"]);
}

#[tokio::test]
async fn missing_manifests_are_not_found() {
    let registry = TestRegistry::start();
    let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("MANIFEST_UNKNOWN"), "{error}");
    assert_log(&registry, &["GET /v2/a/manifests/x 404"]);
}
