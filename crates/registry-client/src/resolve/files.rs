//! `/etc/hosts` and `/etc/resolv.conf` (hosts(5), resolv.conf(5)). Broken lines are skipped, as the
//! C library skips them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Most servers that are asked (resolv.conf(5): MAXNS).
const MAX_SERVERS: usize = 3;
/// Most domains in the search list.
const MAX_SEARCH: usize = 6;

/// The hosts file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(BTreeMap<String, Vec<IpAddr>>);

impl Hosts {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut hosts = Self::default();
        for line in String::from_utf8_lossy(bytes).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(address) = words.next().and_then(address) else { continue };
            for name in words {
                let list = hosts.0.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
                if !list.contains(&address) {
                    list.push(address);
                }
            }
        }
        hosts
    }

    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

/// An address; the zone of a link-local one is dropped.
fn address(text: &str) -> Option<IpAddr> {
    text.split('%').next()?.parse().ok()
}

/// Which servers are asked, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
    pub(super) use_tcp: bool,
}

impl ResolvConf {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            use_tcp: false,
        };
        for line in String::from_utf8_lossy(bytes).lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(address)),
                // The last of `search` and `domain` counts.
                Some("search") => conf.search = words.map(domain).collect(),
                Some("domain") => conf.search = words.take(1).map(domain).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf.servers.truncate(MAX_SERVERS);
        conf.search.retain(|domain| super::message::is_name(domain));
        conf.search.truncate(MAX_SEARCH);
        if conf.servers.is_empty() {
            conf.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            ("ndots", Some(dots)) => self.ndots = dots.min(15) as usize,
            ("timeout", Some(seconds)) => self.timeout = Duration::from_secs(u64::from(seconds.clamp(1, 30))),
            ("attempts", Some(count)) => self.attempts = count.clamp(1, 5),
            ("use-vc", _) => self.use_tcp = true,
            _ => {}
        }
    }

    /// The names that `name` may stand for, in the order in which they are tried.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let dots = name.bytes().filter(|b| *b == b'.').count();
        if dots >= self.ndots {
            std::iter::once(name.to_owned()).chain(searched).collect()
        } else {
            searched.chain(std::iter::once(name.to_owned())).collect()
        }
    }
}

fn domain(text: &str) -> String {
    text.trim_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_files_are_read() {
        let hosts = Hosts::parse(
            b"127.0.0.1 localhost\n# 10.0.0.1 no\n10.0.0.2\tRegistry.Lan registry # alias\nfe80::1%eth0 link\nbroken\n10.0.0.3 registry\n\xff\xfe\n",
        );
        assert_eq!(hosts.addresses("registry.lan"), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(hosts.addresses("registry").len(), 2);
        assert_eq!(hosts.addresses("link"), ["fe80::1".parse::<IpAddr>().unwrap()]);
        assert!(hosts.addresses("no").is_empty());
    }

    #[test]
    fn resolv_conf_is_read() {
        let conf = ResolvConf::parse(
            b"domain old.example\nsearch a.example b.example.\nnameserver 10.0.0.1\nnameserver ::1 ; x\nnameserver nonsense\noptions ndots:2 timeout:1 attempts:9 rotate\n",
        );
        assert_eq!(conf.servers.len(), 2);
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (2, 1, 5));
        assert_eq!(conf.candidates("x.y"), ["x.y.a.example", "x.y.b.example", "x.y"]);
        assert_eq!(conf.candidates("x.y.z"), ["x.y.z", "x.y.z.a.example", "x.y.z.b.example"]);
        assert_eq!(ResolvConf::parse(b"").servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = Hosts::parse(&bytes);
            let conf = ResolvConf::parse(&bytes);
            proptest::prop_assert!(!conf.servers.is_empty() && conf.servers.len() <= MAX_SERVERS);
        }
    }
}
