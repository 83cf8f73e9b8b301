//! TLS: private authorities, certificates for single registries, client certificates.

use registry_client::config::{Identity, RegistryTls, Roots};
use registry_client::{Client, Config, ErrorKind};
use test_registry::{Authority, Options, TestRegistry, Tls, blob_bytes};

use crate::support::{config, noting, push, repository, text};

fn secure(tls: Tls) -> TestRegistry {
    TestRegistry::with(Options { tls: Some(tls), ..Options::default() })
}

fn trusting(authority: &Authority) -> Config {
    let extra = vec![("ca.pem".to_owned(), authority.pem().into_bytes())];
    Config { roots: Roots { system: Vec::new(), built_in: false, extra }, ..config() }
}

async fn works(config: Config, registry: &TestRegistry) -> Result<(), String> {
    let client = Client::new(config).map_err(|error| text(&error))?;
    let outcome = push(&client, &repository(registry, "a"), &blob_bytes(1, 100_000)).await;
    outcome.map(drop).map_err(|error| text(&error))
}

#[tokio::test]
async fn a_private_authority_works_without_a_system_store() {
    let authority = Authority::new();
    let registry = secure(Tls::new(&authority));
    works(trusting(&authority), &registry).await.unwrap();
    assert!(registry.log().last().unwrap().ends_with("201"));
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_named_as_the_cause() {
    let registry = secure(Tls::new(&Authority::new()));
    let shown = works(trusting(&Authority::new()), &registry).await.unwrap_err();
    assert!(shown.contains("certificate"), "{shown}");
    assert!(registry.log().is_empty());
    assert_eq!(registry.connections(), 2, "plain http, TLS, and no third time");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let registry = secure(Tls { names: vec!["other.example".to_owned()], ..Tls::new(&authority) });
    let shown = works(trusting(&authority), &registry).await.unwrap_err();
    assert!(shown.contains("certificate"), "{shown}");
}

#[tokio::test]
async fn a_broken_authority_file_is_an_error_and_never_ignored() {
    let authority = Authority::new();
    let registry = secure(Tls::new(&authority));
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut config = trusting(&authority);
        config.roots.extra.push(("broken.pem".to_owned(), pem.as_bytes().to_vec()));
        let shown = works(config, &registry).await.unwrap_err();
        assert!(shown.starts_with("broken.pem: "), "{shown}");
    }
}

#[tokio::test]
async fn certs_d_holds_roots_and_client_certificates() {
    let authority = Authority::new();
    let registry = secure(Tls { client_certificates: true, ..Tls::new(&authority) });
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join(registry.host());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("ca.crt"), authority.pem()).unwrap();
    let with_directory = || Config { certs_d: vec![directory.path().to_owned()], ..config() };
    let shown = works(with_directory(), &registry).await.unwrap_err();
    assert!(!shown.is_empty(), "no client certificate yet");
    assert!(registry.log().is_empty());
    let (chain, key) = authority.client();
    std::fs::write(own.join("client.cert"), chain).unwrap();
    std::fs::write(own.join("client.key"), key).unwrap();
    works(with_directory(), &registry).await.unwrap();
    std::fs::write(own.join("client.key"), "nonsense").unwrap();
    let shown = works(with_directory(), &registry).await.unwrap_err();
    assert!(shown.contains("client.cert") && shown.contains("key"), "{shown}");
}

#[tokio::test]
async fn certificates_can_be_given_as_values_too() {
    let authority = Authority::new();
    let registry = secure(Tls { client_certificates: true, ..Tls::new(&authority) });
    let (chain, key) = authority.client();
    let identity = Identity { name: "client".to_owned(), chain: chain.into_bytes(), key: key.into_bytes() };
    let tls = RegistryTls { roots: vec![("ca".to_owned(), authority.pem().into_bytes())], identity: Some(identity) };
    let shown = format!("{tls:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("45, 45"), "{shown}");
    let config = Config { registries: [(registry.host(), tls)].into(), ..config() };
    works(config, &registry).await.unwrap();
}

#[tokio::test]
async fn a_loopback_registry_may_speak_tls() {
    // Plain http is tried first; the registry's TLS is found without being told.
    let authority = Authority::new();
    let registry = secure(Tls::new(&authority));
    works(trusting(&authority), &registry).await.unwrap();
    let plain = TestRegistry::start();
    works(trusting(&authority), &plain).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_a_network_error() {
    let host = TestRegistry::start().host();
    let repo = format!("{host}/a").parse().unwrap();
    let (config, notices) = noting();
    let client = Client::new(config).unwrap();
    let error = push(&client, &repo, &blob_bytes(1, 10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert_eq!(notices.lock().unwrap().len(), 2, "three tries, no more");
    assert!(text(&error).to_lowercase().contains("refused"), "{}", text(&error));
    assert!(!text(&error).contains("sending request"), "layers that say nothing are left out: {}", text(&error));
}

#[tokio::test]
async fn r20_a_downgrade_to_http_is_refused() {
    let authority = Authority::new();
    let registry = secure(Tls::new(&authority));
    let plain = TestRegistry::start();
    let bytes = blob_bytes(1, 1000);
    let blob = plain.put_blob("a", &bytes);
    let to = format!("{}/v2/a/blobs/{}", plain.url(), blob.digest);
    registry.fault(
        test_registry::Fault::on("GET", "/blobs/").answer(test_registry::Answer::new(307).header("Location", to)),
    );
    let client = Client::new(trusting(&authority)).unwrap();
    let error = crate::support::pull(&client, &repository(&registry, "a"), &blob).await.unwrap_err();
    assert!(error.to_string().contains("from https to http"), "{error}");
    assert_eq!(plain.connections(), 0);
    assert_eq!(registry.log().len(), 1);
}
