//! Through a proxy, for names that only it can resolve.

use registry_client::config::Roots;
use registry_client::proxy::{NoProxy, Proxies, ProxyUrl};
use registry_client::{Client, Config, ErrorKind};
use test_registry::{Authority, Options, Proxy, TestRegistry, Tls, blob_bytes};

use crate::support::{config, push, text};

fn through(proxy: &Proxy, userinfo: &str, except: &str) -> Config {
    let url = ProxyUrl::parse("PROXY", &format!("http://{userinfo}{}", proxy.host())).unwrap();
    let proxies = Proxies { http: Some(url.clone()), https: Some(url), except: NoProxy::parse(except) };
    Config { proxies, insecure: vec!["plain.example:5000".to_owned()], ..config() }
}

#[tokio::test]
async fn plain_http_goes_through_a_proxy() {
    let registry = TestRegistry::start();
    let proxy = Proxy::start(registry.port(), None);
    let client = Client::new(through(&proxy, "", "")).unwrap();
    push(&client, &"plain.example:5000/a".parse().unwrap(), &blob_bytes(1, 100_000)).await.unwrap();
    assert!(registry.log().last().unwrap().ends_with("201"));
    let seen = proxy.seen();
    assert!(seen.iter().all(|line| line.contains(" http://plain.example:5000/v2/a/blobs/")), "{seen:?}");
}

#[tokio::test]
async fn https_goes_through_a_tunnel_with_the_proxys_credentials() {
    let authority = Authority::new();
    let registry = TestRegistry::with(Options { tls: Some(Tls::new(&authority)), ..Options::default() });
    // me:canary in base64.
    let proxy = Proxy::start(registry.port(), Some("Basic bWU6Y2FuYXJ5"));
    let roots = Roots { system: Vec::new(), built_in: false, extra: vec![("ca".into(), authority.pem().into())] };
    let with_roots = |userinfo| Config { roots: roots.clone(), ..through(&proxy, userinfo, "") };
    let repo = "registry.example/a".parse().unwrap();
    push(&Client::new(with_roots("me:canary@")).unwrap(), &repo, &blob_bytes(1, 100_000)).await.unwrap();
    assert!(proxy.seen().iter().all(|line| line.starts_with("CONNECT registry.example:443 ")), "{:?}", proxy.seen());
    assert!(registry.requests().iter().all(|r| r.header("proxy-authorization").is_none()));
    let error = push(&Client::new(with_roots("")).unwrap(), &repo, &blob_bytes(2, 10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(!text(&error).contains("canary"));
}

#[tokio::test]
async fn exceptions_and_this_machine_go_direct() {
    let registry = TestRegistry::start();
    let proxy = Proxy::start(registry.port(), None);
    let client = Client::new(through(&proxy, "", "")).unwrap();
    push(&client, &format!("{}/a", registry.host()).parse().unwrap(), &blob_bytes(1, 10)).await.unwrap();
    assert!(proxy.seen().is_empty());

    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 plain.example\n").unwrap();
    let mut config = through(&proxy, "", "plain.example");
    config.names.hosts = hosts;
    let name = format!("plain.example:{}", registry.port());
    config.insecure = vec![name.clone()];
    let client = Client::new(config).unwrap();
    push(&client, &format!("{name}/a").parse().unwrap(), &blob_bytes(2, 10)).await.unwrap();
    assert!(proxy.seen().is_empty());
}
