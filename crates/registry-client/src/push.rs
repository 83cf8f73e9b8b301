//! Blobs on their way out.
//!
//! HEAD, then mount, then one POST and one PUT with the whole blob: what most registries take
//! best. Where one refuses, the ladder goes on: a single PATCH with an empty PUT behind it (R33),
//! chunks (R34), smaller chunks (R35). Whatever broke, the registry is asked whether the blob is
//! there in spite of it (R04, R05), and a new try is a new session: ECR, ACR and GHCR lose or
//! refuse a session that was interrupted.

use http::{HeaderValue, Method, header};
use oci_layout::Digest;
use url::Url;

use crate::Client;
use crate::auth::Scopes;
use crate::error::{Code, Error};
use crate::reference::Repository;
use crate::source::UploadSource;
use crate::transport::{Call, Gate, Payload, Progress, Response, Target, Tries};

/// Smallest chunk that is tried where a registry or a proxy refuses larger ones: the body size
/// that proxies accept unless told otherwise.
const SMALLEST_CHUNK: u64 = 1024 * 1024;
/// The largest chunk that GHCR takes.
const MODEST_CHUNK: u64 = 4 * 1024 * 1024;

/// How a blob came to be in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// It was taken over from another repository, without a byte being sent.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// How a blob is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// One PUT with everything.
    Whole,
    /// One PATCH with everything, then an empty PUT.
    Patch,
    /// PATCHes of this size, then an empty PUT.
    Chunks(u64),
}

/// An upload that the registry has opened.
struct Session {
    location: Url,
    smallest_chunk: u64,
}

impl Client {
    /// Sees to it that `repository` has the blob of `source`: looks for it, tries to mount it from
    /// the repositories `mount_from` of the same registry, then sends it.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        source: &dyn UploadSource,
        mount_from: &[Repository],
        progress: Progress<'_>,
    ) -> Result<Pushed, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let descriptor = source.descriptor();
        let what = format!("blob {}", descriptor.digest.short());
        let upload = Upload { uploads: Uploads { client: self, repository, what }, source, progress };
        if upload.is_there().await? {
            progress(descriptor.size);
            return Ok(Pushed::Existed);
        }
        let mut session = None;
        let candidates =
            mount_from.iter().filter(|from| from.registry() == repository.registry() && *from != repository);
        for from in candidates {
            match upload.mount(from).await {
                Mount::Done => {
                    progress(descriptor.size);
                    return Ok(Pushed::Mounted);
                }
                // The registry wants the bytes (row R32). Another repository may yet have them.
                Mount::Session(opened) => {
                    if let Some(earlier) = session.replace(opened) {
                        upload.uploads.cancel(&earlier).await;
                    }
                }
                Mount::Refused => {}
            }
        }
        upload.run(session).await?;
        progress(descriptor.size);
        Ok(Pushed::Uploaded)
    }

    /// Asks whether `repository` takes uploads from us: opens one, and takes it back. What it
    /// answers to a push that may come later, it says now: that the credentials are not good for
    /// it, that there is no such repository, or nothing at all.
    pub async fn check_push(&self, repository: &Repository) -> Result<(), Error> {
        self.inner.config.mirrors.allow(repository)?;
        let uploads = Uploads { client: self, repository, what: "an image".to_owned() };
        let session = uploads.begin().await?;
        uploads.cancel(&session).await;
        Ok(())
    }
}

enum Mount {
    Done,
    Session(Session),
    Refused,
}

/// The upload sessions of a repository.
struct Uploads<'a> {
    client: &'a Client,
    repository: &'a Repository,
    /// What is uploaded, for messages.
    what: String,
}

impl<'a> Uploads<'a> {
    fn call(&self, method: Method, path: &str, verb: &str) -> Call<'a> {
        let operation = format!("{verb} {}", self.what);
        let mut call = Call::new(self.client, self.repository, method, path, operation);
        // One token for everything that a push does.
        call.scopes = Scopes::push(self.repository);
        call
    }

    async fn cancel(&self, session: &Session) {
        let mut call = self.call(Method::DELETE, "", "cancel upload of");
        call.target = Target::Url(session.location.clone());
        call.scopes = Scopes::push(self.repository);
        if let Ok(response) = self.client.execute(&call).await {
            response.finish().await;
        }
    }

    async fn begin(&self) -> Result<Session, Error> {
        let call = self.call(Method::POST, "blobs/uploads/", "upload");
        let response = self.client.request(&call, &[202, 201, 200]).await?;
        let session = self.session(&response).await?;
        response.finish().await;
        Ok(session)
    }

    /// The session that an answer to POST opens.
    async fn session(&self, response: &Response) -> Result<Session, Error> {
        let location = self.location(response).await?;
        let location = location.ok_or_else(|| response.protocol("it opens an upload without saying where"))?;
        let smallest = response.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        Ok(Session { location, smallest_chunk: smallest.unwrap_or(0) })
    }

    /// `Location`, relative to what was asked, its query as it came (row R29).
    async fn location(&self, response: &Response) -> Result<Option<Url>, Error> {
        let Some(value) = response.headers().get(header::LOCATION) else { return Ok(None) };
        let garbage = || response.protocol("its Location is no URL");
        let url = value.to_str().ok().and_then(|text| resolve(&response.url, text)).ok_or_else(garbage)?;
        let base = self.client.host(self.repository.registry()).base();
        self.client.check_target(&base, &response.url, &url).await.map_err(|reason| Error::Redirect {
            place: Box::new(response.place().clone()),
            target: crate::redact::ShownUrl::new(&url),
            reason,
        })?;
        Ok(Some(url))
    }
}

struct Upload<'a> {
    uploads: Uploads<'a>,
    source: &'a dyn UploadSource,
    progress: Progress<'a>,
}

impl<'a> Upload<'a> {
    fn digest(&self) -> Digest {
        self.source.descriptor().digest
    }

    fn call(&self, method: Method, path: &str, verb: &str) -> Call<'a> {
        self.uploads.call(method, path, verb)
    }

    async fn is_there(&self) -> Result<bool, Error> {
        let call = self.call(Method::HEAD, &format!("blobs/{}", self.digest()), "look for");
        Ok(self.uploads.client.request(&call, &[200, 404]).await?.status() == 200)
    }

    async fn mount(&self, from: &Repository) -> Mount {
        // Quay fails on a mount without `from`; Docker Hub wants the source's scope as well.
        let path = format!("blobs/uploads/?mount={}&from={}", self.digest(), from.path());
        let mut call = self.call(Method::POST, &path, "mount");
        call.scopes = Scopes::push(self.uploads.repository).and(from, &["pull"]);
        match self.uploads.client.request(&call, &[201, 202, 400, 401, 403, 404, 405, 500, 501]).await {
            Ok(response) if response.status() == 201 => {
                response.finish().await;
                Mount::Done
            }
            Ok(response) if response.status() == 202 => match self.uploads.session(&response).await {
                Ok(session) => {
                    response.finish().await;
                    Mount::Session(session)
                }
                Err(_) => Mount::Refused,
            },
            // Whatever it is (row R31), the upload itself will tell.
            Ok(_) | Err(_) => Mount::Refused,
        }
    }

    async fn run(&self, mut session: Option<Session>) -> Result<(), Error> {
        let registry = self.uploads.repository.registry();
        let limits = &self.uploads.client.inner.config.limits;
        let mut mode = if limits.chunked { Mode::Chunks(limits.chunk) } else { Mode::Whole };
        let mut tries = Tries::of(self.uploads.client);
        let mut lost = false;
        loop {
            let opened = match session.take() {
                Some(session) => session,
                None => self.uploads.begin().await?,
            };
            let Err(error) = self.transfer(&opened, mode).await else { return Ok(()) };
            let step = next(mode, &error, lost, limits.chunk.max(opened.smallest_chunk));
            // The blob may be there all the same: the answer was lost, or came before the commit.
            if !matches!(step, Step::Fail) && self.is_there().await.unwrap_or(false) {
                return Ok(());
            }
            match step {
                Step::Fail => return Err(error),
                Step::As(other) => mode = other,
                Step::NewSession => lost = true,
                Step::Again => {
                    // The source's own trouble may pass as well: a mirror that lied is left out now.
                    let passed = match &error {
                        Error::Content { .. } => {
                            self.uploads.client.pause(registry, &mut tries, None, &crate::error::reason(&error)).await
                        }
                        _ => self.uploads.client.again(registry, &mut tries, &error).await,
                    };
                    if !passed {
                        return Err(error);
                    }
                    // Twice cut off in the middle: something on the way may not let long requests
                    // through, and does not say so.
                    let long = self.source.descriptor().size > MODEST_CHUNK;
                    if mode == Mode::Whole && tries.failed > 1 && long && matches!(error, Error::Network { .. }) {
                        mode = Mode::Chunks(limits.chunk.min(MODEST_CHUNK));
                    }
                }
            }
        }
    }

    async fn transfer(&self, session: &Session, mode: Mode) -> Result<(), Error> {
        let size = self.source.descriptor().size;
        match mode {
            Mode::Whole => {
                let payload = self.payload(0, size);
                self.close(session.location.clone(), payload).await
            }
            Mode::Patch => {
                let location = self.patch(&session.location, 0, size, false).await?;
                self.close(location, Payload::Empty).await
            }
            Mode::Chunks(chunk) => {
                let mut location = session.location.clone();
                let mut offset = 0;
                while offset < size {
                    let length = chunk.max(session.smallest_chunk).max(1).min(size - offset);
                    location = self.patch(&location, offset, length, true).await?;
                    // By what was sent: some registries' Range stands still (row R36).
                    offset += length;
                }
                self.close(location, Payload::Empty).await
            }
        }
    }

    fn payload(&self, offset: u64, length: u64) -> Payload<'a> {
        Payload::Source { source: self.source, offset, length, progress: self.progress }
    }

    /// Sends a piece; where the next one goes.
    async fn patch(&self, location: &Url, offset: u64, length: u64, ranged: bool) -> Result<Url, Error> {
        let mut call = self.call(Method::PATCH, "", "upload");
        call.target = Target::Url(location.clone());
        call.gate = Gate::Push;
        call.payload = self.payload(offset, length);
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if ranged && length > 0 {
            let range = format!("{offset}-{}", offset + length - 1);
            let range = HeaderValue::from_str(&range).map_err(|_| call.protocol("a range cannot be sent"))?;
            call.headers.insert(header::CONTENT_RANGE, range);
        }
        let response = self.uploads.client.execute(&call).await?;
        if !matches!(response.status(), 200 | 201 | 202 | 204) {
            return Err(response.into_error().await);
        }
        let next = self.uploads.location(&response).await?;
        response.finish().await;
        Ok(next.unwrap_or_else(|| location.clone()))
    }

    /// Closes the upload at `location`, with the bytes or after them.
    async fn close(&self, mut location: Url, payload: Payload<'a>) -> Result<(), Error> {
        append_digest(&mut location, &self.digest());
        let mut call = self.call(Method::PUT, "", "upload");
        call.target = Target::Url(location);
        call.gate = Gate::Push;
        call.payload = payload;
        call.wait = self.uploads.client.inner.config.timeouts.commit;
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let response = self.uploads.client.execute(&call).await?;
        if !matches!(response.status(), 200 | 201 | 204) {
            return Err(response.into_error().await);
        }
        response.finish().await;
        Ok(())
    }
}

/// A `Location`, relative to what was asked.
fn resolve(asked: &Url, location: &str) -> Option<Url> {
    let mut url = asked.join(Some(location.trim()).filter(|text| !text.is_empty())?).ok()?;
    url.set_fragment(None);
    Some(url)
}

/// The digest goes behind the query, which is state that must come back as it was.
fn append_digest(location: &mut Url, digest: &Digest) {
    let query = match location.query() {
        Some(query) if !query.is_empty() => format!("{query}&digest={digest}"),
        _ => format!("digest={digest}"),
    };
    location.set_query(Some(&query));
}

/// What to do after a failed transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Fail,
    /// A new session, sent in another way.
    As(Mode),
    /// A new session, because the old one is gone.
    NewSession,
    /// A new session after a pause.
    Again,
}

/// The ladder. `lost` says that a session was lost before.
fn next(mode: Mode, error: &Error, lost: bool, chunk: u64) -> Step {
    let session_lost = error
        .answer()
        .is_some_and(|answer| answer.has(&Code::BlobUploadUnknown) || answer.has(&Code::BlobUploadInvalid));
    match (error.status(), mode) {
        (Some(413), Mode::Whole | Mode::Patch) => Step::As(Mode::Chunks(chunk)),
        (Some(413 | 416), Mode::Chunks(size)) if size > MODEST_CHUNK => Step::As(Mode::Chunks(MODEST_CHUNK)),
        (Some(413 | 416), Mode::Chunks(size)) if size > SMALLEST_CHUNK => Step::As(Mode::Chunks(SMALLEST_CHUNK)),
        // Said to be gone: begin anew, once (row R28).
        _ if session_lost => {
            if lost {
                Step::Fail
            } else {
                Step::NewSession
            }
        }
        (Some(404 | 405 | 501), Mode::Whole) => Step::As(Mode::Patch),
        (Some(404 | 416), Mode::Patch | Mode::Chunks(_)) if !lost => Step::NewSession,
        // A source that read from a mirror goes elsewhere next time.
        _ if error.is_passing() || matches!(error, Error::Content { .. }) => Step::Again,
        _ => Step::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: Mode, status: u16, code: &str, lost: bool, expect: Step) {
        let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        let body = if code.is_empty() { "" } else { &body };
        let place = crate::error::Place {
            registry: crate::Registry::docker_hub(),
            repository: None,
            operation: String::new(),
            url: None,
        };
        let answer = crate::error::parse_answer(status, body.as_bytes(), None, &[]);
        let error = Error::Status { place: Box::new(place), answer: Box::new(answer) };
        assert_eq!(next(mode, &error, lost, 16 << 20), expect, "{mode:?} {status} {code}");
    }

    #[test]
    fn the_ladder() {
        check(Mode::Whole, 404, "", false, Step::As(Mode::Patch));
        check(Mode::Patch, 404, "", false, Step::NewSession);
        check(Mode::Patch, 404, "", true, Step::Fail);
        check(Mode::Whole, 404, "BLOB_UPLOAD_UNKNOWN", false, Step::NewSession);
        check(Mode::Whole, 400, "BLOB_UPLOAD_INVALID", false, Step::NewSession);
        check(Mode::Whole, 404, "BLOB_UPLOAD_UNKNOWN", true, Step::Fail);
        check(Mode::Whole, 413, "", false, Step::As(Mode::Chunks(16 << 20)));
        check(Mode::Patch, 413, "", false, Step::As(Mode::Chunks(16 << 20)));
        check(Mode::Chunks(16 << 20), 416, "", false, Step::As(Mode::Chunks(4 << 20)));
        check(Mode::Chunks(4 << 20), 413, "", false, Step::As(Mode::Chunks(1 << 20)));
        check(Mode::Chunks(1 << 20), 413, "", false, Step::Fail);
        check(Mode::Whole, 400, "DIGEST_INVALID", false, Step::Fail);
        check(Mode::Whole, 403, "", false, Step::Fail);
        for status in [408, 429, 500, 502, 503, 504] {
            check(Mode::Whole, status, "", false, Step::Again);
        }
    }

    #[test]
    fn r29_a_location_keeps_its_query() {
        let asked = Url::parse("https://r.example/v2/a/blobs/uploads/").unwrap();
        let digest = Digest::of(b"");
        for (location, expect) in [
            ("/v2/a/blobs/uploads/1", "https://r.example/v2/a/blobs/uploads/1?"),
            ("1?", "https://r.example/v2/a/blobs/uploads/1?"),
            ("https://s.example/x?_state=a%2Fb+c==&d#e", "https://s.example/x?_state=a%2Fb+c==&d&"),
            ("//s.example/x", "https://s.example/x?"),
            ("?a=b", "https://r.example/v2/a/blobs/uploads/?a=b&"),
        ] {
            let mut url = resolve(&asked, location).unwrap();
            append_digest(&mut url, &digest);
            assert_eq!(url.as_str(), format!("{expect}digest={digest}"), "{location}");
        }
        assert_eq!(resolve(&asked, " "), None);
        assert_eq!(resolve(&asked, "http://["), None);
    }

    proptest::proptest! {
        #[test]
        fn any_location_is_survived(text: String, query in "[a-zA-Z0-9=&%_./+;:@-]{1,60}") {
            let asked = Url::parse("https://r.example/v2/a/blobs/uploads/").unwrap();
            let digest = Digest::of(b"");
            if let Some(mut url) = resolve(&asked, &text) {
                append_digest(&mut url, &digest);
            }
            let mut url = resolve(&asked, &format!("/x?{query}")).unwrap();
            append_digest(&mut url, &digest);
            let expect = format!("{query}&digest={digest}");
            proptest::prop_assert_eq!(url.query(), Some(expect.as_str()));
        }
    }
}
