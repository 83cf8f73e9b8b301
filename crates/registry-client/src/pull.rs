//! Blobs on their way in: verified while they pass, resumed where the connection broke.
//!
//! A resume asks for a closed range (`bytes=N-M`), because some registries answer an open one
//! wrongly. A server that ignores the range starts over, and what is already there is skipped
//! against the hash of what came before: bytes are never appended blindly (rows R01 to R03).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream};
use http::{HeaderValue, Method, header};
use oci_layout::digest::{Verifier, VerifyError};
use oci_layout::{Descriptor, Digest};

use crate::Client;
use crate::error::{Error, Place};
use crate::mirrors::Endpoint;
use crate::reference::Repository;
use crate::transport::{Call, Gate, Response, Tries};

/// Bytes that have to come for the count of tries to begin anew.
const PROGRESS: u64 = 4 * 1024 * 1024;

/// A blob's bytes. Ends with an error unless all of them came and were the right ones; the last
/// piece is held back until that is known.
pub struct BlobStream {
    next: Option<Step>,
}

/// The next piece under way, with the download that it comes from.
type Step = BoxFuture<'static, (Box<Download>, Option<Result<Bytes, Error>>)>;

impl Stream for BlobStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(future) = &mut self.next else { return Poll::Ready(None) };
        let (download, item) = std::task::ready!(future.as_mut().poll(context));
        self.next = match &item {
            Some(Ok(_)) => Some(download.step().boxed()),
            _ => None,
        };
        Poll::Ready(item)
    }
}

impl Client {
    /// The bytes of `blob`, verified against its digest and size.
    ///
    /// Nothing happens before the first poll. Reads from mirrors where there are some.
    pub fn pull_blob(&self, repository: &Repository, blob: &Descriptor) -> BlobStream {
        self.pull_blob_from(repository, blob, 0)
    }

    /// The bytes from `offset` on, for sending them once more. With an offset only the size is
    /// verified: who takes part of a blob checks the whole.
    pub fn pull_blob_from(&self, repository: &Repository, blob: &Descriptor, offset: u64) -> BlobStream {
        let download = Download {
            client: self.clone(),
            repository: repository.clone(),
            endpoints: Vec::new(),
            current: None,
            digest: blob.digest,
            size: blob.size,
            position: offset.min(blob.size),
            verifier: (offset == 0).then(|| Verifier::new(blob.digest, blob.size)),
            response: None,
            skip: 0,
            tries: Tries::of(self),
            started_at: offset.min(blob.size),
            counted_from: offset.min(blob.size),
            done: false,
        };
        BlobStream { next: Some(Box::new(download).step().boxed()) }
    }

    /// The size of a blob, or `None` where the registry does not have it.
    pub async fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, Error> {
        for endpoint in self.endpoints(repository, true)? {
            let outcome = self.blob_size_at(&endpoint.repository, digest, self.tries(&endpoint)).await;
            if let Some(result) = self.judge(repository, &endpoint, outcome) {
                return result;
            }
        }
        Ok(None)
    }

    async fn blob_size_at(&self, repository: &Repository, digest: &Digest, tries: Tries) -> Result<Option<u64>, Error> {
        let operation = format!("look for blob {}", digest.short());
        let mut call = Call::new(self, repository, Method::HEAD, &format!("blobs/{digest}"), operation);
        call.tries = tries;
        let response = self.request(&call, &[200, 404]).await?;
        if response.status() == 404 {
            return Ok(None);
        }
        match response.content_length() {
            Some(length) => Ok(Some(length)),
            None => Err(response.protocol("it has the blob but does not say its size")),
        }
    }
}

/// A download as it stands.
struct Download {
    client: Client,
    /// What was asked for.
    repository: Repository,
    /// Where it may be read, the next one last.
    endpoints: Vec<Endpoint>,
    /// Where it is being read.
    current: Option<Endpoint>,
    digest: Digest,
    size: u64,
    /// Bytes that were passed on.
    position: u64,
    verifier: Option<Verifier>,
    response: Option<Response>,
    /// Bytes of the current answer that were passed on before.
    skip: u64,
    tries: Tries,
    started_at: u64,
    /// Where the count of tries last began anew.
    counted_from: u64,
    done: bool,
}

impl Download {
    /// The next piece. Takes and gives back itself, so that the stream can hold the future.
    async fn step(mut self: Box<Self>) -> (Box<Self>, Option<Result<Bytes, Error>>) {
        let item = self.piece().await.transpose();
        (self, item)
    }

    fn place(&self) -> Place {
        let repository = self.current.as_ref().map_or(&self.repository, |endpoint| &endpoint.repository);
        Place {
            registry: repository.registry().clone(),
            repository: Some(repository.clone()),
            operation: format!("read blob {}", self.digest.short()),
            url: None,
        }
    }

    fn content(&self, source: VerifyError) -> Error {
        Error::Content { place: Box::new(self.place()), source: Box::new(source) }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.done {
            if self.current.is_none() {
                self.choose()?;
            }
            match self.attempt_piece().await {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                Err(error) => {
                    self.response = None;
                    if let Err(error) = self.recover(error).await {
                        self.done = true;
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes the next place to read from.
    fn choose(&mut self) -> Result<(), Error> {
        if self.endpoints.is_empty() {
            self.endpoints = self.client.endpoints(&self.repository, true)?;
            self.endpoints.reverse();
        }
        self.current = self.endpoints.pop();
        self.tries =
            self.current.as_ref().map_or_else(|| Tries::of(&self.client), |endpoint| self.client.tries(endpoint));
        Ok(())
    }

    /// After an error: waits and lets try again, or goes on at the next place, or gives it back.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        let reason = crate::error::reason(&error);
        let registry = self.place().registry;
        if self.client.again(&registry, &mut self.tries, &error).await {
            return Ok(());
        }
        let Some(mirror) = self.current.take().filter(|endpoint| endpoint.is_mirror) else { return Err(error) };
        self.client.distrust(&mirror, &error);
        // What was passed on already cannot be taken back; but a whole content that proves wrong
        // before any of it was passed on may be right elsewhere.
        if matches!(error, Error::Content { .. }) {
            if self.position > self.started_at {
                return Err(error);
            }
            self.verifier = (self.started_at == 0).then(|| Verifier::new(self.digest, self.size));
        }
        self.client.failed(&self.repository, &mirror, reason);
        Ok(())
    }

    async fn attempt_piece(&mut self) -> Result<Bytes, Error> {
        if self.size == 0 && self.response.is_none() {
            // Nothing to fetch: the empty blob is the one that has this digest.
            self.done = true;
            return match self.verifier.take().map_or(Ok(()), Verifier::finish) {
                Ok(()) => Ok(Bytes::new()),
                Err(error) => Err(self.content(error)),
            };
        }
        let mut response = match self.response.take() {
            Some(response) => response,
            None => self.open().await?,
        };
        let Some(mut piece) = response.chunk().await? else {
            // The body has ended, and the connection says that this was all of it.
            return Err(self.content(VerifyError::Short {
                digest: self.digest,
                expected: self.size,
                found: self.position,
            }));
        };
        let skipped = self.skip.min(piece.len() as u64);
        self.skip -= skipped;
        let piece = piece.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
        let left = self.size - self.position;
        if piece.len() as u64 > left {
            return Err(self.content(VerifyError::Surplus { digest: self.digest, expected: self.size }));
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.update(&piece).map_err(|source| self.content(source))?;
        }
        if piece.len() as u64 == left && left > 0 {
            // A declared length rules out anything more; without one, look.
            if response.content_length().is_none()
                && let Some(more) = self.more(&mut response).await
                && more > 0
            {
                return Err(self.content(VerifyError::Surplus { digest: self.digest, expected: self.size }));
            }
            if let Some(verifier) = self.verifier.take() {
                verifier.finish().map_err(|source| self.content(source))?;
            }
            self.done = true;
        } else {
            self.response = Some(response);
        }
        if !piece.is_empty() {
            // Progress earns new tries: only a connection that brings nothing uses them up.
            // A server that drops it after every few bytes must not keep us for ever.
            self.position += piece.len() as u64;
            if self.position - self.counted_from >= PROGRESS {
                self.counted_from = self.position;
                self.tries = Tries::of(&self.client);
            }
        }
        Ok(piece)
    }

    async fn more(&self, response: &mut Response) -> Option<usize> {
        loop {
            match response.chunk().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => return Some(piece.len()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Asks for what is missing.
    async fn open(&mut self) -> Result<Response, Error> {
        let path = format!("blobs/{}", self.digest);
        let operation = format!("read blob {}", self.digest.short());
        let repository = self.current.as_ref().map_or(&self.repository, |endpoint| &endpoint.repository).clone();
        let mut call = Call::new(&self.client, &repository, Method::GET, &path, operation);
        call.gate = Gate::Pull;
        if self.position > 0 {
            let range = format!("bytes={}-{}", self.position, self.size - 1);
            let value = HeaderValue::from_str(&range).map_err(|_| call.protocol("a range cannot be sent"))?;
            call.headers.insert(header::RANGE, value);
        }
        let response = self.client.execute(&call).await?;
        if let Some(endpoint) = self.current.as_ref().filter(|endpoint| endpoint.is_mirror)
            && response.status() < 300
        {
            self.client.served(&self.repository, endpoint);
        }
        let (position, size) = (self.position, self.size);
        let length = response.content_length();
        match response.status() {
            200 => {
                if length.is_some_and(|length| length != size) {
                    let found = length.unwrap_or_default();
                    return Err(response.protocol(format!("it announces {found} bytes for a blob of {size}")));
                }
                self.skip = position;
                Ok(response)
            }
            206 if position > 0 => {
                let range = response.header(header::CONTENT_RANGE.as_str()).map(parse_content_range);
                match range {
                    Some(Some(range)) if range.fits(position, size) => {}
                    _ => return Err(response.protocol("it answers a range with another one")),
                }
                if length.is_some_and(|length| length != size - position) {
                    return Err(response.protocol("its range has another length than it says"));
                }
                self.skip = 0;
                Ok(response)
            }
            206 => Err(response.protocol("it answers with a part to a request for the whole")),
            _ => Err(response.into_error().await),
        }
    }
}

/// `Content-Range` of a 206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn fits(self, position: u64, size: u64) -> bool {
        self.first == position && self.last == size - 1 && self.total.is_none_or(|total| total == size)
    }
}

/// `bytes 5-9/10` or `bytes 5-9/*` (RFC 9110, section 14.4).
fn parse_content_range(value: &str) -> Option<ContentRange> {
    let rest = value.trim().strip_prefix("bytes")?.trim_start_matches([' ', '=']);
    let (range, total) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    Some(ContentRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()?, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        assert_eq!(parse_content_range("bytes 5-9/10"), range(5, 9, Some(10)));
        assert_eq!(parse_content_range("bytes 5-9/*"), range(5, 9, None));
        for bad in ["", "bytes */10", "bytes 5-/10", "items 5-9/10", "bytes 5-9", "bytes -1-9/10", "bytes a-b/c"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
        assert!(ContentRange { first: 5, last: 9, total: Some(10) }.fits(5, 10));
        assert!(!ContentRange { first: 5, last: 8, total: Some(10) }.fits(5, 10));
        assert!(!ContentRange { first: 4, last: 9, total: Some(10) }.fits(5, 10));
        assert!(!ContentRange { first: 5, last: 9, total: Some(11) }.fits(5, 10));
    }

    proptest::proptest! {
        #[test]
        fn any_range_is_survived(text: String, first: u64, last: u64, total: u64) {
            let _ = parse_content_range(&text);
            let expect = ContentRange { first, last, total: Some(total) };
            proptest::prop_assert_eq!(parse_content_range(&format!("bytes {first}-{last}/{total}")), Some(expect));
        }
    }
}
