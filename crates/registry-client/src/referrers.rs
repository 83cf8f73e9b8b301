//! What refers to a manifest: signatures, SBOMs, attestations (distribution-spec, "Listing
//! Referrers"), and the tags of a repository.
//!
//! A registry without the API is served by the spec's fallback: an index under a tag made of the
//! subject's digest, which whoever pushes a referrer keeps up.

use bytes::Bytes;
use http::{Method, header};
use oci_layout::document::{Document, ImageIndex};
use oci_layout::media_type::OCI_INDEX;
use oci_layout::{Descriptor, Digest, MediaType};

use crate::Client;
use crate::error::Error;
use crate::reference::{Repository, Tag, TagOrDigest};
use crate::transport::{Call, Response, Target, Tries, same_origin};

/// Most pages of one list that are read.
const MAX_PAGES: usize = 1000;
/// Bytes of a page of tags.
const MAX_PAGE: u64 = 4 * 1024 * 1024;
/// Tries to get an entry into the fallback index while others write it too.
const FALLBACK_TRIES: usize = 3;

impl Client {
    /// What refers to `subject`, all of it or what is of `artifact_type`.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let listed = match self.list_referrers(repository, subject, artifact_type).await? {
            Some(listed) => listed,
            None => self.fallback_referrers(repository, subject).await?,
        };
        // A registry need not filter.
        let wanted = |entry: &Descriptor| artifact_type.is_none_or(|kind| entry.artifact_type.as_deref() == Some(kind));
        Ok(listed.into_iter().filter(wanted).collect())
    }

    /// By the API; `None` where the registry has none.
    async fn list_referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let mut path = format!("referrers/{subject}");
        if let Some(kind) = artifact_type {
            let kind: String = url::form_urlencoded::byte_serialize(kind.as_bytes()).collect();
            path.push_str(&format!("?artifactType={kind}"));
        }
        let operation = format!("list referrers of {}", subject.short());
        let mut call = Call::new(self, repository, Method::GET, &path, operation);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let mut response = self.request(&call, &[200, 400, 404, 405, 501]).await?;
            let kind =
                response.header(header::CONTENT_TYPE.as_str()).map(|kind| kind.split(';').next().unwrap_or_default());
            if response.status() != 200 || kind.map(str::trim) != Some(OCI_INDEX) {
                return Ok(None);
            }
            let limit = self.inner.config.limits.manifest;
            let Some(body) = response.read_up_to(limit).await? else {
                return Err(Error::TooLarge { place: Box::new(response.place().clone()), limit });
            };
            match Document::parse(&body, &OCI_INDEX.into()) {
                Ok(Document::Index(index)) => found.extend(index.manifests),
                Ok(Document::Manifest(_)) => return Err(response.protocol("the list of referrers is a manifest")),
                Err(source) => return Err(Error::Document { place: Box::new(response.place().clone()), source }),
            }
            match self.next_page(repository, &response)? {
                Some(next) => call.target = next,
                None => return Ok(Some(found)),
            }
        }
        Err(call.protocol("the list of referrers has no end"))
    }

    /// By the fallback tag.
    async fn fallback_referrers(&self, repository: &Repository, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(self.fallback_index(repository, subject).await?.map(|index| index.manifests).unwrap_or_default())
    }

    async fn fallback_index(&self, repository: &Repository, subject: &Digest) -> Result<Option<ImageIndex>, Error> {
        let tag = fallback_tag(subject)?;
        let fetched = match self.manifest_at(repository, &tag.into(), Tries::of(self)).await {
            Ok(fetched) => fetched,
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        // GitLab answers such a tag with the subject itself, which lists nothing that refers to it.
        if fetched.descriptor.digest == *subject || fetched.descriptor.media_type.as_str() != OCI_INDEX {
            return Ok(None);
        }
        match Document::parse(&fetched.bytes, &fetched.descriptor.media_type) {
            Ok(Document::Index(index)) => Ok(Some(index)),
            // Somebody's tag of that name, which is no list.
            Ok(Document::Manifest(_)) | Err(_) => Ok(None),
        }
    }

    /// Stores a manifest that refers to `subject`, and keeps up the fallback where the registry
    /// lacks the API. The manifest names its subject itself; `descriptor` is what lists show of it.
    pub async fn put_referrer(
        &self,
        repository: &Repository,
        subject: &Digest,
        descriptor: &Descriptor,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let what = TagOrDigest::Digest(descriptor.digest);
        if self.put_manifest_with_subject(repository, &what, &descriptor.media_type, bytes).await? {
            return Ok(());
        }
        let tag = TagOrDigest::Tag(fallback_tag(subject)?);
        for _ in 0..FALLBACK_TRIES {
            let mut index = match self.fallback_index(repository, subject).await? {
                Some(index) => index,
                None => ImageIndex::new(Vec::new(), Default::default()),
            };
            if index.manifests.iter().any(|entry| entry.digest == descriptor.digest) {
                return Ok(());
            }
            index.manifests.push(descriptor.clone());
            let bytes = oci_layout::json::to_bytes(&index)
                .map_err(|error| Error::Config { what: tag.to_string(), reason: error.to_string() })?;
            self.put_manifest(repository, &tag, &MediaType::from(OCI_INDEX), bytes.into()).await?;
            // Two writers can overwrite each other: look again until ours is there.
        }
        Ok(())
    }

    /// The tags of `repository`, in the registry's order. Names that are no tags are left out.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error> {
        let mut call = Call::new(self, repository, Method::GET, "tags/list", "list the tags".to_owned());
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let mut response = self.request(&call, &[200]).await?;
            let Some(body) = response.read_up_to(MAX_PAGE).await? else {
                return Err(Error::TooLarge { place: Box::new(response.place().clone()), limit: MAX_PAGE });
            };
            found.extend(parse_tags(&body).ok_or_else(|| response.protocol("its list of tags is none"))?);
            match self.next_page(repository, &response)? {
                Some(next) => call.target = next,
                None => return Ok(found),
            }
        }
        Err(call.protocol("the list of tags has no end"))
    }

    /// Where a list goes on: on the same registry, or nowhere.
    fn next_page(&self, repository: &Repository, response: &Response) -> Result<Option<Target>, Error> {
        let links = response.headers().get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(next) = links.filter_map(next_link).next() else { return Ok(None) };
        let url = response.url.join(&next).map_err(|_| response.protocol("its Link is no URL"))?;
        if !same_origin(&url, &self.host(repository.registry()).base()) {
            return Err(response.protocol("its list goes on at another host"));
        }
        Ok(Some(Target::Url(url)))
    }
}

fn parse_tags(body: &[u8]) -> Option<Vec<Tag>> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    match value.get("tags")? {
        // An empty repository.
        serde_json::Value::Null => Some(Vec::new()),
        serde_json::Value::Array(tags) => {
            Some(tags.iter().filter_map(|tag| tag.as_str()).filter_map(|tag| tag.parse().ok()).collect())
        }
        _ => None,
    }
}

/// The tag of the fallback: `sha256-` and the digits, at most 64 of them.
fn fallback_tag(subject: &Digest) -> Result<Tag, Error> {
    let digits: String = subject.hex().chars().take(64).collect();
    Ok(format!("{}-{digits}", subject.algorithm().name()).parse()?)
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn next_link(value: &str) -> Option<String> {
    let mut rest = value;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        // Parameters go on until a comma that is in no quotes.
        let mut quoted = false;
        let end = after
            .char_indices()
            .find(|(_, character)| {
                quoted ^= *character == '"';
                *character == ',' && !quoted
            })
            .map_or(after.len(), |(at, _)| at);
        let (parameters, following) = after.split_at(end);
        let is_next = parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').split(' ').any(|kind| kind.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = following;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        let check = |value: &str, expect: Option<&str>| assert_eq!(next_link(value).as_deref(), expect, "{value}");
        check(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some("/v2/a/tags/list?n=2&last=b"));
        check("<x>; rel=next", Some("x"));
        check(r#"<a>; rel="prev", <b>; title="x, y"; rel="up next""#, Some("b"));
        check(r#"<a>; rel="prev""#, None);
        check("a; rel=next", None);
        check("", None);
    }

    #[test]
    fn fallback_tags_are_the_spec_s() {
        let digest = Digest::of(b"");
        assert_eq!(fallback_tag(&digest).unwrap().as_str(), digest.to_string().replace(':', "-"));
        let long: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        assert_eq!(fallback_tag(&long).unwrap().as_str(), format!("sha512-{}", "ab".repeat(32)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(value: String, body: Vec<u8>) {
            let _ = next_link(&value);
            let _ = next_link(&format!("<{value}>; rel=next"));
            let _ = parse_tags(&body);
        }
    }
}
