//! What the registry holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_layout::{Descriptor, Digest, MediaType};

/// All repositories, by name.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) repositories: BTreeMap<String, Repository>,
    pub(crate) uploads: BTreeMap<String, Session>,
    next_upload: u64,
}

/// One repository. Blobs belong to it alone: mounting is what brings them across.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    pub(crate) manifests: BTreeMap<Digest, (MediaType, Bytes)>,
    pub(crate) tags: BTreeMap<String, Digest>,
    /// Descriptors of what refers to a digest.
    pub(crate) referrers: BTreeMap<Digest, Vec<Descriptor>>,
}

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) repository: String,
    pub(crate) bytes: Vec<u8>,
    /// Changes with every request: a location that was given before is no good any more.
    pub(crate) state: String,
}

impl Store {
    pub(crate) fn begin(&mut self, repository: &str) -> String {
        self.next_upload += 1;
        let id = format!("upload-{}", self.next_upload);
        let session = Session { repository: repository.to_owned(), bytes: Vec::new(), state: format!("{id}/0==") };
        self.uploads.insert(id.clone(), session);
        id
    }
}

impl Repository {
    pub(crate) fn resolve(&self, reference: &str) -> Option<Digest> {
        match reference.parse::<Digest>() {
            Ok(digest) => Some(digest),
            Err(_) => self.tags.get(reference).copied(),
        }
    }
}
