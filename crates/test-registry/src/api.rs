//! The protocol: distribution-spec 1.1, strictly.

use oci_layout::document::Document;
use oci_layout::{Descriptor, Digest, MediaType};
use serde_json::json;

use crate::http::{Answer, Request};
use crate::store::{Repository, Store};
use crate::{Options, Shared, State};

/// The registry's own answer to a request.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    let mut state = shared.lock();
    let state: &mut State = &mut state;
    if request.path() == "/token" {
        return state.tokens.answer(&shared.options.auth, request);
    }
    if shared.options.largest_body.is_some_and(|limit| request.body.len() as u64 > limit) {
        return Answer::new(413).header("Content-Type", "text/html").body("<html>413 Request Entity Too Large</html>");
    }
    if let Err(refusal) = state.tokens.check(&shared.options.auth, request, &shared.base()) {
        return refusal;
    }
    let Some(rest) = request.path().strip_prefix("/v2") else { return Answer::new(404) };
    let rest = rest.trim_start_matches('/');
    if rest.is_empty() {
        return Answer::new(200).header("Content-Type", "application/json").body("{}");
    }
    let api = Api { store: &mut state.store, options: &shared.options, request };
    let answer = if let Some((name, id)) = split(rest, "/blobs/uploads") {
        api.uploads(name, id.trim_start_matches('/'))
    } else if let Some((name, digest)) = split(rest, "/blobs/") {
        api.blobs(name, digest)
    } else if let Some((name, reference)) = split(rest, "/manifests/") {
        api.manifests(name, reference)
    } else if let Some((name, digest)) = split(rest, "/referrers/") {
        api.referrers(name, digest)
    } else if let Some(name) = rest.strip_suffix("/tags/list") {
        api.tags(name)
    } else {
        Answer::new(404)
    };
    answer.header("Docker-Distribution-Api-Version", "registry/2.0")
}

fn split<'a>(path: &'a str, part: &str) -> Option<(&'a str, &'a str)> {
    let at = path.rfind(part)?;
    Some((&path[..at], &path[at + part.len()..]))
}

/// The action that a request needs on its repository, for authorization.
pub(crate) fn rights(request: &Request) -> Option<(String, &'static str)> {
    let rest = request.path().strip_prefix("/v2/")?;
    let name = ["/blobs/", "/manifests/", "/referrers/", "/tags/list"]
        .iter()
        .find_map(|part| split(rest, part))
        .map(|(name, _)| name)?;
    let action = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" if !request.path().contains("/blobs/uploads/") => "delete",
        _ => "push",
    };
    Some((name.to_owned(), action))
}

struct Api<'a> {
    store: &'a mut Store,
    options: &'a Options,
    request: &'a Request,
}

impl Api<'_> {
    fn repository(&mut self, name: &str) -> &mut Repository {
        self.store.repositories.entry(name.to_owned()).or_default()
    }

    fn method(&self) -> &str {
        &self.request.method
    }

    fn blobs(mut self, name: &str, digest: &str) -> Answer {
        let Ok(digest) = digest.parse::<Digest>() else { return Answer::error(400, "DIGEST_INVALID", "not a digest") };
        let range = self.request.header("range").map(str::to_owned);
        let method = self.method().to_owned();
        let repository = self.repository(name);
        let Some(bytes) = repository.blobs.get(&digest).cloned() else {
            return Answer::error(404, "BLOB_UNKNOWN", "no such blob");
        };
        if method == "DELETE" {
            repository.blobs.remove(&digest);
            return Answer::new(202);
        }
        let answer = Answer::new(200)
            .header("Docker-Content-Digest", digest.to_string())
            .header("Content-Type", "application/octet-stream")
            .header("Accept-Ranges", "bytes");
        let Some(range) = range.filter(|_| method == "GET") else {
            return answer.header("Content-Length", bytes.len().to_string()).body(bytes);
        };
        // Closed ranges only: what an open one gets differs between registries.
        let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let bounds = bounds.and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)));
        match bounds {
            Some((first, last)) if first <= last && last < bytes.len() => {
                let total = bytes.len();
                let part = bytes.slice(first..=last);
                Answer { status: 206, ..answer }
                    .header("Content-Range", format!("bytes {first}-{last}/{total}"))
                    .header("Content-Length", part.len().to_string())
                    .body(part)
            }
            _ => Answer::error(416, "RANGE_INVALID", "not a closed range inside the blob"),
        }
    }

    fn uploads(mut self, name: &str, id: &str) -> Answer {
        if self.method() == "POST" && id.is_empty() {
            return self.begin(name);
        }
        let unknown = || Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        let Some(session) = self.store.uploads.get_mut(id) else { return unknown() };
        if session.repository != name {
            return unknown();
        }
        if self.request.query("_state").as_deref() != Some(session.state.as_str()) {
            return Answer::error(400, "BLOB_UPLOAD_INVALID", "the location's state is not the one that was given");
        }
        match self.request.method.as_str() {
            "PATCH" => {
                let length = session.bytes.len();
                let sent = self.request.body.len();
                if self.request.header("content-type") != Some("application/octet-stream") {
                    return Answer::error(400, "BLOB_UPLOAD_INVALID", "a chunk is application/octet-stream");
                }
                if let Some(range) = self.request.header("content-range")
                    && range != format!("{length}-{}", (length + sent).saturating_sub(1))
                {
                    return Answer::error(416, "BLOB_UPLOAD_INVALID", "not the next chunk")
                        .header("Range", format!("0-{}", length.saturating_sub(1)));
                }
                session.bytes.extend_from_slice(&self.request.body);
                session.state = format!("{id}/{}==", session.bytes.len());
                let range = format!("0-{}", session.bytes.len().saturating_sub(1));
                location(name, id, &session.state, 202).header("Range", range)
            }
            "PUT" => {
                let Some(Ok(digest)) = self.request.query("digest").map(|text| text.parse::<Digest>()) else {
                    return Answer::error(400, "DIGEST_INVALID", "no digest");
                };
                let Some(mut session) = self.store.uploads.remove(id) else { return unknown() };
                session.bytes.extend_from_slice(&self.request.body);
                self.commit(name, digest, session.bytes)
            }
            "GET" => {
                let range = format!("0-{}", session.bytes.len().saturating_sub(1));
                location(name, id, &session.state, 204).header("Range", range)
            }
            "DELETE" => {
                self.store.uploads.remove(id);
                Answer::new(204)
            }
            _ => Answer::error(405, "UNSUPPORTED", "not for an upload"),
        }
    }

    fn begin(&mut self, name: &str) -> Answer {
        if let (Some(digest), Some(from)) = (self.request.query("mount"), self.request.query("from"))
            && self.options.mounts
        {
            let Ok(digest) = digest.parse::<Digest>() else {
                return Answer::error(400, "DIGEST_INVALID", "not a digest");
            };
            let found =
                self.store.repositories.get(&from).and_then(|repository| repository.blobs.get(&digest)).cloned();
            if let Some(bytes) = found {
                self.repository(name).blobs.insert(digest, bytes);
                return Answer::new(201)
                    .header("Location", format!("/v2/{name}/blobs/{digest}"))
                    .header("Docker-Content-Digest", digest.to_string());
            }
        }
        if let Some(digest) = self.request.query("digest") {
            return match digest.parse::<Digest>() {
                Ok(digest) => self.commit(name, digest, self.request.body.to_vec()),
                Err(_) => Answer::error(400, "DIGEST_INVALID", "not a digest"),
            };
        }
        let id = self.store.begin(name);
        let state = self.store.uploads[&id].state.clone();
        let answer = location(name, &id, &state, 202).header("Range", "0-0");
        match self.options.smallest_chunk {
            Some(size) => answer.header("OCI-Chunk-Min-Length", size.to_string()),
            None => answer,
        }
    }

    fn commit(&mut self, name: &str, digest: Digest, bytes: Vec<u8>) -> Answer {
        if digest_of(&bytes, digest) != digest {
            return Answer::error(400, "DIGEST_INVALID", "the content has another digest");
        }
        self.repository(name).blobs.insert(digest, bytes.into());
        Answer::new(201)
            .header("Location", format!("/v2/{name}/blobs/{digest}"))
            .header("Docker-Content-Digest", digest.to_string())
    }

    fn manifests(mut self, name: &str, reference: &str) -> Answer {
        if reference.parse::<Digest>().is_err() && !is_tag(reference) {
            return Answer::error(400, "TAG_INVALID", "neither tag nor digest");
        }
        let method = self.method().to_owned();
        if method == "PUT" {
            return self.put_manifest(name, reference);
        }
        let repository = self.repository(name);
        let Some(digest) = repository.resolve(reference).filter(|digest| repository.manifests.contains_key(digest))
        else {
            return Answer::error(404, "MANIFEST_UNKNOWN", "no such manifest");
        };
        if method == "DELETE" {
            if reference.parse::<Digest>().is_ok() {
                repository.manifests.remove(&digest);
                repository.tags.retain(|_, tagged| *tagged != digest);
                for list in repository.referrers.values_mut() {
                    list.retain(|descriptor| descriptor.digest != digest);
                }
            } else {
                repository.tags.remove(reference);
            }
            return Answer::new(202);
        }
        let (media_type, bytes) = &repository.manifests[&digest];
        Answer::new(200)
            .header("Content-Type", media_type.as_str())
            .header("Docker-Content-Digest", digest.to_string())
            .header("Content-Length", bytes.len().to_string())
            .body(bytes.clone())
    }

    fn put_manifest(&mut self, name: &str, reference: &str) -> Answer {
        let bytes = self.request.body.clone();
        let Some(kind) = self.request.header("content-type").map(MediaType::from) else {
            return Answer::error(400, "MANIFEST_INVALID", "no Content-Type");
        };
        if bytes.len() > 4 * 1024 * 1024 {
            return Answer::error(413, "SIZE_INVALID", "over 4 MiB");
        }
        let document = match Document::parse(&bytes, &kind) {
            Ok(document) => document,
            Err(error) => return Answer::error(400, "MANIFEST_INVALID", &error.to_string()),
        };
        let digest = match reference.parse::<Digest>() {
            Ok(digest) if digest_of(&bytes, digest) != digest => {
                return Answer::error(400, "DIGEST_INVALID", "the manifest has another digest");
            }
            Ok(digest) => digest,
            Err(_) => Digest::of(&bytes),
        };
        let immutable = self.options.immutable_tags;
        let repository = self.repository(name);
        if immutable && repository.tags.contains_key(reference) {
            return Answer::error(
                400,
                "TAG_INVALID",
                "the tag already exists and cannot be overwritten because the repository is immutable",
            );
        }
        let missing = missing(repository, &document);
        if !missing.is_empty() {
            let errors: Vec<_> = missing
                .iter()
                .map(|digest| json!({"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": {"digest": digest}}))
                .collect();
            return Answer::new(404)
                .header("Content-Type", "application/json")
                .body(json!({ "errors": errors }).to_string());
        }
        let subject = subject(&document);
        repository.manifests.insert(digest, (kind.clone(), bytes.clone()));
        if reference.parse::<Digest>().is_err() {
            repository.tags.insert(reference.to_owned(), digest);
        }
        let mut answer = Answer::new(201)
            .header("Location", format!("/v2/{name}/manifests/{digest}"))
            .header("Docker-Content-Digest", digest.to_string());
        if let Some(subject) = subject {
            let descriptor = referrer(&document, kind, digest, bytes.len() as u64);
            let list = self.repository(name).referrers.entry(subject).or_default();
            list.retain(|other| other.digest != digest);
            list.push(descriptor);
            if self.options.referrers {
                answer.set("OCI-Subject", subject.to_string());
            }
        }
        answer
    }

    fn referrers(mut self, name: &str, digest: &str) -> Answer {
        if !self.options.referrers || self.method() != "GET" {
            return Answer::error(404, "UNSUPPORTED", "no referrers here");
        }
        let Ok(digest) = digest.parse::<Digest>() else { return Answer::error(400, "DIGEST_INVALID", "not a digest") };
        let filter = self.request.query("artifactType");
        let list = self.repository(name).referrers.get(&digest).cloned().unwrap_or_default();
        let list: Vec<_> = list.into_iter().filter(|entry| filter.is_none() || entry.artifact_type == filter).collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": oci_layout::media_type::OCI_INDEX,
            "manifests": serde_json::to_value(list).expect("descriptors are JSON"),
        });
        let answer = Answer::new(200).header("Content-Type", oci_layout::media_type::OCI_INDEX).body(index.to_string());
        match filter {
            Some(_) => answer.header("OCI-Filters-Applied", "artifactType"),
            None => answer,
        }
    }

    fn tags(mut self, name: &str) -> Answer {
        let Some(repository) = self.store.repositories.get(name) else {
            return Answer::error(404, "NAME_UNKNOWN", "no such repository");
        };
        let last = self.request.query("last").unwrap_or_default();
        let limit: usize = self.request.query("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let all: Vec<String> = repository.tags.keys().filter(|tag| **tag > last).cloned().collect();
        let page: Vec<String> = all.iter().take(limit).cloned().collect();
        let answer = Answer::new(200)
            .header("Content-Type", "application/json")
            .body(json!({"name": name, "tags": page}).to_string());
        let _ = self.repository(name);
        match page.last() {
            Some(last) if all.len() > page.len() => {
                answer.header("Link", format!("</v2/{name}/tags/list?n={limit}&last={last}>; rel=\"next\""))
            }
            _ => answer,
        }
    }
}

fn location(name: &str, id: &str, state: &str, status: u16) -> Answer {
    Answer::new(status).header("Location", format!("/v2/{name}/blobs/uploads/{id}?_state={state}"))
}

fn is_tag(text: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !text.is_empty() && text.len() <= 128 && text.bytes().all(valid) && !text.starts_with(['.', '-'])
}

fn digest_of(bytes: &[u8], like: Digest) -> Digest {
    let mut hasher = oci_layout::digest::Hasher::new(like.algorithm());
    hasher.update(bytes);
    hasher.finish()
}

/// What the document names and the repository lacks. Layers with `urls` live elsewhere.
fn missing(repository: &Repository, document: &Document) -> Vec<Digest> {
    match document {
        Document::Index(index) => {
            let digests = index.manifests.iter().map(|descriptor| descriptor.digest);
            digests.filter(|digest| !repository.manifests.contains_key(digest)).collect()
        }
        Document::Manifest(manifest) => std::iter::once(&manifest.config)
            .chain(manifest.layers.iter().filter(|layer| layer.urls.is_empty()))
            .map(|descriptor| descriptor.digest)
            .filter(|digest| !repository.blobs.contains_key(digest))
            .collect(),
    }
}

fn subject(document: &Document) -> Option<Digest> {
    match document {
        Document::Index(index) => index.subject.as_ref(),
        Document::Manifest(manifest) => manifest.subject.as_ref(),
    }
    .map(|subject| subject.digest)
}

/// The descriptor of a referrer, as the spec builds it from the manifest.
pub(crate) fn referrer(document: &Document, kind: MediaType, digest: Digest, size: u64) -> Descriptor {
    let mut descriptor = Descriptor::new(kind.as_str(), digest, size);
    match document {
        Document::Index(index) => {
            descriptor.artifact_type.clone_from(&index.artifact_type);
            descriptor.annotations.clone_from(&index.annotations);
        }
        Document::Manifest(manifest) => {
            let config = manifest.config.media_type.as_str().to_owned();
            descriptor.artifact_type = Some(manifest.artifact_type.clone().unwrap_or(config));
            descriptor.annotations.clone_from(&manifest.annotations);
        }
    }
    descriptor
}
