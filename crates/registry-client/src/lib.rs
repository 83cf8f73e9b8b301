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
//!
//! ```
//! use registry_client::{Client, Config, Reference};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reference: Reference = "debian:bookworm-slim".parse()?;
//! assert_eq!(reference.to_string(), "docker.io/library/debian:bookworm-slim");
//!
//! let client = Client::new(Config::default())?;
//! let index = client.manifest(&reference.repository, &reference.target()).await?;
//! println!("{}@{}", reference.repository, index.descriptor.digest);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod auth;
pub mod certs_d;
pub mod config;
pub mod credentials;
pub mod error;
mod manifest;
pub mod mirrors;
pub mod notice;
pub mod proxy;
mod publish;
mod pull;
mod push;
pub mod redact;
pub mod reference;
mod referrers;
mod resolve;
pub mod secret;
pub mod source;
mod transport;
pub mod tree;
mod verify;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use config::Config;
pub use credentials::{Credential, Credentials};
pub use error::{Error, ErrorKind};
pub use manifest::FetchedManifest;
pub use notice::Notice;
pub use publish::{BlobProgress, Publication, Published, Publishing};
pub use pull::BlobStream;
pub use push::Pushed;
pub use reference::{Reference, Registry, Repository, Tag, TagOrDigest};
pub use secret::Secret;
pub use source::{ByteStream, LocalSource, MemorySource, RemoteSource, UploadSource};
pub use transport::Progress;
pub use tree::Node;

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
    /// Mirrors that sent the wrong bytes; they are not asked again.
    distrusted: std::sync::Mutex<HashSet<Registry>>,
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
            distrusted: std::sync::Mutex::default(),
            credentials: tokio::sync::Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether `registry` takes `credential`: asked on the way in, before a login keeps it.
    ///
    /// An open registry takes everything. Fails with [`ErrorKind::Unauthorized`] where it is refused.
    pub async fn check_credential(&self, registry: &Registry, credential: Credential) -> Result<(), Error> {
        let mut config = self.inner.config.clone();
        let found = credentials::Found { credential, origin: "this login".to_owned() };
        config.credentials = Credentials { given: vec![(registry.to_string(), found)], ..Credentials::default() };
        let client = Self::new(config)?;
        let call = transport::Call::ping(&client, registry);
        client.request(&call, &[200]).await?.finish().await;
        Ok(())
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
