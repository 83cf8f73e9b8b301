//! Where a registry sends us, and what goes along.

use oci_layout::Descriptor;
use registry_client::{Client, Config, Credential, Credentials, Error, ErrorKind, credentials::Found};
use test_registry::{Answer, Auth, Fault, Options, TestRegistry, blob_bytes};

use crate::support::{assert_log, client, config, pull, push, repository};

pub(crate) fn logged_in(registry: &TestRegistry) -> Config {
    let credential = Credential::Password { username: "builder".into(), password: "canary-password".into() };
    let found = Found { credential, origin: "the test".into() };
    Config { credentials: Credentials { given: vec![(registry.host(), found)], ..Credentials::default() }, ..config() }
}

fn basic() -> TestRegistry {
    let auth = Auth::Basic { username: "builder".into(), password: "canary-password".into() };
    TestRegistry::with(Options { auth, ..Options::default() })
}

fn redirect(to: impl Into<String>, status: u16) -> Answer {
    Answer::new(status).header("Location", to)
}

/// A registry that sends blobs from another one, and that other one.
fn pair(host: &str) -> (TestRegistry, TestRegistry, Descriptor, bytes::Bytes) {
    let (registry, storage) = (basic(), TestRegistry::start());
    let bytes = blob_bytes(1, 50_000);
    let blob = storage.put_blob("bucket", &bytes);
    let to = format!("http://{host}:{}/v2/bucket/blobs/{}?X-Sig=canary", storage.port(), blob.digest);
    registry.fault(Fault::on("GET", "/v2/a/blobs/").after(1).answer(redirect(to, 307)).always());
    (registry, storage, blob, bytes)
}

#[tokio::test]
async fn r19_credentials_do_not_follow_to_another_host() {
    let (registry, storage, blob, bytes) = pair("localhost");
    let client = Client::new(logged_in(&registry)).unwrap();
    assert_eq!(pull(&client, &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert_log(&registry, &["GET /v2/a/blobs/# 401", "GET /v2/a/blobs/# 307"]);
    assert!(registry.requests()[1].header("authorization").is_some());
    let there = &storage.requests()[0];
    assert!(
        there.headers.iter().all(|(name, value)| name != "authorization" && !value.contains("canary")),
        "{there:?}"
    );
}

#[tokio::test]
async fn r20_credentials_do_not_follow_to_another_port() {
    let (registry, storage, blob, bytes) = pair("127.0.0.1");
    let client = Client::new(logged_in(&registry)).unwrap();
    assert_eq!(pull(&client, &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert_eq!(registry.log().len(), 2);
    assert!(storage.requests()[0].header("authorization").is_none());
}

#[tokio::test]
async fn r20_an_upload_to_another_port_goes_without_credentials() {
    let (registry, storage) = (basic(), TestRegistry::start());
    let to = format!("{}/v2/bucket/blobs/uploads/x", storage.url());
    registry.fault(Fault::on("POST", "/uploads/").answer(redirect(to, 202)));
    storage.fault(Fault::on("PUT", "digest=").status(201));
    let client = Client::new(logged_in(&registry)).unwrap();
    push(&client, &repository(&registry, "a"), &blob_bytes(1, 100)).await.unwrap();
    assert_log(&registry, &["HEAD /v2/a/blobs/# 401", "HEAD /v2/a/blobs/# 404", "POST /v2/a/blobs/uploads/ 202"]);
    assert!(storage.requests()[0].header("authorization").is_none());
}

#[tokio::test]
async fn a_redirect_on_the_same_origin_keeps_credentials() {
    let registry = basic();
    let bytes = blob_bytes(1, 1000);
    let blob = registry.put_blob("b", &bytes);
    registry.fault(Fault::on("GET", "/v2/a/").after(1).answer(redirect(format!("/v2/b/blobs/{}", blob.digest), 302)));
    let client = Client::new(logged_in(&registry)).unwrap();
    assert_eq!(pull(&client, &repository(&registry, "a"), &blob).await.unwrap(), bytes);
    assert_log(&registry, &["GET /v2/a/blobs/# 401", "GET /v2/a/blobs/# 302", "GET /v2/b/blobs/# 200"]);
}

#[tokio::test]
async fn r21_a_redirect_loop_ends_after_a_few_hops() {
    let registry = TestRegistry::start();
    let blob = Descriptor::of("x", &blob_bytes(1, 100));
    let here = format!("/v2/a/blobs/{}", blob.digest);
    registry.fault(Fault::on("GET", "/blobs/").answer(redirect(here, 302)).always());
    let error = pull(&client(), &repository(&registry, "a"), &blob).await.unwrap_err();
    assert!(matches!(error, Error::Redirect { reason: "too many hops", .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_log(&registry, &["GET /v2/a/blobs/# 302"; 6]);
}

#[tokio::test]
async fn r22_link_local_targets_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "169.254.169.254 metadata.example\nfe80::1 six.example\n").unwrap();
    let names = registry_client::config::Names { hosts, ..Default::default() };
    for target in
        ["169.254.169.254", "[fe80::1]", "0xA9FEA9FE", "[::ffff:169.254.169.254]", "metadata.example", "six.example"]
    {
        let registry = TestRegistry::start();
        let client = Client::new(Config { names: names.clone(), ..config() }).unwrap();
        let to = format!("http://{target}/latest/meta-data/");
        registry.fault(Fault::on("GET", "/blobs/").answer(redirect(to.clone(), 307)));
        let blob = Descriptor::of("x", &blob_bytes(1, 100));
        let error = pull(&client, &repository(&registry, "a"), &blob).await.unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }), "{target}: {error:?}");
        assert!(error.to_string().contains("link-local"), "{error}");

        registry.fault(Fault::on("POST", "/uploads/").answer(redirect(to, 202)));
        let error = push(&client, &repository(&registry, "a"), &blob_bytes(1, 100)).await.unwrap_err();
        assert!(error.to_string().contains("link-local"), "{error}");
        assert_log(&registry, &["GET /v2/a/blobs/# 307", "HEAD /v2/a/blobs/# 404", "POST /v2/a/blobs/uploads/ 202"]);
    }
}

#[tokio::test]
async fn a_401_from_elsewhere_gets_no_credentials() {
    let (registry, storage, blob, _) = pair("localhost");
    let challenge = format!("Bearer realm=\"{}/token\",service=\"x\"", storage.url());
    storage.fault(Fault::on("GET", "/").answer(Answer::new(401).header("WWW-Authenticate", challenge)).always());
    let client = Client::new(logged_in(&registry)).unwrap();
    let error = pull(&client, &repository(&registry, "a"), &blob).await.unwrap_err();
    assert!(matches!(error, Error::Status { .. }), "{error:?}");
    assert!(storage.requests().iter().all(|r| r.path() != "/token"), "{:?}", storage.log());
    assert_log(&registry, &["GET /v2/a/blobs/# 401", "GET /v2/a/blobs/# 307"]);
}

#[tokio::test]
async fn x02_signatures_in_redirects_are_not_shown() {
    let (registry, storage, blob, _) = pair("localhost");
    storage.fault(Fault::on("GET", "/").status(403).always());
    let client = Client::new(logged_in(&registry)).unwrap();
    let error = pull(&client, &repository(&registry, "a"), &blob).await.unwrap_err();
    let shown = format!("{} {error:?}", crate::support::text(&error));
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("403"), "{shown}");
    assert_eq!(storage.log().len(), 1);
}
