//! What goes wrong while a blob goes, and the ladder of ways to send it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use oci_layout::{Descriptor, Digest};
use registry_client::config::Timeouts;
use registry_client::{ByteStream, Client, Config, Error, ErrorKind, MemorySource, Pushed, UploadSource};
use test_registry::{Answer, Fault, Options, TestRegistry, blob_bytes};

use crate::support::{assert_log, client, config, push, repository, text};

const HEAD_404: &str = "HEAD /v2/a/blobs/# 404";
const HEAD_200: &str = "HEAD /v2/a/blobs/# 200";
const POST: &str = "POST /v2/a/blobs/uploads/ 202";
const PUT_201: &str = "PUT /v2/a/blobs/uploads/ID?_state&digest=# 201";
const PUT_0: &str = "PUT /v2/a/blobs/uploads/ID?_state&digest=# 0";
const PATCH: &str = "PATCH /v2/a/blobs/uploads/ID?_state 202";

fn put(status: u16) -> String {
    format!("PUT /v2/a/blobs/uploads/ID?_state&digest=# {status}")
}

/// The PUT that closes an upload.
const CLOSING: &str = "digest=";

#[tokio::test]
async fn r04_a_dropped_upload_begins_a_new_session() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).drop_request_after(50_000));
    let bytes = blob_bytes(1, 3_000_000);
    assert_eq!(push(&client(), &repository(&registry, "a"), &bytes).await.unwrap(), Pushed::Uploaded);
    assert_log(&registry, &[HEAD_404, POST, PUT_0, HEAD_404, POST, PUT_201]);
    let sessions: Vec<String> =
        registry.requests().iter().filter(|r| r.method == "PUT").map(|r| r.path().to_owned()).collect();
    assert_ne!(sessions[0], sessions[1], "a session of its own");
    assert_eq!(registry.blob("a", &Digest::of(&bytes)).unwrap(), bytes);
}

#[tokio::test]
async fn r04_trying_to_upload_has_an_end() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).drop_request_after(50_000).always());
    let error = push(&client(), &repository(&registry, "a"), &blob_bytes(1, 3_000_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let puts = registry.log().iter().filter(|line| line.starts_with("PUT")).count();
    assert_eq!(puts, 4);
}

#[tokio::test]
async fn r05_a_lost_answer_to_the_closing_put_is_success() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).drop_unanswered());
    assert_eq!(push(&client(), &repository(&registry, "a"), &blob_bytes(1, 1000)).await.unwrap(), Pushed::Uploaded);
    assert_log(&registry, &[HEAD_404, POST, PUT_0, HEAD_200]);
}

#[tokio::test]
async fn r28_a_lost_session_is_begun_anew_once() {
    for (status, code) in [(404, "BLOB_UPLOAD_UNKNOWN"), (404, "BLOB_UPLOAD_INVALID"), (400, "BLOB_UPLOAD_INVALID")] {
        let registry = TestRegistry::start();
        registry.fault(Fault::on("PUT", CLOSING).error(status, code));
        push(&client(), &repository(&registry, "a"), &blob_bytes(1, 1000)).await.unwrap();
        assert_log(&registry, &[HEAD_404, POST, &put(status), HEAD_404, POST, PUT_201]);

        let registry = TestRegistry::start();
        registry.fault(Fault::on("PUT", CLOSING).error(status, code).always());
        let error = push(&client(), &repository(&registry, "a"), &blob_bytes(1, 1000)).await.unwrap_err();
        assert!(error.to_string().contains(code), "{error}");
        assert_log(&registry, &[HEAD_404, POST, &put(status), HEAD_404, POST, &put(status)]);
    }
}

#[tokio::test]
async fn r29_locations_of_every_shape_work_and_keep_their_query() {
    for shape in ["absolute", "relative", "odd query"] {
        let registry = TestRegistry::start();
        let base = registry.url();
        let shape = shape.to_owned();
        registry.fault(Fault::on("POST", "/uploads/").edit(move |_, answer| {
            let location = answer.headers.iter().find(|(name, _)| name == "Location").unwrap().1.clone();
            let new = match shape.as_str() {
                "absolute" => format!("{base}{location}"),
                "relative" => location.rsplit_once("/uploads/").unwrap().1.to_owned(),
                _ => format!("{location}&empty=&sig=a%2Fb+c%3D%3d&x=1;2"),
            };
            answer.set("Location", new);
        }));
        push(&client(), &repository(&registry, "a"), &blob_bytes(1, 1000)).await.unwrap();
        let requests = registry.requests();
        let put = &requests.last().unwrap();
        assert_eq!((put.method.as_str(), put.status), ("PUT", 201));
        let (_, query) = put.target.split_once('?').unwrap();
        assert!(query.starts_with("_state=upload-1/0=="), "{query}");
        if query.contains("sig") {
            assert!(query.contains("==&empty=&sig=a%2Fb+c%3D%3d&x=1;2&digest=sha256:"), "{query}");
        }
        assert_eq!(registry.log().len(), 3);
    }
}

#[tokio::test]
async fn r30_a_missing_or_garbled_location_fails() {
    for location in [None, Some(""), Some("http://"), Some("http://[::1"), Some("ftp://x/y")] {
        let registry = TestRegistry::start();
        registry.fault(Fault::on("POST", "/uploads/").edit(move |_, answer| match location {
            None => answer.remove("Location"),
            Some(text) => answer.set("Location", text),
        }));
        let error = push(&client(), &repository(&registry, "a"), &blob_bytes(1, 1000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{location:?}: {error}");
        assert_log(&registry, &[HEAD_404, POST]);
    }
}

async fn mount(registry: &TestRegistry) -> Pushed {
    let bytes = blob_bytes(1, 1000);
    registry.put_blob("base", &bytes);
    let source = MemorySource::new(Descriptor::of("x", &bytes), bytes);
    let base = repository(registry, "base");
    client().push_blob(&repository(registry, "a"), &source, &[base], &|_| {}).await.unwrap()
}

#[tokio::test]
async fn r31_a_refused_mount_becomes_an_upload() {
    for status in [401, 403, 404, 405, 500] {
        let registry = TestRegistry::start();
        registry.fault(Fault::on("POST", "mount=").error(status, "DENIED").always());
        assert_eq!(mount(&registry).await, Pushed::Uploaded, "{status}");
        let refused = format!("POST /v2/a/blobs/uploads/?mount=#&from=base {status}");
        assert_log(&registry, &[HEAD_404, &refused, POST, PUT_201]);
    }
}

#[tokio::test]
async fn r32_a_mount_that_opens_an_upload_goes_on_there() {
    let registry = TestRegistry::with(Options { mounts: false, ..Options::default() });
    assert_eq!(mount(&registry).await, Pushed::Uploaded);
    assert_log(&registry, &[HEAD_404, "POST /v2/a/blobs/uploads/?mount=#&from=base 202", PUT_201]);
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn r33_a_registry_without_put_bodies_gets_one_patch() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).status(404));
    let bytes = blob_bytes(1, 1_000_000);
    push(&client(), &repository(&registry, "a"), &bytes).await.unwrap();
    assert_log(&registry, &[HEAD_404, POST, &put(404), HEAD_404, POST, PATCH, PUT_201]);
    let requests = registry.requests();
    assert_eq!((requests[5].body.len(), requests[6].body.len()), (1_000_000, 0));
    assert_eq!(requests[5].header("content-range"), None, "it is no chunk");
    assert_eq!(registry.blob("a", &Digest::of(&bytes)).unwrap(), bytes);
}

#[tokio::test]
async fn a_404_for_a_blob_that_is_there_is_a_slow_commit() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).edit(|_, answer| *answer = Answer::error(404, "UNKNOWN", "not yet")));
    push(&client(), &repository(&registry, "a"), &blob_bytes(1, 1000)).await.unwrap();
    assert_log(&registry, &[HEAD_404, POST, &put(404), HEAD_200]);
}

#[tokio::test]
async fn r34_a_body_that_is_too_large_goes_in_chunks() {
    let registry = TestRegistry::with(Options { largest_body: Some(5_000_000), ..Options::default() });
    let bytes = blob_bytes(1, 9_000_000);
    push(&client(), &repository(&registry, "a"), &bytes).await.unwrap();
    assert_log(
        &registry,
        &[
            HEAD_404,
            POST,
            &put(413),
            HEAD_404,
            POST,
            // 16 MiB are refused too, 4 MiB are not.
            "PATCH /v2/a/blobs/uploads/ID?_state 413",
            HEAD_404,
            POST,
            PATCH,
            PATCH,
            PATCH,
            PUT_201,
        ],
    );
    let ranges: Vec<String> =
        registry.requests().iter().filter_map(|r| r.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-8999999", "0-4194303", "4194304-8388607", "8388608-8999999"]);
    assert_eq!(registry.blob("a", &Digest::of(&bytes)).unwrap(), bytes);
}

#[tokio::test]
async fn r34_a_proxy_that_refuses_before_it_has_read_is_heard() {
    let registry = TestRegistry::start();
    let refusal = Answer::new(413).header("Content-Type", "text/html").body("<html>413</html>");
    registry.fault(Fault::on("PUT", CLOSING).answer_unread(refusal));
    push(&client(), &repository(&registry, "a"), &blob_bytes(1, 9_000_000)).await.unwrap();
    assert_log(&registry, &[HEAD_404, POST, &put(413), HEAD_404, POST, PATCH, PUT_201]);
}

#[tokio::test]
async fn r04_a_long_upload_that_is_cut_off_once_is_sent_whole_again() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).drop_request_after(5_000_000).times(1));
    push(&client(), &repository(&registry, "a"), &blob_bytes(1, 9_000_000)).await.unwrap();
    assert_log(&registry, &[HEAD_404, POST, PUT_0, HEAD_404, POST, PUT_201]);
}

#[tokio::test]
async fn r04_a_long_upload_that_is_cut_off_twice_goes_in_chunks() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).drop_request_after(5_000_000).times(2));
    let bytes = blob_bytes(1, 9_000_000);
    push(&client(), &repository(&registry, "a"), &bytes).await.unwrap();
    let again = [HEAD_404, POST];
    let mut expect = vec![HEAD_404, POST, PUT_0];
    expect.extend(again);
    expect.push(PUT_0);
    expect.extend(again);
    expect.extend([PATCH, PATCH, PATCH, PUT_201]);
    assert_log(&registry, &expect);
    assert_eq!(registry.blob("a", &Digest::of(&bytes)).unwrap(), bytes);
}

#[tokio::test]
async fn r34_where_the_smallest_chunk_fails_too_it_ends() {
    let registry = TestRegistry::with(Options { largest_body: Some(100_000), ..Options::default() });
    let error = push(&client(), &repository(&registry, "a"), &blob_bytes(1, 2_000_000)).await.unwrap_err();
    assert!(error.to_string().contains("413"), "{error}");
    let patches: Vec<String> =
        registry.requests().iter().filter_map(|r| r.header("content-range").map(str::to_owned)).collect();
    assert_eq!(patches, ["0-1999999", "0-1999999", "0-1048575"]);
}

#[tokio::test]
async fn r35_a_chunk_over_4_mib_that_is_refused_gets_smaller() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).status(413));
    registry.fault(
        Fault::on("PATCH", "/uploads/")
            .edit(|request, answer| {
                if request.body.len() > 4 << 20 {
                    *answer = Answer::error(416, "RANGE_INVALID", "chunk too large");
                }
            })
            .always(),
    );
    let bytes = blob_bytes(1, 9_000_000);
    push(&client(), &repository(&registry, "a"), &bytes).await.unwrap();
    let patches: Vec<String> = registry.log().into_iter().filter(|line| line.starts_with("PATCH")).collect();
    assert_eq!(patches.len(), 4, "{patches:?}");
    assert!(patches[0].ends_with("416") && patches[1..].iter().all(|line| line.ends_with("202")), "{patches:?}");
    assert_eq!(registry.blob("a", &Digest::of(&bytes)).unwrap(), bytes);
}

#[tokio::test]
async fn r36_a_patch_answered_201_with_a_range_that_stands_still_goes_on() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).status(413));
    registry.fault(
        Fault::on("PATCH", "/uploads/")
            .edit(|_, answer| {
                answer.status = 201;
                answer.set("Range", "0-0");
            })
            .always(),
    );
    let small = Config { limits: registry_client::config::Limits { chunk: 400_000, ..Default::default() }, ..config() };
    let bytes = blob_bytes(1, 1_000_000);
    push(&Client::new(small).unwrap(), &repository(&registry, "a"), &bytes).await.unwrap();
    let ranges: Vec<String> =
        registry.requests().iter().filter_map(|r| r.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-399999", "400000-799999", "800000-999999"]);
    assert_eq!(registry.blob("a", &Digest::of(&bytes)).unwrap(), bytes);
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_wants_them() {
    let registry = TestRegistry::with(Options { smallest_chunk: Some(600_000), ..Options::default() });
    registry.fault(Fault::on("PUT", CLOSING).status(413));
    let small = Config { limits: registry_client::config::Limits { chunk: 400_000, ..Default::default() }, ..config() };
    push(&Client::new(small).unwrap(), &repository(&registry, "a"), &blob_bytes(1, 1_000_000)).await.unwrap();
    let ranges: Vec<String> =
        registry.requests().iter().filter_map(|r| r.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-599999", "600000-999999"]);
}

#[tokio::test]
async fn an_upload_that_stands_still_times_out() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("PUT", CLOSING).pause(Duration::from_secs(3)));
    push(&client(), &repository(&registry, "a"), &blob_bytes(1, 1000)).await.unwrap();
    assert_log(&registry, &[HEAD_404, POST, PUT_0, HEAD_404, POST, PUT_201]);
}

/// A source that fails or lies, and counts how often it was opened.
struct Odd {
    descriptor: Descriptor,
    opened: Arc<AtomicUsize>,
    bytes: Option<bytes::Bytes>,
}

impl UploadSource for Odd {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn open(&self, _: u64) -> BoxFuture<'_, Result<ByteStream, Error>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let digest = self.descriptor.digest;
        let item = match &self.bytes {
            Some(bytes) => Ok(bytes.clone()),
            None => Err(Error::Source { digest, source: std::io::Error::other("disk on fire") }),
        };
        Box::pin(async move { Ok(Box::pin(futures_util::stream::iter([item])) as ByteStream) })
    }
}

#[tokio::test]
async fn a_source_that_fails_is_not_the_registry_s_fault() {
    for (bytes, expect) in [(None, "disk on fire"), (Some(blob_bytes(1, 900)), "ends 100 bytes early")] {
        let registry = TestRegistry::start();
        let opened = Arc::new(AtomicUsize::new(0));
        let descriptor = Descriptor::of("x", &blob_bytes(1, 1000));
        let source = Odd { descriptor, opened: Arc::clone(&opened), bytes };
        let error = client().push_blob(&repository(&registry, "a"), &source, &[], &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local);
        assert!(text(&error).contains(expect), "{}", text(&error));
        assert_eq!(opened.load(Ordering::Relaxed), 1, "no second try");
    }
}

#[tokio::test]
async fn a_source_with_surplus_is_cut() {
    let registry = TestRegistry::start();
    let opened = Arc::new(AtomicUsize::new(0));
    let descriptor = Descriptor::of("x", &blob_bytes(1, 1000));
    let source = Odd { descriptor, opened, bytes: Some(blob_bytes(1, 1200)) };
    client().push_blob(&repository(&registry, "a"), &source, &[], &|_| {}).await.unwrap();
    assert_log(&registry, &[HEAD_404, POST, PUT_201]);
}

/// A registry hashes a large blob when it has all of it, and says nothing meanwhile.
#[tokio::test]
async fn an_upload_that_is_whole_is_waited_for_longer_than_one_that_stands_still() {
    let registry = TestRegistry::start();
    let patience = Timeouts { commit: Duration::from_secs(20), idle: Duration::from_millis(300), ..config().timeouts };
    let client = Client::new(Config { timeouts: patience, ..config() }).unwrap();
    registry.fault(Fault::on("PUT", "/blobs/uploads/").pause(Duration::from_millis(1500)));
    let bytes = blob_bytes(1, 100_000);
    assert_eq!(push(&client, &repository(&registry, "a"), &bytes).await.unwrap(), Pushed::Uploaded);
    let puts = registry.log().into_iter().filter(|line| line.starts_with("PUT")).count();
    assert_eq!(puts, 1, "{:?}", registry.log());
}
