//! One registry as the client sees it: where it is, how it is spoken to, what is known of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use url::{Host as UrlHost, Url};

use crate::auth::Scheme;
use crate::config::Config;
use crate::reference::{Registry, is_loopback_host};
use crate::resolve::Resolver;

/// The kinds of requests that have places of their own among those in flight. An upload may wait
/// for the download that feeds it, so the two never share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Documents, HEADs, sessions.
    Small,
    /// Blobs coming.
    Pull,
    /// Blobs going.
    Push,
}

/// What is known about a registry.
pub(crate) struct Host {
    pub(crate) registry: Registry,
    pub(crate) scheme: Mutex<Option<Scheme>>,
    /// Whether plain http is tried at all, and whether it is what the registry speaks.
    plain: AtomicBool,
    /// Held by the first request, so that the others learn from its answer; true afterwards.
    pub(crate) met: tokio::sync::Mutex<bool>,
    met_fast: AtomicBool,
    /// Something has answered there.
    reached: AtomicBool,
    gates: [Arc<Semaphore>; 3],
}

impl Host {
    fn new(registry: Registry, config: &Config) -> Self {
        let plain = registry.is_loopback() || is_insecure(&registry.api_authority(), config);
        // A registry with certificates of its own is meant to be spoken to over TLS.
        let name = registry.to_string();
        let has_certificates = config.registries.contains_key(&name)
            || config.certs_d.iter().any(|directory| directory.join(&name).is_dir());
        let plain = plain && !has_certificates;
        let places = config.limits.per_host.max(1);
        Self {
            registry,
            scheme: Mutex::new(None),
            plain: AtomicBool::new(plain),
            met: tokio::sync::Mutex::new(false),
            met_fast: AtomicBool::new(false),
            reached: AtomicBool::new(false),
            gates: [0; 3].map(|_| Arc::new(Semaphore::new(places))),
        }
    }

    pub(crate) fn gate(&self, gate: Gate) -> Arc<Semaphore> {
        Arc::clone(&self.gates[gate as usize])
    }

    /// Whether the registry is spoken to without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// The registry turned out to speak TLS.
    pub(crate) fn use_tls(&self) {
        self.plain.store(false, Ordering::Relaxed);
    }

    /// It did not.
    pub(crate) fn use_plain(&self) {
        self.plain.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_met(&self) -> bool {
        self.met_fast.load(Ordering::Acquire)
    }

    pub(crate) fn set_met(&self) {
        self.met_fast.store(true, Ordering::Release);
    }

    /// Scheme, host and port.
    pub(crate) fn base(&self) -> Url {
        let scheme = if self.is_plain() { "http" } else { "https" };
        let text = format!("{scheme}://{}/", self.registry.api_authority());
        // A registry's grammar is narrower than a URL's; the fallback is never reached.
        Url::parse(&text).unwrap_or_else(|_| invalid_url())
    }

    /// The URL of `path` below `/v2/`.
    pub(crate) fn api(&self, path: &str) -> Url {
        let mut url = self.base();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("/v2/{path}"));
        url.set_query(query);
        url
    }
}

#[allow(clippy::expect_used, reason = "a constant")]
fn invalid_url() -> Url {
    Url::parse("https://invalid.invalid/").expect("a constant URL parses")
}

/// All registries that a client has met.
#[derive(Default)]
pub(crate) struct Hosts(Mutex<HashMap<Registry, Arc<Host>>>);

impl Hosts {
    pub(crate) fn get(&self, registry: &Registry, config: &Config, resolver: &Resolver) -> Arc<Host> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(registry) {
            return Arc::clone(host);
        }
        let host = Arc::new(Host::new(registry.clone(), config));
        resolver.trust(host.base().host_str().unwrap_or_default());
        hosts.insert(registry.clone(), Arc::clone(&host));
        host
    }
}

fn is_insecure(authority: &str, config: &Config) -> bool {
    config.insecure.iter().any(|name| name.eq_ignore_ascii_case(authority)) || config.mirrors.is_insecure(authority)
}

/// Whether `url`'s host may be spoken to without TLS.
pub(crate) fn plain_http_allowed(url: &Url, config: &Config) -> bool {
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    is_loopback_host(host) || is_insecure(&authority, config)
}

/// Scheme, host and port are the same: what credentials and cookies are bound to.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// Whether the address belongs to the link itself, where clouds keep their metadata services.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                // The same service of one cloud, under a unique local address.
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// The same for a URL whose host is a number.
pub(crate) fn is_link_local_host(url: &Url) -> bool {
    match url.host() {
        Some(UrlHost::Ipv4(address)) => is_link_local(address.into()),
        Some(UrlHost::Ipv6(address)) => is_link_local(address.into()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(same("https://a/x", "https://A:443/y"));
        assert!(!same("https://a/", "http://a/"));
        assert!(!same("https://a/", "https://a:444/"));
        assert!(!same("https://a/", "https://b/"));
    }

    #[test]
    fn r22_link_local_addresses_are_known_in_every_spelling() {
        let refused = |text: &str| is_link_local_host(&Url::parse(text).unwrap());
        for text in [
            "http://169.254.169.254/",
            "http://2852039166/",
            "http://0xA9FEA9FE/",
            "http://0251.0376.0251.0376/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://0.0.0.0/",
        ] {
            assert!(refused(text), "{text}");
        }
        assert!(!refused("http://127.0.0.1/"));
        assert!(!refused("http://10.0.0.1/"));
    }

    #[test]
    fn plain_http_is_for_loopback_and_named_registries() {
        let config = Config { insecure: vec!["plain.example:5000".to_owned()], ..Config::default() };
        let base = |text: &str| Host::new(text.parse().unwrap(), &config).base().to_string();
        assert_eq!(base("localhost:5000"), "http://localhost:5000/");
        assert_eq!(base("[::1]:5000"), "http://[::1]:5000/");
        assert_eq!(base("plain.example:5000"), "http://plain.example:5000/");
        assert_eq!(base("plain.example"), "https://plain.example/");
        assert_eq!(base("docker.io"), "https://registry-1.docker.io/");
    }
}
