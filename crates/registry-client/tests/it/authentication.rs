//! Getting in: challenges, tokens, and what happens when they run out.

use oci_layout::Descriptor;
use registry_client::credentials::Found;
use registry_client::error::Known;
use registry_client::{Client, Config, Credential, Credentials, Error, ErrorKind, MemorySource, Notice, Pushed};
use test_registry::{Answer, Auth, Fault, Image, Options, TestRegistry, TokenAuth, Wire, blob_bytes};

use crate::redirects::logged_in;
use crate::support::{assert_log, client, config, noting, push, repository, tag, text};

fn with_tokens(auth: TokenAuth) -> TestRegistry {
    let registry = TestRegistry::with(Options { auth: Auth::Token(auth), ..Options::default() });
    registry.put_image("a", Some("x"), &Image::new(1, "linux/amd64", &[100]));
    registry
}

fn holding(registry: &TestRegistry, credential: Credential) -> Config {
    let found = Found { credential, origin: "the test".into() };
    Config { credentials: Credentials { given: vec![(registry.host(), found)], ..Credentials::default() }, ..config() }
}

fn token_requests(registry: &TestRegistry) -> usize {
    registry.requests().iter().filter(|request| request.path() == "/token").count()
}

const PULL_TOKEN: &str = "GET /token?service=test&scope=repository%3Aa%3Apull&account=builder 200";

#[tokio::test]
async fn a_token_is_fetched_for_what_is_wanted_and_kept() {
    let registry = with_tokens(TokenAuth::default());
    let client = Client::new(logged_in(&registry)).unwrap();
    let repo = repository(&registry, "a");
    client.manifest(&repo, &tag("x")).await.unwrap();
    client.manifest(&repo, &tag("x")).await.unwrap();
    assert_log(
        &registry,
        &["GET /v2/a/manifests/x 401", PULL_TOKEN, "GET /v2/a/manifests/x 200", "GET /v2/a/manifests/x 200"],
    );
}

#[tokio::test]
async fn sixteen_tasks_on_a_cold_cache_ask_for_one_token() {
    let registry = with_tokens(TokenAuth::default());
    let client = Client::new(logged_in(&registry)).unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (client, repo) = (client.clone(), repository(&registry, "a"));
            tokio::spawn(async move { client.head_manifest(&repo, &tag("x")).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().unwrap().is_some());
    }
    assert_eq!(token_requests(&registry), 1);
    let refused = registry.log().iter().filter(|line| line.ends_with("401")).count();
    assert_eq!(refused, 1, "one probe for all: {:?}", registry.log());
}

#[tokio::test]
async fn sixteen_tasks_get_one_refusal() {
    let registry = with_tokens(TokenAuth { password: "changed".into(), ..TokenAuth::default() });
    let client = Client::new(logged_in(&registry)).unwrap();
    let repo = repository(&registry, "a");
    let first = client.head_manifest(&repo, &tag("x")).await.unwrap_err();
    assert_eq!(first.kind(), ErrorKind::Unauthorized);
    registry.clear_log();
    registry.fault(Fault::on("GET", "/token").pause(std::time::Duration::from_millis(200)).always());
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (client, repo) = (client.clone(), repo.clone());
            tokio::spawn(async move { client.head_manifest(&repo, &tag("x")).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Unauthorized);
    }
    assert_eq!(token_requests(&registry), 1);
}

#[tokio::test]
async fn a_push_with_a_mount_asks_for_both_scopes_and_reuses_them() {
    let registry = with_tokens(TokenAuth::default());
    let client = Client::new(logged_in(&registry)).unwrap();
    let bytes = blob_bytes(1, 1000);
    registry.put_blob("base", &bytes);
    let source = MemorySource::new(Descriptor::of("x", &bytes), bytes);
    let (base, repo) = (repository(&registry, "base"), repository(&registry, "a"));
    assert_eq!(client.push_blob(&repo, &source, std::slice::from_ref(&base), &|_| {}).await.unwrap(), Pushed::Mounted);
    assert_log(
        &registry,
        &[
            "HEAD /v2/a/blobs/# 401",
            "GET /token?service=test&scope=repository%3Aa%3Apull%2Cpush&account=builder 200",
            "HEAD /v2/a/blobs/# 404",
            "GET /token?service=test&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Abase%3Apull&account=builder 200",
            "POST /v2/a/blobs/uploads/?mount=#&from=base 201",
        ],
    );
    registry.clear_log();
    // The wide token does for reading the base, too.
    client.blob_size(&base, &source_digest()).await.unwrap();
    assert_log(&registry, &["HEAD /v2/base/blobs/# 200"]);
}

fn source_digest() -> oci_layout::Digest {
    oci_layout::Digest::of(&blob_bytes(1, 1000))
}

#[tokio::test]
async fn a_mount_whose_token_is_refused_becomes_an_upload() {
    let registry = with_tokens(TokenAuth::default());
    registry.fault(Fault::on("GET", "base%3Apull").status(403).always());
    let bytes = blob_bytes(1, 1000);
    let source = MemorySource::new(Descriptor::of("x", &bytes), bytes);
    let (base, repo) = (repository(&registry, "base"), repository(&registry, "a"));
    let client = Client::new(logged_in(&registry)).unwrap();
    assert_eq!(client.push_blob(&repo, &source, &[base], &|_| {}).await.unwrap(), Pushed::Uploaded);
    assert_eq!(token_requests(&registry), 2);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let registry = with_tokens(TokenAuth::default());
    let client = Client::new(holding(&registry, Credential::Identity("canary-identity".into()))).unwrap();
    client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
    assert_log(&registry, &["GET /v2/a/manifests/x 401", "POST /token 200", "GET /v2/a/manifests/x 200"]);
    let form = String::from_utf8(registry.requests()[1].body.to_vec()).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.contains("scope=repository%3Aa%3Apull"), "{form}");
    assert!(registry.requests()[1].header("authorization").is_none());
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let registry = TestRegistry::start();
    registry.put_image("a", Some("x"), &Image::new(1, "linux/amd64", &[100]));
    let challenge = "Bearer realm=\"https://unused.example/token\"";
    registry.fault(Fault::on("GET", "/").answer(Answer::new(401).header("WWW-Authenticate", challenge)));
    let client = Client::new(holding(&registry, Credential::Bearer("canary-bearer".into()))).unwrap();
    client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
    assert_log(&registry, &["GET /v2/a/manifests/x 401", "GET /v2/a/manifests/x 200"]);
    assert_eq!(registry.requests()[1].header("authorization"), Some("Bearer canary-bearer"));
}

#[tokio::test]
async fn anonymous_tokens_read_but_do_not_write() {
    let registry = with_tokens(TokenAuth { anonymous_pull: true, ..TokenAuth::default() });
    let client = client();
    let repo = repository(&registry, "a");
    client.manifest(&repo, &tag("x")).await.unwrap();
    assert_eq!(token_requests(&registry), 1);
    let error = push(&client, &repo, &blob_bytes(5, 10)).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorized { known: Known::Nothing, .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("no credentials for {} are known", registry.host())), "{error}");
    assert!(registry.log().iter().all(|line| !line.starts_with("PUT")));
}

#[tokio::test]
async fn no_credentials_and_refused_ones_are_told_apart() {
    let registry = with_tokens(TokenAuth { password: "changed".into(), ..TokenAuth::default() });
    let repo = repository(&registry, "a");
    let nothing = client().manifest(&repo, &tag("x")).await.unwrap_err();
    assert!(matches!(nothing, Error::Unauthorized { known: Known::Nothing, .. }), "{nothing:?}");
    let refused = Client::new(logged_in(&registry)).unwrap().manifest(&repo, &tag("x")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthorized);
    assert!(
        refused.to_string().contains("refuses the credentials from the test; it says 403 Forbidden (PAT expired)"),
        "the token server's own words: {refused}"
    );
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn several_challenges_are_all_read() {
    let registry = TestRegistry::with(Options { auth: Auth::Token(TokenAuth::default()), ..Options::default() });
    registry.put_image("a", Some("x"), &Image::new(1, "linux/amd64", &[100]));
    let bearer = format!("Bearer realm=\"{}/token\",service=\"test\"", registry.url());
    for headers in [
        vec!["Negotiate".to_owned(), "Basic realm=\"x\"".to_owned(), bearer.clone()],
        vec![format!("Negotiate, Basic realm=\"a, b\", {bearer}")],
        vec![format!("{bearer}, Basic realm=\"x\"")],
    ] {
        registry.clear_log();
        let mut answer = Answer::new(401);
        answer.headers = headers.iter().map(|value| ("WWW-Authenticate".to_owned(), value.clone())).collect();
        registry.fault(Fault::on("GET", "/manifests/").answer(answer));
        let client = Client::new(logged_in(&registry)).unwrap();
        client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
        assert_log(&registry, &["GET /v2/a/manifests/x 401", PULL_TOKEN, "GET /v2/a/manifests/x 200"]);
    }
    for (header, expect) in [("Negotiate, NTLM", "negotiate, ntlm"), ("", "without a challenge")] {
        let answer = Answer::new(401).header("WWW-Authenticate", header);
        registry.fault(Fault::on("GET", "/manifests/").answer(answer));
        let client = Client::new(logged_in(&registry)).unwrap();
        let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
    }
}

#[tokio::test]
async fn basic_is_sent_from_the_second_request_on() {
    let auth = Auth::Basic { username: "builder".into(), password: "canary-password".into() };
    let registry = TestRegistry::with(Options { auth, ..Options::default() });
    let client = Client::new(logged_in(&registry)).unwrap();
    let repo = repository(&registry, "a");
    push(&client, &repo, &blob_bytes(1, 100)).await.unwrap();
    assert_log(
        &registry,
        &[
            "HEAD /v2/a/blobs/# 401",
            "HEAD /v2/a/blobs/# 404",
            "POST /v2/a/blobs/uploads/ 202",
            "PUT /v2/a/blobs/uploads/ID?_state&digest=# 201",
        ],
    );
    registry.clear_log();
    let error = crate::support::client().manifest(&repo, &tag("x")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { known: Known::Nothing, .. }), "{error:?}");
    // With nothing to say there is nothing to ask again for.
    assert_log(&registry, &["GET /v2/a/manifests/x 401"]);
}

/// A registry may want a password for some of its repositories alone.
#[tokio::test]
async fn without_credentials_what_is_open_is_read_beside_what_is_not() {
    let registry = TestRegistry::start();
    registry.put_image("open", Some("x"), &Image::new(1, "linux/amd64", &[100]));
    let closed = Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\"");
    registry.fault(Fault::on("GET", "/v2/closed/").always().answer(closed));
    let client = crate::support::client();
    let error = client.manifest(&repository(&registry, "closed"), &tag("x")).await.unwrap_err();
    let url = error.place().and_then(|place| place.url.as_ref()).map(ToString::to_string);
    assert_eq!(url, Some(format!("{}/v2/closed/manifests/x", registry.url())));
    client.manifest(&repository(&registry, "open"), &tag("x")).await.unwrap();
}

#[tokio::test]
async fn r23_a_token_server_that_the_registry_names_is_used_and_said() {
    let tokens = with_tokens(TokenAuth::default());
    let realm = format!("http://localhost:{}/token", tokens.port());
    let registry = with_tokens(TokenAuth::default().realm(realm.clone()));
    let (noting, notices) = noting();
    let config = Config { notices: noting.notices, ..logged_in(&registry) };
    let client = Client::new(config).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    // It is asked; its token means nothing to this registry, which ends it.
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_log(&tokens, &[PULL_TOKEN]);
    assert_eq!(registry.log().len(), 2);
    let said = notices
        .lock()
        .unwrap()
        .iter()
        .any(|notice| matches!(notice, Notice::TokenServer { realm: shown, .. } if shown.to_string() == realm));
    assert!(said, "{:?}", notices.lock().unwrap());
}

#[tokio::test]
async fn r23_a_token_server_that_redirects_gets_nothing_more() {
    let elsewhere = TestRegistry::start();
    let registry = with_tokens(TokenAuth::default());
    let to = Answer::new(307).header("Location", format!("http://localhost:{}/token", elsewhere.port()));
    registry.fault(Fault::on("GET", "/token").answer(to).always());
    let client = Client::new(logged_in(&registry)).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(matches!(error, Error::Realm { .. }), "{error:?}");
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(registry.log().len(), 2);
}

#[tokio::test]
async fn r23_a_token_server_other_than_the_pinned_one_gets_nothing() {
    let other = with_tokens(TokenAuth::default());
    let registry = with_tokens(TokenAuth::default().realm(format!("{}/token", other.url())));
    let pin = |url: String| Config { auth_realm: Some(url.parse().unwrap()), ..logged_in(&registry) };
    let client = Client::new(pin(format!("{}/token", registry.url()))).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(error.to_string().contains("another one is pinned"), "{error}");
    assert_eq!(other.connections(), 0);
    assert_log(&registry, &["GET /v2/a/manifests/x 401"]);
    let client = Client::new(pin(format!("{}/token", other.url()))).unwrap();
    client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert_eq!(token_requests(&other), 1, "the pinned one is asked");
}

#[tokio::test]
async fn r24_a_realm_that_is_no_url_to_trust_fails() {
    for realm in ["null://", "file:///etc/passwd", "http://other.example/token", "token", "http://169.254.169.254/"] {
        let registry = with_tokens(TokenAuth::default().realm(realm));
        let client = Client::new(logged_in(&registry)).unwrap();
        let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
        assert!(matches!(error, Error::Realm { .. }), "{realm}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_log(&registry, &["GET /v2/a/manifests/x 401"]);
    }
}

#[tokio::test]
async fn r25_an_endless_token_answer_is_capped() {
    let registry = with_tokens(TokenAuth::default());
    let endless = Answer { wire: Wire { endless: true, ..Wire::default() }, ..Answer::new(200) };
    registry.fault(Fault::on("GET", "/token").answer(endless).always());
    let client = Client::new(logged_in(&registry)).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1_048_576, .. }), "{error:?}");
    assert_eq!(registry.log().len(), 2);
}

#[tokio::test]
async fn tokens_that_cannot_be_sent_are_errors() {
    for body in [r#"{"token":"a\nb"}"#, r#"{"token":"a\u0000"}"#, "{}", "nonsense"] {
        let registry = with_tokens(TokenAuth::default());
        registry.fault(Fault::on("GET", "/token").answer(Answer::new(200).body(body)).always());
        let client = Client::new(logged_in(&registry)).unwrap();
        let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{body}: {error:?}");
        assert_eq!(registry.log().len(), 2);
    }
}

#[tokio::test]
async fn a_token_server_that_fails_for_a_moment_is_asked_again() {
    let registry = with_tokens(TokenAuth::default());
    registry.fault(Fault::on("GET", "/token").status(503));
    registry.fault(Fault::on("GET", "/token").drop_unread());
    let client = Client::new(logged_in(&registry)).unwrap();
    client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
    assert_eq!(token_requests(&registry), 3);
}

#[tokio::test]
async fn r26_a_token_that_expires_in_mid_push_is_refreshed() {
    let registry = with_tokens(TokenAuth::default());
    // Right before the blob is sent, every token turns bad.
    registry.fault(Fault::on("PUT", "digest=").answer(Answer::new(401).header(
        "WWW-Authenticate",
        format!("Bearer realm=\"{}/token\",service=\"test\",error=\"invalid_token\"", registry.url()),
    )));
    let client = Client::new(logged_in(&registry)).unwrap();
    let bytes = blob_bytes(1, 1_000_000);
    push(&client, &repository(&registry, "a"), &bytes).await.unwrap();
    let scope = "GET /token?service=test&scope=repository%3Aa%3Apull%2Cpush&account=builder 200";
    assert_log(
        &registry,
        &[
            "HEAD /v2/a/blobs/# 401",
            scope,
            "HEAD /v2/a/blobs/# 404",
            "POST /v2/a/blobs/uploads/ 202",
            "PUT /v2/a/blobs/uploads/ID?_state&digest=# 401",
            scope,
            "PUT /v2/a/blobs/uploads/ID?_state&digest=# 201",
        ],
    );
    let puts: Vec<_> = registry.requests().into_iter().filter(|r| r.method == "PUT").collect();
    assert_eq!(puts[0].path(), puts[1].path(), "the same session goes on");
    assert_ne!(puts[0].header("authorization"), puts[1].header("authorization"));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let registry = with_tokens(TokenAuth { expires_in: Some(1), ..TokenAuth::default() });
    let client = Client::new(logged_in(&registry)).unwrap();
    let repo = repository(&registry, "a");
    client.manifest(&repo, &tag("x")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(950)).await;
    registry.clear_log();
    client.manifest(&repo, &tag("x")).await.unwrap();
    assert_log(&registry, &[PULL_TOKEN, "GET /v2/a/manifests/x 200"]);
}

#[tokio::test]
async fn r27_a_401_without_end_stops_after_one_refresh() {
    let registry = with_tokens(TokenAuth::default());
    let client = Client::new(logged_in(&registry)).unwrap();
    let repo = repository(&registry, "a");
    client.manifest(&repo, &tag("x")).await.unwrap();
    registry.clear_log();
    let challenge = format!("Bearer realm=\"{}/token\",service=\"test\",scope=\"repository:a:pull\"", registry.url());
    registry
        .fault(Fault::on("GET", "/manifests/").answer(Answer::new(401).header("WWW-Authenticate", challenge)).always());
    let error = client.manifest(&repo, &tag("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_log(&registry, &["GET /v2/a/manifests/x 401", PULL_TOKEN, "GET /v2/a/manifests/x 401"]);
}

#[tokio::test]
async fn r27_basic_that_is_refused_is_not_sent_twice() {
    let auth = Auth::Basic { username: "builder".into(), password: "another".into() };
    let registry = TestRegistry::with(Options { auth, ..Options::default() });
    let client = Client::new(logged_in(&registry)).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(text(&error).contains("refuses the credentials from the test"), "{error}");
    assert_log(&registry, &["GET /v2/a/manifests/x 401", "GET /v2/a/manifests/x 401"]);
}

#[tokio::test]
async fn a_challenge_with_other_scopes_is_followed() {
    let registry = with_tokens(TokenAuth::default());
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"test\",scope=\"repository:a:metadata_read,pull\",error=\"insufficient_scope\"",
        registry.url()
    );
    registry
        .fault(Fault::on("GET", "/manifests/").after(1).answer(Answer::new(401).header("WWW-Authenticate", challenge)));
    let client = Client::new(logged_in(&registry)).unwrap();
    client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap();
    assert_log(
        &registry,
        &[
            "GET /v2/a/manifests/x 401",
            PULL_TOKEN,
            "GET /v2/a/manifests/x 401",
            "GET /token?service=test&scope=repository%3Aa%3Ametadata_read%2Cpull&account=builder 200",
            "GET /v2/a/manifests/x 200",
        ],
    );
}

#[tokio::test]
async fn a_403_says_whose_credentials_do_not_suffice() {
    let registry = with_tokens(TokenAuth::default());
    registry.fault(Fault::on("GET", "/manifests/").after(1).error(403, "DENIED").always());
    let client = Client::new(logged_in(&registry)).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    assert!(matches!(&error, Error::Denied { known: Known::From { origin }, .. } if origin == "the test"), "{error:?}");
    assert_eq!(registry.log().len(), 3);
}

#[tokio::test]
async fn a_login_is_checked_before_it_is_kept() {
    let password = |text: &str| Credential::Password { username: "builder".into(), password: text.into() };
    let token = with_tokens(TokenAuth::default());
    let basic = TestRegistry::with(Options {
        auth: Auth::Basic { username: "builder".into(), password: "canary-password".into() },
        ..Options::default()
    });
    for registry in [&token, &basic] {
        let name = registry.host().parse().unwrap();
        client().check_credential(&name, password("canary-password")).await.unwrap();
        let error = client().check_credential(&name, password("wrong")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains("this login"), "{error}");
    }
}
