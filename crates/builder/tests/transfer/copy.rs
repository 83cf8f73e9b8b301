//! Copies between all kinds of places, and how little is asked.

use std::sync::Arc;

use builder::event::{Event, Outcome};
use builder::transfer::{self, CopyRequest, Moved, TransferError};
use bytes::Bytes;
use oci_layout::document::{Document, ImageIndex, ImageManifest};
use oci_layout::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use oci_layout::{Descriptor, Digest, Layout, Platform, Selector};
use test_registry::{Fault, Image, TestRegistry};

use crate::support::{Told, at, client, copy, copy_with, findings, images, oci, place, silent};

fn short(registry: &TestRegistry) -> Vec<String> {
    let short = |line: &String| {
        let (request, _) = line.rsplit_once(' ').unwrap();
        request.split_once('#').map_or(request.to_owned(), |(before, _)| format!("{before}#"))
    };
    registry.log().iter().map(short).collect()
}

#[tokio::test]
async fn an_image_goes_round_byte_for_byte() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("v1"), &images());
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("oci");
    let archive = format!("oci-archive:{}", directory.path().join("a.tar").display());

    let arrived = copy(&at(&from, "a:v1"), &oci(&layout, "v1")).await.unwrap();
    assert_eq!(arrived.digest, index.digest);
    assert_eq!(arrived.reference, format!("oci:{}@{}", layout.display(), index.digest));
    assert_eq!((arrived.moved.blobs, arrived.moved.documents, arrived.moved.names), (9, 4, 1));
    assert_eq!(findings(Layout::open(&layout).unwrap().verify()), []);

    let arrived = copy(&oci(&layout, "v1"), &archive).await.unwrap();
    assert_eq!(arrived.digest, index.digest);
    let opened = oci_layout::archive::Archive::open(&directory.path().join("a.tar")).unwrap();
    assert_eq!(opened.resolve(Selector::Name("v1")).unwrap().digest, index.digest);
    assert_eq!(findings(oci_layout::verify::verify(&opened, &opened.index().manifests, "a.tar")), []);

    let arrived = copy(&archive, &at(&to, "b")).await.unwrap();
    assert_eq!(arrived.reference, format!("{}@{}", at(&to, "b"), index.digest));
    assert_eq!(to.tag("b", "latest"), Some(index.digest));
    for image in images() {
        let digest = image.descriptor.digest.to_string();
        assert_eq!(from.manifest("a", &digest), to.manifest("b", &digest));
        for (blob, bytes) in &image.blobs {
            assert_eq!(to.blob("b", &blob.digest).as_ref(), Some(bytes));
        }
    }
    // Nothing but the archive and the layout is left.
    let mut names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.tar", "oci"]);
}

#[tokio::test]
async fn what_the_tag_names_already_takes_one_request() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("v1"), &images());
    let directory = tempfile::tempdir().unwrap();
    let layout = oci(directory.path(), "v1");
    copy(&at(&from, "a:v1"), &layout).await.unwrap();
    copy(&layout, &at(&to, "b:v1")).await.unwrap();
    to.clear_log();
    let again = copy(&layout, &at(&to, "b:v1")).await.unwrap();
    assert_eq!(again.moved, Moved::default());
    assert_eq!(short(&to), ["HEAD /v2/b/manifests/v1"]);

    // By its digest from the registry: the target is asked the same one question.
    to.clear_log();
    copy_with(&at(&from, &format!("a@{}", index.digest)), &at(&to, "b:v1"), &[], false).await.unwrap();
    assert_eq!(short(&to), ["HEAD /v2/b/manifests/v1"]);

    // All is there under another name.
    to.clear_log();
    let again = copy(&layout, &at(&to, "b:v2")).await.unwrap();
    assert_eq!(again.moved, Moved { names: 1, ..Moved::default() });
    assert_eq!(
        short(&to),
        [
            "HEAD /v2/b/manifests/v2",
            "HEAD /v2/b/manifests/#",
            "HEAD /v2/b/manifests/#",
            "HEAD /v2/b/manifests/#",
            "HEAD /v2/b/manifests/#",
            "PUT /v2/b/manifests/v2",
        ]
    );
}

#[tokio::test]
async fn several_tags_are_set_by_one_push() {
    let registry = TestRegistry::start();
    let directory = tempfile::tempdir().unwrap();
    let from = TestRegistry::start();
    from.put_index("a", Some("v1"), &images());
    copy(&at(&from, "a:v1"), &oci(directory.path(), "v1")).await.unwrap();
    copy(&at(&from, "a:v1"), &oci(directory.path(), "v2")).await.unwrap();
    let target = |text: &str| at(&registry, text).parse().unwrap();
    let source = builder::transfer::Location::of_path(&directory.path().display().to_string()).unwrap();
    let mut arrived = Vec::new();
    transfer::push(&source, &[target("b")], true, &client(), &silent(), &mut arrived).await.unwrap();
    assert_eq!(arrived.len(), 1);
    assert!(registry.tag("b", "v1").is_some() && registry.tag("b", "v2").is_some());
    // Blobs, manifests, index, tags: in this order.
    let log = short(&registry);
    let last = |part: &str| log.iter().rposition(|line| line.starts_with(part)).unwrap();
    let first = |part: &str| log.iter().position(|line| line.starts_with(part)).unwrap();
    assert!(last("PUT /v2/b/blobs/") < first("PUT /v2/b/manifests/#"), "{log:#?}");
    assert!(last("PUT /v2/b/manifests/#") < first("PUT /v2/b/manifests/v"), "{log:#?}");
    let puts = registry.requests().into_iter().filter(|r| r.method == "PUT" && r.target.contains("/manifests/sha256"));
    let index = registry.tag("b", "v1").unwrap().to_string();
    assert!(puts.last().unwrap().target.ends_with(&index), "the index is the last of the documents");
}

#[tokio::test]
async fn chosen_platforms_become_an_index_of_those() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let images = images();
    for image in &images {
        from.put_image("a", None, image);
    }
    // An attestation for the first, and one for the second image.
    let mut entries: Vec<Descriptor> = images.iter().map(|image| image.descriptor.clone()).collect();
    for image in &images[..2] {
        let config = from.put_blob("a", &Bytes::from_static(b"{}"));
        let mut manifest =
            ImageManifest::new(Descriptor { media_type: OCI_EMPTY.into(), ..config }, Vec::new(), Default::default());
        manifest.annotations.insert("of".to_owned(), image.descriptor.digest.to_string());
        let bytes = oci_layout::json::to_bytes(&manifest).unwrap().into();
        let mut entry =
            from.put_manifest("a", None, OCI_MANIFEST, &bytes).with_platform(Platform::new("unknown", "unknown", None));
        entry.annotations.insert("vnd.docker.reference.digest".to_owned(), image.descriptor.digest.to_string());
        entries.push(entry);
    }
    let annotations = [("a".to_owned(), "b".to_owned())].into();
    let index = ImageIndex::new(entries.clone(), annotations);
    let bytes = oci_layout::json::to_bytes(&index).unwrap().into();
    from.put_manifest("a", Some("v1"), OCI_INDEX, &bytes);

    let source = at(&from, "a:v1");
    copy_with(&source, &at(&to, "b:some"), &["linux/arm64", "linux/arm"], true).await.unwrap();
    let Ok(Document::Index(found)) = Document::parse(&to.manifest("b", "some").unwrap(), &OCI_INDEX.into()) else {
        panic!()
    };
    assert_eq!(found.manifests, [entries[1].clone(), entries[2].clone(), entries[4].clone()]);
    assert_eq!(found.annotations, index.annotations);
    assert!(to.manifest("b", &entries[0].digest.to_string()).is_none());
    assert!(to.blob("b", &images[0].blobs[1].0.digest).is_none(), "only what is chosen moves");

    // All of them: the same bytes.
    let all = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    copy_with(&source, &at(&to, "b:all"), &all, true).await.unwrap();
    assert_eq!(to.manifest("b", "all"), Some(bytes));

    let error = copy_with(&source, &at(&to, "b:none"), &["linux/s390x"], true).await.unwrap_err();
    assert!(error.to_string().contains("linux/s390x; it has linux/amd64, linux/arm/v7, linux/arm64"), "{error}");
    assert!(to.tag("b", "none").is_none());

    // A single image is its own platform or nothing.
    let single = at(&from, &format!("a@{}", images[1].descriptor.digest));
    copy_with(&single, &at(&to, "b:one"), &["linux/arm64"], true).await.unwrap();
    assert_eq!(to.tag("b", "one"), Some(images[1].descriptor.digest));
    copy_with(&single, &at(&to, "b:no"), &["linux/amd64"], true).await.unwrap_err();
}

#[tokio::test]
async fn whatever_others_made_arrives_as_it_is() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let images = images();
    // Docker's list inside an index, with spaces and keys of its own; a foreign layer; an artifact.
    let text = |json: &str| Bytes::from(json.to_owned());
    let docker = text(&format!(
        r#"{{ "schemaVersion": 2, "mediaType": "{DOCKER_MANIFEST}", "config": {{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}}, "layers": [ {{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","size":12,"digest":"{}","urls":["http://127.0.0.1:1/never"]}} ] }}"#,
        images[0].blobs[0].1.len(),
        images[0].blobs[0].0.digest,
        Digest::of(b"foreign"),
    ));
    from.put_blob("a", &images[0].blobs[0].1);
    let docker_descriptor = from.put_manifest("a", None, DOCKER_MANIFEST, &docker);
    let list = text(&format!(
        r#"{{"manifests":[{{"digest":"{}","mediaType":"{DOCKER_MANIFEST}","size":{},"platform":{{"os":"linux","architecture":"amd64","features":["x"]}}}}],"schemaVersion":2,"mediaType":"{DOCKER_LIST}"}}"#,
        docker_descriptor.digest, docker_descriptor.size,
    ));
    let list_descriptor = from.put_manifest("a", None, DOCKER_LIST, &list);
    from.put_image("a", None, &images[1]);
    let empty = from.put_blob("a", &Bytes::from_static(b"{}"));
    let artifact = text(&format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"application/x-thing","config":{{"mediaType":"{OCI_EMPTY}","digest":"{}","size":2,"data":"e30="}},"layers":[]}}"#,
        empty.digest
    ));
    let artifact_descriptor = from.put_manifest("a", None, OCI_MANIFEST, &artifact);
    let index = ImageIndex::new(
        vec![list_descriptor, images[1].descriptor.clone(), artifact_descriptor.clone()],
        Default::default(),
    );
    let bytes: Bytes = oci_layout::json::to_bytes(&index).unwrap().into();
    from.put_manifest("a", Some("v1"), OCI_INDEX, &bytes);

    let directory = tempfile::tempdir().unwrap();
    let layout = oci(directory.path(), "v1");
    copy(&at(&from, "a:v1"), &layout).await.unwrap();
    assert_eq!(findings(Layout::open(directory.path()).unwrap().verify()), []);
    copy(&layout, &at(&to, "b:v1")).await.unwrap();
    assert_eq!(to.manifest("b", "v1"), Some(bytes));
    for document in [&docker, &list, &artifact] {
        assert_eq!(to.manifest("b", &Digest::of(document).to_string()).as_ref(), Some(document));
    }
    assert!(!from.requests().iter().any(|request| request.target.contains(&Digest::of(b"foreign").to_string())));
}

#[tokio::test]
async fn within_one_registry_blobs_are_mounted() {
    let registry = TestRegistry::start();
    registry.put_index("a", Some("v1"), &images());
    let arrived = copy(&at(&registry, "a:v1"), &at(&registry, "b:v1")).await.unwrap();
    assert_eq!((arrived.moved.mounted, arrived.moved.blobs), (9, 0));
    assert!(!registry.log().iter().any(|line| line.starts_with("GET /v2/a/blobs/")));
}

#[tokio::test]
async fn a_copy_that_broke_off_goes_on_where_it_stopped() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    from.put_index("a", Some("v1"), &images());
    to.fault(Fault::on("PUT", "digest=").after(4).error(400, "DIGEST_INVALID").always());
    copy(&at(&from, "a:v1"), &at(&to, "b:v1")).await.unwrap_err();
    assert!(to.tag("b", "v1").is_none());
    let blobs = || {
        images()
            .iter()
            .flat_map(|image| image.blobs.clone())
            .filter(|(blob, _)| to.blob("b", &blob.digest).is_some())
            .count()
    };
    let before = blobs();
    to.clear_faults();
    from.clear_log();
    let again = copy(&at(&from, "a:v1"), &at(&to, "b:v1")).await.unwrap();
    assert_eq!((again.moved.existed, again.moved.blobs), (before, 9 - before));
    let reads = from.log().iter().filter(|line| line.starts_with("GET /v2/a/blobs/")).count();
    assert_eq!(reads, 9 - before, "only what is missing is read");
}

#[tokio::test]
async fn a_layout_that_broke_off_goes_on_too() {
    let from = TestRegistry::start();
    from.put_index("a", Some("v1"), &images());
    let directory = tempfile::tempdir().unwrap();
    let layout = oci(directory.path(), "v1");
    let last = images()[2].blobs[1].0.digest.to_string();
    from.fault(Fault::on("GET", &last).error(403, "DENIED").always());
    let error = copy(&at(&from, "a:v1"), &layout).await.unwrap_err();
    assert!(matches!(error, TransferError::Source(_)), "{error:?}");
    assert!(Layout::open(directory.path()).unwrap().index().unwrap().manifests.is_empty());
    from.clear_faults();
    from.clear_log();
    let again = copy(&at(&from, "a:v1"), &layout).await.unwrap();
    assert!(again.moved.existed > 0 && again.moved.blobs + again.moved.existed == 9, "{:?}", again.moved);
    assert_eq!(findings(Layout::open(directory.path()).unwrap().verify()), []);
}

#[tokio::test]
async fn a_digest_as_target_must_be_the_images() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("v1"), &images());
    copy(&at(&from, "a:v1"), &at(&to, &format!("b@{}", index.digest))).await.unwrap();
    assert!(to.manifest("b", &index.digest.to_string()).is_some());
    let other = Digest::of(b"other");
    let error = copy(&at(&from, "a:v1"), &at(&to, &format!("c@{other}"))).await.unwrap_err();
    assert!(matches!(error, TransferError::OtherDigest { .. }), "{error:?}");
    assert!(!to.log().iter().any(|line| line.contains("/v2/c/")));
}

#[tokio::test]
async fn progress_adds_up_to_the_whole_and_says_a_rate() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    from.put_index("a", Some("v1"), &[Image::new(1, "linux/amd64", &[3_000_000])]);
    let told = Arc::new(Told::default());
    let reporter: Arc<dyn builder::event::Reporter> = told.clone();
    let request = CopyRequest {
        from: place(&at(&from, "a:v1")),
        to: place(&at(&to, "b:v1")),
        platforms: Vec::new(),
        referrers: true,
    };
    transfer::copy(&request, &client(), &reporter).await.unwrap();
    let events = told.0.lock().unwrap();
    let total = events.iter().find_map(|event| match event {
        Event::Started { total, .. } => *total,
        _ => None,
    });
    let most = events.iter().filter_map(|event| match event {
        Event::Progress { done, .. } => Some(*done),
        _ => None,
    });
    assert!(most.max().unwrap_or(0) <= total.unwrap());
    let Some(Event::Finished { outcome: Outcome::Done(result), .. }) = events.last() else { panic!("{events:?}") };
    assert!(result.contains("2 blobs moved (3.0 MB at ") && result.contains("/s)"), "{result}");
}
