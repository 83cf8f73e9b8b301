//! The registry is strict: what a client gets wrong here fails here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;

use oci_layout::Digest;
use oci_layout::media_type::{OCI_INDEX, OCI_MANIFEST};
use test_registry::{Auth, Fault, Image, Options, TestRegistry, TokenAuth, blob_bytes};

/// One request over a connection of its own: status, head and body of the answer.
fn ask(registry: &TestRegistry, request: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let mut head = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
    for header in headers.lines() {
        head.push_str(&format!("{}\r\n", header.trim()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; if line.starts_with("HEAD") { 0 } else { length }];
    stream.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, body)
}

#[track_caller]
fn fails(registry: &TestRegistry, request: &str, body: &[u8], status: u16, code: &str) {
    let (found, _, body) = ask(registry, request, body);
    let body = String::from_utf8_lossy(&body).into_owned();
    assert_eq!((found, body.contains(code)), (status, true), "{request}: {body}");
}

fn location(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap()
}

fn begin(registry: &TestRegistry) -> String {
    let (status, head, _) = ask(registry, "POST /v2/a/blobs/uploads/", b"");
    assert_eq!(status, 202);
    location(&head).to_owned()
}

const OCTETS: &str = "Content-Type: application/octet-stream";

#[test]
fn an_upload_needs_the_right_bytes() {
    let registry = TestRegistry::start();
    let digest = Digest::of(b"right");
    let to = begin(&registry);
    fails(&registry, &format!("PUT {to}&digest={digest}\n{OCTETS}"), b"wrong", 400, "DIGEST_INVALID");
    fails(&registry, &format!("PUT {}&digest=sha256:x\n{OCTETS}", begin(&registry)), b"right", 400, "DIGEST_INVALID");
    fails(&registry, &format!("PUT {}\n{OCTETS}", begin(&registry)), b"right", 400, "DIGEST_INVALID");
    assert!(registry.blob("a", &digest).is_none());
    let (status, ..) = ask(&registry, &format!("PUT {}&digest={digest}\n{OCTETS}", begin(&registry)), b"right");
    assert_eq!(status, 201);
    assert_eq!(registry.blob("a", &digest).unwrap(), &b"right"[..]);
}

#[test]
fn a_location_must_come_back_as_it_was_and_while_it_is_good() {
    let registry = TestRegistry::start();
    let to = begin(&registry);
    let (bare, _) = to.split_once('?').unwrap();
    fails(&registry, &format!("PATCH {bare}\n{OCTETS}"), b"x", 400, "BLOB_UPLOAD_INVALID");
    assert_eq!(ask(&registry, &format!("PATCH {to}\n{OCTETS}"), b"x").0, 202);
    fails(&registry, &format!("PATCH {to}\n{OCTETS}"), b"y", 400, "BLOB_UPLOAD_INVALID");
    fails(&registry, "PATCH /v2/a/blobs/uploads/none?_state=x", b"", 404, "BLOB_UPLOAD_UNKNOWN");
    fails(&registry, &to.replace("/v2/a/", "PATCH /v2/b/"), b"", 404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn chunks_come_in_order() {
    let registry = TestRegistry::start();
    let to = begin(&registry);
    let (status, head, _) = ask(&registry, &format!("PATCH {to}\n{OCTETS}\nContent-Range: 0-4"), b"01234");
    assert_eq!(status, 202);
    let to = location(&head);
    for range in ["4-8", "6-10", "5-8", "5-"] {
        fails(
            &registry,
            &format!("PATCH {to}\n{OCTETS}\nContent-Range: {range}"),
            b"56789",
            416,
            "BLOB_UPLOAD_INVALID",
        );
    }
    fails(&registry, &format!("PATCH {to}\nContent-Range: 5-9"), b"56789", 400, "BLOB_UPLOAD_INVALID");
    let (status, head, _) = ask(&registry, &format!("PATCH {to}\n{OCTETS}\nContent-Range: 5-9"), b"56789");
    assert_eq!((status, head.contains("Range: 0-9")), (202, true));
    let digest = Digest::of(b"0123456789");
    assert_eq!(ask(&registry, &format!("PUT {}&digest={digest}", location(&head)), b"").0, 201);
}

#[test]
fn a_manifest_needs_its_blobs_its_type_and_its_digest() {
    let registry = TestRegistry::start();
    let image = Image::new(1, "linux/amd64", &[100]);
    let put = |reference: &str, kind: &str| format!("PUT /v2/a/manifests/{reference}\nContent-Type: {kind}");
    fails(&registry, &put("x", OCI_MANIFEST), &image.manifest, 404, "MANIFEST_BLOB_UNKNOWN");
    for (_, bytes) in &image.blobs {
        // In another repository they do not count.
        registry.put_blob("b", bytes);
    }
    fails(&registry, &put("x", OCI_MANIFEST), &image.manifest, 404, "MANIFEST_BLOB_UNKNOWN");
    for (_, bytes) in &image.blobs {
        registry.put_blob("a", bytes);
    }
    fails(&registry, &put("x", "application/json"), &image.manifest, 400, "MANIFEST_INVALID");
    fails(&registry, &put("x", OCI_INDEX), &image.manifest, 400, "MANIFEST_INVALID");
    fails(&registry, "PUT /v2/a/manifests/x", &image.manifest, 400, "MANIFEST_INVALID");
    fails(&registry, &put(".x", OCI_MANIFEST), &image.manifest, 400, "TAG_INVALID");
    let other = Digest::of(b"other").to_string();
    fails(&registry, &put(&other, OCI_MANIFEST), &image.manifest, 400, "DIGEST_INVALID");
    fails(&registry, &put("x", OCI_MANIFEST), &vec![b' '; (4 << 20) + 1], 413, "SIZE_INVALID");
    let (_, index) = Image::index(&[image.clone(), Image::new(2, "linux/arm64", &[])]);
    assert_eq!(ask(&registry, &put("x", OCI_MANIFEST), &image.manifest).0, 201);
    fails(&registry, &put("y", OCI_INDEX), &index, 404, "MANIFEST_BLOB_UNKNOWN");
}

#[test]
fn ranges_are_closed() {
    let registry = TestRegistry::start();
    let blob = registry.put_blob("a", &blob_bytes(1, 100));
    let get = |range: &str| ask(&registry, &format!("GET /v2/a/blobs/{}\nRange: {range}", blob.digest), b"");
    let (status, head, body) = get("bytes=10-19");
    assert_eq!((status, body.len(), head.contains("Content-Range: bytes 10-19/100")), (206, 10, true));
    for range in ["bytes=10-", "bytes=-10", "bytes=10-100", "bytes=20-10"] {
        assert_eq!(get(range).0, 416, "{range}");
    }
}

#[test]
fn tokens_are_for_what_they_are_for() {
    let options = Options { auth: Auth::Token(TokenAuth::default()), ..Options::default() };
    let registry = TestRegistry::with(options);
    // builder:canary-password
    let login = "Authorization: Basic YnVpbGRlcjpjYW5hcnktcGFzc3dvcmQ=";
    let (status, head, _) = ask(&registry, "GET /v2/a/tags/list", b"");
    assert_eq!((status, head.contains("scope=\"repository:a:pull\"")), (401, true), "{head}");
    assert_eq!(ask(&registry, "GET /token?service=test&scope=repository:a:pull", b"").0, 401);
    assert_eq!(ask(&registry, &format!("GET /token?service=other\n{login}"), b"").0, 400);
    let (status, _, body) = ask(&registry, &format!("GET /token?service=test&scope=repository:a:pull\n{login}"), b"");
    assert_eq!(status, 200);
    let body = String::from_utf8(body).unwrap();
    let token = body.split("canary-token-").nth(1).unwrap().chars().next().unwrap();
    let with = |request: &str| ask(&registry, &format!("{request}\nAuthorization: Bearer canary-token-{token}"), b"").0;
    assert_eq!(with("GET /v2/a/blobs/x"), 400, "let in, to be told that this is no digest");
    assert_eq!(with("POST /v2/a/blobs/uploads/"), 401);
    assert_eq!(with("GET /v2/b/blobs/x"), 401);
    registry.revoke_tokens();
    assert_eq!(with("GET /v2/a/blobs/x"), 401);
}

#[test]
fn faults_are_counted_and_named() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("GET", "/tags/").after(1).times(2).status(418));
    let get = || ask(&registry, "GET /v2/a/tags/list", b"").0;
    assert_eq!([get(), get(), get(), get()], [404, 418, 418, 404]);
    assert_eq!(registry.log()[1], "GET /v2/a/tags/list 418");
    assert_eq!(ask(&registry, "POST /v2/a/blobs/uploads/", b"").0, 202, "another request");
}
