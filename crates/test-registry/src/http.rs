//! HTTP/1.1 by hand: a test must be able to say which byte is the last one on the wire.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::fault::{self, Wire};
use crate::{Shared, api};

/// A request that came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body. Cut short where the connection broke.
    pub body: Bytes,
    /// The status that it was answered with; 0 where no answer was sent.
    pub status: u16,
}

impl Request {
    /// The first header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    /// All values of a query parameter, decoded.
    pub fn queries(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        decode_form(query).into_iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The target with digests and upload sessions cut to what a test can predict.
    pub(crate) fn short_target(&self) -> String {
        let mut target = self.target.clone();
        while let Some(at) = target.find("sha256:").or_else(|| target.find("sha256%3A")) {
            let length = if target[at..].starts_with("sha256%3A") { 9 } else { 7 };
            let end = (at + length + 64).min(target.len());
            let short: String = target[at + length..end].chars().take(6).collect();
            target.replace_range(at..end, &format!("#{short}"));
        }
        if let Some(at) = target.find("/blobs/uploads/") {
            let id = at + "/blobs/uploads/".len();
            let end = target[id..].find('?').map_or(target.len(), |q| id + q);
            if end > id {
                target.replace_range(id..end, "ID");
            }
        }
        if let Some(at) = target.find("_state=") {
            let end = target[at..].find('&').map_or(target.len(), |end| at + end);
            target.replace_range(at..end, "_state");
        }
        target
    }
}

/// Reads `a=b&c=d`.
pub(crate) fn decode_form(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let digits: Vec<u8> = rest.by_ref().take(2).collect();
                    let hex = std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                    bytes.extend(hex);
                }
                byte => bytes.push(byte),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').map_or((decode(pair), String::new()), |(k, v)| (decode(k), decode(v))))
        .collect()
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers; `Content-Length` is added where it is missing and the body is not endless.
    pub headers: Vec<(String, String)>,
    /// The body. Not sent to HEAD.
    pub body: Bytes,
    /// What goes wrong while it is sent.
    pub wire: Wire,
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a header.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Takes a header away.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// An error in the registry's own form.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
        Self::new(status).header("Content-Type", "application/json").body(body)
    }
}

pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let acceptor = shared.options.tls.as_ref().map(crate::tls::acceptor);
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        shared.lock().connections += 1;
        let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                None => connection(stream, shared).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream, shared).await;
                    }
                }
            }
        });
    }
}

pub(crate) async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Arc<Shared>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    while let Some(mut request) = read_head(&mut reader).await {
        let plan = fault::plan(&mut shared.lock().faults, &request);
        let entry = {
            let mut state = shared.lock();
            state.requests.push(request.clone());
            state.requests.len() - 1
        };
        let _under_way = UnderWay::new(&shared);
        let record = |request: &Request| {
            if let Some(slot) = shared.lock().requests.get_mut(entry) {
                *slot = request.clone();
            }
        };
        if plan.drop_unread {
            return;
        }
        if plan.answer_unread
            && let Some(instead) = &plan.instead
        {
            let mut answer = instead(&request);
            answer.wire.close = true;
            request.status = answer.status;
            record(&request);
            write_answer(&mut writer, &request, answer).await;
            let mut sink = tokio::io::sink();
            let linger = tokio::io::copy(&mut reader, &mut sink);
            let _ = tokio::time::timeout(Duration::from_secs(1), linger).await;
            return;
        }
        let complete = read_body(&mut reader, &mut request, plan.drop_request_after).await;
        record(&request);
        if !complete {
            return;
        }
        if let Some(pause) = plan.pause {
            tokio::time::sleep(pause).await;
        }
        let mut seen = request.clone();
        if let Some(edit) = &plan.edit_request {
            edit(&mut seen);
        }
        let mut answer = match &plan.instead {
            Some(answer) => answer(&seen),
            None => api::answer(&shared, &seen),
        };
        if let Some(edit) = &plan.edit_answer {
            edit(&seen, &mut answer);
        }
        if plan.drop_unanswered {
            return;
        }
        request.status = answer.status;
        record(&request);
        if !write_answer(&mut writer, &request, answer).await {
            return;
        }
    }
}

/// Counts a request until it is answered.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut state = shared.lock();
        state.in_flight += 1;
        state.peak = state.peak.max(state.in_flight);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

async fn read_head<R: AsyncRead + Unpin>(reader: &mut BufReader<R>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reader.read_u8().await.ok()?);
        if head.len() > 64 * 1024 {
            return None;
        }
    }
    let text = String::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    // What comes through a proxy names the whole URL (RFC 9112, section 3.2.2).
    let target = match target.strip_prefix("http://").map(|rest| rest.find('/').map_or("/", |at| &rest[at..])) {
        Some(path) => path.to_owned(),
        None => target.to_owned(),
    };
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Request { method, target, headers, ..Request::default() })
}

/// Reads the body; false where it did not come whole.
async fn read_body<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    request: &mut Request,
    stop_after: Option<usize>,
) -> bool {
    let mut body = Vec::new();
    let complete = if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        read_chunked(reader, &mut body).await.is_some()
    } else {
        let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let wanted = stop_after.map_or(length, |stop| stop.min(length));
        let read = (&mut *reader).take(wanted as u64).read_to_end(&mut body).await;
        matches!(read, Ok(count) if count == length)
    };
    request.body = body.into();
    complete && stop_after.is_none()
}

async fn read_chunked<R: AsyncRead + Unpin>(reader: &mut BufReader<R>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(reader.read_u8().await.ok()?);
        }
        let text = std::str::from_utf8(&line).ok()?.trim();
        let length = u64::from_str_radix(text.split(';').next()?, 16).ok()?;
        if (&mut *reader).take(length).read_to_end(body).await.ok()? as u64 != length {
            return None;
        }
        let mut end = [0; 2];
        reader.read_exact(&mut end).await.ok()?;
        if length == 0 {
            return Some(());
        }
    }
}

/// Sends the answer; whether the connection can go on.
async fn write_answer<W: AsyncWrite + Unpin>(writer: &mut W, request: &Request, answer: Answer) -> bool {
    let wire = &answer.wire;
    let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let has = |wanted: &str| answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if wire.endless {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !has("content-length") && !has("transfer-encoding") && !wire.no_length && answer.status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    if wire.no_length || wire.close {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    let mut body = if request.method == "HEAD" { Bytes::new() } else { answer.body.clone() };
    if has("transfer-encoding") && !wire.endless {
        body = format!("{:x}\r\n", body.len()).into_bytes().into_iter().chain(body).chain(*b"\r\n0\r\n\r\n").collect();
    }
    if let Some(pause) = wire.slow_head {
        for byte in head.bytes() {
            if writer.write_all(&[byte]).await.is_err() || writer.flush().await.is_err() {
                return false;
            }
            tokio::time::sleep(pause).await;
        }
    } else if writer.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    if wire.endless {
        let piece = vec![b'x'; 64 * 1024];
        let framed: Vec<u8> =
            format!("{:x}\r\n", piece.len()).into_bytes().into_iter().chain(piece).chain(*b"\r\n").collect();
        while writer.write_all(&framed).await.is_ok() {}
        return false;
    }
    let cut = wire.drop_after.or(wire.stall_after).unwrap_or(usize::MAX).min(body.len());
    if writer.write_all(&body[..cut]).await.is_err() || writer.flush().await.is_err() {
        return false;
    }
    if wire.stall_after.is_some() {
        // Until the client gives up; the thread ends with the registry.
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    if wire.close_silently {
        // The next request finds the connection gone, without having been told.
        return false;
    }
    !(wire.drop_after.is_some() || wire.no_length || wire.close)
}
