//! An answer whose head has come. Its body is read under limits of size and time.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::retry::parse_retry_after;
use crate::config::Config;
use crate::error::{Answer, Error, Known, Place, parse_answer};
use crate::resolve::ResolveError;
use crate::secret::Secret;

/// An answer, with what is needed to make an error of it.
pub(crate) struct Response {
    inner: reqwest::Response,
    method: Method,
    pub(crate) url: Url,
    place: Place,
    secrets: Vec<Secret>,
    /// It came from the registry's own origin, and not by a redirect.
    pub(crate) at_registry: bool,
    pub(crate) known: Known,
    /// Held until the body is read or dropped.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    idle: Duration,
    error_body: u64,
}

impl Response {
    pub(super) fn new(
        inner: reqwest::Response,
        method: Method,
        url: Url,
        place: Place,
        secrets: Vec<Secret>,
        config: &Config,
    ) -> Self {
        Self {
            inner,
            method,
            url,
            place,
            secrets,
            at_registry: false,
            known: Known::Nothing,
            permit: None,
            idle: config.timeouts.idle,
            error_body: config.limits.error_body,
        }
    }

    pub(crate) fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header's text, where it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The declared length of the body (for HEAD: of the one that GET would bring).
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH.as_str())?.trim().parse().ok()
    }

    /// Where a redirect that may be followed leads.
    pub(crate) fn redirect(&self) -> Option<String> {
        let safe = self.method == Method::GET || self.method == Method::HEAD;
        match self.status() {
            301..=303 if safe => {}
            307 | 308 => {}
            _ => return None,
        }
        Some(self.header(header::LOCATION.as_str())?.to_owned())
    }

    /// Whether the answer looks like a registry's, rather than a web server's.
    pub(crate) fn is_from_a_registry(&self) -> bool {
        let json = self.header(header::CONTENT_TYPE.as_str()).is_some_and(|kind| kind.contains("json"));
        json || self.headers().contains_key("docker-distribution-api-version")
    }

    /// The next piece of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(self.idle, self.inner.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(network(error, self.place.clone())),
            Err(_) => Err(Error::Timeout { place: Box::new(self.place.clone()), after: self.idle }),
        }
    }

    /// The whole body, or `None` if it has more than `limit` bytes. Bounded in time too: a body
    /// that trickles gets as long as the longest pause between two pieces, for each 64 KiB.
    pub(crate) async fn read_up_to(&mut self, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let deadline = tokio::time::Instant::now() + self.idle * u32::try_from(1 + limit / 65536).unwrap_or(u32::MAX);
        let mut body = Vec::new();
        loop {
            let chunk = tokio::time::timeout_at(deadline, self.chunk()).await;
            let Ok(chunk) = chunk else {
                return Err(Error::Timeout { place: Box::new(self.place.clone()), after: self.idle });
            };
            let Some(chunk) = chunk? else { return Ok(Some(body)) };
            if (body.len() + chunk.len()) as u64 > limit {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Reads what little is left, so that the connection can be used again.
    pub(crate) async fn finish(mut self) {
        let _ = tokio::time::timeout(Duration::from_millis(500), self.read_up_to(16 * 1024)).await;
    }

    pub(crate) fn answer_with(&self, body: &[u8]) -> Answer {
        let retry_after =
            self.header(header::RETRY_AFTER.as_str()).and_then(|value| parse_retry_after(value, SystemTime::now()));
        let secrets: Vec<&Secret> = self.secrets.iter().collect();
        parse_answer(self.status(), body, retry_after, &secrets)
    }

    /// What the registry says, with as much of the body as is reasonable (row R25).
    pub(crate) async fn answer(&mut self) -> Answer {
        let limit = self.error_body;
        let mut body = Vec::new();
        let _ = tokio::time::timeout(self.idle, async {
            while let Ok(Some(chunk)) = self.chunk().await {
                let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() >= room {
                    break;
                }
            }
        })
        .await;
        self.answer_with(&body)
    }

    /// The answer as an error.
    pub(crate) async fn into_error(mut self) -> Error {
        let answer = Box::new(self.answer().await);
        let place = Box::new(self.place);
        match answer.status {
            401 if self.at_registry => Error::Unauthorized { place, known: self.known, answer: Some(answer) },
            403 if self.at_registry => Error::Denied { place, known: self.known, answer },
            _ => Error::Status { place, answer },
        }
    }

    pub(crate) fn protocol(&self, problem: impl Into<String>) -> Error {
        Error::Protocol { place: Box::new(self.place.clone()), problem: problem.into() }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// A failed connection. What it shows is the innermost cause: the layers around it say no more
/// than that there is one.
#[derive(Debug)]
struct Failed(reqwest::Error);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let innermost = causes(&self.0).last();
        write!(f, "{}", innermost.unwrap_or(&self.0))
    }
}

impl std::error::Error for Failed {}

/// Without the URL that reqwest would show whole.
pub(super) fn network(error: reqwest::Error, place: Place) -> Error {
    Error::Network { place: Box::new(place), source: Box::new(Failed(error.without_url())) }
}

/// All causes of `error`, through the wrappers of io::Error too.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let next = |error: &&'a (dyn std::error::Error + 'static)| {
        if let Some(Failed(inner)) = error.downcast_ref() {
            return Some(inner as &(dyn std::error::Error + 'static));
        }
        match error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), next)
}

/// No connection came about, so that nothing was asked.
pub(super) fn is_not_connected(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref().is_some_and(|Failed(error)| error.is_connect())
}

/// Nobody listens there.
pub(super) fn is_refused(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// It will fail the same way next time: the certificate does not do, the name does not exist.
pub(crate) fn is_lasting(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<rustls::Error>().is_some()
            || cause.downcast_ref::<ResolveError>().is_some_and(|error| !matches!(error, ResolveError::NoAnswer { .. }))
    })
}

/// TLS was spoken, but not with whom it should be.
pub(super) fn is_certificate<T>(outcome: &Result<T, Error>) -> bool {
    let Err(Error::Network { source, .. }) = outcome else { return false };
    causes(source.as_ref())
        .filter_map(|cause| cause.downcast_ref::<rustls::Error>())
        .any(|error| !matches!(error, rustls::Error::InvalidMessage(_)))
}
