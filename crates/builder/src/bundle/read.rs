//! Opening bundles, and finding things in them. Everything that is read is verified.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_layout::archive::{SeriesError, SeriesReader};
use oci_layout::digest::VerifyingReader;
use oci_layout::document::{Document, MAX_DOCUMENT};
use oci_layout::media_type::OCI_INDEX;
use oci_layout::verify::{Finding, Problem};
use oci_layout::{BlobSource, BlobStore, Descriptor, Digest};

use super::write::{MARKER, blob_path};
use super::{ARTIFACT, BundleError, CONTENTS, Contents, ImageEntry, MAX_CONTENTS, VERSION};

/// Largest `index.json` that is read, in bytes.
const MAX_INDEX: u64 = 16 << 20;

/// A bundle, open for reading. Its table of contents is verified, its blobs are as they are read.
pub struct Bundle {
    /// The file or directory.
    pub path: PathBuf,
    /// Its digest: that of the manifest that names the table of contents.
    pub digest: Digest,
    /// What is in it.
    pub contents: Contents,
    blobs: BTreeMap<Digest, Arc<dyn BlobSource>>,
}

/// The parts that a bundle begins with.
struct Opened {
    index: Vec<u8>,
    manifest: (Descriptor, Vec<u8>),
    table: (Descriptor, Vec<u8>),
}

impl Bundle {
    /// Opens a bundle: the tar or directory must be exactly what its table of contents makes of it.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        if path.is_dir() { Self::open_directory(path) } else { Self::open_tar(path) }
    }

    fn open_tar(path: &Path) -> Result<Self, BundleError> {
        let form = |source| match source {
            SeriesError::Io(source) | SeriesError::Store(oci_layout::StoreError::Io { source, .. }) => {
                BundleError::Io { action: "read", path: path.to_owned(), source }
            }
            source => BundleError::Form { path: path.to_owned(), source },
        };
        let mut series = SeriesReader::open(path).map_err(form)?;
        // What does not even begin like one is something else.
        let other = |error| match error {
            SeriesError::Unexpected { .. } => not_bundle(path, "it does not begin as one"),
            error => form(error),
        };
        if series.small_file("oci-layout", 100).map_err(other)? != MARKER {
            return Err(not_bundle(path, "it is an archive of images of another tool's"));
        }
        let index = series.small_file("index.json", MAX_INDEX).map_err(form)?;
        let descriptor = bundle_entry(path, &index)?;
        series.directory("blobs/").map_err(form)?;
        series.directory("blobs/sha256/").map_err(form)?;
        let manifest_blob = series.blob(&blob_path(&descriptor.digest), &descriptor).map_err(form)?;
        let manifest = read_blob(path, "its manifest", &manifest_blob, MAX_DOCUMENT)?;
        let table_descriptor = table_entry(path, &manifest, &descriptor)?;
        let table_blob = series.blob(&blob_path(&table_descriptor.digest), &table_descriptor).map_err(form)?;
        let table = read_blob(path, "its table of contents", &table_blob, MAX_CONTENTS)?;
        let opened = Opened { index, manifest: (descriptor, manifest), table: (table_descriptor, table) };
        let (digest, contents) = opened.check(path)?;
        let mut blobs: BTreeMap<Digest, Arc<dyn BlobSource>> = BTreeMap::new();
        let mut algorithm = oci_layout::digest::Algorithm::Sha256;
        for (digest, descriptor) in contents.blobs() {
            if digest.algorithm() != algorithm {
                algorithm = digest.algorithm();
                series.directory(&format!("blobs/{}/", algorithm.name())).map_err(form)?;
            }
            blobs.insert(digest, Arc::new(series.blob(&blob_path(&digest), &descriptor).map_err(form)?));
        }
        series.finish().map_err(form)?;
        Ok(Self { path: path.to_owned(), digest, contents, blobs })
    }

    fn open_directory(path: &Path) -> Result<Self, BundleError> {
        let store = BlobStore::new(path);
        let small = |name: &str| {
            let at = path.join(name);
            let read = std::fs::File::open(&at).and_then(|file| {
                let mut bytes = Vec::new();
                file.take(MAX_INDEX).read_to_end(&mut bytes).map(|_| bytes)
            });
            read.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => not_bundle(path, &format!("it has no {name}")),
                _ => BundleError::Io { action: "read", path: at, source: error },
            })
        };
        if small("oci-layout")? != MARKER {
            return Err(not_bundle(path, "it is a layout of another tool's"));
        }
        let index = small("index.json")?;
        let blob = |descriptor: &Descriptor, what: &str| {
            store.blob(descriptor).map_err(|error| BundleError::Content {
                path: path.to_owned(),
                what: what.to_owned(),
                source: io::Error::other(error),
            })
        };
        let descriptor = bundle_entry(path, &index)?;
        let manifest = read_blob(path, "its manifest", &blob(&descriptor, "its manifest")?, MAX_DOCUMENT)?;
        let table_descriptor = table_entry(path, &manifest, &descriptor)?;
        let what = "its table of contents";
        let table = read_blob(path, what, &blob(&table_descriptor, what)?, MAX_CONTENTS)?;
        let opened = Opened { index, manifest: (descriptor, manifest), table: (table_descriptor, table) };
        let (digest, contents) = opened.check(path)?;
        let mut blobs: BTreeMap<Digest, Arc<dyn BlobSource>> = BTreeMap::new();
        for (digest, descriptor) in contents.blobs() {
            blobs.insert(digest, Arc::new(blob(&descriptor, &describe(&contents, &digest))?));
        }
        Ok(Self { path: path.to_owned(), digest, contents, blobs })
    }

    /// A blob, not verified.
    pub fn blob(&self, digest: &Digest) -> Option<&Arc<dyn BlobSource>> {
        self.blobs.get(digest)
    }

    /// Reads everything, and tells what is not as it says.
    pub fn verify(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (digest, blob) in &self.blobs {
            let size = blob.descriptor().size;
            let read = blob.open_at(0).and_then(|reader| {
                let mut reader = VerifyingReader::new(reader, *digest, size);
                let mut buffer = vec![0; 1 << 20];
                while reader.read(&mut buffer)? != 0 {}
                Ok(())
            });
            if let Err(error) = read {
                let at = format!("{} › {digest}", describe(&self.contents, digest));
                findings.push(Finding { at, problem: Problem::Content, message: error.to_string() });
            }
        }
        findings
    }
}

impl Opened {
    /// The table must make the very documents that were found.
    fn check(self, path: &Path) -> Result<(Digest, Contents), BundleError> {
        let changed = |reason: String| BundleError::Changed { path: path.to_owned(), reason };
        let contents = Contents::parse(&self.table.1).map_err(changed)?;
        let documents = contents.documents().map_err(|error| changed(error.to_string()))?;
        let pairs = [
            (&documents.table.1, &self.table.1, "its table of contents is not as mab writes it"),
            (&documents.manifest.1, &self.manifest.1, "its manifest does not fit its table of contents"),
            (&documents.index, &self.index, "index.json does not fit its table of contents"),
        ];
        match pairs.iter().find(|(expected, found, _)| expected != found) {
            Some((_, _, reason)) => Err(changed((*reason).to_owned())),
            None => Ok((self.manifest.0.digest, contents)),
        }
    }
}

fn not_bundle(path: &Path, reason: &str) -> BundleError {
    BundleError::NotBundle { path: path.to_owned(), reason: reason.to_owned() }
}

/// The entry of `index.json` that is the bundle itself.
fn bundle_entry(path: &Path, index: &[u8]) -> Result<Descriptor, BundleError> {
    let changed = |reason: String| BundleError::Changed { path: path.to_owned(), reason };
    let parsed = Document::parse(index, &OCI_INDEX.into()).map_err(|error| changed(format!("index.json: {error}")))?;
    let first = match parsed {
        Document::Index(index) => index.manifests.into_iter().next(),
        Document::Manifest(_) => None,
    };
    let kind = first.as_ref().and_then(|entry| entry.artifact_type.clone()).unwrap_or_default();
    match (first, kind.strip_prefix(ARTIFACT)) {
        (Some(entry), Some(version)) if version == VERSION.to_string() => Ok(entry),
        (_, Some(version)) => {
            let version = version.chars().take(32).collect();
            Err(BundleError::Newer { path: path.to_owned(), version })
        }
        _ => Err(not_bundle(path, "it holds images alone")),
    }
}

/// The table of contents, as the bundle's manifest names it.
fn table_entry(path: &Path, manifest: &[u8], descriptor: &Descriptor) -> Result<Descriptor, BundleError> {
    match Document::parse(manifest, &descriptor.media_type) {
        Ok(Document::Manifest(manifest)) if manifest.config.media_type.as_str() == CONTENTS => Ok(manifest.config),
        _ => Err(BundleError::Changed {
            path: path.to_owned(),
            reason: "its manifest names no table of contents".into(),
        }),
    }
}

/// All of a small blob, verified.
fn read_blob(path: &Path, what: &str, blob: &dyn BlobSource, limit: u64) -> Result<Vec<u8>, BundleError> {
    let descriptor = blob.descriptor();
    let failed = |source| BundleError::Content { path: path.to_owned(), what: what.to_owned(), source };
    if descriptor.size > limit {
        return Err(failed(io::Error::other(format!("{} bytes are too many", descriptor.size))));
    }
    let mut bytes = Vec::new();
    let reader = blob.open_at(0).map_err(failed)?;
    VerifyingReader::new(reader, descriptor.digest, descriptor.size).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// What a blob is of, for people.
fn describe(contents: &Contents, digest: &Digest) -> String {
    let crates = contents.crates.iter().filter(|own| own.blob.digest == *digest);
    let mut crates = crates.map(|own| format!("crate {} {}", own.name, own.version));
    let images = contents
        .images
        .iter()
        .filter(|own| own.root.digest == *digest || own.blobs.iter().any(|blob| blob.digest == *digest));
    let mut images = images.map(|own| format!("image {}", own.name));
    let modules = contents.modules.iter().filter(|own| own.files.values().any(|file| file.digest == *digest));
    let mut modules = modules.map(|own| format!("module {}@{}", own.path, own.version));
    crates.next().or_else(|| modules.next()).or_else(|| images.next()).unwrap_or_else(|| digest.to_string())
}

/// Bundles that are used together: a first one and its updates.
#[derive(Default)]
pub struct Bundles {
    bundles: Vec<Bundle>,
}

impl Bundles {
    /// Opens them. Each must have those with it that it updates.
    pub fn open(paths: &[PathBuf]) -> Result<Self, BundleError> {
        let bundles = paths.iter().map(|path| Bundle::open(path)).collect::<Result<Vec<_>, _>>()?;
        let here: BTreeSet<Digest> = bundles.iter().map(|bundle| bundle.digest).collect();
        for bundle in &bundles {
            if let Some(earlier) = bundle.contents.since.iter().find(|since| !here.contains(since)) {
                return Err(BundleError::Earlier { path: bundle.path.clone(), earlier: *earlier });
            }
        }
        Ok(Self { bundles })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Bundle> {
        self.bundles.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bundles.is_empty()
    }

    /// A blob with the bundle that has it, not verified.
    pub fn find(&self, digest: &Digest) -> Option<(&Bundle, &Arc<dyn BlobSource>)> {
        self.bundles.iter().find_map(|bundle| Some((bundle, bundle.blob(digest)?)))
    }

    /// The images of all bundles.
    pub fn images(&self) -> impl Iterator<Item = &ImageEntry> {
        self.bundles.iter().flat_map(|bundle| &bundle.contents.images)
    }

    /// The image of this name in the newest bundle that has it.
    pub fn image(&self, name: &str) -> Option<&ImageEntry> {
        let images = self.bundles.iter().rev().flat_map(|bundle| &bundle.contents.images);
        images.into_iter().find(|image| image.name == name)
    }

    /// A blob's verified bytes.
    pub fn read(&self, descriptor: &Descriptor, limit: u64) -> Option<Result<Vec<u8>, BundleError>> {
        let (bundle, blob) = self.find(&descriptor.digest)?;
        Some(read_blob(&bundle.path, &describe(&bundle.contents, &descriptor.digest), blob.as_ref(), limit))
    }

    /// The error for a blob that was read and is not what its digest says.
    pub fn damaged(&self, digest: &Digest, source: io::Error) -> BundleError {
        match self.find(digest) {
            Some((bundle, _)) => {
                let (path, what) = (bundle.path.clone(), describe(&bundle.contents, digest));
                BundleError::Content { path, what, source }
            }
            None => BundleError::NotIn { digest: *digest, bundles: self.shown() },
        }
    }

    /// The names of the bundles, for messages.
    pub fn shown(&self) -> String {
        self.bundles.iter().map(|bundle| bundle.path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}
