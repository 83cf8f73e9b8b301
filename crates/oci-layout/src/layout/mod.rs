//! A directory that holds images: image-spec's image-layout.md.
//!
//! `index.json` is replaced whole, under a lock, after everything that it newly names has reached
//! the disk. So at any moment, also after a power cut, it is the old one or the new one, and what
//! it names is there (rows D04, D05). Two builds that write one layout wait for each other only
//! for that moment, and each keeps the other's entries (row C02).

mod reach;
mod referrers;

pub use reach::{MAX_DEPTH, Reached};
pub use referrers::{is_fallback_tag, referrers};

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde_json::json;

use crate::blob::FileBlob;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::document::{Document, DocumentError, ImageIndex, MAX_DOCUMENT};
use crate::lock;
use crate::media_type::OCI_INDEX;
use crate::store::{BlobStore, Seam, StoreError, open_regular};

/// The tag of an entry of `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full name of an entry, as containerd reads it out of archives.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const VERSION: &str = "1.0.0";

/// What can go wrong with a layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// No `oci-layout` file.
    #[error("{} is not an OCI layout: it has no {MARKER} file", path.display())]
    NotLayout {
        /// The directory.
        path: PathBuf,
    },
    /// A directory with other things in it, where a new layout was to be made.
    #[error("{} is not empty and not an OCI layout", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// A layout of another version.
    #[error("{} has version {version:?} of the OCI layout, not {VERSION}", path.display())]
    Version {
        /// The directory.
        path: PathBuf,
        /// What its `oci-layout` file says.
        version: String,
    },
    /// A document that is not what it should be.
    #[error("{} is not valid", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DocumentError,
    },
    /// Indexes in indexes without end (rows R42, I18).
    #[error("{digest} is nested more than {MAX_DEPTH} levels deep")]
    Depth {
        /// The document.
        digest: Digest,
    },
    /// No entry has the name.
    #[error("{} has no entry named `{name}`; it has {}", path.display(), list(known))]
    UnknownName {
        /// The directory.
        path: PathBuf,
        /// What was looked for.
        name: String,
        /// The names that are there.
        known: Vec<String>,
    },
    /// Nothing has the digest.
    #[error("{} has no image {digest}", path.display())]
    UnknownDigest {
        /// The directory.
        path: PathBuf,
        /// What was looked for.
        digest: Digest,
    },
    /// No name was given, and there is not exactly one entry.
    #[error("{} holds {count} images, so one has to be named; it has {}", path.display(), list(known))]
    Ambiguous {
        /// The directory.
        path: PathBuf,
        /// How many entries there are.
        count: usize,
        /// The names that are there.
        known: Vec<String>,
    },
    /// Files or locks.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no names".to_owned() } else { names.join(", ") }
}

/// Which image of a layout or archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector<'a> {
    /// The only one.
    Only,
    /// The one whose ref name or full name is this.
    Name(&'a str),
    /// The index or manifest with this digest, at whatever level.
    Digest(Digest),
}

/// An OCI layout on disk.
#[derive(Clone)]
pub struct Layout {
    root: PathBuf,
    store: BlobStore,
    lock_limit: Duration,
}

/// How long a commit waits for another process that commits.
pub const LOCK_LIMIT: Duration = Duration::from_secs(60);

impl Layout {
    /// Opens a layout for reading.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self::at(root.into(), Seam::default());
        layout.check_marker()?;
        Ok(layout)
    }

    /// Opens a layout for writing, and makes one where there is nothing or an empty directory.
    /// From here on, a clean-up by another process leaves blobs alone until this is dropped.
    pub fn create_or_open(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        Self::create_or_open_with(root, Seam::default())
    }

    /// The same, with a place to inject faults.
    pub fn create_or_open_with(root: impl Into<PathBuf>, seam: Seam) -> Result<Self, LayoutError> {
        let layout = Self::at(root.into(), seam);
        fs::create_dir_all(&layout.root).map_err(StoreError::io("create", &layout.root))?;
        match layout.check_marker() {
            Err(LayoutError::NotLayout { .. }) => layout.create()?,
            outcome => outcome?,
        }
        // The temporary directory is what tells others that there is a writer. It is made under
        // the lock, so that nobody is half-way through a clean-up meanwhile.
        let _lock = layout.lock()?;
        layout.store.hold()?;
        Ok(layout)
    }

    fn at(root: PathBuf, seam: Seam) -> Self {
        Self { store: BlobStore::with_seam(&root, seam), root, lock_limit: LOCK_LIMIT }
    }

    /// Another limit than [`LOCK_LIMIT`].
    #[must_use]
    pub fn with_lock_limit(mut self, limit: Duration) -> Self {
        self.lock_limit = limit;
        self
    }

    fn create(&self) -> Result<(), LayoutError> {
        for entry in fs::read_dir(&self.root).map_err(StoreError::io("list", &self.root))? {
            let entry = entry.map_err(StoreError::io("list", &self.root))?;
            // Another process may be just as far; then its marker is as good as ours.
            if !BlobStore::is_own_name(&entry.file_name()) && entry.file_name() != MARKER {
                return Err(LayoutError::Occupied { path: self.root.clone() });
            }
        }
        let marker = json!({ "imageLayoutVersion": VERSION }).to_string();
        Ok(self.store.place_once(&self.root.join(MARKER), marker.as_bytes())?)
    }

    fn check_marker(&self) -> Result<(), LayoutError> {
        let path = self.root.join(MARKER);
        let bytes = match read_small(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(LayoutError::NotLayout { path: self.root.clone() });
            }
            other => other?,
        };
        let marker: serde_json::Value = crate::json::parse(&bytes)
            .map_err(|source| DocumentError::Json { expected: "layout marker", source })
            .map_err(|source| LayoutError::Document { path, source })?;
        match marker.get("imageLayoutVersion").and_then(|version| version.as_str()) {
            Some(VERSION) => Ok(()),
            other => {
                let version = other.unwrap_or_default().chars().take(32).collect();
                Err(LayoutError::Version { path: self.root.clone(), version })
            }
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The blobs.
    pub fn store(&self) -> &BlobStore {
        &self.store
    }

    /// `index.json`, read strictly: a truncated or ambiguous one is an error (row D07).
    /// Of a layout that has none yet, an empty one.
    pub fn index(&self) -> Result<ImageIndex, LayoutError> {
        let path = self.root.join(INDEX);
        let bytes = match read_small(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(ImageIndex::new(Vec::new(), Default::default()));
            }
            other => other?,
        };
        match Document::parse(&bytes, &OCI_INDEX.into()) {
            Ok(Document::Index(index)) => Ok(index),
            Ok(Document::Manifest(_)) => {
                Err(LayoutError::Document { path, source: DocumentError::Unsupported(OCI_INDEX.into()) })
            }
            Err(source) => Err(LayoutError::Document { path, source }),
        }
    }

    /// Changes `index.json` while no other process does. Everything that the changed index newly
    /// names must be in the store, and is flushed to the disk before the index is replaced.
    ///
    /// # Errors
    ///
    /// [`LayoutError`]; `index.json` is then as it was.
    pub fn commit<T>(&self, change: impl FnOnce(&mut ImageIndex) -> T) -> Result<T, LayoutError> {
        let _lock = self.lock()?;
        let old = self.index()?;
        let mut new = old.clone();
        let result = change(&mut new);
        let path = self.root.join(INDEX);
        if new == old && path.exists() {
            return Ok(result);
        }
        let mut blobs = BTreeSet::new();
        for entry in new.manifests.iter().filter(|entry| !old.manifests.contains(entry)) {
            blobs.extend(self.reach(entry)?.into_iter().map(|reached| reached.descriptor.digest));
        }
        self.store.flush(&blobs)?;
        let bytes = crate::json::to_bytes(&new)
            .map_err(|source| DocumentError::Json { expected: "index", source })
            .map_err(|source| LayoutError::Document { path: path.clone(), source })?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(LayoutError::Document { path, source: DocumentError::TooLarge(bytes.len()) });
        }
        self.store.replace(&path, &bytes)?;
        Ok(result)
    }

    /// Names `descriptor` in `index.json`: an entry with the same name is replaced, all others
    /// stay. Without a name, an entry that is equal but for its name is not added again.
    pub fn tag(&self, descriptor: &Descriptor, name: Option<&str>) -> Result<(), LayoutError> {
        self.commit(|index| put_entry(index, descriptor.clone(), name))
    }

    /// The entry that `selector` means.
    pub fn resolve(&self, selector: Selector<'_>) -> Result<Descriptor, LayoutError> {
        let index = self.index()?;
        match select(&index, selector) {
            Selected::One(descriptor) => Ok(*descriptor),
            Selected::Ambiguous => {
                let (count, known) = (index.manifests.len(), names(&index));
                Err(LayoutError::Ambiguous { path: self.root.clone(), count, known })
            }
            Selected::NoName(name) => {
                let known = names(&index);
                Err(LayoutError::UnknownName { path: self.root.clone(), name: name.to_owned(), known })
            }
            Selected::NoDigest(digest) => {
                for entry in &index.manifests {
                    let found = self.reach_documents(entry)?.into_iter().find(|inner| inner.digest == digest);
                    if let Some(descriptor) = found {
                        return Ok(descriptor);
                    }
                }
                Err(LayoutError::UnknownDigest { path: self.root.clone(), digest })
            }
        }
    }

    /// The index or manifest that `descriptor` means, verified, with its own bytes.
    pub fn document(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Document), LayoutError> {
        let bytes = self.store.read(descriptor, MAX_DOCUMENT)?;
        let document = Document::parse(&bytes, &descriptor.media_type)
            .map_err(|source| LayoutError::Document { path: self.store.path(&descriptor.digest), source })?;
        Ok((bytes, document))
    }

    /// A blob that can be opened again and again; symlinks, fifos and wrong sizes are refused (row I17).
    pub fn blob(&self, descriptor: &Descriptor) -> Result<FileBlob, LayoutError> {
        Ok(self.store.blob(descriptor)?)
    }

    /// Everything that `index.json` leads to, as far as it is there. These blobs were whole and on
    /// the disk when they were named; of others that are in the store, nobody knows.
    pub fn named(&self) -> Result<BTreeSet<Digest>, LayoutError> {
        let mut named = BTreeSet::new();
        for entry in &self.index()?.manifests {
            named.extend(self.reach_leniently(entry)?.into_iter().map(|reached| reached.descriptor.digest));
        }
        Ok(named)
    }

    /// Removes blobs that nothing in `index.json` leads to, and what killed writers have left.
    /// Does nothing while another process writes to the layout: its blobs may not be named yet (row C04).
    /// Returns how many blobs went.
    pub fn remove_unreferenced(&self) -> Result<usize, LayoutError> {
        let _lock = self.lock()?;
        self.store.sweep()?;
        let blobs = self.store.list()?.into_iter().map(|(digest, _)| digest).collect();
        self.remove_unnamed(blobs)
    }

    /// What a build does that failed: ends all writing and removes the blobs that it has added, as
    /// far as nothing in `index.json` leads to them. What others left stays, and all stays while
    /// another process writes, which may count on a blob that it found here (row C04).
    /// Returns how many blobs went.
    pub fn discard(&self) -> Result<usize, LayoutError> {
        self.store.give_up();
        let _lock = self.lock()?;
        let added = std::mem::take(&mut *self.store.added());
        self.remove_unnamed(added)
    }

    /// Under the lock: removes those of `blobs` that nothing leads to, unless another process writes.
    fn remove_unnamed(&self, blobs: BTreeSet<Digest>) -> Result<usize, LayoutError> {
        if self.store.has_other_writers()? {
            return Ok(0);
        }
        let kept = self.named()?;
        let mut removed = 0;
        for digest in blobs.difference(&kept) {
            if self.store.remove(digest)? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The lock is on the marker, which is never replaced once it is there.
    fn lock(&self) -> Result<File, LayoutError> {
        let path = self.root.join(MARKER);
        let file = File::options().read(true).write(true).open(&path).map_err(StoreError::io("open", &path))?;
        lock::exclusive(&file, &path, self.lock_limit).map_err(StoreError::Lock)?;
        Ok(file)
    }
}

/// Puts `descriptor` into `index` under `name`; see [`Layout::tag`].
pub fn put_entry(index: &mut ImageIndex, mut descriptor: Descriptor, name: Option<&str>) {
    match name {
        Some(name) => {
            descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
            index.manifests.retain(|entry| entry.annotations.get(REF_NAME).is_none_or(|other| other != name));
        }
        None if index.manifests.iter().any(|entry| entry.digest == descriptor.digest) => return,
        None => {}
    }
    index.manifests.push(descriptor);
}

/// What a [`Selector`] leads to among the entries of an index themselves.
pub(crate) enum Selected<'a> {
    One(Box<Descriptor>),
    Ambiguous,
    NoName(&'a str),
    NoDigest(Digest),
}

pub(crate) fn select<'a>(index: &ImageIndex, selector: Selector<'a>) -> Selected<'a> {
    let named = |entry: &&Descriptor, name: &str| {
        [REF_NAME, CONTAINERD_NAME].iter().any(|key| entry.annotations.get(*key).is_some_and(|value| value == name))
    };
    let entries = &index.manifests;
    match selector {
        // What refers to an image is there for its sake.
        Selector::Only => match images(entries).split_first() {
            Some((first, rest)) if rest.iter().all(|entry| entry.digest == first.digest) => {
                Selected::One(Box::new((*first).clone()))
            }
            _ => Selected::Ambiguous,
        },
        Selector::Name(name) => {
            let found = entries.iter().find(|entry| named(entry, name)).cloned();
            found.map_or(Selected::NoName(name), |entry| Selected::One(Box::new(entry)))
        }
        Selector::Digest(digest) => {
            let found = entries.iter().find(|entry| entry.digest == digest).cloned();
            found.map_or(Selected::NoDigest(digest), |entry| Selected::One(Box::new(entry)))
        }
    }
}

/// The entries that are images of their own, rather than referrers of one: those are untagged and say
/// what kind of artifact they are, or stand under a fallback tag. All where that would leave none.
fn images(entries: &[Descriptor]) -> Vec<&Descriptor> {
    let is_referrer = |entry: &&Descriptor| match entry.annotations.get(REF_NAME) {
        Some(name) => referrers::subject_of_tag(name).is_some(),
        None => entry.artifact_type.is_some(),
    };
    let images: Vec<&Descriptor> = entries.iter().filter(|entry| !is_referrer(entry)).collect();
    if images.is_empty() { entries.iter().collect() } else { images }
}

/// The ref names of an index, sorted.
pub(crate) fn names(index: &ImageIndex) -> Vec<String> {
    let names: BTreeSet<&String> = index.manifests.iter().filter_map(|entry| entry.annotations.get(REF_NAME)).collect();
    names.into_iter().cloned().collect()
}

/// All of a file that is no larger than a document may be.
fn read_small(path: &Path) -> Result<Vec<u8>, StoreError> {
    use io::Read as _;
    let mut bytes = Vec::new();
    open_regular(path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests;
