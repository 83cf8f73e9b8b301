//! What the client is told. A plain value: the crate itself never reads the environment, and
//! files only where a function here is given their paths.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use url::Url;

use crate::credentials::Credentials;
use crate::mirrors::Mirrors;
use crate::notice::Notice;
use crate::proxy::Proxies;
pub use crate::resolve::Names;

/// Settings of a [`crate::Client`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may open what.
    pub credentials: Credentials,
    /// Registries, as `host[:port]`, that may be spoken to without TLS. Loopback always may.
    pub insecure: Vec<String>,
    /// The token server that alone may see credentials (row R23).
    pub auth_realm: Option<Url>,
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// Whom TLS trusts.
    pub roots: Roots,
    /// What single registries have of their own, by `host[:port]`.
    pub registries: BTreeMap<String, RegistryTls>,
    /// Where names are looked up.
    pub names: Names,
    /// Directories that hold the same as files, `certs.d` as Docker and Podman have it, read when a
    /// registry is first spoken to ([`crate::certs_d`]).
    pub certs_d: Vec<PathBuf>,
    /// Mirrors and blocked registries.
    pub mirrors: Mirrors,
    /// What goes through a proxy.
    pub proxies: Proxies,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often things are tried.
    pub retry: Retry,
    /// How much is done at once.
    pub limits: Limits,
    /// Whoever wants to know what happens by the way.
    pub notices: Notices,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            insecure: Vec::new(),
            auth_realm: None,
            user_agent: concat!("mab/", env!("CARGO_PKG_VERSION")).to_owned(),
            roots: Roots::default(),
            registries: BTreeMap::new(),
            names: Names::default(),
            certs_d: Vec::new(),
            mirrors: Mirrors::default(),
            proxies: Proxies::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            limits: Limits::default(),
            notices: Notices::default(),
        }
    }
}

/// Where trusted certificates come from. The lists are joined.
#[derive(Clone, Debug)]
pub struct Roots {
    /// PEM files of the system; those that exist are read. A broken certificate in one is skipped,
    /// as every TLS library does.
    pub system: Vec<PathBuf>,
    /// Mozilla's list, built in: a machine without a store works.
    pub built_in: bool,
    /// PEM text of the user's own, with the name to show. A broken one is an error.
    pub extra: Vec<(String, Vec<u8>)>,
}

impl Default for Roots {
    fn default() -> Self {
        // Where the distributions keep them; the first three are Debian's, Fedora's and SUSE's.
        let system = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/ca-bundle.pem",
            "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "/etc/ssl/cert.pem",
        ];
        Self { system: system.map(PathBuf::from).to_vec(), built_in: true, extra: Vec::new() }
    }
}

/// Certificates for one registry.
#[derive(Clone, Default)]
pub struct RegistryTls {
    /// PEM text of further roots, with the name to show.
    pub roots: Vec<(String, Vec<u8>)>,
    /// Client certificates: PEM text of chain and key, with the name to show.
    pub identity: Option<Identity>,
}

/// A client certificate.
#[derive(Clone)]
pub struct Identity {
    /// For people: the path.
    pub name: String,
    /// PEM text of the chain.
    pub chain: Vec<u8>,
    /// PEM text of the key.
    pub key: Vec<u8>,
}

impl fmt::Debug for RegistryTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots: Vec<&String> = self.roots.iter().map(|(name, _)| name).collect();
        f.debug_struct("RegistryTls").field("roots", &roots).field("identity", &self.identity).finish()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How long things may take before they are given up or begun anew.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A connection with its TLS handshake.
    pub connect: Duration,
    /// From the end of a request to the end of the answer's head.
    pub headers: Duration,
    /// The same for the request that closes an upload: registries hash the whole blob then.
    pub commit: Duration,
    /// Between two pieces of a body, in either direction.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            headers: Duration::from_secs(60),
            commit: Duration::from_secs(600),
            idle: Duration::from_secs(60),
        }
    }
}

/// How often things are tried, and how long is waited between.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Tries of one request or one transfer in all, the first included.
    pub attempts: u32,
    /// The first pause; each further one is twice as long, with jitter.
    pub first_pause: Duration,
    /// The longest pause of our own choosing.
    pub longest_pause: Duration,
    /// The longest pause that a server may ask for with `Retry-After`; more is cut to this.
    pub retry_after_cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(20),
            retry_after_cap: Duration::from_secs(120),
        }
    }
}

/// How much is done at once and how large things may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests in flight to one host, for each of: small requests, downloads, uploads. A download
    /// keeps its place until it is read to its end or dropped.
    pub per_host: usize,
    /// Redirects that are followed.
    pub redirects: usize,
    /// Bytes of a manifest or index (row R41).
    pub manifest: u64,
    /// Bytes that are read of an error's body.
    pub error_body: u64,
    /// Bytes of a token server's answer.
    pub token_body: u64,
    /// First size of a chunk where a registry takes no blob in one piece (row R34).
    pub chunk: u64,
    /// Send chunks from the start: for proxies that break long requests without a word.
    pub chunked: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_host: 8,
            redirects: 5,
            manifest: oci_layout::document::MAX_DOCUMENT,
            error_body: 64 * 1024,
            token_body: 1024 * 1024,
            chunk: 16 * 1024 * 1024,
            chunked: false,
        }
    }
}

/// Where [`Notice`]s go.
#[derive(Clone, Default)]
pub struct Notices(Option<Take>);

type Take = Arc<dyn Fn(&Notice) + Send + Sync>;

impl Notices {
    /// Calls `take` with each notice; it must not block.
    pub fn to(take: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(take)))
    }

    pub(crate) fn send(&self, notice: Notice) {
        tracing::debug!(%notice);
        if let Some(take) = &self.0 {
            take(&notice);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Notices(..)" } else { "Notices(none)" })
    }
}
