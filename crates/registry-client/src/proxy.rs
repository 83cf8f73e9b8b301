//! Proxies, as values: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are read by whoever makes the
//! [`crate::Config`]. This machine itself is never reached through one.

use std::fmt;
use std::net::IpAddr;

use url::Url;

use crate::error::Error;
use crate::redact::ShownUrl;
use crate::reference::is_loopback_host;

/// Which requests go through which proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For http registries.
    pub http: Option<ProxyUrl>,
    /// For https registries, by CONNECT.
    pub https: Option<ProxyUrl>,
    /// What goes direct.
    pub except: NoProxy,
}

/// A proxy's URL, which may hold a password: shown without it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Reads a proxy's URL; without a scheme it is http. `name` is shown where it cannot be read.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::Config { what: name.to_owned(), reason: reason.to_owned() };
        let text = text.trim();
        let url = match text.contains("://") {
            true => Url::parse(text),
            false => Url::parse(&format!("http://{text}")),
        };
        let url = url.map_err(|_| invalid("not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("only http and https proxies are supported"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("it names no host"));
        }
        Ok(Self(url))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownUrl::new(&self.0).fmt(f)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownUrl::new(&self.0).fmt(f)
    }
}

impl Proxies {
    /// The proxy for `url`.
    pub(crate) fn for_url(&self, url: &Url) -> Option<&Url> {
        let host = url.host_str()?;
        if is_loopback_host(host) || self.except.matches(host, url.port_or_known_default()) {
            return None;
        }
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().map(ProxyUrl::url)
    }
}

/// `NO_PROXY`, as curl and Go read it: names with everything below them, addresses, networks,
/// each with an optional port, or `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy {
    all: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// A name; `inside` where only what is below it counts.
    Name {
        name: String,
        inside: bool,
        port: Option<u16>,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    Network {
        address: IpAddr,
        bits: u32,
    },
}

impl NoProxy {
    /// Reads the list. What is no entry is left out.
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for word in text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty()) {
            if word == "*" {
                list.all = true;
            } else {
                list.entries.extend(entry(word));
            }
        }
        list
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let name = bare.trim_end_matches('.').to_ascii_lowercase();
        self.all
            || self.entries.iter().any(|entry| match entry {
                Entry::Name { name: wanted, inside, port: only } => {
                    let below = name.strip_suffix(wanted.as_str()).is_some_and(|rest| rest.ends_with('.'));
                    (below || (!inside && name == *wanted)) && only.is_none_or(|only| Some(only) == port)
                }
                Entry::Address { address: wanted, port: only } => {
                    address == Some(*wanted) && only.is_none_or(|only| Some(only) == port)
                }
                Entry::Network { address: network, bits } => {
                    address.is_some_and(|address| in_network(address, *network, *bits))
                }
            })
    }
}

fn entry(word: &str) -> Option<Entry> {
    if let Some((address, bits)) = word.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
        return Some(Entry::Network { address, bits });
    }
    if let Ok(address) = word.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Entry::Address { address: address.to_canonical(), port: None });
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (word, None),
    };
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Entry::Address { address: address.to_canonical(), port });
    }
    let inside = host.starts_with('*');
    let name = host.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
    (!name.is_empty()).then_some(Entry::Name { name, inside, port })
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn direct(list: &str, url: &str, expect: bool) {
        let proxies = Proxies {
            http: Some(ProxyUrl::parse("HTTP_PROXY", "p.example:3128").unwrap()),
            https: Some(ProxyUrl::parse("HTTPS_PROXY", "http://p.example:3128").unwrap()),
            except: NoProxy::parse(list),
        };
        assert_eq!(proxies.for_url(&Url::parse(url).unwrap()).is_none(), expect, "{list} {url}");
    }

    #[test]
    fn names_cover_what_is_below_them() {
        direct("", "https://r.example/", false);
        direct("r.example", "https://r.example/", true);
        direct("r.example", "https://a.r.example/", true);
        direct(".r.example", "https://r.example/", true);
        direct("*.r.example", "https://r.example/", false);
        direct("*.r.example", "https://a.R.example/", true);
        direct("r.example", "https://xr.example/", false);
        direct("a, r.example:5000", "https://r.example:5000/", true);
        direct("r.example:5000", "https://r.example/", false);
        direct("r.example:443", "https://r.example/", true);
        direct("*", "https://r.example/", true);
    }

    #[test]
    fn addresses_and_networks() {
        direct("10.0.0.1", "http://10.0.0.1:5000/", true);
        direct("10.0.0.0/8", "http://10.9.9.9:5000/", true);
        direct("10.0.0.0/8", "http://11.0.0.1/", false);
        direct("0.0.0.0/0", "http://11.0.0.1/", true);
        direct("fd00::/8", "http://[fd00::1]/", true);
        direct("[fd00::1]:80", "http://[fd00::1]/", true);
        direct("10.0.0.0/99", "http://10.0.0.1/", false);
    }

    #[test]
    fn this_machine_is_always_reached_directly() {
        direct("", "http://localhost:5000/", true);
        direct("", "https://127.0.0.1/", true);
        direct("", "https://[::1]/", true);
    }

    #[test]
    fn x02_a_proxys_password_is_not_shown() {
        let proxy = ProxyUrl::parse("HTTPS_PROXY", "http://me:canary@p.example:1").unwrap();
        assert!(!format!("{proxy} {proxy:?}").contains("canary"));
        let error = ProxyUrl::parse("HTTPS_PROXY", "socks5://me:canary@p").unwrap_err();
        assert_eq!(error.to_string(), "HTTPS_PROXY: only http and https proxies are supported");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(list: String, proxy: String) {
            let list = NoProxy::parse(&list);
            let _ = list.matches("r.example", Some(443));
            let _ = ProxyUrl::parse("HTTPS_PROXY", &proxy);
        }
    }
}
