//! Canaries: a secret goes where it belongs and nowhere else.

use registry_client::credentials::{AuthFile, Helpers};
use registry_client::proxy::{Proxies, ProxyUrl};
use registry_client::{Client, Config, Credentials};
use test_registry::{Answer, Auth, Fault, Image, Options, TestRegistry, TokenAuth, blob_bytes};

use crate::redirects::logged_in;
use crate::support::{config, noting, push, repository, tag, text};

fn with_tokens() -> TestRegistry {
    let registry = TestRegistry::with(Options { auth: Auth::Token(TokenAuth::default()), ..Options::default() });
    registry.put_image("a", Some("x"), &Image::new(1, "linux/amd64", &[100]));
    registry
}

#[tokio::test]
async fn x01_nothing_that_can_be_shown_shows_a_secret() {
    let registry = with_tokens();
    let file = r#"{"auths":{"r.example":{"username":"me","password":"canary","identitytoken":"canary"}}}"#;
    let config = Config {
        credentials: Credentials {
            given: logged_in(&registry).credentials.given,
            files: vec![AuthFile::parse("file", file.as_bytes()).unwrap()],
            helpers: Helpers::default(),
        },
        proxies: Proxies {
            https: Some(ProxyUrl::parse("HTTPS_PROXY", "http://me:canary@p.example:3128").unwrap()),
            ..Proxies::default()
        },
        ..config()
    };
    let mut shown = format!("{config:?}");
    let client = Client::new(config).unwrap();
    shown.push_str(&format!("{client:?}"));
    // Whatever is refused, and however it is worded.
    for fault in [
        Fault::on("GET", "/token").status(403),
        Fault::on("GET", "/token").drop_unread().times(4),
        Fault::on("GET", "/manifests/").after(1).drop_unread().times(4),
        Fault::on("GET", "/manifests/").after(1).status(418),
    ] {
        registry.clear_faults();
        registry.revoke_tokens();
        registry.fault(fault);
        if let Err(error) = client.manifest(&repository(&registry, "a"), &tag("missing")).await {
            shown.push_str(&format!("{} {error:?}", text(&error)));
        }
    }
    assert!(shown.contains("builder"), "something was shown");
    let sent = registry.requests().into_iter().filter(|request| request.header("authorization").is_some());
    assert!(sent.count() >= 4, "each time the secret was on its way: {:#?}", registry.log());
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn x01_a_registry_that_repeats_what_it_got_is_not_repeated() {
    let registry = with_tokens();
    let echo = |request: &test_registry::Request| {
        let sent = request.header("authorization").unwrap_or_default().to_owned();
        let message = format!("you sent {sent}");
        let body = serde_json::json!({"errors": [{"code": "DENIED", "message": message, "detail": {"got": sent}}]});
        Answer::new(400).header("Content-Type", "application/json").body(body.to_string())
    };
    registry.fault(Fault::on("GET", "/manifests/").after(1).answer_with(echo).always());
    let (noting, notices) = noting();
    let client = Client::new(Config { notices: noting.notices, ..logged_in(&registry) }).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    let shown = format!("{} {error:?} {:?}", text(&error), notices.lock().unwrap());
    assert!(shown.contains("you sent Bearer [redacted]"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(registry.log().len(), 3, "asked, a token, asked and refused: {:#?}", registry.log());

    registry.clear_faults();
    let token = |request: &test_registry::Request| {
        let sent = request.header("authorization").unwrap_or_default();
        Answer::new(403).body(format!(r#"{{"details":"bad: {sent} canary-password"}}"#))
    };
    registry.fault(Fault::on("GET", "/token").answer_with(token).always());
    let client = Client::new(logged_in(&registry)).unwrap();
    let error = client.manifest(&repository(&registry, "a"), &tag("x")).await.unwrap_err();
    let shown = format!("{} {error:?}", text(&error));
    assert!(shown.contains("bad: Basic [redacted] [redacted]"), "{shown}");
    assert!(!shown.contains("canary") && !shown.contains("YnVpbGRlcjpjYW5hcnk"), "{shown}");
}

#[tokio::test]
async fn x02_a_location_with_a_signature_is_not_shown() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("POST", "/uploads/").edit(|_, answer| {
        let location = answer.headers.iter().find(|(name, _)| name == "Location").unwrap().1.clone();
        answer.set("Location", format!("{location}&sig=canary"));
    }));
    registry.fault(Fault::on("PUT", "digest=").status(400).always());
    let client = Client::new(config()).unwrap();
    let error = push(&client, &repository(&registry, "a"), &blob_bytes(1, 10)).await.unwrap_err();
    let shown = format!("{} {error:?}", text(&error));
    assert!(shown.contains("400") && !shown.contains("canary"), "{shown}");
    assert!(registry.requests().last().unwrap().target.contains("sig=canary"), "though it went where it belongs");
}
