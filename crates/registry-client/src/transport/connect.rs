//! The HTTP clients underneath: one without TLS, one with, and one for each registry that has
//! certificates of its own. Each is made when it is first needed: reading a few hundred
//! certificates takes longer than a whole request to a local registry.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use super::tls;
use crate::config::Config;
use crate::error::Error;
use crate::resolve::Resolver;

/// The clients by what they trust: `None` for plain http, else the registry's name or "".
#[derive(Default)]
pub(crate) struct Connections(Mutex<HashMap<Option<String>, reqwest::Client>>);

impl Connections {
    /// The client for `url`.
    pub(crate) fn for_url(&self, url: &Url, config: &Config, resolver: &Resolver) -> Result<reqwest::Client, Error> {
        let name = authority(url);
        let has_own = config.registries.contains_key(&name)
            || config.certs_d.iter().any(|directory| directory.join(&name).is_dir());
        let key = match (url.scheme(), has_own) {
            ("http", _) => None,
            (_, true) => Some(name.clone()),
            (_, false) => Some(String::new()),
        };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let tls = match &key {
            None => tls::without_roots()?,
            Some(_) => {
                let own = match config.registries.get(&name) {
                    Some(own) => Some(own.clone()),
                    None => crate::certs_d::read(&config.certs_d, &name)?,
                };
                tls::configuration(&config.roots, own.as_ref())?
            }
        };
        let client = build(config, tls, resolver)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Host and port as a registry's name has them: docker.io for Docker Hub's own host.
fn authority(url: &Url) -> String {
    let host = match url.host_str().unwrap_or_default() {
        "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn build(config: &Config, tls: rustls::ClientConfig, resolver: &Resolver) -> Result<reqwest::Client, Error> {
    let proxies = config.proxies.clone();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver.clone())
        .http1_only()
        // Takes away what reqwest would read from the environment.
        .no_proxy()
        .proxy(reqwest::Proxy::custom(move |url| proxies.for_url(url).cloned()))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(&config.user_agent)
        .connect_timeout(config.timeouts.connect)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(3 * config.limits.per_host)
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| Error::Config { what: "HTTP client".to_owned(), reason: format!("{error:?}") })
}
