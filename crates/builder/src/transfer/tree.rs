//! An image with everything below it, as it was read: byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use oci_layout::document::{Document, ImageConfig, ImageIndex, ImageManifest, MAX_ENTRIES};
use oci_layout::layout::MAX_DEPTH;
use oci_layout::{Descriptor, Digest, Platform, json};
use registry_client::{Node, Publication, TagOrDigest};

use super::{Location, Select, Source, SourceError, TransferError};
use crate::bundle::{Bundles, ImageEntry};

/// Where BuildKit's attestation manifests name the image that they are about.
pub(crate) const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// A document with where it, and the blobs that it names, come from.
#[derive(Clone)]
pub struct Item {
    /// The document.
    pub node: Node,
    /// Where it comes from.
    pub source: Arc<Source>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Item {
    /// Digest of the document.
    pub fn digest(&self) -> Digest {
        self.node.descriptor.digest
    }

    /// What storing it in a registry takes.
    pub(super) fn publication(&self) -> Result<Publication, SourceError> {
        let blobs = self.node.blobs().into_iter().map(|blob| self.source.upload(blob));
        Ok(Publication {
            descriptor: self.node.descriptor.clone(),
            bytes: self.node.bytes.clone(),
            blobs: blobs.collect::<Result<_, _>>()?,
            mount_from: self.source.repository().cloned().into_iter().collect(),
        })
    }
}

/// An index or manifest and all documents below it, each once.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The document that is to be named.
    pub root: Item,
    /// What is below it, children before parents.
    pub below: Vec<Item>,
}

impl Tree {
    /// Reads what `location` names in `source`.
    pub async fn read(source: &Arc<Source>, location: &Location) -> Result<Self, TransferError> {
        match location {
            Location::Registry(reference) => Self::of_registry(source, &reference.target()).await,
            Location::Layout { .. } | Location::Archive { .. } | Location::Bundle { .. } => {
                Self::of_descriptor(source, named(source, location)?).await
            }
        }
    }

    async fn of_registry(source: &Arc<Source>, what: &TagOrDigest) -> Result<Self, TransferError> {
        let Source::Registry { client, repository } = source.as_ref() else {
            return Err(TransferError::Internal("a file was asked as a registry".to_owned()));
        };
        let nodes = client.read_tree(repository, what).await.map_err(SourceError::from)?;
        Self::of_nodes(source, nodes)
    }

    /// Reads `root` and what is below it.
    pub(crate) async fn of_descriptor(source: &Arc<Source>, root: Descriptor) -> Result<Self, TransferError> {
        if let Source::Registry { .. } = source.as_ref() {
            return Self::of_registry(source, &root.digest.into()).await;
        }
        let mut seen = BTreeSet::from([root.digest]);
        let mut levels = vec![vec![node(source, root).await?]];
        loop {
            let mut level = Vec::new();
            for parent in levels.last().into_iter().flatten() {
                let Document::Index(index) = &parent.document else { continue };
                for entry in index.manifests.iter().filter(|entry| is_document(entry)) {
                    if levels.len() > MAX_DEPTH {
                        return Err(TransferError::Depth { digest: entry.digest });
                    }
                    // A bundle may have been made for a few platforms: see `Tree::lacking`.
                    if matches!(source.as_ref(), Source::Kept { .. }) && !source.keeps(entry) {
                        continue;
                    }
                    if seen.insert(entry.digest) {
                        level.push(node(source, entry.clone()).await?);
                    }
                    if seen.len() > MAX_ENTRIES {
                        let source = oci_layout::document::DocumentError::TooMany(seen.len());
                        return Err(TransferError::Document { digest: parent.descriptor.digest, source });
                    }
                }
            }
            if level.is_empty() {
                break;
            }
            levels.push(level);
        }
        Self::of_nodes(source, levels.into_iter().rev().flatten().collect())
    }

    fn of_nodes(source: &Arc<Source>, nodes: Vec<Node>) -> Result<Self, TransferError> {
        let mut below: Vec<Item> = nodes.into_iter().map(|node| Item { node, source: Arc::clone(source) }).collect();
        let root = below.pop().ok_or_else(|| TransferError::Internal("an image without a root".to_owned()))?;
        Ok(Self { root, below })
    }

    /// All documents, children before parents, the root last.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.below.iter().chain([&self.root])
    }

    /// The platforms that its indexes say and that are here.
    pub(super) fn platforms(&self) -> Vec<String> {
        let indexes = self.items().filter_map(|item| match &item.node.document {
            Document::Index(index) => Some(index),
            Document::Manifest(_) => None,
        });
        let here = indexes.flat_map(|index| &index.manifests).filter(|entry| self.item(&entry.digest).is_some());
        here.filter_map(|entry| entry.platform.as_ref()).map(|platform| platform.normalized().to_string()).collect()
    }

    /// The first document that an index in it names and that was not there.
    pub(super) fn lacking(&self) -> Option<Digest> {
        let here: BTreeSet<Digest> = self.items().map(Item::digest).collect();
        let indexes = self.items().filter_map(|item| match &item.node.document {
            Document::Index(index) => Some(index),
            Document::Manifest(_) => None,
        });
        let mut named = indexes.flat_map(|index| &index.manifests).filter(|entry| is_document(entry));
        named.find(|entry| !here.contains(&entry.digest)).map(|entry| entry.digest)
    }

    fn item(&self, digest: &Digest) -> Option<&Item> {
        self.items().find(|item| item.digest() == *digest)
    }

    /// The image of some of its platforms. Where that leaves anything out, the index is another one,
    /// with the remaining entries as they were; attestations stay with what they are about.
    pub async fn choose(mut self, platforms: &[Platform], shown: &str) -> Result<Self, TransferError> {
        let missing = |wanted: &Platform, available: Vec<String>| TransferError::NoPlatform {
            image: shown.to_owned(),
            wanted: wanted.to_string(),
            available,
        };
        if let Document::Manifest(manifest) = &self.root.node.document {
            let own = config(&self.root.source, manifest).await?.map(|config| config.platform());
            let other = platforms.iter().find(|wanted| !own.as_ref().is_some_and(|own| own.is_same(wanted)));
            return match other {
                None => Ok(self),
                Some(wanted) => Err(missing(wanted, own.iter().map(ToString::to_string).collect())),
            };
        }
        let mut kept =
            Kept { tree: &self, platforms, found: BTreeSet::new(), available: BTreeSet::new(), items: Vec::new() };
        let root = kept.index(self.root.clone(), 0).await?;
        let Kept { found, available, items, .. } = kept;
        if let Some(at) = (0..platforms.len()).find(|at| !found.contains(at)) {
            return Err(missing(&platforms[at], available.into_iter().collect()));
        }
        self.below = items;
        if let Some(root) = root {
            self.root = root;
        }
        Ok(self)
    }
}

/// The document that `location` names in `source`, without what is below it.
pub async fn read_root(source: &Arc<Source>, location: &Location) -> Result<Node, TransferError> {
    match (location, source.as_ref()) {
        (Location::Registry(reference), Source::Registry { client, repository }) => {
            let fetched = client.manifest(repository, &reference.target()).await.map_err(SourceError::from)?;
            let document = Document::parse(&fetched.bytes, &fetched.descriptor.media_type)
                .map_err(|source| TransferError::Document { digest: fetched.descriptor.digest, source })?;
            Ok(Node { descriptor: fetched.descriptor, bytes: fetched.bytes, document })
        }
        _ => node(source, named(source, location)?).await,
    }
}

/// What `location` names in a layout, archive or bundle.
fn named(source: &Source, location: &Location) -> Result<Descriptor, TransferError> {
    let found = match (source, location) {
        (Source::Layout(layout), Location::Layout { select, .. }) => {
            layout.resolve(select.selector()).map_err(SourceError::from)?
        }
        (Source::Archive { path, archive }, Location::Archive { select, .. }) => {
            archive.resolve(select.selector()).map_err(|source| SourceError::Archive { path: path.clone(), source })?
        }
        (Source::Kept { bundles, .. }, Location::Bundle { path, select }) => in_bundle(bundles, path, select)?,
        _ => return Err(TransferError::Internal(format!("{location} was opened as another thing"))),
    };
    Ok(Descriptor::new(found.media_type, found.digest, found.size))
}

/// An image of a bundle; the only one is the only one beside the bases.
fn in_bundle(bundles: &Bundles, path: &Path, select: &Select) -> Result<Descriptor, SourceError> {
    let all: Vec<&ImageEntry> = bundles.images().collect();
    let mut found: Vec<&ImageEntry> = match select {
        Select::Only => all.iter().copied().filter(|image| image.extra).collect(),
        Select::Name(name) => all.iter().copied().filter(|image| image.name == *name).collect(),
        Select::Digest(digest) => all.iter().copied().filter(|image| image.root.digest == *digest).collect(),
    };
    found.dedup_by_key(|image| image.root.digest);
    match found.as_slice() {
        [only] => Ok(only.root.clone()),
        _ => Err(SourceError::Pick {
            path: path.to_owned(),
            wanted: match select {
                Select::Only => None,
                Select::Name(name) => Some(name.clone()),
                Select::Digest(digest) => Some(digest.to_string()),
            },
            known: all.iter().map(|image| image.name.clone()).collect(),
        }),
    }
}

/// What is left of a tree.
struct Kept<'a> {
    tree: &'a Tree,
    platforms: &'a [Platform],
    /// Indexes of the platforms that were found.
    found: BTreeSet<usize>,
    available: BTreeSet<String>,
    /// Documents below the root that are kept.
    items: Vec<Item>,
}

impl Kept<'_> {
    /// The index with the entries that are kept, or nothing where none is.
    async fn index(&mut self, mut item: Item, depth: usize) -> Result<Option<Item>, TransferError> {
        let Document::Index(index) = &item.node.document else { return Ok(Some(item)) };
        if depth > MAX_DEPTH {
            return Err(TransferError::Depth { digest: item.digest() });
        }
        // By their places, so that they stay in the order that they had.
        let mut entries: BTreeMap<usize, Descriptor> = BTreeMap::new();
        for (place, entry) in index.manifests.iter().enumerate() {
            let Some(child) = self.tree.item(&entry.digest).cloned() else { continue };
            if let Document::Index(_) = &child.node.document {
                if let Some(child) = Box::pin(self.index(child, depth + 1)).await? {
                    let size = child.node.descriptor.size;
                    entries.insert(place, Descriptor { digest: child.digest(), size, ..entry.clone() });
                    self.keep(child);
                }
                continue;
            }
            let platform = match (&entry.platform, &child.node.document) {
                (Some(platform), _) => Some(platform.clone()),
                (None, Document::Manifest(manifest)) => {
                    config(&child.source, manifest).await?.map(|config| config.platform())
                }
                (None, Document::Index(_)) => None,
            };
            let Some(platform) = platform.filter(|platform| !platform.is_unknown()) else { continue };
            self.available.insert(platform.normalized().to_string());
            let wanted: Vec<usize> =
                (0..self.platforms.len()).filter(|at| platform.is_same(&self.platforms[*at])).collect();
            if !wanted.is_empty() {
                self.found.extend(wanted);
                entries.insert(place, entry.clone());
                self.keep(child);
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let images: BTreeSet<String> = entries.values().map(|entry| entry.digest.to_string()).collect();
        for (place, entry) in index.manifests.iter().enumerate() {
            if entry.annotations.get(REFERENCE_DIGEST).is_some_and(|digest| images.contains(digest))
                && let Some(child) = self.tree.item(&entry.digest).cloned()
            {
                entries.insert(place, entry.clone());
                self.keep(child);
            }
        }
        let entries: Vec<Descriptor> = entries.into_values().collect();
        if entries != index.manifests {
            let index = ImageIndex { manifests: entries, ..index.clone() };
            item.node = index_node(&item.node.descriptor, index)?;
        }
        Ok(Some(item))
    }

    fn keep(&mut self, item: Item) {
        if !self.items.iter().any(|known| known.digest() == item.digest()) {
            self.items.push(item);
        }
    }
}

/// A new index in the place of an old one.
pub(crate) fn index_node(old: &Descriptor, index: ImageIndex) -> Result<Node, TransferError> {
    let bytes = json::to_bytes(&index).map_err(|error| TransferError::Internal(error.to_string()))?;
    let fresh = Descriptor::of(old.media_type.clone(), &bytes);
    let descriptor = Descriptor { digest: fresh.digest, size: fresh.size, ..old.clone() };
    Ok(Node { descriptor, bytes: Bytes::from(bytes), document: Document::Index(index) })
}

/// The config of an image; none of an artifact.
pub(crate) async fn config(source: &Source, manifest: &ImageManifest) -> Result<Option<ImageConfig>, TransferError> {
    if !manifest.config.media_type.is_image_config() {
        return Ok(None);
    }
    let bytes = source.blob(&manifest.config, None).await?;
    Ok(json::parse(&bytes).ok())
}

fn is_document(entry: &Descriptor) -> bool {
    entry.media_type.is_index() || entry.media_type.is_manifest()
}

async fn node(source: &Source, descriptor: Descriptor) -> Result<Node, TransferError> {
    let bytes = source.document(&descriptor, None).await?;
    let document = Document::parse(&bytes, &descriptor.media_type)
        .map_err(|source| TransferError::Document { digest: descriptor.digest, source })?;
    Ok(Node { descriptor, bytes, document })
}
