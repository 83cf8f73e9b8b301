//! As much of HTTP/1.1 as a registry needs: one request for each connection.

use std::io::{Read, Write};

use crate::Error;

const MAX_HEAD: usize = 16 << 10;
const MAX_BODY: usize = 64 << 20;

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub content_type: String,
    pub body: Vec<u8>,
}

#[derive(Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

pub fn read(stream: &mut impl Read) -> Result<Request, Error> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(length) = head.parse(&bytes)? {
            let header = |name: &str| {
                let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or_default().to_owned()
            };
            let size: usize = header("content-length").parse().unwrap_or(0);
            if size > MAX_BODY {
                return Err("the body is too large".into());
            }
            let target = head.path.unwrap_or("/");
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut request = Request {
                method: head.method.unwrap_or("GET").to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
                content_type: header("content-type"),
                body: bytes[length..].to_vec(),
            };
            while request.body.len() < size {
                match stream.read(&mut buffer)? {
                    0 => return Err("the body ends early".into()),
                    count => request.body.extend_from_slice(&buffer[..count]),
                }
            }
            return Ok(request);
        }
        if bytes.len() > MAX_HEAD {
            return Err("the head is too long".into());
        }
        match stream.read(&mut buffer)? {
            0 => return Err("the request ends early".into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

pub fn write(stream: &mut impl Write, request: &Request, answer: &Answer) -> Result<(), Error> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", answer.body.len()));
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&answer.body)?;
    }
    Ok(stream.flush()?)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Internal Server Error",
    }
}
