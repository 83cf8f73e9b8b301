//! The table of contents.

use std::collections::{BTreeMap, BTreeSet};

use oci_layout::document::{ImageIndex, ImageManifest};
use oci_layout::layout::REF_NAME;
use oci_layout::media_type::OCI_MANIFEST;
use oci_layout::{Descriptor, Digest, json};
use serde::{Deserialize, Serialize};

use super::{ARTIFACT, CONTENTS};

/// The version that is written and read.
pub const VERSION: u32 = 1;

/// What is in a bundle. Lists are sorted and without doubles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contents {
    /// [`VERSION`].
    pub version: u32,
    /// The format that mab writes layers in.
    pub format: u32,
    /// Bases and other images.
    pub images: Vec<ImageEntry>,
    /// Crates.
    pub crates: Vec<CrateEntry>,
    /// What cargo is told to replace: its own names of registries and git repositories, each with
    /// the keys that define it.
    pub sources: BTreeMap<String, BTreeMap<String, String>>,
    /// Go modules.
    pub modules: Vec<ModuleEntry>,
    /// Earlier bundles that this one needs, by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub since: Vec<Digest>,
    /// Blobs that are in those and not in this one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub earlier: BTreeSet<Digest>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageEntry {
    /// Its name upstream.
    pub name: String,
    /// Its index or, of one platform, its manifest.
    pub root: Descriptor,
    /// The platforms that are here, as they are written in a lock.
    pub platforms: Vec<String>,
    /// Everything else of it that is here: manifests, configs, layers.
    pub blobs: Vec<Descriptor>,
    /// It was asked for by its name, beside the bases: `mab push` takes it out again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extra: bool,
}

/// A crate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CrateEntry {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it is from, as `Cargo.lock` has it.
    pub source: String,
    /// Its registry's checksum, as `Cargo.lock` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Its files, in a layer.
    pub blob: Descriptor,
}

impl CrateEntry {
    /// The directory that it is unpacked to.
    pub fn directory(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// A version of a Go module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleEntry {
    /// Its path as a module proxy has it: upper case escaped.
    pub path: String,
    /// Its version, escaped as well.
    pub version: String,
    /// The proxy's files, by extension: `info`, `mod`, `zip`.
    pub files: BTreeMap<String, Descriptor>,
}

impl Contents {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            version: VERSION,
            format: crate::image::FORMAT,
            images: Vec::new(),
            crates: Vec::new(),
            sources: BTreeMap::new(),
            modules: Vec::new(),
            since: Vec::new(),
            earlier: BTreeSet::new(),
        }
    }

    /// Reads a table. What it names is safe to be written as files then.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let contents: Self = json::parse(bytes).map_err(|error| error.to_string())?;
        if contents.version != VERSION {
            return Err(format!("it says version {}", contents.version));
        }
        for own in &contents.crates {
            if !is_component(&own.directory()) {
                return Err(format!("`{}` is no name of a crate", own.directory().escape_default()));
            }
        }
        for own in &contents.modules {
            let extensions = own.files.keys().all(|key| ["info", "mod", "zip"].contains(&key.as_str()));
            if !own.path.split('/').all(is_component) || !is_component(&own.version) || !extensions {
                let name = format!("{}@{}", own.path, own.version);
                return Err(format!("`{}` is no name of a Go module", name.escape_default()));
            }
        }
        for (source, keys) in &contents.sources {
            let known = |key: &String| ["registry", "git", "branch", "tag", "rev"].contains(&key.as_str());
            if source.chars().any(char::is_control) || !keys.keys().all(known) {
                return Err(format!("`{}` is no source of crates", source.escape_default()));
            }
        }
        Ok(contents)
    }

    /// Every blob that it names, but those of earlier bundles.
    pub fn blobs(&self) -> BTreeMap<Digest, Descriptor> {
        let mut blobs = self.all_blobs();
        blobs.retain(|digest, _| !self.earlier.contains(digest));
        blobs
    }

    /// Every blob that it names.
    pub fn all_blobs(&self) -> BTreeMap<Digest, Descriptor> {
        let images = self.images.iter().flat_map(|image| std::iter::once(&image.root).chain(&image.blobs));
        let crates = self.crates.iter().map(|own| &own.blob);
        let modules = self.modules.iter().flat_map(|own| own.files.values());
        images.chain(crates).chain(modules).map(|blob| (blob.digest, blob.clone())).collect()
    }

    /// The bundle's documents: table, manifest, `index.json`. They follow from the table alone.
    pub(super) fn documents(&self) -> Result<Documents, serde_json::Error> {
        let table = json::to_bytes(self)?;
        let own = self.crates.iter().map(|own| &own.blob).chain(self.modules.iter().flat_map(|own| own.files.values()));
        let layers: BTreeMap<Digest, Descriptor> =
            own.filter(|blob| !self.earlier.contains(&blob.digest)).map(|blob| (blob.digest, blob.clone())).collect();
        let artifact = format!("{ARTIFACT}{VERSION}");
        let mut manifest =
            ImageManifest::new(Descriptor::of(CONTENTS, &table), layers.into_values().collect(), BTreeMap::new());
        manifest.artifact_type = Some(artifact.clone());
        let table_descriptor = manifest.config.clone();
        let manifest = json::to_bytes(&manifest)?;
        let mut entry = Descriptor::of(OCI_MANIFEST, &manifest);
        entry.artifact_type = Some(artifact);
        let descriptor = entry.clone();
        let mut entries = vec![entry];
        for image in &self.images {
            let mut entry = image.root.clone();
            entry.annotations.insert(REF_NAME.to_owned(), image.name.clone());
            entries.push(entry);
        }
        let index = json::to_bytes(&ImageIndex::new(entries, BTreeMap::new()))?;
        Ok(Documents { index, manifest: (descriptor, manifest), table: (table_descriptor, table) })
    }

    /// Sorts everything.
    pub(super) fn arrange(&mut self) {
        self.images.sort_by(|a, b| (&a.name, a.root.digest).cmp(&(&b.name, b.root.digest)));
        let key = |own: &CrateEntry| (own.name.clone(), own.version.clone(), own.source.clone());
        self.crates.sort_by_key(key);
        self.crates.dedup();
        self.modules.sort_by(|a, b| (&a.path, &a.version).cmp(&(&b.path, &b.version)));
        self.modules.dedup();
        self.since.sort();
        self.since.dedup();
    }
}

impl Default for Contents {
    fn default() -> Self {
        Self::new()
    }
}

/// See [`Contents::documents`].
pub(super) struct Documents {
    pub(super) index: Vec<u8>,
    pub(super) manifest: (Descriptor, Vec<u8>),
    pub(super) table: (Descriptor, Vec<u8>),
}

/// The name of one file or directory, and nothing but that.
pub(super) fn is_component(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+~!".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(text: &str) -> Descriptor {
        Descriptor::of("application/x", text.as_bytes())
    }

    fn contents() -> Contents {
        let mut contents = Contents::new();
        contents.crates.push(CrateEntry {
            name: "serde".into(),
            version: "1.0.0+x".into(),
            source: "registry+https://github.com/rust-lang/crates.io-index".into(),
            checksum: Some("00".into()),
            blob: descriptor("serde"),
        });
        contents.modules.push(ModuleEntry {
            path: "github.com/!burnt!sushi/toml".into(),
            version: "v1.2.3".into(),
            files: [("mod".to_owned(), descriptor("mod"))].into(),
        });
        contents
    }

    #[test]
    fn it_reads_back_and_names_that_lead_elsewhere_are_refused() {
        let good = contents();
        let read = |contents: &Contents| Contents::parse(&json::to_bytes(contents).unwrap());
        assert_eq!(read(&good).unwrap(), good);
        for name in ["..", "../x", "a/b", "", ".hidden", "a\0b", "/abs"] {
            let mut bad = good.clone();
            bad.crates[0].name = name.to_owned();
            bad.crates[0].version = if name == ".hidden" || name == ".." { "1" } else { "" }.to_owned();
            let refused = read(&bad);
            assert!(refused.is_err() || bad.crates[0].directory() == "-", "{name}: {refused:?}");
            let mut bad = good.clone();
            bad.modules[0].path = format!("github.com/{name}/x");
            assert_eq!(read(&bad).is_err(), name != "a/b", "{name}");
            let mut bad = good.clone();
            bad.modules[0].version = name.to_owned();
            assert!(read(&bad).is_err(), "{name}");
        }
        let mut bad = good.clone();
        bad.modules[0].files.insert("../x".into(), descriptor("x"));
        assert!(read(&bad).is_err());
        let mut bad = good.clone();
        bad.version = 2;
        assert!(read(&bad).is_err());
        let mut bad = good;
        bad.sources.insert("x".into(), [("directory".to_owned(), "/etc".to_owned())].into());
        assert!(read(&bad).is_err());
    }

    #[test]
    fn what_is_in_an_earlier_bundle_is_no_blob_of_this_one() {
        let mut contents = contents();
        contents.earlier.insert(descriptor("mod").digest);
        assert_eq!(contents.all_blobs().len(), 2);
        assert_eq!(contents.blobs().into_keys().collect::<Vec<_>>(), [descriptor("serde").digest]);
    }
}
