//! One request and its answer: authorization, redirects, time limits, and when to try again.
//!
//! Invariants: `Authorization` goes to the registry's own origin only (rows R19, R20); nothing is
//! read without a limit or waited for without an end; every body that is sent can be sent again.

mod body;
mod connect;
mod host;
pub(crate) mod response;
mod retry;
mod tls;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

pub(crate) use body::Payload;
pub use body::Progress;
pub(crate) use connect::Connections;
pub(crate) use host::{Gate, Host, Hosts, is_link_local, is_link_local_host, plain_http_allowed, same_origin};
pub(crate) use response::{Response, is_lasting};
pub(crate) use retry::Tries;

use crate::Client;
use crate::auth::{Authorization, Scopes};
use crate::error::{Error, Place};
use crate::redact::ShownUrl;
use crate::reference::{Registry, Repository};
use crate::resolve::ResolveError;
use crate::secret::Secret;

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Path and query below `/v2/`.
    Api(String),
    /// A whole URL that the registry gave: the Location of an upload.
    Url(Url),
}

/// A request to a registry, which can be made any number of times.
pub(crate) struct Call<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) repository: Option<&'a Repository>,
    /// In a few words, for errors.
    pub(crate) operation: String,
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload<'a>,
    pub(crate) scopes: Scopes,
    pub(crate) gate: Gate,
    /// Time from the end of the request to the head of the answer.
    pub(crate) wait: Duration,
    /// How often it may be made.
    pub(crate) tries: Tries,
}

impl<'a> Call<'a> {
    /// A request about `repository` to `path` below its name.
    pub(crate) fn new(
        client: &Client,
        repository: &'a Repository,
        method: Method,
        path: &str,
        operation: String,
    ) -> Self {
        let scopes = match method {
            Method::GET | Method::HEAD => Scopes::pull(repository),
            Method::DELETE => Scopes::push(repository).and(repository, &["delete"]),
            _ => Scopes::push(repository),
        };
        Self {
            registry: repository.registry(),
            repository: Some(repository),
            operation,
            method,
            target: Target::Api(format!("{}/{path}", repository.path())),
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            scopes,
            gate: Gate::Small,
            wait: client.inner.config.timeouts.headers,
            tries: Tries::of(client),
        }
    }

    /// The question whether the registry is there and lets us in.
    pub(crate) fn ping(client: &Client, registry: &'a Registry) -> Self {
        Self {
            registry,
            repository: None,
            operation: "log in".to_owned(),
            method: Method::GET,
            target: Target::Api(String::new()),
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            scopes: Scopes::none(),
            gate: Gate::Small,
            wait: client.inner.config.timeouts.headers,
            tries: Tries::of(client),
        }
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            registry: self.registry.clone(),
            repository: self.repository.cloned(),
            operation: self.operation.clone(),
            url: None,
        }
    }

    pub(crate) fn protocol(&self, problem: impl Into<String>) -> Error {
        Error::Protocol { place: Box::new(self.place()), problem: problem.into() }
    }
}

/// What goes over the wire once.
pub(crate) struct Raw {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) wait: Duration,
}

impl Client {
    /// Makes `call` again as long as that may help, and turns statuses that are none of `expected`
    /// into errors.
    pub(crate) async fn request(&self, call: &Call<'_>, expected: &[u16]) -> Result<Response, Error> {
        let mut tries = call.tries;
        loop {
            let outcome = match self.execute(call).await {
                Ok(response) if expected.contains(&response.status()) => return Ok(response),
                Ok(response) => response.into_error().await,
                Err(error) => error,
            };
            if !self.again(call.registry, &mut tries, &outcome).await {
                return Err(outcome);
            }
        }
    }

    /// Makes `call` once: with what authorization it takes, wherever it is redirected.
    pub(crate) async fn execute(&self, call: &Call<'_>) -> Result<Response, Error> {
        let host = self.host(call.registry);
        if host.is_met() {
            return self.authorized(&host, call).await;
        }
        // The first request to a registry finds out how it is spoken to; those beside it wait.
        let mut met = host.met.lock().await;
        if *met {
            drop(met);
            return self.authorized(&host, call).await;
        }
        let outcome = self.first(&host, call).await;
        *met = true;
        host.set_met();
        outcome
    }

    /// The first request: a loopback registry may speak TLS after all.
    async fn first(&self, host: &Host, call: &Call<'_>) -> Result<Response, Error> {
        let outcome = self.authorized(host, call).await;
        if !host.is_plain() {
            return outcome;
        }
        let speaks_tls = match &outcome {
            // Go's servers say so in words, others hang up or send a TLS alert.
            Ok(response) => response.status() == 400 && !response.is_from_a_registry(),
            Err(Error::Network { source, .. }) => {
                !response::is_refused(source.as_ref()) && !is_lasting(source.as_ref())
            }
            Err(_) => false,
        };
        if !speaks_tls {
            return outcome;
        }
        host.use_tls();
        let secure = self.authorized(host, call).await;
        if matches!(secure, Err(Error::Network { .. } | Error::Timeout { .. })) && !response::is_certificate(&secure) {
            host.use_plain();
            return outcome;
        }
        secure
    }

    async fn authorized(&self, host: &Host, call: &Call<'_>) -> Result<Response, Error> {
        let place = || call.place();
        let mut authorization = self.authorization(host, call.repository, &call.scopes, &place).await?;
        let mut answers = 0;
        loop {
            let response = self.redirected(host, call, &authorization).await?;
            if response.status() != 401 || !response.at_registry {
                return Ok(response);
            }
            let challenges = crate::auth::challenge::of_headers(response.headers());
            // One fresh authorization, and one more where the challenge now names other scopes.
            if answers > 0 && (answers > 1 || !authorization.lacks_scopes_of(&challenges)) {
                return Err(response.into_error().await);
            }
            answers += 1;
            let answered =
                self.answer_challenge(host, call.repository, &call.scopes, &challenges, &authorization, &place).await;
            authorization = match answered {
                Ok(next) => next,
                Err(Error::Unauthorized { answer: None, .. }) => return Err(response.into_error().await),
                Err(error) => return Err(error),
            };
            response.finish().await;
        }
    }

    /// Sends `call` and follows where it is sent on to.
    async fn redirected(&self, host: &Host, call: &Call<'_>, authorization: &Authorization) -> Result<Response, Error> {
        let base = host.base();
        let mut url = match &call.target {
            Target::Api(path) => host.api(path),
            Target::Url(url) => url.clone(),
        };
        let permit = host.gate(call.gate).acquire_owned().await.ok();
        let mut hops = 0;
        loop {
            let at_registry = same_origin(&url, &base);
            let mut headers = call.headers.clone();
            let mut secrets = Vec::new();
            if at_registry && let Some(value) = &authorization.header {
                headers.insert(header::AUTHORIZATION, value.clone());
                secrets.clone_from(&authorization.secrets);
            }
            let shown = ShownUrl::new(&url);
            let place = || Place { url: Some(shown.clone()), ..call.place() };
            let raw = Raw { method: call.method.clone(), url: url.clone(), headers, wait: call.wait };
            let mut response = self.send(raw, call.payload.again(), secrets, &place).await?;
            host.set_reached();
            let location = response.redirect();
            let Some(location) = location else {
                response.at_registry = at_registry && hops == 0;
                response.known = authorization.known();
                response.permit = permit;
                return Ok(response);
            };
            let next = url.join(&location).map_err(|_| call.protocol("it redirects to something that is no URL"))?;
            hops += 1;
            let refuse = |reason| Error::Redirect { place: Box::new(place()), target: ShownUrl::new(&next), reason };
            if hops > self.inner.config.limits.redirects {
                return Err(refuse("too many hops"));
            }
            self.check_target(&base, &url, &next).await.map_err(refuse)?;
            response.finish().await;
            url = next;
        }
    }

    /// Whether a registry at `base` may send us from `from` to `to` (rows R20, R22).
    pub(crate) async fn check_target(&self, base: &Url, from: &Url, to: &Url) -> Result<(), &'static str> {
        if !matches!(to.scheme(), "http" | "https") {
            return Err("its scheme is neither https nor http");
        }
        if to.scheme() == "http" && from.scheme() == "https" {
            return Err("it leads from https to http");
        }
        if !to.username().is_empty() || to.password().is_some() {
            return Err("it holds credentials");
        }
        if to.host() == base.host() {
            return Ok(());
        }
        if is_link_local_host(to) {
            return Err("its address is link-local");
        }
        // A name that cannot be looked up fails later, when it is used; behind a proxy, none can.
        if self.inner.config.proxies.for_url(to).is_none()
            && let Some(url::Host::Domain(name)) = to.host()
            && let Err(ResolveError::LinkLocal(_)) = self.inner.resolver.lookup(name).await
        {
            return Err("its name leads to a link-local address");
        }
        Ok(())
    }

    /// One request over the wire.
    pub(crate) async fn send(
        &self,
        raw: Raw,
        payload: Payload<'_>,
        secrets: Vec<Secret>,
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<Response, Error> {
        let client = self.inner.connections.for_url(&raw.url, &self.inner.config, &self.inner.resolver)?;
        let mut request = reqwest::Request::new(raw.method.clone(), raw.url.clone());
        *request.headers_mut() = raw.headers;
        request.headers_mut().entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        tracing::debug!(method = %request.method(), url = %ShownUrl::new(&raw.url), "request");
        let timeouts = &self.inner.config.timeouts;
        let sent = body::send(&client, request, payload, raw.wait, timeouts.idle, place).await?;
        let status: StatusCode = sent.status();
        tracing::debug!(%status, url = %ShownUrl::new(&raw.url), "answer");
        Ok(Response::new(sent, raw.method, raw.url, place(), secrets, &self.inner.config))
    }

    pub(crate) fn host(&self, registry: &Registry) -> std::sync::Arc<Host> {
        self.inner.hosts.get(registry, &self.inner.config, &self.inner.resolver)
    }
}
