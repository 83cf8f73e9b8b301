//! A copy is reading a tree and publishing it.

use oci_layout::document::{Document, ImageManifest};
use oci_layout::media_type::{OCI_EMPTY, OCI_MANIFEST};
use oci_layout::{Descriptor, Digest};
use registry_client::{Client, Error, Publication, Published, Repository};
use test_registry::{Fault, Image, TestRegistry};

use crate::support::{client, config, repository, tag};

async fn copy(client: &Client, from: &Repository, to: &Repository) -> Result<Published, Error> {
    let tree = client.read_tree(from, &tag("x")).await?;
    let all: Vec<Publication> = tree.iter().map(|node| node.publication(client, from)).collect();
    client.publish(to, &all, &["x".parse().unwrap()], &|_, _| {}).await
}

fn images() -> Vec<Image> {
    vec![Image::new(1, "linux/amd64", &[90_000, 10]), Image::new(2, "linux/arm64", &[90_000, 10])]
}

#[tokio::test]
async fn a_copy_has_the_same_bytes() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("x"), &images());
    let published = copy(&client(), &repository(&from, "a"), &repository(&to, "b")).await.unwrap();
    let bytes = images().iter().flat_map(|image| &image.blobs).map(|(blob, _)| blob.size).sum();
    assert_eq!(published, Published { uploaded: 6, bytes, manifests: 3, tags: 1, ..Published::default() });
    assert_eq!(to.tag("b", "x"), Some(index.digest));
    for reference in [index.digest.to_string(), images()[0].descriptor.digest.to_string()] {
        assert_eq!(from.manifest("a", &reference), to.manifest("b", &reference));
    }
    let blobs = from.requests().iter().filter(|r| r.method == "GET" && r.target.contains("/blobs/")).count();
    assert_eq!(blobs, 6, "each blob is read once");
}

#[tokio::test]
async fn within_a_registry_no_byte_of_a_blob_is_sent() {
    let registry = TestRegistry::start();
    registry.put_index("a", Some("x"), &images());
    let published = copy(&client(), &repository(&registry, "a"), &repository(&registry, "b")).await.unwrap();
    assert_eq!((published.mounted, published.uploaded), (6, 0));
    let log = registry.log();
    assert!(!log.iter().any(|line| line.starts_with("GET /v2/a/blobs/") || line.contains("uploads/ID")), "{log:#?}");
}

#[tokio::test]
async fn a_copy_that_broke_off_goes_on_where_it_stopped() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    from.put_index("a", Some("x"), &images());
    to.fault(Fault::on("PUT", "digest=").after(3).error(400, "DIGEST_INVALID").always());
    let (source, target) = (repository(&from, "a"), repository(&to, "b"));
    // One after the other, so that it is known which have arrived when one is refused.
    let mut config = config();
    config.limits.per_host = 1;
    let client = Client::new(config).unwrap();
    copy(&client, &source, &target).await.unwrap_err();
    assert_eq!(to.tag("b", "x"), None);
    let arrived = |to: &TestRegistry| {
        images()
            .iter()
            .flat_map(|image| image.blobs.clone())
            .filter(|(blob, _)| to.blob("b", &blob.digest).is_some())
            .count()
    };
    let before = arrived(&to);
    assert_eq!(before, 3);
    to.clear_faults();
    let again = copy(&client, &source, &target).await.unwrap();
    assert_eq!((again.existed, again.uploaded), (before, 6 - before));
    assert!(to.tag("b", "x").is_some());
}

#[tokio::test]
async fn artifacts_and_layers_from_elsewhere_come_along_as_they_are() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let config = Descriptor::of(OCI_EMPTY, b"{}");
    from.put_blob("a", &bytes::Bytes::from_static(b"{}"));
    let mut foreign =
        Descriptor::new("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Digest::of(b"x"), 1);
    foreign.urls = vec!["https://elsewhere.example/layer".to_owned()];
    let mut manifest = ImageManifest::new(config, vec![foreign], Default::default());
    manifest.artifact_type = Some("application/vnd.example".to_owned());
    let bytes = oci_layout::json::to_bytes(&manifest).unwrap().into();
    from.put_manifest("a", Some("x"), OCI_MANIFEST, &bytes);
    let published = copy(&client(), &repository(&from, "a"), &repository(&to, "b")).await.unwrap();
    assert_eq!((published.uploaded, published.manifests), (1, 1));
    assert_eq!(to.manifest("b", "x").unwrap(), bytes);
    let tree = client().read_tree(&repository(&to, "b"), &tag("x")).await.unwrap();
    assert!(matches!(&tree[0].document, Document::Manifest(found) if found.artifact_type == manifest.artifact_type));
}
