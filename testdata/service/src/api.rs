//! What the server answers.

use crate::Error;
use crate::http::{Answer, Request};
use crate::store::Store;

pub fn answer(request: &Request, store: &Store, roots: usize) -> Answer {
    route(request, store, roots).unwrap_or_else(|error| text(500, &error.to_string()))
}

fn text(status: u16, body: &str) -> Answer {
    Answer { status, headers: vec![("Content-Type", "text/plain".to_owned())], body: body.as_bytes().to_vec() }
}

fn route(request: &Request, store: &Store, roots: usize) -> Result<Answer, Error> {
    if request.path == "/healthz" {
        let (arch, sqlite) = (std::env::consts::ARCH, rusqlite::version());
        return Ok(text(200, &format!("{{\"arch\":\"{arch}\",\"sqlite\":\"{sqlite}\",\"roots\":{roots}}}\n")));
    }
    let Some(path) = request.path.strip_prefix("/v2/") else { return Ok(text(404, "not found\n")) };
    if path.is_empty() {
        return Ok(text(200, "{}"));
    }
    let blob = |status, digest: String, body| {
        let headers = vec![("Docker-Content-Digest", digest.clone()), ("Location", format!("/v2/blobs/{digest}"))];
        Answer { status, headers, body }
    };
    if let Some((repository, _)) = path.split_once("/blobs/uploads") {
        return match (request.method.as_str(), request.query.is_empty()) {
            ("POST", true) => {
                let location = format!("/v2/{repository}/blobs/uploads/1");
                Ok(Answer { status: 202, headers: vec![("Location", location)], body: Vec::new() })
            }
            ("POST" | "PUT", false) => Ok(blob(201, store.put_blob(&request.body)?, Vec::new())),
            _ => Ok(text(405, "POST or PUT\n")),
        };
    }
    if let Some((_, digest)) = path.split_once("/blobs/") {
        return Ok(match store.blob(digest) {
            Some(body) => blob(200, digest.to_owned(), body),
            None => text(404, "no such blob\n"),
        });
    }
    let Some((repository, name)) = path.split_once("/manifests/") else { return Ok(text(404, "not found\n")) };
    if request.method == "PUT" {
        let digest = store.put_manifest(repository, name, &request.content_type, &request.body)?;
        return Ok(blob(201, digest, Vec::new()));
    }
    Ok(match store.manifest(repository, name)? {
        Some((digest, kind, body)) => {
            let mut answer = blob(200, digest, body);
            answer.headers.push(("Content-Type", kind));
            answer
        }
        None => text(404, "no such manifest\n"),
    })
}
