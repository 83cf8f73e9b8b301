//! A trace of everything, as `RUST_LOG=trace` would write it. A program of its own, because a log
//! belongs to the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use oci_layout::Descriptor;
use oci_layout::media_type::OCI_MANIFEST;
use registry_client::credentials::Found;
use registry_client::{Client, Config, Credential, Credentials, MemorySource, Repository, TagOrDigest};
use test_registry::{Auth, Fault, Image, Options, TestRegistry, TokenAuth};
use tracing_subscriber::fmt::MakeWriter;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn with_tokens() -> TestRegistry {
    TestRegistry::with(Options { auth: Auth::Token(TokenAuth::default()), ..Options::default() })
}

#[tokio::test]
async fn x03_a_trace_of_a_whole_push_holds_no_secret() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(kept.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    for credential in [
        Credential::Password { username: "builder".into(), password: "canary-password".into() },
        Credential::Identity("canary-identity".into()),
    ] {
        let registry = with_tokens();
        let found = Found { credential, origin: "the test".into() };
        let credentials = Credentials { given: vec![(registry.host(), found)], ..Credentials::default() };
        let client = Client::new(Config { credentials, ..Config::default() }).unwrap();
        let repo = format!("{}/a", registry.host()).parse::<Repository>().unwrap();
        let image = Image::new(1, "linux/amd64", &[100_000]);
        registry.fault(Fault::on("PUT", "digest=").drop_unanswered());
        for (_, bytes) in &image.blobs {
            let source = MemorySource::new(Descriptor::of("x", bytes), bytes.clone());
            client.push_blob(&repo, &source, &[], &|_| {}).await.unwrap();
        }
        client
            .put_manifest(&repo, &TagOrDigest::Tag("new".parse().unwrap()), &OCI_MANIFEST.into(), image.manifest)
            .await
            .unwrap();
        assert!(registry.tag("a", "new").is_some());
        let requests = registry.requests();
        let secret = |request: &&test_registry::Request| request.header("authorization").is_some();
        let writes = requests.iter().filter(|request| request.method == "PUT").filter(secret).count();
        assert_eq!(writes, 3, "two blobs and the manifest: {:#?}", registry.log());
    }
    let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("/v2/a/blobs/uploads/"), "the log holds something: {log}");
    // The password in base64, as it goes over the wire, is a secret too.
    for secret in ["canary", "Y2FuYXJ5", "YnVpbGRlcjpjYW5hcnk"] {
        assert!(!log.contains(secret), "{log}");
    }
}
