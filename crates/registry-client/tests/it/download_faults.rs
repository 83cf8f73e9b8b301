//! What goes wrong while a blob comes.

use std::time::{Duration, Instant};

use oci_layout::{Descriptor, Digest};
use registry_client::{Client, Error, ErrorKind};
use test_registry::{Answer, Fault, TestRegistry, Wire, blob_bytes};

use crate::support::{assert_log, client, config, pull, repository, text};

const SIZE: usize = 400_000;

fn registry_with_blob() -> (TestRegistry, Descriptor, bytes::Bytes) {
    let registry = TestRegistry::start();
    let bytes = blob_bytes(1, SIZE);
    let descriptor = registry.put_blob("a", &bytes);
    (registry, descriptor, bytes)
}

#[tokio::test]
async fn r01_a_dropped_download_resumes_with_a_closed_range() {
    let (registry, blob, bytes) = registry_with_blob();
    registry.fault(Fault::on("GET", "/blobs/").drop_after(100_000));
    assert_eq!(pull(&client(), &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert_log(&registry, &["GET /v2/a/blobs/# 200", "GET /v2/a/blobs/# 206"]);
    assert_eq!(registry.requests()[1].header("range"), Some("bytes=100000-399999"));
}

#[tokio::test]
async fn r01_a_long_download_survives_many_drops() {
    let registry = TestRegistry::start();
    let bytes = blob_bytes(1, 30_000_000);
    let blob = registry.put_blob("a", &bytes);
    registry.fault(Fault::on("GET", "/blobs/").drop_after(4_500_000).always());
    assert_eq!(pull(&client(), &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert_eq!(registry.log().len(), 7, "more than the tries for one stretch");
}

#[tokio::test]
async fn r01_a_server_that_drops_after_every_byte_is_given_up() {
    let registry = TestRegistry::start();
    let blob = registry.put_blob("a", &blob_bytes(1, 10_000_000));
    registry.fault(Fault::on("GET", "/blobs/").drop_after(4_500_000));
    registry.fault(Fault::on("GET", "/blobs/").drop_after(1).always());
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn r02_a_resume_that_gets_everything_starts_over() {
    let (registry, blob, bytes) = registry_with_blob();
    registry.fault(Fault::on("GET", "/blobs/").drop_after(100_000));
    registry.fault(
        Fault::on("GET", "/blobs/").edit_request(|request| request.headers.retain(|(k, _)| k != "range")).always(),
    );
    assert_eq!(pull(&client(), &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert_log(&registry, &["GET /v2/a/blobs/# 200", "GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn r02_starting_over_has_an_end() {
    let (registry, blob, _) = registry_with_blob();
    let cut = |request: &test_registry::Request, answer: &mut Answer| {
        let _ = request;
        answer.wire = Wire { drop_after: Some(100_000), ..Wire::default() };
    };
    let forget = |request: &mut test_registry::Request| request.headers.retain(|(k, _)| k != "range");
    registry.fault(Fault::on("GET", "/blobs/").edit_request(forget).edit(cut).always());
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert_log(&registry, &["GET /v2/a/blobs/# 200"; 4]);
}

#[tokio::test]
async fn r03_a_part_at_a_wrong_offset_fails() {
    for range in ["bytes 99999-399999/400000", "bytes 100000-399998/400000", "bytes 100000-399999/400001", "nonsense"] {
        let (registry, blob, _) = registry_with_blob();
        registry.fault(Fault::on("GET", "/blobs/").drop_after(100_000));
        registry.fault(Fault::on("GET", "/blobs/").header("Content-Range", range));
        let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_log(&registry, &["GET /v2/a/blobs/# 200", "GET /v2/a/blobs/# 206"]);
    }
}

#[tokio::test]
async fn r12_a_stalled_body_times_out_and_resumes() {
    let (registry, blob, bytes) = registry_with_blob();
    registry.fault(Fault::on("GET", "/blobs/").stall_after(250_000));
    let begin = Instant::now();
    assert_eq!(pull(&client(), &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert!(begin.elapsed() >= config().timeouts.idle);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_log(&registry, &["GET /v2/a/blobs/# 200", "GET /v2/a/blobs/# 206"]);
    assert_eq!(registry.requests()[1].header("range"), Some("bytes=250000-399999"));
}

#[tokio::test]
async fn r13_a_body_shorter_than_its_length_is_detected() {
    let (registry, blob, _) = registry_with_blob();
    // The last byte never comes, however often it is asked for.
    registry.fault(
        Fault::on("GET", "/blobs/")
            .edit(|_, answer| {
                let length = answer.body.len();
                answer.wire = Wire { drop_after: Some(length - 1), ..Wire::default() };
            })
            .always(),
    );
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    let log = registry.log();
    assert_eq!((log.len(), registry.requests()[1].header("range")), (4, Some("bytes=399999-399999")));
}

#[tokio::test]
async fn r13_a_body_that_ends_with_the_connection_is_measured() {
    let (registry, blob, bytes) = registry_with_blob();
    let short = bytes.slice(..SIZE - 1);
    registry.fault(Fault::on("GET", "/blobs/").edit(move |_, answer| {
        answer.body = short.clone();
        answer.remove("content-length");
        answer.wire = Wire { no_length: true, ..Wire::default() };
    }));
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert!(text(&error).contains("ends after 399999 of 400000 bytes"), "{}", text(&error));
    assert_log(&registry, &["GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn r14_another_length_than_the_descriptor_s_fails_at_once() {
    let (registry, mut blob, _) = registry_with_blob();
    blob.size += 1;
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("announces 400000 bytes for a blob of 400001"), "{error}");
    assert_log(&registry, &["GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn r15_an_endless_body_stops_at_the_size() {
    let (registry, blob, _) = registry_with_blob();
    registry.fault(Fault::on("GET", "/blobs/").edit(|_, answer| {
        answer.remove("content-length");
        answer.wire = Wire { endless: true, ..Wire::default() };
    }));
    let mut stream = client().pull_blob(&repository(&registry, "a"), &blob);
    let mut seen = 0;
    let error = loop {
        match futures_util::StreamExt::next(&mut stream).await.unwrap() {
            Ok(piece) => seen += piece.len(),
            Err(error) => break error,
        }
    };
    assert!(seen < SIZE, "nothing that completes the blob is passed on: {seen}");
    assert!(text(&error).contains("more than the 400000 bytes"), "{}", text(&error));
    assert_log(&registry, &["GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn r15_what_comes_after_the_right_bytes_is_seen() {
    let registry = TestRegistry::start();
    // Two of the pieces that the endless body comes in: the blob is whole at the end of one.
    let bytes = bytes::Bytes::from(vec![b'x'; 2 * 64 * 1024]);
    let blob = registry.put_blob("a", &bytes);
    registry.fault(Fault::on("GET", "/blobs/").edit(|_, answer| {
        answer.remove("content-length");
        answer.wire = Wire { endless: true, ..Wire::default() };
    }));
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert!(text(&error).contains("more than the 131072 bytes"), "{}", text(&error));
    assert_log(&registry, &["GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn r15_a_part_without_end_stops_too() {
    let (registry, blob, _) = registry_with_blob();
    registry.fault(Fault::on("GET", "/blobs/").edit(|_, answer| {
        answer.remove("content-length");
        answer.wire = Wire { endless: true, ..Wire::default() };
    }));
    let mut stream = client().pull_blob_from(&repository(&registry, "a"), &blob, 100_000);
    let error = loop {
        match futures_util::StreamExt::next(&mut stream).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it ended well"),
        }
    };
    assert!(text(&error).contains("more than the 400000 bytes"), "{}", text(&error));
    assert_log(&registry, &["GET /v2/a/blobs/# 206"]);
}

#[tokio::test]
async fn r16_the_right_size_with_a_wrong_digest_fails_before_its_end() {
    let registry = TestRegistry::start();
    let bytes = blob_bytes(1, SIZE);
    let blob = Descriptor::new("x", Digest::of(&bytes), SIZE as u64);
    registry.put_blob_as("a", blob.digest, &blob_bytes(2, SIZE));
    let mut stream = client().pull_blob(&repository(&registry, "a"), &blob);
    let mut seen = 0;
    let error = loop {
        match futures_util::StreamExt::next(&mut stream).await.unwrap() {
            Ok(piece) => seen += piece.len(),
            Err(error) => break error,
        }
    };
    assert!(seen < SIZE, "the last piece is held back: {seen}");
    assert!(matches!(error, Error::Content { .. }), "{error:?}");
    assert!(text(&error).contains(&blob.digest.to_string()), "{}", text(&error));
    assert_log(&registry, &["GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn r47_content_encoding_on_a_blob_is_not_decoded() {
    let (registry, blob, bytes) = registry_with_blob();
    registry.fault(Fault::on("GET", "/blobs/").header("Content-Encoding", "gzip"));
    assert_eq!(pull(&client(), &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert_log(&registry, &["GET /v2/a/blobs/# 200"]);
    assert_eq!(registry.requests()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn r48_a_connection_that_was_closed_in_silence_is_replaced() {
    let (registry, blob, bytes) = registry_with_blob();
    let client = client();
    let repo = repository(&registry, "a");
    for _ in 0..5 {
        registry.fault(Fault::on("HEAD", "/blobs/").wire(Wire { close_silently: true, ..Wire::default() }));
        assert_eq!(client.blob_size(&repo, &blob.digest).await.unwrap(), Some(SIZE as u64));
        assert_eq!(pull(&client, &repo, &blob).await.unwrap(), bytes);
    }
    assert!(registry.log().iter().all(|line| line.ends_with("200")), "{:?}", registry.log());
}

#[tokio::test]
async fn r48_a_connection_that_closes_under_a_request_is_replaced() {
    let (registry, blob, bytes) = registry_with_blob();
    let client = client();
    let repo = repository(&registry, "a");
    assert!(client.blob_size(&repo, &blob.digest).await.unwrap().is_some());
    registry.fault(Fault::on("GET", "/blobs/").drop_unread());
    assert_eq!(pull(&client, &repo, &blob).await.unwrap(), bytes);
    assert_log(&registry, &["HEAD /v2/a/blobs/# 200", "GET /v2/a/blobs/# 0", "GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn i21_a_layer_with_urls_is_never_fetched_from_there() {
    let (registry, mut blob, _) = registry_with_blob();
    let elsewhere = TestRegistry::start();
    registry.remove_blob("a", &blob.digest);
    blob.urls = vec![format!("{}/v2/a/blobs/{}", elsewhere.url(), blob.digest)];
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(elsewhere.connections(), 0);
    assert_log(&registry, &["GET /v2/a/blobs/# 404"]);
}

#[tokio::test]
async fn a_download_from_the_middle_is_measured() {
    let (registry, blob, bytes) = registry_with_blob();
    let client = Client::new(config()).unwrap();
    let mut stream = client.pull_blob_from(&repository(&registry, "a"), &blob, 300_000);
    let mut got = Vec::new();
    while let Some(piece) = futures_util::StreamExt::next(&mut stream).await {
        got.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(got, bytes[300_000..]);
    assert_eq!(registry.requests()[0].header("range"), Some("bytes=300000-399999"));
}
