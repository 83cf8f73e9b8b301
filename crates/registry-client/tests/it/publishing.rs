//! Publishing: the order, and how little is asked where there is little to do.

use std::sync::Arc;

use oci_layout::Descriptor;
use registry_client::{Client, ErrorKind, MemorySource, Publication, Repository, UploadSource};
use test_registry::{Fault, Image, TestRegistry};

use crate::support::{assert_log, client, config, repository};

/// What publishing `images` under one index takes.
pub(crate) fn publications(images: &[Image]) -> Vec<Publication> {
    let mut all: Vec<Publication> = images
        .iter()
        .map(|image| Publication {
            descriptor: image.descriptor.clone(),
            bytes: image.manifest.clone(),
            blobs: image
                .blobs
                .iter()
                .map(|(descriptor, bytes)| {
                    Arc::new(MemorySource::new(descriptor.clone(), bytes.clone())) as Arc<dyn UploadSource>
                })
                .collect(),
            mount_from: Vec::new(),
        })
        .collect();
    let (descriptor, bytes) = Image::index(images);
    all.push(Publication { descriptor, bytes, blobs: Vec::new(), mount_from: Vec::new() });
    all
}

fn images(seed: u64) -> Vec<Image> {
    vec![Image::new(seed, "linux/amd64", &[5000]), Image::new(seed + 1, "linux/arm64", &[5000])]
}

async fn publish(
    client: &Client,
    repo: &Repository,
    images: &[Image],
    tag: &str,
) -> Result<registry_client::Published, registry_client::Error> {
    client.publish(repo, &publications(images), &[tag.parse().unwrap()], &|_, _| {}).await
}

#[tokio::test]
async fn what_the_tag_names_already_takes_one_request() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "app");
    let first = publish(&client(), &repo, &images(1), "v1").await.unwrap();
    assert_eq!((first.uploaded, first.manifests, first.tags), (4, 3, 1));
    registry.clear_log();
    publish(&client(), &repo, &images(1), "v1").await.unwrap();
    assert_log(&registry, &["HEAD /v2/app/manifests/v1 200"]);
    registry.clear_log();
    let again = publish(&client(), &repo, &images(1), "v2").await.unwrap();
    assert_eq!((again.uploaded, again.manifests, again.tags), (0, 0, 1));
    assert_log(
        &registry,
        &[
            "HEAD /v2/app/manifests/v2 404",
            "HEAD /v2/app/manifests/# 200",
            "HEAD /v2/app/manifests/# 200",
            "HEAD /v2/app/manifests/# 200",
            "PUT /v2/app/manifests/v2 201",
        ],
    );
    assert_eq!(registry.tag("app", "v2"), registry.tag("app", "v1"));
}

#[tokio::test]
async fn blobs_travel_before_the_rest_is_there_and_each_once() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "app");
    // Both have the same layer.
    let images = [Image::new(1, "linux/amd64", &[5000]), Image::new(1, "linux/arm64", &[5000])];
    let all = publications(&images);
    let client = client();
    let publishing = client.publishing(&repo).unwrap();
    let sent = futures_util::future::try_join(
        publishing.send_blobs(&all[0], &|_, _| {}),
        publishing.send_blobs(&all[1], &|_, _| {}),
    );
    assert_eq!(sent.await.unwrap(), (true, true));
    assert!(registry.log().iter().all(|line| !line.starts_with("PUT /v2/app/manifests/")), "{:#?}", registry.log());
    let before = registry.log().len();
    let published = publishing.finish(&all, &["v1".parse().unwrap()], &|_, _| {}).await.unwrap();
    assert_eq!((published.uploaded, published.existed, published.manifests, published.tags), (3, 0, 3, 1));
    let log = registry.log();
    let after: Vec<&str> = log[before..].iter().filter_map(|line| line.split_once(' ')).map(|(m, _)| m).collect();
    assert_eq!(after, ["HEAD", "HEAD", "PUT", "PUT", "PUT", "PUT"], "{log:#?}");

    let again = client.publishing(&repo).unwrap();
    assert!(!again.send_blobs(&all[0], &|_, _| {}).await.unwrap(), "the registry has the manifest");
}

#[tokio::test]
async fn r37_a_blob_that_vanished_is_sent_again_once() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "app");
    registry.fault(Fault::on("PUT", "/manifests/").error(404, "MANIFEST_BLOB_UNKNOWN"));
    let images = images(1);
    publish(&client(), &repo, &images[..1], "v1").await.unwrap();
    assert!(registry.tag("app", "v1").is_some());
    let log = registry.log();
    let after: Vec<&str> = log
        .iter()
        .skip_while(|line| !line.starts_with("PUT /v2/app/manifests/"))
        .map(|line| line.split([' ', '/']).next().unwrap())
        .collect();
    // The refused PUT, a look at both blobs, the PUT again, the index, the tag.
    assert_eq!(after, ["PUT", "HEAD", "HEAD", "PUT", "PUT", "PUT"], "{log:#?}");

    registry.fault(Fault::on("PUT", "/manifests/").error(404, "MANIFEST_BLOB_UNKNOWN").always());
    let error = publish(&client(), &repo, &[Image::new(9, "linux/386", &[1])], "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn r50_a_child_that_fails_leaves_the_tag_alone() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "app");
    publish(&client(), &repo, &images(1), "v1").await.unwrap();
    let old = registry.tag("app", "v1").unwrap();
    let new = images(10);
    let child = new[1].descriptor.digest.to_string();
    registry.clear_log();
    registry.fault(Fault::on("PUT", &format!("/manifests/{child}")).error(400, "MANIFEST_INVALID").always());
    let error = publish(&client(), &repo, &new, "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(registry.tag("app", "v1"), Some(old));
    let index = Image::index(&new).0.digest.to_string();
    let written = |what: &str| registry.requests().iter().any(|r| r.method == "PUT" && r.target.ends_with(what));
    assert!(!written("/manifests/v1"), "the tag");
    assert!(!written(&index), "the index");
    assert!(registry.manifest("app", &old.to_string()).is_some());
}

#[tokio::test]
async fn c05_one_tag_pushed_twice_at_once_is_one_complete_index() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "app");
    let tasks: Vec<_> = [1, 10, 20, 30]
        .map(|seed| {
            let repo = repo.clone();
            tokio::spawn(async move { publish(&client(), &repo, &images(seed), "v1").await })
        })
        .into();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let tree = client().read_tree(&repo, &crate::support::tag("v1")).await.unwrap();
    let root: &Descriptor = &tree.last().unwrap().descriptor;
    assert!([1, 10, 20, 30].iter().any(|seed| Image::index(&images(*seed)).0.digest == root.digest));
    assert_eq!(tree.len(), 3, "both children are there");
    let puts = registry.requests().iter().filter(|r| r.method == "PUT" && r.target.ends_with("/manifests/v1")).count();
    assert_eq!(puts, 4);
}

#[tokio::test]
async fn r38_an_immutable_tag_with_the_same_digest_is_success() {
    let options = test_registry::Options { immutable_tags: true, ..Default::default() };
    let registry = TestRegistry::with(options);
    let repo = repository(&registry, "app");
    let images = images(1);
    publish(&client(), &repo, &images, "v1").await.unwrap();
    registry.clear_log();
    let (descriptor, bytes) = Image::index(&images);
    // By itself, past the HEAD that publishing begins with: somebody else was faster.
    client().put_manifest(&repo, &crate::support::tag("v1"), &descriptor.media_type, bytes).await.unwrap();
    assert_log(&registry, &["PUT /v2/app/manifests/v1 400", "HEAD /v2/app/manifests/v1 200"]);
}

#[tokio::test]
async fn r39_an_immutable_tag_with_another_digest_fails() {
    let options = test_registry::Options { immutable_tags: true, ..Default::default() };
    let registry = TestRegistry::with(options);
    let repo = repository(&registry, "app");
    publish(&client(), &repo, &images(1), "v1").await.unwrap();
    let old = registry.tag("app", "v1").unwrap();
    registry.clear_log();
    let error = publish(&Client::new(config()).unwrap(), &repo, &images(10), "v1").await.unwrap_err();
    assert!(matches!(error, registry_client::Error::Immutable { existing, .. } if existing == old), "{error:?}");
    assert!(error.to_string().contains("cannot be moved"), "{error}");
    assert_eq!(registry.tag("app", "v1"), Some(old));
    let log = registry.log();
    assert_eq!(&log[log.len() - 2..], ["PUT /v2/app/manifests/v1 400", "HEAD /v2/app/manifests/v1 200"]);
}

#[tokio::test]
async fn whether_a_push_is_allowed_leaves_nothing_behind() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "app");
    client().check_push(&repo).await.unwrap();
    let log = registry.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!(log[0], "POST /v2/app/blobs/uploads/ 202");
    assert!(log[1].starts_with("DELETE /v2/app/blobs/uploads/") && log[1].ends_with(" 204"), "{log:?}");

    registry.clear_log();
    registry.fault(Fault::on("POST", "/blobs/uploads/").error(404, "NAME_UNKNOWN"));
    let error = client().check_push(&repo).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_log(&registry, &["POST /v2/app/blobs/uploads/ 404"]);

    // A registry that keeps its sessions to itself takes pushes all the same.
    registry.clear_log();
    registry.fault(Fault::on("DELETE", "/blobs/uploads/").status(405));
    client().check_push(&repo).await.unwrap();
}
