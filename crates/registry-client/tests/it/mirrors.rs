//! Mirrors: asked first, distrusted when they lie, never pushed to.

use oci_layout::{Descriptor, Digest};
use registry_client::mirrors::Mirrors;
use registry_client::{Client, Config, Error, ErrorKind, Notice, RemoteSource, Repository};
use test_registry::{Fault, Image, TestRegistry, blob_bytes};

use crate::support::{assert_log, noting, pull, push, repository, tag};

/// A client to which `mirror` mirrors `origin`, and its notices.
fn mirrored(
    origin: &TestRegistry,
    mirror: &TestRegistry,
    more: &str,
) -> (Client, std::sync::Arc<std::sync::Mutex<Vec<Notice>>>) {
    let text = format!(
        "[[registry]]\nlocation = \"{}\"\n{more}\n[[registry.mirror]]\nlocation = \"{}/cache\"\n",
        origin.host(),
        mirror.host()
    );
    let (config, notices) = noting();
    let mirrors = Mirrors::parse("registries.conf", text.as_bytes()).unwrap();
    (Client::new(Config { mirrors, ..config }).unwrap(), notices)
}

fn image() -> Image {
    Image::new(1, "linux/amd64", &[200_000])
}

async fn read_all(client: &Client, repo: &Repository) -> Result<(), Error> {
    let image = image();
    client.head_manifest(repo, &tag("x")).await?.unwrap();
    client.manifest(repo, &image.descriptor.digest.into()).await?;
    client.blob_size(repo, &image.blobs[1].0.digest).await?.unwrap();
    assert_eq!(pull(client, repo, &image.blobs[1].0).await?, image.blobs[1].1);
    Ok(())
}

#[tokio::test]
async fn a_mirror_serves_and_is_named() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    mirror.put_image("cache/a", Some("x"), &image());
    let (client, notices) = mirrored(&origin, &mirror, "");
    read_all(&client, &repository(&origin, "a")).await.unwrap();
    assert_eq!(origin.connections(), 0);
    assert_eq!(mirror.log().len(), 4);
    let said = notices.lock().unwrap()[0].to_string();
    assert_eq!(said, format!("{}: served by mirror {}/cache/a", origin.host(), mirror.host()));
}

#[tokio::test]
async fn a_mirror_that_fails_is_passed_over() {
    for status in [404, 401, 500] {
        let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
        origin.put_image("a", Some("x"), &image());
        mirror.fault(Fault::on("*", "/").status(status).always());
        let (client, notices) = mirrored(&origin, &mirror, "");
        read_all(&client, &repository(&origin, "a")).await.unwrap();
        assert_eq!(origin.log().len(), 4, "{:?}", origin.log());
        assert!(notices.lock().unwrap().iter().any(|notice| matches!(notice, Notice::MirrorFailed { .. })));
    }
    let origin = TestRegistry::start();
    origin.put_image("a", Some("x"), &image());
    let (client, _) = mirrored(&origin, &TestRegistry::start(), "");
    read_all(&client, &repository(&origin, "a")).await.unwrap();
}

#[tokio::test]
async fn a_download_goes_on_at_the_origin_where_the_mirror_broke_off() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    let bytes = blob_bytes(1, 400_000);
    let blob = origin.put_blob("a", &bytes);
    mirror.put_blob("cache/a", &bytes);
    mirror.fault(Fault::on("GET", "/blobs/").drop_after(150_000));
    mirror.fault(Fault::on("GET", "/blobs/").status(404).always());
    let (client, _) = mirrored(&origin, &mirror, "");
    assert_eq!(pull(&client, &repository(&origin, "a"), &blob).await.unwrap(), bytes);
    assert_log(&origin, &["GET /v2/a/blobs/# 206"]);
    assert_eq!(origin.requests()[0].header("range"), Some("bytes=150000-399999"));
}

#[tokio::test]
async fn a_mirror_with_other_bytes_is_not_asked_again() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    let image = image();
    origin.put_image("a", Some("x"), &image);
    let digest = image.descriptor.digest;
    let other = Image::new(2, "linux/amd64", &[1]).manifest;
    mirror.put_manifest_as("cache/a", None, image.descriptor.media_type.as_str(), digest, &other);
    let (client, notices) = mirrored(&origin, &mirror, "");
    let repo = repository(&origin, "a");
    assert_eq!(client.manifest(&repo, &digest.into()).await.unwrap().bytes, image.manifest);
    read_all(&client, &repo).await.unwrap();
    assert_eq!(mirror.log().len(), 1, "{:?}", mirror.log());
    let said = notices.lock().unwrap()[0].to_string();
    assert!(said.contains("has digest") || said.contains("wrong content"), "{said}");
}

#[tokio::test]
async fn a_blob_with_other_bytes_fails_once_and_then_comes_from_the_origin() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    let bytes = blob_bytes(1, 1_000_000);
    let blob = origin.put_blob("a", &bytes);
    mirror.put_blob_as("cache/a", blob.digest, &blob_bytes(2, 1_000_000));
    let (client, _) = mirrored(&origin, &mirror, "");
    let repo = repository(&origin, "a");
    // A large blob has been passed on in part by then; asking again goes elsewhere.
    let error = pull(&client, &repo, &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(pull(&client, &repo, &blob).await.unwrap(), bytes);
    assert_eq!(mirror.log().len(), 1);

    // An upload that is fed from it notices by itself.
    let (client, _) = mirrored(&origin, &mirror, "");
    let target = TestRegistry::start();
    let source = RemoteSource::new(client.clone(), repo, blob.clone());
    client.push_blob(&repository(&target, "b"), &source, &[], &|_| {}).await.unwrap();
    assert_eq!(target.blob("b", &blob.digest).unwrap(), bytes);
}

#[tokio::test]
async fn mirrors_by_digest_only_are_not_asked_for_tags() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    origin.put_image("a", Some("x"), &image());
    mirror.put_image("cache/a", Some("x"), &image());
    let (client, _) = mirrored(&origin, &mirror, "mirror-by-digest-only = true");
    read_all(&client, &repository(&origin, "a")).await.unwrap();
    assert_log(&origin, &["HEAD /v2/a/manifests/x 200"]);
    assert_eq!(mirror.log().len(), 3);
}

#[tokio::test]
async fn pushes_go_where_their_name_says() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    let (client, _) = mirrored(&origin, &mirror, "");
    push(&client, &repository(&origin, "a"), &blob_bytes(1, 10)).await.unwrap();
    assert_eq!((origin.log().len(), mirror.connections()), (3, 0));
}

#[tokio::test]
async fn a_blocked_registry_is_not_spoken_to() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    let (client, _) = mirrored(&origin, &mirror, "blocked = true");
    let repo = repository(&origin, "a");
    let blob = Descriptor::new("x", Digest::of(b"x"), 1);
    let errors = [
        client.head_manifest(&repo, &tag("x")).await.unwrap_err(),
        client.manifest(&repo, &tag("x")).await.unwrap_err(),
        client.blob_size(&repo, &blob.digest).await.unwrap_err(),
        pull(&client, &repo, &blob).await.unwrap_err(),
        push(&client, &repo, &blob_bytes(1, 10)).await.unwrap_err(),
        client.put_manifest(&repo, &tag("x"), &"x".into(), "{}".into()).await.unwrap_err(),
        client.delete_manifest(&repo, &tag("x")).await.unwrap_err(),
        client.publish(&repo, &[], &[], &|_, _| {}).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    assert_eq!((origin.connections(), mirror.connections()), (0, 0));
}
