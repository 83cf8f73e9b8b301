//! A client for OCI registries that survives what real registries do.
//!
//! [`Client`] finds, pulls and pushes: manifests ([`Client::manifest`], [`Client::put_manifest`]),
//! blobs ([`Client::pull_blob`], [`Client::push_blob`]), over one transport that retries, resumes,
//! redirects and authenticates. What names things is in [`reference`](mod@reference); what is
//! uploaded, in [`source`]; who may open what, in [`credentials`].
//!
//! The crate never reads the environment and prints nothing: a [`Config`] is a plain value, what
//! happens by the way comes as a [`Notice`], what goes wrong as an [`Error`] with an [`ErrorKind`].
//! It knows the protocol (distribution-spec 1.1) and nothing of builds.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod auth;
pub mod config;
pub mod credentials;
pub mod error;
mod manifest;
pub mod notice;
pub mod proxy;
mod pull;
mod push;
pub mod redact;
pub mod reference;
mod resolve;
pub mod secret;
pub mod source;
mod transport;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use config::Config;
pub use credentials::{Credential, Credentials};
pub use error::{Error, ErrorKind};
pub use manifest::FetchedManifest;
pub use notice::Notice;
pub use pull::BlobStream;
pub use push::Pushed;
pub use reference::{Reference, Registry, Repository, Tag, TagOrDigest};
pub use secret::Secret;
pub use source::{ByteStream, LocalSource, MemorySource, RemoteSource, UploadSource};
pub use transport::Progress;

/// A client of any number of registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    connections: transport::Connections,
    hosts: transport::Hosts,
    resolver: resolve::Resolver,
    tokens: auth::Tokens,
    serial: AtomicU64,
    /// Credentials that were looked up, by repository.
    credentials: tokio::sync::Mutex<HashMap<String, Option<credentials::Found>>>,
}

impl Client {
    /// A client with the settings of `config`. Opens nothing yet.
    pub fn new(config: Config) -> Result<Self, Error> {
        let resolver = resolve::Resolver::new(config.names.clone());
        for proxy in [&config.proxies.http, &config.proxies.https].into_iter().flatten() {
            resolver.trust(proxy.url().host_str().unwrap_or_default());
        }
        let inner = Inner {
            resolver,
            config,
            connections: transport::Connections::default(),
            hosts: transport::Hosts::default(),
            tokens: auth::Tokens::default(),
            serial: AtomicU64::new(1),
            credentials: tokio::sync::Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
