//! Indexes of images that are there already.

use std::sync::Arc;

use builder::index::{Change, Input, Pick, annotate, join, remove};
use builder::transfer::{Sink, Source, TransferError, Tree, deliver};
use oci_layout::document::{Document, ImageIndex};
use oci_layout::media_type::{OCI_INDEX, OCI_MANIFEST};
use oci_layout::{Descriptor, Platform};
use test_registry::{Image, TestRegistry};

use crate::support::{at, client, copy, images, oci, place, silent};

async fn tree(text: &str) -> Tree {
    let location = place(text);
    let source = Arc::new(Source::open(&location, &client()).await.unwrap());
    Tree::read(&source, &location).await.unwrap()
}

async fn inputs(texts: &[String]) -> Vec<Input> {
    let mut inputs = Vec::new();
    for text in texts {
        inputs.push(Input { shown: text.clone(), tree: tree(text).await });
    }
    inputs
}

fn index(tree: &Tree) -> &ImageIndex {
    let Document::Index(index) = &tree.root.node.document else { panic!("not an index") };
    index
}

fn platforms(tree: &Tree) -> Vec<String> {
    index(tree).manifests.iter().map(|entry| entry.platform.as_ref().map_or("-".into(), ToString::to_string)).collect()
}

#[tokio::test]
async fn images_from_anywhere_become_one_index() {
    let (registry, other) = (TestRegistry::start(), TestRegistry::start());
    let images = images();
    registry.put_image("a", Some("arm"), &images[2]);
    other.put_image("x", Some("amd64"), &images[0]);
    let directory = tempfile::tempdir().unwrap();
    registry.put_image("a", Some("arm64"), &images[1]);
    let layout = oci(directory.path(), "arm64");
    copy(&at(&registry, "a:arm64"), &layout).await.unwrap();
    let inputs = inputs(&[at(&registry, "a:arm"), layout, at(&other, "x:amd64")]).await;
    let annotations = [("k".to_owned(), "v".to_owned())];
    let joined = join(&inputs, annotations.into()).await.unwrap();
    assert_eq!(platforms(&joined), ["linux/amd64", "linux/arm/v7", "linux/arm64"], "the order that readers want");
    assert_eq!(index(&joined).annotations["k"], "v");

    registry.clear_log();
    let sink = Sink::open(&place(&at(&registry, "a:v1")), &place(&at(&registry, "a:v1")), &client()).unwrap();
    let arrived = deliver(&joined, false, &sink, Default::default(), &silent()).await.unwrap();
    assert_eq!(registry.tag("a", "v1"), Some(arrived.digest));
    // Only the image of the other registry was missing.
    assert_eq!((arrived.moved.blobs, arrived.moved.mounted), (3, 0));
    assert!(registry.manifest("a", &images[0].descriptor.digest.to_string()).is_some());
}

#[tokio::test]
async fn two_images_for_one_platform_are_refused_and_the_same_twice_is_one() {
    let registry = TestRegistry::start();
    let images = images();
    let index = registry.put_index("a", Some("all"), &images);
    registry.put_image("a", Some("amd64"), &images[0]);
    registry.put_image("a", Some("other"), &Image::new(9, "linux/amd64", &[5]));
    let same = inputs(&[at(&registry, "a:amd64"), at(&registry, "a:all"), at(&registry, "a:amd64")]).await;
    assert_eq!(join(&same, Default::default()).await.unwrap().root.digest(), {
        let mut entries = index_entries(&registry, &index);
        entries.sort_by(|a, b| a.platform.as_ref().unwrap().index_order(b.platform.as_ref().unwrap()));
        Descriptor::of(OCI_INDEX, &oci_layout::json::to_bytes(&ImageIndex::new(entries, Default::default())).unwrap())
            .digest
    });
    let two = inputs(&[at(&registry, "a:all"), at(&registry, "a:other")]).await;
    let error = join(&two, Default::default()).await.unwrap_err();
    assert!(matches!(&error, TransferError::SamePlatform { .. }), "{error:?}");
    assert!(error.to_string().contains("linux/amd64") && error.to_string().contains("a:other"), "{error}");
}

fn index_entries(registry: &TestRegistry, index: &Descriptor) -> Vec<Descriptor> {
    let bytes = registry.manifest("a", &index.digest.to_string()).unwrap();
    match Document::parse(&bytes, &OCI_INDEX.into()).unwrap() {
        Document::Index(index) => index.manifests,
        Document::Manifest(_) => panic!(),
    }
}

#[tokio::test]
async fn a_config_that_contradicts_its_platform_is_refused() {
    let registry = TestRegistry::start();
    let image = &images()[0];
    registry.put_image("a", None, image);
    let lie = image.descriptor.clone().with_platform(Platform::new("linux", "arm64", None));
    let bytes = oci_layout::json::to_bytes(&ImageIndex::new(vec![lie], Default::default())).unwrap().into();
    registry.put_manifest("a", Some("lie"), OCI_INDEX, &bytes);
    let error = join(&inputs(&[at(&registry, "a:lie")]).await, Default::default()).await.unwrap_err();
    assert!(matches!(&error, TransferError::Contradiction { .. }), "{error:?}");
    // An artifact is no image for a platform.
    let artifact = bytes::Bytes::from(format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},"layers":[]}}"#,
        registry.put_blob("a", &bytes::Bytes::from_static(b"{}")).digest
    ));
    registry.put_manifest("a", Some("artifact"), OCI_MANIFEST, &artifact);
    let error = join(&inputs(&[at(&registry, "a:artifact")]).await, Default::default()).await.unwrap_err();
    assert!(matches!(&error, TransferError::NotImage { .. }), "{error:?}");
}

#[tokio::test]
async fn an_index_is_changed_in_its_place() {
    let registry = TestRegistry::start();
    let images = images();
    registry.put_index("a", Some("v1"), &images);
    let text = at(&registry, "a:v1");
    let arm: Pick = Pick::Platform("linux/arm".parse().unwrap());
    let change = Change { annotations: vec![("k".into(), Some("v".into())), ("gone".into(), None)], platform: None };
    let annotated = annotate(tree(&text).await, &text, Some(&arm), &change).await.unwrap();
    let with_it =
        |tree: &Tree| index(tree).manifests.iter().filter(|entry| entry.annotations.contains_key("k")).count();
    assert_eq!((with_it(&annotated), index(&annotated).annotations.len()), (1, 0));
    let annotated = annotate(annotated, &text, None, &change).await.unwrap();
    assert_eq!(index(&annotated).annotations["k"], "v");

    let variant = Change { annotations: Vec::new(), platform: Some("linux/arm/v6".parse().unwrap()) };
    let error = annotate(annotated.clone(), &text, Some(&arm), &variant).await.unwrap_err();
    assert!(matches!(error, TransferError::Contradiction { .. }), "{error:?}");

    let removed = remove(annotated.clone(), &text, &[arm.clone(), Pick::Digest(images[0].descriptor.digest)]).unwrap();
    assert_eq!((platforms(&removed), removed.below.len()), (vec!["linux/arm64".to_owned()], 1));
    let error = remove(removed.clone(), &text, &[arm]).unwrap_err();
    assert!(matches!(error, TransferError::NoPlatform { .. }), "{error:?}");
    let last = Pick::Platform("linux/arm64".parse().unwrap());
    assert!(matches!(remove(removed.clone(), &text, &[last]).unwrap_err(), TransferError::Target { .. }));

    registry.clear_log();
    let sink = Sink::replacing(&place(&text), tree(&text).await.root.digest(), &client()).unwrap();
    let arrived = deliver(&removed, false, &sink, Default::default(), &silent()).await.unwrap();
    assert_eq!(registry.tag("a", "v1"), Some(arrived.digest));
    assert_eq!(arrived.moved.blobs, 0);
}

#[tokio::test]
async fn in_a_layout_the_changed_index_keeps_its_names() {
    let registry = TestRegistry::start();
    let index = registry.put_index("a", Some("v1"), &images());
    let directory = tempfile::tempdir().unwrap();
    for tag in ["v1", "latest"] {
        copy(&at(&registry, "a:v1"), &oci(directory.path(), tag)).await.unwrap();
    }
    let whole = format!("oci:{}", directory.path().display());
    let picks = [Pick::Platform("linux/arm64".parse().unwrap())];
    let removed = remove(tree(&whole).await, &whole, &picks).unwrap();
    let sink = Sink::replacing(&place(&whole), index.digest, &client()).unwrap();
    let arrived = deliver(&removed, false, &sink, Default::default(), &silent()).await.unwrap();
    let layout = oci_layout::Layout::open(directory.path()).unwrap();
    let entries = layout.index().unwrap().manifests;
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.digest == arrived.digest));
}
