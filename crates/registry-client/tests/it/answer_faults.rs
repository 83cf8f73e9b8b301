//! Answers that say no, come late, never end, or make no sense.

use std::time::{Duration, Instant, SystemTime};

use oci_layout::Digest;
use oci_layout::document::DocumentError;
use oci_layout::media_type::{OCI_INDEX, OCI_MANIFEST};
use registry_client::{Client, Error, ErrorKind, Notice};
use test_registry::{Answer, Fault, Image, TestRegistry, Wire};

use crate::support::{assert_log, client, noting, push, repository, tag, text};

fn registry_with_image() -> TestRegistry {
    let registry = TestRegistry::start();
    registry.put_image("a", Some("x"), &Image::new(1, "linux/amd64", &[1000]));
    registry
}

const OK: &str = "GET /v2/a/manifests/x 200";

#[tokio::test]
async fn r06_retry_after_is_waited_for_and_said() {
    for (value, at_least, at_most) in [
        ("1", 1.0, 1.0),
        // A date, which has whole seconds: one to two are left, or what the cap allows of them.
        ("date", 0.5, 1.5),
        ("3600", 1.5, 1.5),
    ] {
        let value = match value {
            "date" => http_date(SystemTime::now() + Duration::from_secs(2)),
            seconds => seconds.to_owned(),
        };
        let registry = registry_with_image();
        let answer = Answer::new(429)
            .header("Retry-After", value.clone())
            .header("Content-Type", "text/plain")
            .body("slow down");
        registry.fault(Fault::on("GET", "/manifests/").answer(answer));
        let (config, notices) = noting();
        let begin = Instant::now();
        Client::new(config).unwrap().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
        assert_log(&registry, &["GET /v2/a/manifests/x 429", OK]);
        let notices = notices.lock().unwrap();
        let said = notices.iter().find(|notice| notice.is_warning()).unwrap();
        let Notice::Waiting { pause, .. } = said else { panic!("{said:?}") };
        assert!((at_least..=at_most).contains(&pause.as_secs_f64()), "{value}: {pause:?}");
        assert!(begin.elapsed() >= *pause, "{value}: {:?}", begin.elapsed());
        let said = said.to_string();
        assert!(said.contains("asks to wait") && said.contains("429") && said.contains("slow down"), "{said}");
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, by counting days.
fn http_date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (mut days, clock) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= if leap(year) { 366 } else { 365 } {
        days -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("Xxx, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", days + 1, names[month])
}

#[tokio::test]
async fn r07_429_without_a_header_backs_off() {
    let registry = registry_with_image();
    registry.fault(Fault::on("GET", "/manifests/").status(429).times(2));
    let (config, notices) = noting();
    Client::new(config).unwrap().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
    assert_log(&registry, &["GET /v2/a/manifests/x 429", "GET /v2/a/manifests/x 429", OK]);
    let pauses: Vec<_> = notices.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(pauses.len(), 2, "{pauses:?}");
}

#[tokio::test]
async fn r08_passing_errors_are_tried_again() {
    for status in [408, 500, 502, 503, 504] {
        let registry = registry_with_image();
        registry.fault(Fault::on("GET", "/manifests/").status(status));
        client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
        assert_log(&registry, &[&format!("GET /v2/a/manifests/x {status}"), OK]);
    }
    let registry = TestRegistry::start();
    registry.fault(Fault::on("POST", "/uploads/").status(503));
    registry.fault(Fault::on("PUT", "digest=").status(502));
    registry.fault(Fault::on("HEAD", "/blobs/").status(500));
    push(&client(), &repository(&registry, "a"), &test_registry::blob_bytes(1, 1000)).await.unwrap();
    assert_log(
        &registry,
        &[
            "HEAD /v2/a/blobs/# 500",
            "HEAD /v2/a/blobs/# 404",
            "POST /v2/a/blobs/uploads/ 503",
            "POST /v2/a/blobs/uploads/ 202",
            "PUT /v2/a/blobs/uploads/ID?_state&digest=# 502",
            "HEAD /v2/a/blobs/# 404",
            "POST /v2/a/blobs/uploads/ 202",
            "PUT /v2/a/blobs/uploads/ID?_state&digest=# 201",
        ],
    );
}

#[tokio::test]
async fn r09_an_error_for_good_fails_with_its_status() {
    let registry = registry_with_image();
    registry.fault(Fault::on("GET", "/manifests/").status(503).always());
    let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(error.to_string().contains("503 Service Unavailable"), "{error}");
    assert_log(&registry, &["GET /v2/a/manifests/x 503"; 4]);
}

#[tokio::test]
async fn r10_what_will_not_pass_is_not_tried_again() {
    for (status, kind) in [(400, ErrorKind::Server), (403, ErrorKind::Denied), (404, ErrorKind::NotFound)] {
        let registry = registry_with_image();
        registry.fault(Fault::on("GET", "/manifests/").status(status).always());
        let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_log(&registry, &[&format!("GET /v2/a/manifests/x {status}")]);
    }
}

#[tokio::test]
async fn r11_a_head_that_trickles_times_out() {
    let registry = registry_with_image();
    let slow = Wire { slow_head: Some(Duration::from_millis(100)), ..Wire::default() };
    registry.fault(Fault::on("GET", "/manifests/").wire(slow).always());
    let begin = Instant::now();
    let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("nothing moved for 0.6 s"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn r18_without_a_digest_header_the_body_is_hashed() {
    let registry = registry_with_image();
    registry.fault(Fault::on("*", "/manifests/").without_header("Docker-Content-Digest").always());
    let fetched = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
    assert_eq!(Some(fetched.descriptor.digest), registry.tag("a", "x"));
    assert_log(&registry, &[OK]);
}

#[tokio::test]
async fn a_manifest_with_another_digest_than_asked_for_fails() {
    let registry = TestRegistry::start();
    let digest = Digest::of(b"asked for");
    registry.put_manifest_as("a", None, OCI_MANIFEST, digest, &Image::new(1, "linux/amd64", &[1]).manifest);
    let error = client().manifest(&repository(&registry, "a"), &digest.into()).await.unwrap_err();
    assert!(matches!(error, Error::Content { .. }), "{error:?}");
    assert!(text(&error).contains("has digest"), "{}", text(&error));
    assert_log(&registry, &["GET /v2/a/manifests/# 200"]);
}

#[tokio::test]
async fn r25_an_endless_error_is_capped() {
    let registry = registry_with_image();
    let endless = Answer { wire: Wire { endless: true, ..Wire::default() }, ..Answer::new(400) };
    registry.fault(Fault::on("GET", "/manifests/").answer(endless).always());
    let begin = Instant::now();
    let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(error.to_string().len() < 600, "{error}");
    assert!(error.to_string().contains("400 Bad Request (xxx"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_log(&registry, &["GET /v2/a/manifests/x 400"]);
}

async fn document(kind: &str, body: impl Into<bytes::Bytes>) -> Result<Vec<registry_client::Node>, Error> {
    let registry = TestRegistry::start();
    registry.put_manifest("a", Some("x"), kind, &body.into());
    let outcome = client().read_tree(&repository(&registry, "a"), &tag("x")).await;
    assert_log(&registry, &[OK]);
    outcome
}

#[tokio::test]
async fn r40_broken_json_fails() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"schemaVersion":2,"manifests":{deep}}}"#);
    for body in ["", "{", "nonsense", r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#, &deep, &long] {
        let error = document(OCI_INDEX, body.to_owned()).await.unwrap_err();
        assert!(matches!(error, Error::Document { source: DocumentError::Json { .. }, .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn r41_a_manifest_over_the_limit_fails_at_the_cap() {
    let error = document(OCI_INDEX, vec![b' '; (4 << 20) + 1]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 4_194_304, .. }), "{error:?}");
    // Without a length, at the first byte too much.
    let registry = registry_with_image();
    let endless = |_: &test_registry::Request, answer: &mut Answer| {
        answer.remove("content-length");
        answer.wire = Wire { endless: true, ..Wire::default() };
    };
    registry.fault(Fault::on("GET", "/manifests/").edit(endless));
    let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert_log(&registry, &[OK]);
}

#[tokio::test]
async fn r42_an_index_that_contains_itself_is_not_believed() {
    // No digest can be inside what it is the digest of: only a lying server gets this far.
    let registry = TestRegistry::start();
    let digest = Digest::of(b"itself");
    let body = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_INDEX}","digest":"{digest}","size":{{}}}}]}}"#
    );
    let size = body.len() - 2 + 3;
    let body = body.replace("{}", &size.to_string());
    registry.put_manifest_as("a", Some("x"), OCI_INDEX, digest, &body.into());
    let error = client().read_tree(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(matches!(error, Error::Content { .. }), "{error:?}");
    assert_log(&registry, &[OK, "GET /v2/a/manifests/# 200"]);
}

#[tokio::test]
async fn r42_deep_nesting_fails() {
    let registry = TestRegistry::start();
    let mut child = Image::new(1, "linux/amd64", &[]).descriptor;
    for _ in 0..100 {
        let index = oci_layout::document::ImageIndex::new(vec![child], Default::default());
        let bytes = oci_layout::json::to_bytes(&index).unwrap().into();
        child = registry.put_manifest("a", Some("x"), OCI_INDEX, &bytes);
    }
    let error = client().read_tree(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(error.to_string().contains("nested more than 8 deep"), "{error}");
    assert_eq!(registry.log().len(), 9, "no further than that");
}

#[tokio::test]
async fn r42_ten_thousand_entries_fail() {
    let entry = format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":0}}"#, Digest::of(b""));
    let body = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, vec![entry; 10_001].join(","));
    let error = document(OCI_INDEX, body).await.unwrap_err();
    assert!(matches!(error, Error::Document { source: DocumentError::TooMany(10_001), .. }), "{error:?}");
}

#[tokio::test]
async fn r43_a_document_that_is_both_fails() {
    let config = format!(r#"{{"mediaType":"x","digest":"{}","size":0}}"#, Digest::of(b""));
    let both = format!(r#"{{"schemaVersion":2,"manifests":[],"config":{config},"layers":[]}}"#);
    for kind in [OCI_INDEX, OCI_MANIFEST] {
        let error = document(kind, both.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Document { source: DocumentError::Ambiguous, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn r44_another_media_type_inside_fails() {
    let body = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#);
    let error = document(OCI_INDEX, body).await.unwrap_err();
    assert!(matches!(error, Error::Document { source: DocumentError::MediaType { .. }, .. }), "{error:?}");

    // A child of another type than its parent says.
    let registry = TestRegistry::start();
    let image = Image::new(1, "linux/amd64", &[]);
    registry.put_image("a", None, &image);
    let mut child = image.descriptor;
    child.media_type = OCI_INDEX.into();
    let index = oci_layout::document::ImageIndex::new(vec![child], Default::default());
    registry.put_manifest("a", Some("x"), OCI_INDEX, &oci_layout::json::to_bytes(&index).unwrap().into());
    let error = client().read_tree(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(matches!(error, Error::Document { .. }), "{error:?}");
    assert_log(&registry, &[OK, "GET /v2/a/manifests/# 200"]);
}

#[tokio::test]
async fn r45_a_bad_digest_never_reaches_a_url() {
    for digest in ["sha256:../../x", &Digest::of(b"").to_string().to_uppercase(), "sha256:"] {
        let body = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":1}}]}}"#
        );
        let error = document(OCI_INDEX, body).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    // A claim of the server's is no digest either.
    let registry = registry_with_image();
    registry.fault(Fault::on("*", "/manifests/").header("Docker-Content-Digest", "sha256:../x").always());
    let found = client().head_manifest(&repository(&registry, "a"), &tag("x")).await.unwrap().unwrap();
    assert_eq!(Some(found.digest), registry.tag("a", "x"));
    assert_log(&registry, &["HEAD /v2/a/manifests/x 200", OK]);
}

#[tokio::test]
async fn r46_sizes_out_of_range_are_rejected_and_nothing_is_set_aside() {
    for size in ["-1", "9223372036854775808", "18446744073709551616", "1e3"] {
        let body = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":{size}}}]}}"#,
            Digest::of(b"")
        );
        assert_eq!(document(OCI_INDEX, body).await.unwrap_err().kind(), ErrorKind::Invalid, "{size}");
    }
    // A huge size that is in range: what comes decides.
    let registry = TestRegistry::start();
    let mut blob = registry.put_blob("a", &test_registry::blob_bytes(1, 100));
    blob.size = i64::MAX as u64;
    let error = crate::support::pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_log(&registry, &["GET /v2/a/blobs/# 200"]);
}

#[tokio::test]
async fn r49_what_a_server_says_is_escaped_and_cut() {
    let registry = registry_with_image();
    let body = format!("<html>\x1b]0;owned\x07\r\n\u{202e}{}</html>", "x".repeat(5000));
    let answer = Answer::new(403).header("Content-Type", "text/html").body(body);
    registry.fault(Fault::on("GET", "/manifests/").answer(answer));
    let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    let shown = text(&error);
    assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
    assert!(shown.contains("<html>") && shown.len() < 700, "{shown}");

    let code = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"a\\u001b[31mb\\nc\"}]}";
    registry.fault(Fault::on("GET", "/manifests/").answer(Answer::new(400).body(code)));
    let error = client().manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(text(&error).contains("DENIED: a\\u{1b}[31mb c"), "{}", text(&error));
    assert_eq!(registry.log().len(), 2);
}
