//! Rehashing everything, reference by reference.
//!
//! Reports all that it finds and stops at nothing: whoever looks at a damaged layout wants the
//! whole list. Works on anything that opens blobs, so that registries and archives are checked
//! by the same code.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::{Serialize, Serializer};

use crate::archive::Archive;
use crate::descriptor::Descriptor;
use crate::digest::{Digest, VerifyingReader};
use crate::document::{Document, ImageConfig, ImageManifest, MAX_DOCUMENT};
use crate::layer::facts::LayerFacts;
use crate::layer::read::{Limits, ReadError};
use crate::layout::{Layout, MAX_DEPTH, REF_NAME};
use crate::store::StoreError;

/// Something that opens blobs.
pub trait Blobs {
    /// The raw bytes of a blob, which are verified here. [`io::ErrorKind::NotFound`] where there is none.
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + '_>>;
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The way to it, from `index.json` or a name on: `index.json › sha256:… › layer 2`.
    pub at: String,
    /// What kind of thing.
    pub problem: Problem,
    /// In words.
    pub message: String,
}

/// Kinds of problems; stable words in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// No layout, or an `index.json` that cannot be read.
    Layout,
    /// A blob that is named but not there.
    Missing,
    /// A symlink, fifo or the like in place of a blob, or one that cannot be read.
    Unreadable,
    /// Bytes or size that differ from the descriptor.
    Content,
    /// An index, manifest or config that is not valid.
    Document,
    /// A media type that does not fit its place or content.
    MediaType,
    /// Indexes nested too deep.
    Depth,
    /// A platform that differs between descriptor and config.
    Platform,
    /// Another number of diff IDs than of layers.
    Count,
    /// A layer whose uncompressed bytes have another digest than the config says.
    DiffId,
    /// A layer that is no tar, or a hostile one.
    Layer,
    /// Two entries for one name and platform.
    Duplicate,
    /// A blob that nothing leads to.
    Unreachable,
    /// A file among the blobs that is none.
    Stray,
}

impl Problem {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Content => "content",
            Self::Document => "document",
            Self::MediaType => "media-type",
            Self::Depth => "depth",
            Self::Platform => "platform",
            Self::Count => "count",
            Self::DiffId => "diff-id",
            Self::Layer => "layer",
            Self::Duplicate => "duplicate",
            Self::Unreachable => "unreachable",
            Self::Stray => "stray",
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Layout {
    /// Checks the layout: every entry of `index.json` with all that it leads to, and what nothing
    /// leads to. An empty list means that everything is as it says.
    pub fn verify(&self) -> Vec<Finding> {
        let mut check = Check::new(self);
        match self.index() {
            Ok(index) => {
                check.entries(&index.manifests, "index.json");
                check.unreachable(self);
            }
            Err(error) => check.note("index.json", Problem::Layout, &error),
        }
        check.findings
    }
}

impl Archive {
    /// The same for an archive.
    pub fn verify(&self) -> Vec<Finding> {
        let mut check = Check::new(self);
        check.entries(&self.index().manifests, "index.json");
        check.unreached(self.sizes());
        check.findings
    }
}

/// Checks `entries` with all that they lead to, in any source of blobs. `origin` is what findings start with.
pub fn verify(blobs: &dyn Blobs, entries: &[Descriptor], origin: &str) -> Vec<Finding> {
    let mut check = Check::new(blobs);
    check.entries(entries, origin);
    check.findings
}

impl Blobs for Layout {
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + '_>> {
        match self.store().open(&descriptor.digest) {
            Ok(file) => Ok(Box::new(file)),
            Err(StoreError::Io { source, .. }) => Err(source),
            Err(error @ StoreError::Missing { .. }) => Err(io::Error::new(io::ErrorKind::NotFound, error)),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// What is known of a blob that was read whole.
#[derive(Clone)]
struct Seen {
    size: u64,
    diff_id: Option<Digest>,
}

struct Check<'a> {
    blobs: &'a dyn Blobs,
    findings: Vec<Finding>,
    seen: BTreeMap<Digest, Option<Seen>>,
}

impl<'a> Check<'a> {
    fn new(blobs: &'a dyn Blobs) -> Self {
        Self { blobs, findings: Vec::new(), seen: BTreeMap::new() }
    }

    fn note(&mut self, at: &str, problem: Problem, error: &dyn std::error::Error) {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        self.say(at, problem, message);
    }

    fn say(&mut self, at: &str, problem: Problem, message: String) {
        self.findings.push(Finding { at: at.to_owned(), problem, message });
    }

    fn entries(&mut self, entries: &[Descriptor], origin: &str) {
        let mut names = BTreeMap::new();
        for entry in entries {
            if let Some(name) = entry.annotations.get(REF_NAME) {
                let platform = entry.platform.as_ref().map(ToString::to_string).unwrap_or_default();
                if names.insert((name, platform.clone()), entry.digest).is_some() {
                    let message = format!("two entries are named {name} {platform}");
                    self.say(origin, Problem::Duplicate, message.trim_end().to_owned());
                }
            }
            self.document(entry, origin, 0);
        }
    }

    /// Checks an index or manifest and all below it.
    fn document(&mut self, descriptor: &Descriptor, above: &str, depth: usize) {
        let at = match &descriptor.platform {
            Some(platform) => format!("{above} › {} ({platform})", descriptor.digest),
            None => format!("{above} › {}", descriptor.digest),
        };
        if depth > MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return self.say(&at, Problem::Depth, message);
        }
        if !descriptor.media_type.is_index() && !descriptor.media_type.is_manifest() {
            if depth == 0 {
                let message = format!("{} is neither an index nor a manifest", descriptor.media_type);
                self.say(&at, Problem::MediaType, message);
            }
            self.blob(descriptor, &at, None);
            return;
        }
        let Some(bytes) = self.small_blob(descriptor, &at) else { return };
        match Document::parse(&bytes, &descriptor.media_type) {
            Err(error) => {
                let problem = match error {
                    crate::document::DocumentError::MediaType { .. } => Problem::MediaType,
                    _ => Problem::Document,
                };
                self.note(&at, problem, &error);
            }
            Ok(Document::Index(index)) => {
                for child in &index.manifests {
                    self.document(child, &at, depth + 1);
                }
            }
            Ok(Document::Manifest(manifest)) => self.manifest(descriptor, &manifest, &at),
        }
    }

    fn manifest(&mut self, descriptor: &Descriptor, manifest: &ImageManifest, at: &str) {
        let config_at = format!("{at} › config");
        let is_image = manifest.config.media_type.is_image_config();
        let bytes = self.small_blob(&manifest.config, &config_at);
        let config = match bytes {
            Some(bytes) if is_image => match crate::json::parse::<ImageConfig>(&bytes) {
                Ok(config) => Some(config),
                Err(error) => {
                    self.note(&config_at, Problem::Document, &error);
                    None
                }
            },
            _ => None,
        };
        // Attestations have a config of no platform.
        let attestation = descriptor.platform.as_ref().is_some_and(crate::Platform::is_unknown);
        if let (Some(config), Some(platform), false) = (&config, &descriptor.platform, attestation)
            && !config.platform().is_same(platform)
        {
            let message = format!("the config says {}, its descriptor {platform}", config.platform());
            self.say(&config_at, Problem::Platform, message);
        }
        let diff_ids = config.as_ref().map(|config| &config.rootfs.diff_ids[..]);
        if let Some(diff_ids) = diff_ids
            && diff_ids.len() != manifest.layers.len()
        {
            let message = format!("{} layers, but {} diff IDs", manifest.layers.len(), diff_ids.len());
            self.say(at, Problem::Count, message);
        }
        for (number, layer) in manifest.layers.iter().enumerate() {
            let layer_at = format!("{at} › layer {}", number + 1);
            if is_image && !attestation && layer.media_type.layer_compression().is_none() {
                self.say(&layer_at, Problem::MediaType, format!("{} is not a layer", layer.media_type));
            }
            self.blob(layer, &layer_at, diff_ids.and_then(|ids| ids.get(number)));
        }
    }

    /// A document's bytes, if they are the right ones.
    fn small_blob(&mut self, descriptor: &Descriptor, at: &str) -> Option<Vec<u8>> {
        if descriptor.size > MAX_DOCUMENT {
            self.say(at, Problem::Content, format!("{} bytes are too many for a document", descriptor.size));
            self.seen.insert(descriptor.digest, None);
            return None;
        }
        self.embedded(descriptor, at);
        let outcome = self.blobs.open(descriptor).and_then(|reader| {
            let mut bytes = Vec::new();
            VerifyingReader::new(reader, descriptor.digest, descriptor.size).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        self.seen.insert(descriptor.digest, Some(Seen { size: descriptor.size, diff_id: None }));
        outcome.map_err(|error| self.io(at, error)).ok()
    }

    /// Reads a blob whole, unless that was done, and compares it with what a reference says.
    fn blob(&mut self, descriptor: &Descriptor, at: &str, diff_id: Option<&Digest>) {
        self.embedded(descriptor, at);
        if descriptor.stays_elsewhere() && crate::archive::is_absent(self.blobs, descriptor) {
            return;
        }
        let compression = descriptor.media_type.layer_compression();
        let known = self.seen.get(&descriptor.digest).cloned();
        let seen = match known {
            Some(Some(seen)) if seen.diff_id.is_some() || compression.is_none() => Some(seen),
            Some(None) => {
                return self.say(at, Problem::Content, "the same damaged blob again".to_owned());
            }
            _ => self.read(descriptor, at),
        };
        self.seen.insert(descriptor.digest, seen.clone());
        let Some(seen) = seen else { return };
        if seen.size != descriptor.size {
            let message = format!("the blob has {} bytes, its descriptor says {}", seen.size, descriptor.size);
            self.say(at, Problem::Content, message);
        }
        if let (Some(expected), Some(found)) = (diff_id, seen.diff_id)
            && *expected != found
        {
            self.say(at, Problem::DiffId, format!("the layer's diff ID is {found}, the config says {expected}"));
        }
    }

    fn read(&mut self, descriptor: &Descriptor, at: &str) -> Option<Seen> {
        let reader = match self.blobs.open(descriptor) {
            Ok(reader) => VerifyingReader::new(reader, descriptor.digest, descriptor.size),
            Err(error) => {
                self.io(at, error);
                return None;
            }
        };
        let size = descriptor.size;
        let Some(compression) = descriptor.media_type.layer_compression() else {
            let mut reader = reader;
            return match io::copy(&mut reader, &mut io::sink()) {
                Ok(_) => Some(Seen { size, diff_id: None }),
                Err(error) => {
                    self.io(at, error);
                    None
                }
            };
        };
        match LayerFacts::scan(reader, compression, &Limits::default()) {
            Ok((_, diff_id)) => Some(Seen { size, diff_id: Some(diff_id) }),
            Err(ReadError::Io(error)) if is_content(&error) => {
                self.io(at, error);
                None
            }
            Err(error) => {
                // The tar is at fault only if the blob is what its digest says.
                if let Ok(reader) = self.blobs.open(descriptor) {
                    let mut reader = VerifyingReader::new(reader, descriptor.digest, descriptor.size);
                    if let Err(error) = io::copy(&mut reader, &mut io::sink()) {
                        self.io(at, error);
                        return None;
                    }
                }
                self.note(at, Problem::Layer, &error);
                Some(Seen { size, diff_id: None })
            }
        }
    }

    /// Content that a descriptor carries in itself.
    fn embedded(&mut self, descriptor: &Descriptor, at: &str) {
        if let Some(data) = &descriptor.data
            && data.len() as u64 != descriptor.size.div_ceil(3) * 4
        {
            self.say(at, Problem::Content, "the descriptor's data is not as long as the blob".to_owned());
        }
    }

    fn io(&mut self, at: &str, error: io::Error) {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => Problem::Missing,
            _ if is_content(&error) => Problem::Content,
            _ => Problem::Unreadable,
        };
        self.note(at, problem, &error);
    }

    fn unreached(&mut self, blobs: impl IntoIterator<Item = (Digest, u64)>) {
        for (digest, size) in blobs {
            if !self.seen.contains_key(&digest) {
                let message = format!("nothing leads to this blob of {size} bytes");
                self.say(&digest.to_string(), Problem::Unreachable, message);
            }
        }
    }

    fn unreachable(&mut self, layout: &Layout) {
        match layout.store().list() {
            Ok(blobs) => self.unreached(blobs),
            Err(error) => self.note("blobs", Problem::Unreadable, &error),
        }
        match layout.store().strays() {
            Ok(strays) => {
                for path in strays {
                    let message = "the name is not that of a blob".to_owned();
                    self.say(&path.display().to_string(), Problem::Stray, message);
                }
            }
            Err(error) => self.note("blobs", Problem::Unreadable, &error),
        }
    }
}

/// Whether an error comes from comparing bytes with their descriptor.
fn is_content(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<crate::digest::VerifyError>())
}

#[cfg(test)]
mod tests;
