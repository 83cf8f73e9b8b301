//! Names to addresses without NSS, so that mab can be linked statically: the hosts file, then the
//! servers in resolv.conf; `localhost` is always this machine (RFC 6761, section 6.3).
//!
//! What the C library would do and this does not: nsswitch.conf, mDNS, LDAP. Link-local addresses
//! are given for the names that the user himself wrote only: a registry must not send us to a
//! cloud's metadata service by a name of its own (row R22).

mod files;
mod message;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use files::{Hosts, ResolvConf};
use message::{Kind, Reply};

use crate::transport::is_link_local;

/// Where names are looked up.
#[derive(Clone, Debug)]
pub struct Names {
    /// The hosts file.
    pub hosts: PathBuf,
    /// The file that names the servers.
    pub resolv_conf: PathBuf,
    /// The servers' port.
    pub port: u16,
}

impl Default for Names {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), port: 53 }
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the name {0} does not exist")]
    Unknown(String),
    #[error("{0} is not a host name")]
    Invalid(String),
    #[error("the name {0} leads to a link-local address")]
    LinkLocal(String),
    #[error("no name server answered for {name} ({last})")]
    NoAnswer { name: String, last: String },
}

/// Looks names up. Clones share what is known.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    names: Names,
    /// Hosts that the user wrote: registries, proxies.
    trusted: Arc<Mutex<HashSet<String>>>,
}

impl Resolver {
    pub(crate) fn new(names: Names) -> Self {
        Self { names, trusted: Arc::default() }
    }

    /// `host` was written by the user: whatever its address is, it is meant.
    pub(crate) fn trust(&self, host: &str) {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).insert(canonical(host));
    }

    /// The addresses of `name`, the better first.
    pub(crate) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let name = canonical(name);
        let mut addresses = self.addresses(&name).await?;
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner).contains(&name);
        if !trusted {
            addresses.retain(|address| !is_link_local(*address));
            if addresses.is_empty() {
                return Err(ResolveError::LinkLocal(name));
            }
        }
        Ok(addresses)
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        if !message::is_name(name) {
            return Err(ResolveError::Invalid(crate::redact::shown_text(name, &[])));
        }
        // Both files are read each time: they change while a long build runs, and are small.
        let hosts = Hosts::parse(&std::fs::read(&self.names.hosts).unwrap_or_default());
        let known = hosts.addresses(name);
        if !known.is_empty() {
            return Ok(known);
        }
        let conf = ResolvConf::parse(&std::fs::read(&self.names.resolv_conf).unwrap_or_default());
        let mut outcome = Err(ResolveError::Unknown(name.to_owned()));
        for candidate in conf.candidates(name) {
            match self.query(&conf, &candidate).await {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) => {}
                Err(last) => outcome = Err(ResolveError::NoAnswer { name: name.to_owned(), last }),
            }
        }
        outcome
    }

    /// The addresses of exactly `name`; none where it has none. An error is one of the servers.
    async fn query(&self, conf: &ResolvConf, name: &str) -> Result<Vec<IpAddr>, String> {
        let mut last = "none is configured".to_owned();
        for _ in 0..conf.attempts {
            for server in &conf.servers {
                let server = SocketAddr::new(*server, self.names.port);
                let ask = |kind| ask(server, name, kind, conf.timeout, conf.use_tcp);
                let (v4, v6) = tokio::join!(ask(Kind::A), ask(Kind::Aaaa));
                // One family may fail (some home routers drop AAAA): the other is good enough.
                match (v4, v6) {
                    (Ok(v4), Ok(v6)) => return Ok(v4.into_iter().chain(v6).collect()),
                    (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.is_empty() => return Ok(some),
                    (Err(error), _) | (_, Err(error)) => last = format!("{server}: {error}"),
                }
            }
        }
        Err(last)
    }
}

/// Lower case, without the final dot and the brackets of an IPv6 address.
fn canonical(name: &str) -> String {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// One question to one server.
async fn ask(server: SocketAddr, name: &str, kind: Kind, timeout: Duration, tcp: bool) -> Result<Vec<IpAddr>, String> {
    let (id, question) = message::question(name, kind);
    let reply = if tcp {
        Reply::Truncated
    } else {
        tokio::time::timeout(timeout, over_udp(server, &question, id, name, kind))
            .await
            .map_err(|_| "no answer".to_owned())?
            .map_err(|error| error.to_string())?
    };
    let reply = match reply {
        Reply::Truncated => tokio::time::timeout(timeout, over_tcp(server, &question, id, name, kind))
            .await
            .map_err(|_| "no answer over TCP".to_owned())?
            .map_err(|error| error.to_string())?,
        other => other,
    };
    match reply {
        Reply::Addresses(addresses) => Ok(addresses),
        Reply::NoSuchName => Ok(Vec::new()),
        Reply::Failed(code) => Err(format!("error {code}")),
        Reply::Truncated => Err("cut short over TCP".to_owned()),
    }
}

async fn over_udp(server: SocketAddr, question: &[u8], id: u16, name: &str, kind: Kind) -> std::io::Result<Reply> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is no answer to this question may be forged: keep listening for the real one.
        if let Some(reply) = message::reply(&buffer[..length], id, name, kind) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8], id: u16, name: &str, kind: Kind) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let invalid = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not an answer");
    message::reply(&buffer, id, name, kind).ok_or_else(invalid)
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.lookup(name.as_str()).await?;
            // The connector puts the URL's port in place of 0.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as reqwest::dns::Addrs)
        })
    }
}
