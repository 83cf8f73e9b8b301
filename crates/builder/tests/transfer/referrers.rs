//! What refers to an image travels with it, whatever the registry can do.

use bytes::Bytes;
use oci_layout::document::ImageManifest;
use oci_layout::media_type::{OCI_EMPTY, OCI_MANIFEST};
use oci_layout::{Descriptor, Digest, Layout, Selector};
use test_registry::{Options, TestRegistry};

use crate::support::{at, client, copy, copy_with, findings, images, oci};

/// Puts an artifact that refers to `subject`; its blob too.
fn put(registry: &TestRegistry, kind: &str, subject: &Descriptor) -> Descriptor {
    let empty = registry.put_blob("a", &Bytes::from_static(b"{}"));
    let layer = registry.put_blob("a", &Bytes::from(format!("{kind} of {}", subject.digest)));
    let config = Descriptor { media_type: OCI_EMPTY.into(), ..empty };
    let mut manifest = ImageManifest::new(config, vec![layer], Default::default());
    manifest.artifact_type = Some(format!("application/x-{kind}"));
    manifest.subject = Some(Descriptor::new(subject.media_type.clone(), subject.digest, subject.size));
    let bytes = oci_layout::json::to_bytes(&manifest).unwrap().into();
    registry.put_manifest("a", None, OCI_MANIFEST, &bytes)
}

async fn listed(registry: &TestRegistry, subject: &Digest) -> Vec<String> {
    let repository = at(registry, "b").parse().unwrap();
    let found = client().referrers(&repository, subject, None).await.unwrap();
    found.into_iter().filter_map(|entry| entry.artifact_type).collect()
}

#[tokio::test]
async fn they_go_from_registry_to_layout_to_registry() {
    let from = TestRegistry::start();
    let index = from.put_index("a", Some("v1"), &images());
    let sbom = put(&from, "sbom", &index);
    let signature = put(&from, "signature", &sbom);
    let child = images()[1].descriptor.clone();
    put(&from, "provenance", &child);

    let directory = tempfile::tempdir().unwrap();
    let layout = oci(directory.path(), "v1");
    let arrived = copy(&at(&from, "a:v1"), &layout).await.unwrap();
    assert_eq!(arrived.moved.referrers, 3);
    let opened = Layout::open(directory.path()).unwrap();
    assert_eq!(findings(opened.verify()), []);
    assert_eq!(opened.resolve(Selector::Only).unwrap().digest, index.digest, "referrers are no images of their own");

    for api in [true, false] {
        let to = TestRegistry::with(Options { referrers: api, ..Options::default() });
        let arrived = copy(&layout, &at(&to, "b:v1")).await.unwrap();
        assert_eq!(arrived.moved.referrers, 3);
        assert_eq!(listed(&to, &index.digest).await, ["application/x-sbom"]);
        assert_eq!(listed(&to, &sbom.digest).await, ["application/x-signature"]);
        assert_eq!(listed(&to, &child.digest).await, ["application/x-provenance"]);
        assert!(to.manifest("b", &signature.digest.to_string()).is_some());
        // The tag is the last thing that is written.
        let log = to.log();
        let writes: Vec<&String> = log.iter().filter(|line| line.starts_with("PUT ")).collect();
        assert!(writes.last().unwrap().starts_with("PUT /v2/b/manifests/v1 "), "{writes:#?}");
        // Again: nothing moves.
        to.clear_log();
        assert_eq!(copy(&layout, &at(&to, "b:v1")).await.unwrap().moved, Default::default());
        assert!(!to.log().iter().any(|line| line.starts_with("PUT") || line.starts_with("POST")));
        // And back out of a registry that keeps them under tags.
        let other = tempfile::tempdir().unwrap();
        let arrived = copy(&at(&to, "b:v1"), &oci(other.path(), "v1")).await.unwrap();
        assert_eq!(arrived.moved.referrers, 3);
    }
}

#[tokio::test]
async fn they_stay_behind_when_told_to() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("v1"), &images());
    put(&from, "sbom", &index);
    let arrived = copy_with(&at(&from, "a:v1"), &at(&to, "b:v1"), &[], false).await.unwrap();
    assert_eq!(arrived.moved.referrers, 0);
    assert!(listed(&to, &index.digest).await.is_empty());
    assert!(!from.log().iter().any(|line| line.contains("/referrers/")));
    // A later copy brings them, though the tag is there.
    assert_eq!(copy(&at(&from, "a:v1"), &at(&to, "b:v1")).await.unwrap().moved.referrers, 1);
    assert_eq!(listed(&to, &index.digest).await, ["application/x-sbom"]);
}

#[tokio::test]
async fn one_that_is_listed_but_gone_is_left_out() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("v1"), &images());
    let sbom = put(&from, "sbom", &index);
    from.fault(
        test_registry::Fault::on("GET", &format!("/manifests/{}", sbom.digest)).error(404, "MANIFEST_UNKNOWN").always(),
    );
    assert_eq!(copy(&at(&from, "a:v1"), &at(&to, "b:v1")).await.unwrap().moved.referrers, 0);
    assert_eq!(to.tag("b", "v1"), Some(index.digest));
}
