//! Bodies that go out, and the watch over them: a request may take as long as it moves.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderValue, header};

use super::response::network;
use crate::error::{Error, Place};
use crate::source::{ByteStream, UploadSource};

/// How often the watch looks, and progress is told.
const TICK: Duration = Duration::from_millis(50);

/// Told how many bytes of a blob have gone out. After a restart the number begins anew.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// The body of a request.
pub(crate) enum Payload<'a> {
    /// None.
    Empty,
    /// A document.
    Bytes(Bytes),
    /// A piece of a blob, read while it is sent.
    Source { source: &'a dyn UploadSource, offset: u64, length: u64, progress: Progress<'a> },
}

impl<'a> Payload<'a> {
    /// The same once more.
    pub(crate) fn again(&self) -> Payload<'a> {
        match self {
            Self::Empty => Payload::Empty,
            Self::Bytes(bytes) => Payload::Bytes(bytes.clone()),
            Self::Source { source, offset, length, progress } => {
                Payload::Source { source: *source, offset: *offset, length: *length, progress: *progress }
            }
        }
    }
}

/// What a body tells the watch.
struct Meter {
    started: Instant,
    sent: AtomicU64,
    /// Milliseconds after `started` at which something last moved.
    moved: AtomicU64,
    /// What went wrong with the source.
    failure: Mutex<Option<Error>>,
}

impl Meter {
    fn touch(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    fn quiet_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }
}

/// Passes on exactly `left` bytes of a source.
struct Metered {
    inner: ByteStream,
    left: u64,
    meter: Arc<Meter>,
    digest: oci_layout::Digest,
}

impl Metered {
    fn fail(&self, error: Error) -> Poll<Option<std::io::Result<Bytes>>> {
        *self.meter.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Poll::Ready(Some(Err(std::io::Error::other("the source failed"))))
    }
}

impl Stream for Metered {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.meter.touch();
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.inner.as_mut().poll_next(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(mut bytes))) => {
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= bytes.len() as u64;
                self.meter.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(error),
            Poll::Ready(None) => {
                let problem = format!("it ends {} bytes early", self.left);
                let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, problem);
                self.fail(Error::Source { digest: self.digest, source })
            }
        }
    }
}

/// Sends `request` with `payload` and waits for the head of the answer: `wait` from the end of
/// the body, and never longer than `idle` without a byte of the body going out.
pub(super) async fn send(
    client: &reqwest::Client,
    mut request: reqwest::Request,
    payload: Payload<'_>,
    wait: Duration,
    idle: Duration,
    place: &(dyn Fn() -> Place + Sync),
) -> Result<reqwest::Response, Error> {
    let (source, offset, length, progress) = match payload {
        Payload::Empty => {
            if request.method() != http::Method::GET && request.method() != http::Method::HEAD {
                request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            return plain(client, request, wait, place).await;
        }
        Payload::Bytes(bytes) => {
            *request.body_mut() = Some(bytes.into());
            return plain(client, request, wait, place).await;
        }
        Payload::Source { source, offset, length, progress } => (source, offset, length, progress),
    };
    let inner = source.open(offset).await?;
    let meter = Arc::new(Meter {
        started: Instant::now(),
        sent: AtomicU64::new(0),
        moved: AtomicU64::new(0),
        failure: Mutex::new(None),
    });
    let body = Metered { inner, left: length, meter: Arc::clone(&meter), digest: source.descriptor().digest };
    request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *request.body_mut() = Some(reqwest::Body::wrap_stream(body));
    let mut answer = pin!(client.execute(request));
    loop {
        match tokio::time::timeout(TICK, answer.as_mut()).await {
            Ok(outcome) => {
                progress(offset + meter.sent.load(Ordering::Relaxed));
                let failure = meter.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                return match (outcome, failure) {
                    (Err(_), Some(failure)) => Err(failure),
                    (Err(error), None) => Err(network(error, place())),
                    (Ok(response), _) => Ok(response),
                };
            }
            Err(_) => {
                let sent = meter.sent.load(Ordering::Relaxed);
                progress(offset + sent);
                let limit = if sent == length { wait } else { idle };
                if meter.quiet_for() >= limit {
                    return Err(Error::Timeout { place: Box::new(place()), after: limit });
                }
            }
        }
    }
}

async fn plain(
    client: &reqwest::Client,
    request: reqwest::Request,
    wait: Duration,
    place: &(dyn Fn() -> Place + Sync),
) -> Result<reqwest::Response, Error> {
    match tokio::time::timeout(wait, client.execute(request)).await {
        Ok(outcome) => outcome.map_err(|error| network(error, place())),
        Err(_) => Err(Error::Timeout { place: Box::new(place()), after: wait }),
    }
}
