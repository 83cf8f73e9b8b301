//! Everything below an index: what a copy or a look at an image needs, read with limits.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_layout::document::{Document, DocumentError, MAX_ENTRIES};
use oci_layout::{Descriptor, Digest};

use crate::Client;
use crate::error::{Error, Place};
use crate::manifest::FetchedManifest;
use crate::publish::Publication;
use crate::reference::{Repository, TagOrDigest};
use crate::source::{RemoteSource, UploadSource};

/// Deepest nesting of indexes that is followed: real ones have one level, rarely two.
pub const MAX_DEPTH: usize = 8;

/// A document of a tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// As its parent describes it; the root as the registry does.
    pub descriptor: Descriptor,
    /// The bytes as they came.
    pub bytes: Bytes,
    /// What they say.
    pub document: Document,
}

impl Node {
    /// The blobs that go where the document goes: config and layers, and what an index lists beside
    /// documents. Layers that may not be distributed stay where their `urls` say (row I21).
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let all: Vec<&Descriptor> = match &self.document {
            Document::Index(index) => {
                let is_document = |entry: &&Descriptor| entry.media_type.is_index() || entry.media_type.is_manifest();
                index.manifests.iter().filter(|entry| !is_document(entry)).collect()
            }
            Document::Manifest(manifest) => std::iter::once(&manifest.config).chain(&manifest.layers).collect(),
        };
        all.into_iter().filter(|blob| !blob.stays_elsewhere()).collect()
    }

    /// What publishing the document elsewhere takes, its blobs read from `repository` when they are
    /// sent, or mounted from there where the registry is the same.
    pub fn publication(&self, client: &Client, repository: &Repository) -> Publication {
        let source = |blob: &Descriptor| {
            let source = RemoteSource::new(client.clone(), repository.clone(), blob.clone());
            Arc::new(source) as Arc<dyn UploadSource>
        };
        Publication {
            descriptor: self.descriptor.clone(),
            bytes: self.bytes.clone(),
            blobs: self.blobs().into_iter().map(source).collect(),
            mount_from: vec![repository.clone()],
        }
    }
}

impl Client {
    /// The document that `what` names and all that are below it, children before parents, the root
    /// last; each once. What is neither index nor manifest is left to whoever wants it as a blob.
    pub async fn read_tree(&self, repository: &Repository, what: &TagOrDigest) -> Result<Vec<Node>, Error> {
        let root = self.manifest(repository, what).await?;
        let descriptor = root.descriptor.clone();
        let root = self.node(repository, descriptor, root)?;
        let mut seen = BTreeSet::from([root.descriptor.digest]);
        let mut levels = vec![vec![root]];
        while let Some(children) = self.children(repository, &levels, &mut seen)? {
            let at_once = self.inner.config.limits.per_host.max(1);
            let reads: Vec<_> = children.into_iter().map(|descriptor| self.child(repository, descriptor)).collect();
            let level: Vec<Node> = futures_util::stream::iter(reads).buffered(at_once).try_collect().await?;
            levels.push(level);
        }
        Ok(levels.into_iter().rev().flatten().collect())
    }

    /// What the deepest level names and nobody has read; `None` where there is nothing.
    fn children(
        &self,
        repository: &Repository,
        levels: &[Vec<Node>],
        seen: &mut BTreeSet<Digest>,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let mut children = Vec::new();
        for node in levels.last().into_iter().flatten() {
            let Document::Index(index) = &node.document else { continue };
            let documents = index.manifests.iter().filter(|d| d.media_type.is_index() || d.media_type.is_manifest());
            children.extend(documents.filter(|descriptor| seen.insert(descriptor.digest)).cloned());
        }
        let place = || self.tree_place(repository, "read index");
        if seen.len() > MAX_ENTRIES {
            return Err(Error::Document { place: place(), source: DocumentError::TooMany(seen.len()) });
        }
        if !children.is_empty() && levels.len() > MAX_DEPTH {
            let problem = format!("indexes are nested more than {MAX_DEPTH} deep");
            return Err(Error::Protocol { place: place(), problem });
        }
        Ok((!children.is_empty()).then_some(children))
    }

    async fn child(&self, repository: &Repository, descriptor: Descriptor) -> Result<Node, Error> {
        let fetched = self.manifest(repository, &descriptor.digest.into()).await?;
        if fetched.bytes.len() as u64 != descriptor.size {
            let problem = format!(
                "{} has {} bytes, its descriptor says {}",
                descriptor.digest,
                fetched.bytes.len(),
                descriptor.size
            );
            return Err(Error::Protocol { place: self.tree_place(repository, "read manifest"), problem });
        }
        self.node(repository, descriptor, fetched)
    }

    /// A document read as its descriptor announces it (rows R43, R44).
    fn node(&self, repository: &Repository, descriptor: Descriptor, fetched: FetchedManifest) -> Result<Node, Error> {
        match Document::parse(&fetched.bytes, &descriptor.media_type) {
            Ok(document) => Ok(Node { descriptor, bytes: fetched.bytes, document }),
            Err(source) => {
                let place = self.tree_place(repository, &format!("read manifest {}", descriptor.digest.short()));
                Err(Error::Document { place, source })
            }
        }
    }

    fn tree_place(&self, repository: &Repository, operation: &str) -> Box<Place> {
        Box::new(Place {
            registry: repository.registry().clone(),
            repository: Some(repository.clone()),
            operation: operation.to_owned(),
            url: None,
        })
    }
}
