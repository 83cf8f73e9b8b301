//! Blobs in both directions, when nothing goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci_layout::Descriptor;
use oci_layout::blob::BytesBlob;
use oci_layout::digest::{Algorithm, Hasher};
use registry_client::config::Limits;
use registry_client::{Client, Config, LocalSource, MemorySource, Pushed, RemoteSource, TagOrDigest, UploadSource};
use test_registry::{Fault, Image, Options, TestRegistry, blob_bytes};

use crate::support::{assert_log, client, config, pull, push, repository};

#[tokio::test]
async fn a_blob_goes_up_in_one_piece_and_comes_back() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "team/app");
    let client = client();
    let bytes = blob_bytes(1, 3_000_000);
    let blob = Arc::new(BytesBlob::new("application/octet-stream", bytes.to_vec()));
    let source = LocalSource::new(blob);
    let sent = AtomicU64::new(0);
    let progress = |bytes| sent.store(bytes, Ordering::Relaxed);
    let pushed = client.push_blob(&repo, &source, &[], &progress).await.unwrap();
    assert_eq!((pushed, sent.load(Ordering::Relaxed)), (Pushed::Uploaded, 3_000_000));
    let again = client.push_blob(&repo, &source, &[], &progress).await.unwrap();
    assert_eq!(again, Pushed::Existed);
    assert_eq!(client.blob_size(&repo, &source.descriptor().digest).await.unwrap(), Some(3_000_000));
    assert_eq!(pull(&client, &repo, source.descriptor()).await.unwrap(), bytes);
    assert_log(
        &registry,
        &[
            "HEAD /v2/team/app/blobs/# 404",
            "POST /v2/team/app/blobs/uploads/ 202",
            "PUT /v2/team/app/blobs/uploads/ID?_state&digest=# 201",
            "HEAD /v2/team/app/blobs/# 200",
            "HEAD /v2/team/app/blobs/# 200",
            "GET /v2/team/app/blobs/# 200",
        ],
    );
    let put = &registry.requests()[2];
    assert_eq!(put.header("content-length"), Some("3000000"), "not chunked");
    assert_eq!(registry.requests()[1].header("content-length"), Some("0"), "proxies want it where there is no body");
    assert_eq!(registry.requests()[5].header("content-length"), None);
    assert_eq!(registry.connections(), 1, "one connection for all");
}

#[tokio::test]
async fn blobs_are_mounted_before_they_are_sent() {
    let registry = TestRegistry::start();
    let bytes = blob_bytes(2, 1000);
    let descriptor = registry.put_blob("base", &bytes);
    let (base, other, repo) =
        (repository(&registry, "base"), repository(&registry, "other"), repository(&registry, "app"));
    let client = client();
    let source = RemoteSource::new(client.clone(), base.clone(), descriptor);
    let pushed = client.push_blob(&repo, &source, &[other, base], &|_| {}).await.unwrap();
    assert_eq!(pushed, Pushed::Mounted);
    assert_log(
        &registry,
        &[
            "HEAD /v2/app/blobs/# 404",
            "POST /v2/app/blobs/uploads/?mount=#&from=other 202",
            "POST /v2/app/blobs/uploads/?mount=#&from=base 201",
        ],
    );
}

#[tokio::test]
async fn a_blob_streams_from_registry_to_registry() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let bytes = blob_bytes(3, 2_000_000);
    let descriptor = from.put_blob("base", &bytes);
    let client = client();
    let source = RemoteSource::new(client.clone(), repository(&from, "base"), descriptor.clone());
    let repo = repository(&to, "app");
    assert_eq!(client.push_blob(&repo, &source, &[], &|_| {}).await.unwrap(), Pushed::Uploaded);
    assert_eq!(to.blob("app", &descriptor.digest).unwrap(), bytes);
    assert_log(&from, &["GET /v2/base/blobs/# 200"]);
}

#[tokio::test]
async fn the_empty_blob_works_too() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "a");
    let empty = bytes::Bytes::new();
    assert_eq!(push(&client(), &repo, &empty).await.unwrap(), Pushed::Uploaded);
    let descriptor = Descriptor::of("application/octet-stream", b"");
    assert_eq!(pull(&client(), &repo, &descriptor).await.unwrap(), empty);
}

#[tokio::test]
async fn transfers_run_as_tasks() {
    let registry = TestRegistry::start();
    let repo = repository(&registry, "a");
    let client = client();
    let tasks: Vec<_> = (0..20u64)
        .map(|seed| {
            let (client, repo) = (client.clone(), repo.clone());
            tokio::spawn(async move { push(&client, &repo, &blob_bytes(seed, 50_000)).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), Pushed::Uploaded);
    }
    assert_eq!(registry.log().len(), 60);
}

#[tokio::test]
async fn requests_to_one_host_are_limited() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("*", "/").pause(std::time::Duration::from_millis(3)).always());
    let limits = Limits { per_host: 2, ..Limits::default() };
    let client = Client::new(Config { limits, ..config() }).unwrap();
    let repo = repository(&registry, "a");
    let tasks: Vec<_> = (0..20u64)
        .map(|seed| {
            let (client, repo) = (client.clone(), repo.clone());
            tokio::spawn(async move {
                push(&client, &repo, &blob_bytes(seed, 50_000)).await.unwrap();
                let descriptor = Descriptor::of("x", &blob_bytes(seed, 50_000));
                pull(&client, &repo, &descriptor).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let peak = registry.peak();
    assert!((3..=6).contains(&peak), "two small requests, two uploads, two downloads: {peak}");
}

#[tokio::test]
async fn many_copies_within_one_registry_do_not_wait_for_each_other_for_ever() {
    let registry = TestRegistry::with(Options { mounts: false, ..Options::default() });
    let limits = Limits { per_host: 1, ..Limits::default() };
    let client = Client::new(Config { limits, ..config() }).unwrap();
    let (from, to) = (repository(&registry, "a"), repository(&registry, "b"));
    let tasks: Vec<_> = (0..6u64)
        .map(|seed| {
            let blob = registry.put_blob("a", &blob_bytes(seed, 500_000));
            let source = RemoteSource::new(client.clone(), from.clone(), blob);
            let (client, to) = (client.clone(), to.clone());
            tokio::spawn(async move { client.push_blob(&to, &source, &[], &|_| {}).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), Pushed::Uploaded);
    }
}

#[tokio::test]
async fn chunks_are_sent_where_they_are_asked_for() {
    let registry = TestRegistry::start();
    let limits = Limits { chunked: true, chunk: 400_000, ..Limits::default() };
    let client = Client::new(Config { limits, ..config() }).unwrap();
    push(&client, &repository(&registry, "a"), &blob_bytes(1, 1_000_000)).await.unwrap();
    let patch = "PATCH /v2/a/blobs/uploads/ID?_state 202";
    assert_log(
        &registry,
        &[
            "HEAD /v2/a/blobs/# 404",
            "POST /v2/a/blobs/uploads/ 202",
            patch,
            patch,
            patch,
            "PUT /v2/a/blobs/uploads/ID?_state&digest=# 201",
        ],
    );
}

#[tokio::test]
async fn sha512_is_a_digest_like_any_other() {
    let registry = TestRegistry::start();
    let (client, repo) = (client(), repository(&registry, "a"));
    let bytes = blob_bytes(1, 300_000);
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(&bytes);
    let descriptor = Descriptor::new("x", hasher.finish(), bytes.len() as u64);
    let source = MemorySource::new(descriptor.clone(), bytes.clone());
    assert_eq!(client.push_blob(&repo, &source, &[], &|_| {}).await.unwrap(), Pushed::Uploaded);
    assert_eq!(pull(&client, &repo, &descriptor).await.unwrap(), bytes);

    let image = Image::new(1, "linux/amd64", &[]);
    registry.put_image("a", None, &image);
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(&image.manifest);
    let digest = TagOrDigest::Digest(hasher.finish());
    client.put_manifest(&repo, &digest, &image.descriptor.media_type, image.manifest.clone()).await.unwrap();
    let fetched = client.manifest(&repo, &digest).await.unwrap();
    assert_eq!(TagOrDigest::Digest(fetched.descriptor.digest), digest);
    assert_eq!(fetched.bytes, image.manifest);
    assert_eq!(registry.log().len(), 6);
}

#[tokio::test]
async fn mounts_are_asked_for_only_where_they_can_work() {
    let (registry, other) = (TestRegistry::start(), TestRegistry::start());
    let bytes = blob_bytes(1, 1000);
    let source = MemorySource::new(Descriptor::of("x", &bytes), bytes);
    let repo = repository(&registry, "a");
    let from = [repo.clone(), repository(&other, "base")];
    assert_eq!(client().push_blob(&repo, &source, &from, &|_| {}).await.unwrap(), Pushed::Uploaded);
    assert_eq!(registry.log().len(), 3, "{:?}", registry.log());
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_damaged_blob_of_this_machine_is_never_closed() {
    let registry = TestRegistry::start();
    let (client, repo) = (client(), repository(&registry, "a"));
    // Also where the size is a multiple of the pieces that files are read in.
    for size in [1_000_000, 512 * 1024, 1, 0] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        let right = blob_bytes(1, size);
        let descriptor = Descriptor::of("x", &right);
        std::fs::write(&path, &right).unwrap();
        let file = oci_layout::blob::FileBlob { descriptor: descriptor.clone(), path: path.clone() };
        let source = LocalSource::verified(Arc::new(file));
        if size > 0 {
            std::fs::write(&path, blob_bytes(2, size)).unwrap();
            let error = client.push_blob(&repo, &source, &[], &|_| {}).await.unwrap_err();
            assert_eq!(error.kind(), registry_client::ErrorKind::Local, "{error}");
            assert!(registry.blob("a", &descriptor.digest).is_none());
        }
        std::fs::write(&path, &right).unwrap();
        assert_eq!(client.push_blob(&repo, &source, &[], &|_| {}).await.unwrap(), Pushed::Uploaded);
    }
}
