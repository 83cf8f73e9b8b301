//! Indexes and manifests: looked for, fetched, put.

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use oci_layout::digest::{Hasher, VerifyError};
use oci_layout::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use oci_layout::{Descriptor, Digest, MediaType};

use crate::Client;
use crate::auth::Scopes;
use crate::error::{Answer, Code, Error};
use crate::notice::Notice;
use crate::reference::{Repository, TagOrDigest};
use crate::transport::{Call, Payload, Response, Tries};

/// A document with the descriptor that its own bytes give it.
#[derive(Clone, Debug)]
pub struct FetchedManifest {
    /// Type as the registry announced it; digest and size of the bytes.
    pub descriptor: Descriptor,
    /// The document as it came.
    pub bytes: Bytes,
}

impl Client {
    /// What `what` names, or `None` where the registry does not have it.
    ///
    /// One HEAD, as a rule; a registry whose answer lacks what makes a descriptor is asked with GET.
    pub async fn head_manifest(
        &self,
        repository: &Repository,
        what: &TagOrDigest,
    ) -> Result<Option<Descriptor>, Error> {
        for endpoint in self.endpoints(repository, matches!(what, TagOrDigest::Digest(_)))? {
            let outcome = self.head_manifest_at(&endpoint.repository, what, self.tries(&endpoint)).await;
            if let Some(result) = self.judge(repository, &endpoint, outcome) {
                return result;
            }
        }
        Ok(None)
    }

    /// The same, asking exactly `repository`.
    pub(crate) async fn head_manifest_at(
        &self,
        repository: &Repository,
        what: &TagOrDigest,
        tries: Tries,
    ) -> Result<Option<Descriptor>, Error> {
        let mut call = self.manifest_call(repository, what, Method::HEAD, "look for");
        call.tries = tries;
        self.head_manifest_by(&call, repository, what).await
    }

    /// The same on the way to a push: the token that is asked for does for the writing too.
    pub(crate) async fn head_manifest_to_push(
        &self,
        repository: &Repository,
        what: &TagOrDigest,
    ) -> Result<Option<Descriptor>, Error> {
        let mut call = self.manifest_call(repository, what, Method::HEAD, "look for");
        call.scopes = Scopes::push(repository);
        self.head_manifest_by(&call, repository, what).await
    }

    async fn head_manifest_by(
        &self,
        call: &Call<'_>,
        repository: &Repository,
        what: &TagOrDigest,
    ) -> Result<Option<Descriptor>, Error> {
        let response = self.request(call, &[200, 404]).await?;
        if response.status() == 404 {
            return Ok(None);
        }
        if let Some(descriptor) = descriptor_of_headers(&response, what) {
            return Ok(Some(descriptor));
        }
        drop(response);
        match self.manifest_at(repository, what, call.tries).await {
            Ok(fetched) => Ok(Some(fetched.descriptor)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The document that `what` names: its digest is that of its bytes, whatever the registry says
    /// (rows R17, R18), and the one that was asked for where that was a digest.
    pub async fn manifest(&self, repository: &Repository, what: &TagOrDigest) -> Result<FetchedManifest, Error> {
        for endpoint in self.endpoints(repository, matches!(what, TagOrDigest::Digest(_)))? {
            let outcome = self.manifest_at(&endpoint.repository, what, self.tries(&endpoint)).await;
            if let Some(Some(fetched)) = self.judge(repository, &endpoint, outcome.map(Some)).transpose()? {
                return Ok(fetched);
            }
        }
        Err(self.manifest_call(repository, what, Method::GET, "read").protocol("there is nowhere to read it from"))
    }

    /// The same, asking exactly `repository`.
    pub(crate) async fn manifest_at(
        &self,
        repository: &Repository,
        what: &TagOrDigest,
        tries: Tries,
    ) -> Result<FetchedManifest, Error> {
        let mut call = self.manifest_call(repository, what, Method::GET, "read");
        call.tries = tries;
        let mut tries = tries;
        loop {
            let mut response = self.request(&call, &[200]).await?;
            match self.read_manifest(&mut response, what).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => {
                    if !self.again(repository.registry(), &mut tries, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn read_manifest(&self, response: &mut Response, what: &TagOrDigest) -> Result<FetchedManifest, Error> {
        let limit = self.inner.config.limits.manifest;
        let place = Box::new(response.place().clone());
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(Error::TooLarge { place, limit });
        }
        let Some(body) = response.read_up_to(limit).await? else {
            return Err(Error::TooLarge { place, limit });
        };
        let media_type = announced_type(response)
            .or_else(|| type_inside(&body))
            .ok_or_else(|| response.protocol("it does not say what kind of document it sends"))?;
        let mut descriptor = Descriptor::of(media_type, &body);
        if let TagOrDigest::Digest(expected) = what {
            if descriptor.digest.algorithm() != expected.algorithm() {
                let mut hasher = Hasher::new(expected.algorithm());
                hasher.update(&body);
                descriptor.digest = hasher.finish();
            }
            if descriptor.digest != *expected {
                let source = VerifyError::Digest { expected: *expected, found: descriptor.digest };
                return Err(Error::Content { place, source: Box::new(source) });
            }
        }
        if let Some(claimed) = response.header("docker-content-digest")
            && claimed
                .parse::<Digest>()
                .ok()
                .is_none_or(|digest| digest.algorithm() == descriptor.digest.algorithm() && digest != descriptor.digest)
        {
            self.inner.config.notices.send(Notice::DigestHeader {
                registry: place.registry.clone(),
                claimed: crate::redact::shown_text(claimed, &[]),
                found: descriptor.digest,
            });
        }
        Ok(FetchedManifest { descriptor, bytes: body.into() })
    }

    /// Stores `bytes` as `what`.
    ///
    /// A tag that cannot be moved is no error where it names these bytes already (row R38).
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        what: &TagOrDigest,
        media_type: &MediaType,
        bytes: Bytes,
    ) -> Result<(), Error> {
        self.put_manifest_with_subject(repository, what, media_type, bytes).await.map(drop)
    }

    /// The same; whether the registry keeps referrers of the document's subject by itself.
    pub(crate) async fn put_manifest_with_subject(
        &self,
        repository: &Repository,
        what: &TagOrDigest,
        media_type: &MediaType,
        bytes: Bytes,
    ) -> Result<bool, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let mut call = self.manifest_call(repository, what, Method::PUT, "write");
        let kind = HeaderValue::from_str(media_type.as_str())
            .map_err(|_| call.protocol(format!("media type {media_type:?} cannot be sent")))?;
        call.headers.insert(header::CONTENT_TYPE, kind);
        call.payload = Payload::Bytes(bytes.clone());
        call.wait = self.inner.config.timeouts.commit;
        match self.request(&call, &[201, 200, 202, 204]).await {
            Ok(response) => {
                let keeps_referrers = response.headers().contains_key("oci-subject");
                self.check_stored(&response, what, &bytes);
                response.finish().await;
                Ok(keeps_referrers)
            }
            Err(error) => self.settle_tag(repository, what, &bytes, error).await.map(|()| false),
        }
    }

    /// The registry's digest header after a PUT: a wrong one is worth a warning.
    fn check_stored(&self, response: &Response, what: &TagOrDigest, bytes: &[u8]) {
        let Some(claimed) = response.header("docker-content-digest") else { return };
        let mut hasher = Hasher::new(match (claimed.parse::<Digest>(), what) {
            (Ok(digest), _) => digest.algorithm(),
            (Err(_), TagOrDigest::Digest(digest)) => digest.algorithm(),
            (Err(_), TagOrDigest::Tag(_)) => oci_layout::digest::Algorithm::Sha256,
        });
        hasher.update(bytes);
        let found = hasher.finish();
        if claimed.parse() != Ok(found) {
            let claimed = crate::redact::shown_text(claimed, &[]);
            let registry = response.place().registry.clone();
            self.inner.config.notices.send(Notice::DigestHeader { registry, claimed, found });
        }
    }

    /// A refused tag may be one that cannot be moved: fine where it names these bytes, and an
    /// error of its own kind where it does not.
    async fn settle_tag(
        &self,
        repository: &Repository,
        what: &TagOrDigest,
        bytes: &[u8],
        error: Error,
    ) -> Result<(), Error> {
        let (TagOrDigest::Tag(tag), Some(answer)) = (what, error.answer().cloned()) else { return Err(error) };
        if !speaks_of_immutability(&answer) {
            return Err(error);
        }
        let Ok(Some(existing)) = self.head_manifest_at(repository, &tag.clone().into(), Tries::of(self)).await else {
            return Err(error);
        };
        let mut hasher = Hasher::new(existing.digest.algorithm());
        hasher.update(bytes);
        if hasher.finish() == existing.digest {
            return Ok(());
        }
        match error.place().cloned() {
            Some(place) => {
                let (place, answer) = (Box::new(place), Box::new(answer));
                Err(Error::Immutable { place, existing: existing.digest, answer })
            }
            None => Err(error),
        }
    }

    /// Removes `what`. `false` where it was not there.
    pub async fn delete_manifest(&self, repository: &Repository, what: &TagOrDigest) -> Result<bool, Error> {
        self.inner.config.mirrors.allow(repository)?;
        let call = self.manifest_call(repository, what, Method::DELETE, "remove");
        Ok(self.request(&call, &[202, 200, 204, 404]).await?.status() != 404)
    }

    fn manifest_call<'a>(
        &self,
        repository: &'a Repository,
        what: &TagOrDigest,
        method: Method,
        verb: &str,
    ) -> Call<'a> {
        let shown = match what {
            TagOrDigest::Tag(tag) => tag.to_string(),
            TagOrDigest::Digest(digest) => digest.short(),
        };
        let reads = matches!(method, Method::GET | Method::HEAD);
        let mut call =
            Call::new(self, repository, method, &format!("manifests/{what}"), format!("{verb} manifest {shown}"));
        if reads {
            for kind in [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST] {
                call.headers.append(header::ACCEPT, HeaderValue::from_static(kind));
            }
        }
        call
    }
}

/// 409, or what ECR, Quay, Harbor and others say when a tag stands for good.
fn speaks_of_immutability(answer: &Answer) -> bool {
    let words = |text: &str| {
        let text = text.to_ascii_lowercase();
        ["immutable", "already exists", "cannot be overwritten", "exists and is"].iter().any(|word| text.contains(word))
    };
    matches!(answer.status, 400 | 403 | 405 | 409 | 412)
        && (answer.status == 409
            || answer.status == 412
            || answer.has(&Code::TagInvalid)
            || answer.messages.iter().any(|m| words(&m.message) || words(&m.code.to_string()) || words(&m.detail))
            || words(&answer.text))
}

fn announced_type(response: &Response) -> Option<MediaType> {
    let kind = response.header(header::CONTENT_TYPE.as_str())?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // What static servers and proxies say of any JSON is no announcement.
    let says_nothing = ["", "application/json", "text/plain", "application/octet-stream"];
    (!says_nothing.contains(&kind)).then(|| kind.into())
}

/// The type that the document gives itself.
fn type_inside(body: &[u8]) -> Option<MediaType> {
    let value: serde_json::Value = oci_layout::json::parse(body).ok()?;
    if let Some(kind) = value.get("mediaType").and_then(|kind| kind.as_str()) {
        return Some(kind.into());
    }
    let index = value.get("manifests").is_some_and(serde_json::Value::is_array);
    let manifest = value.get("config").is_some_and(serde_json::Value::is_object);
    match (index, manifest) {
        (true, false) => Some(OCI_INDEX.into()),
        (false, true) => Some(OCI_MANIFEST.into()),
        _ => None,
    }
}

/// The descriptor that a HEAD gives, if it gives all of it.
fn descriptor_of_headers(response: &Response, what: &TagOrDigest) -> Option<Descriptor> {
    let media_type = announced_type(response)?;
    let size = response.content_length()?;
    let claimed: Option<Digest> = response.header("docker-content-digest").and_then(|text| text.parse().ok());
    let digest = match (what, claimed) {
        // The digest that was asked for: another one beside it could not be checked without the body.
        (TagOrDigest::Digest(asked), claimed) if claimed.is_none_or(|claimed| claimed == *asked) => *asked,
        (TagOrDigest::Tag(_), Some(claimed)) => claimed,
        _ => return None,
    };
    Some(Descriptor::new(media_type, digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r39_words_for_tags_that_stand() {
        let answer = |status, text: &str| crate::error::parse_answer(status, text.as_bytes(), None, &[]);
        let ecr = r#"{"errors":[{"code":"TAG_INVALID","message":"The image tag 'x' already exists in the 'y' repository and cannot be overwritten because the repository is immutable."}]}"#;
        assert!(speaks_of_immutability(&answer(400, ecr)));
        assert!(speaks_of_immutability(&answer(409, "")));
        assert!(speaks_of_immutability(&answer(412, "configured as immutable")));
        assert!(!speaks_of_immutability(&answer(403, "no")));
        assert!(!speaks_of_immutability(&answer(500, "immutable")));
    }
}
