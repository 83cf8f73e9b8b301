//! Where images go: a closed set. Blobs come first, then documents with children before parents, then
//! referrers, and what makes it all visible last: tags, a layout's `index.json`, an archive's name.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_layout::archive::{ArchiveError, ImageName, write_docker_archive, write_oci_archive};
use oci_layout::layout::{REF_NAME, put_entry};
use oci_layout::{Descriptor, Digest, Layout};
use registry_client::{Client, Reference, Repository, Tag};
use tokio::task::spawn_blocking;

use super::progress::Meter;

use super::{Item, Location, Referrer, Select, Source, TransferError, Tree};
use crate::build::ArchiveKind;

/// Blobs that are written to a disk at once: they are hashed there, so more than the processors
/// would not help.
const WRITES_AT_ONCE: usize = 4;
/// Why a bundle is no target.
const BUNDLE: &str = "a bundle is written whole, by `mab vendor --image`";

/// Where an image goes.
pub enum Sink {
    /// To a registry.
    Registry {
        /// How it is asked.
        client: Client,
        /// Where in it.
        repository: Repository,
        /// What is to name the image.
        tags: Vec<Tag>,
    },
    /// Into an OCI layout.
    Layout {
        /// Which.
        layout: Layout,
        /// What is to name the image; nothing leaves it untagged.
        names: Vec<String>,
    },
    /// Into a new archive.
    Archive {
        /// Of which kind; Docker's holds one platform.
        kind: ArchiveKind,
        /// The file.
        file: PathBuf,
        /// A layout beside it, where everything is gathered.
        scratch: Layout,
        /// The directory of that layout, removed in the end.
        directory: tempfile::TempDir,
        /// What is to name the image.
        name: Option<ImageName>,
    },
}

/// What a transfer had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Blobs that were sent or written, and their bytes.
    pub blobs: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Blobs that the registry took over from another repository.
    pub mounted: usize,
    /// Blobs that were there.
    pub existed: usize,
    /// Documents that were stored.
    pub documents: usize,
    /// Referrers that were stored.
    pub referrers: usize,
    /// Names that were set.
    pub names: usize,
}

impl Sink {
    /// Opens what `location` names for writing; `source` says what an image without a name of its own
    /// is called.
    pub fn open(location: &Location, source: &Location, client: &Client) -> Result<Self, TransferError> {
        let name = |select: &Select| match select {
            Select::Name(name) => Some(name.clone()),
            Select::Only => own_name(source),
            Select::Digest(_) => None,
        };
        match location {
            Location::Registry(reference) => Ok(Self::to_registry(reference, client)),
            Location::Layout { directory, select } => Ok(Self::Layout {
                layout: Layout::create_or_open(directory)?,
                names: name(select).into_iter().collect(),
            }),
            Location::Archive { kind, file, select } => {
                let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let directory = tempfile::Builder::new().prefix(".mab-").tempdir_in(parent)?;
                let scratch = Layout::create_or_open(directory.path())?;
                let name = name(select).map(|tag| ImageName { full: full_name(source, &tag), tag });
                Ok(Self::Archive { kind: *kind, file: file.clone(), scratch, directory, name })
            }
            Location::Bundle { .. } => Err(TransferError::Target { target: location.to_string(), reason: BUNDLE }),
        }
    }

    /// Opens `location` to put `digest`'s successor in its place, under the names that it has.
    pub fn replacing(location: &Location, digest: Digest, client: &Client) -> Result<Self, TransferError> {
        let refuse = |reason| TransferError::Target { target: location.to_string(), reason };
        match location {
            Location::Registry(reference) => match (&reference.tag, &reference.digest) {
                (Some(tag), _) => Ok(Self::Registry {
                    client: client.clone(),
                    repository: reference.repository.clone(),
                    tags: vec![tag.clone()],
                }),
                _ => Ok(Self::to_registry(reference, client)),
            },
            Location::Layout { directory, select } => {
                let layout = Layout::create_or_open(directory)?;
                let names: Vec<String> = match select {
                    Select::Name(name) => vec![name.clone()],
                    Select::Only | Select::Digest(_) => {
                        let named = layout.index()?.manifests.into_iter().filter(|entry| entry.digest == digest);
                        named.filter_map(|mut entry| entry.annotations.remove(REF_NAME)).collect()
                    }
                };
                if names.is_empty() {
                    return Err(refuse("the index has no name there: give it one with `mab copy`"));
                }
                Ok(Self::Layout { layout, names })
            }
            Location::Archive { .. } => Err(refuse("an archive is not changed in place: copy it to a layout")),
            Location::Bundle { .. } => Err(refuse(BUNDLE)),
        }
    }

    /// A registry: without a tag or digest, the tag is `latest`.
    pub fn to_registry(reference: &Reference, client: &Client) -> Self {
        let tags = match (&reference.tag, &reference.digest) {
            (Some(tag), _) => vec![tag.clone()],
            (None, Some(_)) => Vec::new(),
            (None, None) => vec![Tag::latest()],
        };
        Self::Registry { client: client.clone(), repository: reference.repository.clone(), tags }
    }

    /// The image by digest, as results name it.
    pub fn reference(&self, digest: Digest) -> String {
        match self {
            Self::Registry { repository, .. } => repository.at(digest).to_string(),
            Self::Layout { layout, .. } => format!("oci:{}@{digest}", layout.root().display()),
            Self::Archive { kind, file, .. } => format!("{}:{}@{digest}", kind.name(), file.display()),
        }
    }

    /// What will name the image.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Registry { tags, .. } => tags.iter().map(ToString::to_string).collect(),
            Self::Layout { names, .. } => names.clone(),
            Self::Archive { name, .. } => name.iter().map(|name| name.tag.clone()).collect(),
        }
    }

    /// Puts `tree` there with all that it names, and `referrers` with it.
    pub(super) async fn write(
        &self,
        tree: &Tree,
        referrers: &[Referrer],
        meter: &Meter,
    ) -> Result<Moved, TransferError> {
        match self {
            Self::Registry { client, repository, tags } => {
                to_registry(client, repository, tags, tree, referrers, meter).await
            }
            Self::Layout { layout, names } => {
                let moved = to_store(layout, tree, referrers, meter).await?;
                commit(layout, tree, referrers, names.clone(), moved).await
            }
            Self::Archive { kind, file, scratch, directory, name } => {
                let mut moved = to_store(scratch, tree, referrers, meter).await?;
                moved.names = 1;
                let parts = (file.clone(), scratch.clone(), directory.path().to_owned(), name.clone());
                let (kind, root) = (*kind, bare(&tree.root.node.descriptor));
                blocking(move || {
                    let (file, scratch, directory, name) = parts;
                    pack(kind, &file, &scratch, &directory, &root, name.as_slice())
                })
                .await?;
                Ok(moved)
            }
        }
    }
}

/// The tag or name that the source itself has.
fn own_name(source: &Location) -> Option<String> {
    match source {
        Location::Registry(Reference { tag: Some(tag), .. }) => Some(tag.to_string()),
        Location::Registry(Reference { digest: None, .. }) => Some("latest".to_owned()),
        Location::Layout { select: Select::Name(name), .. } | Location::Archive { select: Select::Name(name), .. } => {
            Some(name.clone())
        }
        Location::Bundle { select: Select::Name(name), .. } => Some(own_tag(name).to_owned()),
        _ => None,
    }
}

/// The tag in a name that may be a whole reference.
pub(super) fn own_tag(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, tag)| tag)
}

/// What `docker load` calls the image, where it has a whole name.
fn full_name(source: &Location, tag: &str) -> Option<String> {
    match source {
        Location::Registry(reference) => Some(format!("{}:{tag}", reference.repository)),
        Location::Layout { .. } | Location::Archive { .. } | Location::Bundle { .. } => None,
    }
}

async fn to_registry(
    client: &Client,
    repository: &Repository,
    tags: &[Tag],
    tree: &Tree,
    referrers: &[Referrer],
    meter: &Meter,
) -> Result<Moved, TransferError> {
    let progress = |digest: &Digest, bytes: u64| meter.blob(digest, bytes);
    let publishing = client.publishing(repository)?;
    let stale = publishing.tags_to_set(tags, &tree.root.digest()).await?;
    let root = tree.root.publication()?;
    if !stale.is_empty() || tags.is_empty() {
        let mut manifests = publications(tree.below.iter())?;
        manifests.push(root.clone());
        publishing.store(&manifests, &progress).await?;
    }
    // Those that the target lists are there.
    let mut listed: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
    let mut stored = 0;
    for referrer in referrers {
        let known = match listed.entry(referrer.subject) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let list = client.referrers(repository, &referrer.subject, None).await?;
                unknown.insert(list.into_iter().map(|entry| entry.digest).collect())
            }
        };
        if known.contains(&referrer.descriptor.digest) {
            continue;
        }
        publishing.store(&publications(referrer.tree.below.iter())?, &progress).await?;
        // The document itself goes with its subject, which is listed by tags in some registries.
        let own = referrer.tree.root.publication()?;
        publishing.send_blobs(&own, &progress).await?;
        client.put_referrer(repository, &referrer.subject, &referrer.descriptor, own.bytes.clone()).await?;
        stored += 1;
    }
    publishing.set_tags(&root, &stale, &progress).await?;
    let published = publishing.published();
    Ok(Moved {
        blobs: published.uploaded,
        bytes: published.bytes,
        mounted: published.mounted,
        existed: published.existed,
        documents: published.manifests,
        referrers: stored,
        names: published.tags,
    })
}

fn publications<'a>(items: impl Iterator<Item = &'a Item>) -> Result<Vec<registry_client::Publication>, TransferError> {
    items.map(|item| Ok(item.publication()?)).collect()
}

/// Blobs and documents into the store of `layout`; nothing names them yet.
async fn to_store(layout: &Layout, tree: &Tree, referrers: &[Referrer], meter: &Meter) -> Result<Moved, TransferError> {
    let mut moved = Moved::default();
    let items: Vec<&Item> = tree.items().chain(referrers.iter().flat_map(|referrer| referrer.tree.items())).collect();
    let mut wanted: BTreeMap<Digest, (Descriptor, Arc<Source>)> = BTreeMap::new();
    for item in &items {
        for blob in item.node.blobs() {
            wanted.entry(blob.digest).or_insert_with(|| (blob.clone(), Arc::clone(&item.source)));
        }
    }
    let copies: Vec<_> = wanted.into_values().map(|(blob, source)| copy_blob(layout, source, blob, meter)).collect();
    let mut copies = futures_util::stream::iter(copies).buffer_unordered(WRITES_AT_ONCE);
    while let Some((blob, copied)) = copies.try_next().await? {
        if copied {
            moved.blobs += 1;
            moved.bytes += blob.size;
        } else {
            moved.existed += 1;
        }
    }
    drop(copies);
    let documents: Vec<(Descriptor, bytes::Bytes)> =
        items.iter().map(|item| (item.node.descriptor.clone(), item.node.bytes.clone())).collect();
    let store = layout.store().clone();
    moved.documents = blocking(move || {
        let mut count = 0;
        for (descriptor, bytes) in documents {
            if store.contains(&descriptor.digest)? == Some(descriptor.size) {
                continue;
            }
            let mut writer = store.writer()?;
            let path = writer.path().to_owned();
            std::io::Write::write_all(&mut writer, &bytes).map_err(|source| oci_layout::StoreError::Io {
                action: "write",
                path,
                source,
            })?;
            writer.commit_as(&descriptor)?;
            count += 1;
        }
        Ok(count)
    })
    .await?;
    Ok(moved)
}

async fn copy_blob(
    layout: &Layout,
    source: Arc<Source>,
    blob: Descriptor,
    meter: &Meter,
) -> Result<(Descriptor, bool), TransferError> {
    let digest = blob.digest;
    let (sender, mut receiver) = tokio::sync::watch::channel(0);
    let copy = source.copy_telling(&blob, layout.store(), move |bytes| {
        let _ = sender.send(bytes);
    });
    let mut copy = std::pin::pin!(copy);
    loop {
        tokio::select! {
            copied = &mut copy => {
                meter.blob(&digest, blob.size);
                return Ok((blob.clone(), copied?));
            }
            Ok(()) = receiver.changed() => {
                let bytes = *receiver.borrow_and_update();
                meter.blob(&digest, bytes);
            }
        }
    }
}

/// Names the image, and lists its referrers without a name.
async fn commit(
    layout: &Layout,
    tree: &Tree,
    referrers: &[Referrer],
    names: Vec<String>,
    mut moved: Moved,
) -> Result<Moved, TransferError> {
    let root = bare(&tree.root.node.descriptor);
    let listed: Vec<Descriptor> = referrers.iter().map(|referrer| referrer.descriptor.clone()).collect();
    let (layout, root_digest) = (layout.clone(), root.digest);
    blocking(move || {
        let before = layout.index()?;
        layout.commit(|index| {
            for name in &names {
                put_entry(index, root.clone(), Some(name));
            }
            if names.is_empty() {
                put_entry(index, root, None);
            }
            for entry in listed {
                put_entry(index, entry, None);
            }
        })?;
        let after = layout.index()?;
        let is_new = |entry: &&Descriptor| !before.manifests.contains(entry);
        let is_root = |entry: &&Descriptor| entry.digest == root_digest;
        moved.names = after.manifests.iter().filter(is_new).filter(is_root).count();
        moved.referrers = after.manifests.iter().filter(is_new).filter(|entry| !is_root(entry)).count();
        Ok(moved)
    })
    .await
}

/// The descriptor alone, without what an index says about the entry.
fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size)
}

/// Writes the archive beside its place, then puts it there.
fn pack(
    kind: ArchiveKind,
    file: &Path,
    scratch: &Layout,
    directory: &Path,
    root: &Descriptor,
    names: &[ImageName],
) -> Result<(), TransferError> {
    let failed = |source: ArchiveError| TransferError::WriteArchive { path: file.to_owned(), source };
    let io = |source| failed(ArchiveError::Io { action: "write", source });
    let mut archive = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
    let out = BufWriter::with_capacity(1 << 20, archive.as_file_mut());
    let written = match kind {
        ArchiveKind::Oci => write_oci_archive(out, scratch, root, names),
        ArchiveKind::Docker => write_docker_archive(out, scratch, root, names),
    };
    written.map_err(failed)?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    archive.as_file().set_permissions(open).and_then(|()| archive.as_file().sync_all()).map_err(io)?;
    archive.persist(file).map_err(|error| io(error.error))?;
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(TransferError::Internal(error.to_string())),
    }
}
