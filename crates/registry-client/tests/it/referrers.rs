//! Referrers, by the API and by the fallback tag; lists in pages.

use oci_layout::document::ImageManifest;
use oci_layout::media_type::{OCI_EMPTY, OCI_MANIFEST};
use oci_layout::{Descriptor, Digest};
use registry_client::{Client, Repository};
use test_registry::{Answer, Fault, Image, Options, TestRegistry};

use crate::support::{assert_log, client, push, repository};

const SBOM: &str = "application/spdx+json";

/// A manifest that refers to `subject`, and what lists show of it.
fn referrer(subject: &Descriptor, kind: &str) -> (Descriptor, bytes::Bytes) {
    let empty = Descriptor::of(OCI_EMPTY, b"{}");
    let mut manifest = ImageManifest::new(empty.clone(), vec![empty], Default::default());
    manifest.artifact_type = Some(kind.to_owned());
    manifest.subject = Some(Descriptor::new(subject.media_type.clone().as_str(), subject.digest, subject.size));
    let bytes: bytes::Bytes = oci_layout::json::to_bytes(&manifest).unwrap().into();
    let mut descriptor = Descriptor::of(OCI_MANIFEST, &bytes);
    descriptor.artifact_type = Some(kind.to_owned());
    (descriptor, bytes)
}

async fn seeded(options: Options) -> (TestRegistry, Repository, Client, Image) {
    let registry = TestRegistry::with(options);
    let image = Image::new(1, "linux/amd64", &[10]);
    registry.put_image("a", Some("x"), &image);
    let (client, repo) = (client(), repository(&registry, "a"));
    push(&client, &repo, &bytes::Bytes::from_static(b"{}")).await.unwrap();
    registry.clear_log();
    (registry, repo, client, image)
}

#[tokio::test]
async fn the_api_lists_what_refers() {
    let (registry, repo, client, image) = seeded(Options::default()).await;
    let subject = image.descriptor.digest;
    assert!(client.referrers(&repo, &subject, None).await.unwrap().is_empty());
    let (descriptor, bytes) = referrer(&image.descriptor, SBOM);
    client.put_referrer(&repo, &subject, &descriptor, bytes).await.unwrap();
    let found = client.referrers(&repo, &subject, Some(SBOM)).await.unwrap();
    assert_eq!(found.iter().map(|d| d.digest).collect::<Vec<_>>(), [descriptor.digest]);
    assert!(client.referrers(&repo, &subject, Some("application/other")).await.unwrap().is_empty());
    assert_log(
        &registry,
        &[
            "GET /v2/a/referrers/# 200",
            "PUT /v2/a/manifests/# 201",
            "GET /v2/a/referrers/#?artifactType=application%2Fspdx%2Bjson 200",
            "GET /v2/a/referrers/#?artifactType=application%2Fother 200",
        ],
    );
}

#[tokio::test]
async fn without_the_api_the_fallback_tag_is_kept_up() {
    let (registry, repo, client, image) = seeded(Options { referrers: false, ..Options::default() }).await;
    let subject = image.descriptor.digest;
    let tag = subject.to_string().replace(':', "-");
    for kind in [SBOM, "application/other"] {
        let (descriptor, bytes) = referrer(&image.descriptor, kind);
        // Twice: the second time it is there already.
        client.put_referrer(&repo, &subject, &descriptor, bytes.clone()).await.unwrap();
        client.put_referrer(&repo, &subject, &descriptor, bytes).await.unwrap();
    }
    assert_eq!(client.referrers(&repo, &subject, None).await.unwrap().len(), 2);
    assert_eq!(client.referrers(&repo, &subject, Some(SBOM)).await.unwrap().len(), 1);
    assert!(registry.manifest("a", &tag).is_some());
    let log = registry.log();
    let writes = log.iter().filter(|line| line.contains(&tag) && line.starts_with("PUT")).count();
    assert_eq!(writes, 2, "{log:#?}");
    assert!(log.iter().any(|line| line.starts_with("GET /v2/a/referrers/#") && line.ends_with(" 404")), "{log:#?}");
}

#[tokio::test]
async fn a_fallback_that_is_the_subject_itself_is_not_believed() {
    let (registry, repo, client, image) = seeded(Options { referrers: false, ..Options::default() }).await;
    let (index, bytes) = Image::index(&[image]);
    let tag = index.digest.to_string().replace(':', "-");
    registry.put_manifest("a", Some(&tag), index.media_type.as_str(), &bytes);
    assert!(client.referrers(&repo, &index.digest, None).await.unwrap().is_empty());
    assert_eq!(registry.log().len(), 2);
}

#[tokio::test]
async fn lists_go_on_over_pages_and_stay_on_the_registry() {
    let (registry, repo, client, image) = seeded(Options::default()).await;
    for number in 0..5 {
        registry.put_manifest("a", Some(&format!("t{number}")), OCI_MANIFEST, &image.manifest);
    }
    let paged = |request: &mut test_registry::Request| {
        if !request.target.contains('?') {
            request.target.push_str("?n=2");
        }
    };
    registry.fault(Fault::on("GET", "tags/list").edit_request(paged).always());
    let tags: Vec<String> = client.tags(&repo).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["t0", "t1", "t2", "t3", "t4", "x"]);
    assert_eq!(registry.log().len(), 3);

    registry.clear_faults();
    registry.fault(Fault::on("GET", "tags/list").header("Link", "<http://other.example/v2/a/tags/list>; rel=next"));
    let error = client.tags(&repo).await.unwrap_err();
    assert!(error.to_string().contains("another host"), "{error}");

    registry.fault(Fault::on("GET", "tags/list").header("Link", "</v2/a/tags/list>; rel=next").always());
    let error = client.tags(&repo).await.unwrap_err();
    assert!(error.to_string().contains("no end"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_index_means_there_is_no_api() {
    let (registry, repo, client, image) = seeded(Options::default()).await;
    let page = Answer::new(200).header("Content-Type", "text/html").body("<html>");
    registry.fault(Fault::on("GET", "/referrers/").answer(page));
    assert!(client.referrers(&repo, &image.descriptor.digest, None).await.unwrap().is_empty());
    registry.fault(Fault::on("GET", "/referrers/").body(r#"{"schemaVersion":2,"manifests":7}"#));
    assert!(client.referrers(&repo, &Digest::of(b"x"), None).await.is_err());
    assert_eq!(registry.log().len(), 3);
}

#[tokio::test]
async fn what_is_deleted_is_gone() {
    let (registry, repo, client, _) = seeded(Options::default()).await;
    assert!(client.delete_manifest(&repo, &crate::support::tag("x")).await.unwrap());
    assert!(!client.delete_manifest(&repo, &crate::support::tag("x")).await.unwrap());
    assert_log(&registry, &["DELETE /v2/a/manifests/x 202", "DELETE /v2/a/manifests/x 404"]);
}
