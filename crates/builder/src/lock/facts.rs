//! The facts of the bases' layers beside the lock, so that a runner with an empty cache reads no
//! layer of a base.
//!
//! `mab.lock.facts` is a layer's tar as mab writes them: `MANIFEST/NUMBER-LAYER.json` for each
//! layer of each locked platform. It proves nothing by itself: the lock has a digest over the
//! facts of each platform, and what does not fit it is not used.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use oci_layout::layer::read::{TarReader, decompress};
use oci_layout::layer::{Content, Entry, EntryKind, LayerError, LayerFacts, LayerOptions, Limits, Pool, write_layer};
use oci_layout::media_type::Compression;
use oci_layout::{BlobStore, Digest, json};

use super::{Lock, LockError};

/// The file's name, beside the lock.
pub const FACTS_FILE: &str = "mab.lock.facts";

/// Facts documents of the layers of a manifest, in their order: digest of the layer, bytes.
pub(super) type OfManifest = Vec<(Digest, Vec<u8>)>;

/// All that the file holds, by the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedFacts(BTreeMap<Digest, OfManifest>);

/// Digest over the facts of a platform, as the lock has it.
pub(super) fn seal(layers: &OfManifest) -> Digest {
    let lines: String = layers.iter().map(|(layer, bytes)| format!("{layer} {}\n", Digest::of(bytes))).collect();
    Digest::of(lines.as_bytes())
}

impl LockedFacts {
    /// Takes up the facts of a manifest's layers; gives their seal.
    pub fn insert(&mut self, manifest: Digest, layers: &[(Digest, LayerFacts)]) -> Result<Digest, serde_json::Error> {
        let documents = layers.iter().map(|(layer, facts)| Ok((*layer, json::to_bytes(facts)?)));
        let documents: OfManifest = documents.collect::<Result<_, serde_json::Error>>()?;
        let sealed = seal(&documents);
        self.0.insert(manifest, documents);
        Ok(sealed)
    }

    /// Reads the file; nothing where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Io { action: "read", path: path.to_owned(), source }),
        };
        Self::unpack(file).map(Some).map_err(|source| LockError::FactsFile { path: path.to_owned(), source })
    }

    fn unpack(file: impl std::io::Read + Send) -> Result<Self, oci_layout::layer::ReadError> {
        let limits = Limits::default();
        let mut tar = TarReader::new(decompress(file, Compression::Gzip, &limits)?, &limits);
        let mut found = Self::default();
        while let Some(entry) = tar.next_entry()? {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            let Some((manifest, layer)) = name.split_once('/').and_then(|(manifest, file)| {
                let (_, layer) = file.strip_suffix(".json")?.split_once('-')?;
                let digest = |hex: &str| format!("sha256:{hex}").parse::<Digest>().ok();
                Some((digest(manifest)?, digest(layer)?))
            }) else {
                continue;
            };
            let mut bytes = Vec::new();
            tar.read_content().read_to_end(&mut bytes)?;
            found.0.entry(manifest).or_default().push((layer, bytes));
        }
        Ok(found)
    }

    /// The file's bytes, the same for the same facts. `store` is for what is under way.
    pub fn pack(&self, pool: &Pool, store: &BlobStore) -> Result<Vec<u8>, LayerError> {
        let mut entries = Vec::new();
        let mut add = |path: String, kind: EntryKind, mode: u32| {
            if let Ok(path) = path.parse() {
                entries.push(Entry::new(path, kind, mode));
            }
        };
        for (manifest, layers) in &self.0 {
            add(format!("/{}", manifest.hex()), EntryKind::Directory, 0o755);
            for (number, (layer, bytes)) in layers.iter().enumerate() {
                let content = EntryKind::File(Content::Bytes(bytes.as_slice().into()));
                add(format!("/{}/{number:04}-{}.json", manifest.hex(), layer.hex()), content, 0o644);
            }
        }
        let layer = write_layer(&entries, &LayerOptions::default(), pool, store)?;
        Ok(store.read(&layer.descriptor, u64::MAX)?)
    }

    /// What is in it of the platforms of `lock`, each compared with the lock's digest. Facts of
    /// another version are left out.
    pub fn of_lock(&self, path: &Path, lock: &Lock) -> Result<Vec<(Digest, LayerFacts)>, LockError> {
        let mut found = Vec::new();
        for (name, base) in &lock.bases {
            for (platform, own) in &base.platforms {
                let (Some(sealed), Some(layers)) = (own.facts, self.0.get(&own.manifest.digest)) else { continue };
                if seal(layers) != sealed {
                    let (base, path) = (name.to_string(), path.to_owned());
                    return Err(LockError::Facts { path, base, platform: *platform });
                }
                for (layer, bytes) in layers {
                    if let Ok(Some(facts)) = LayerFacts::parse(bytes) {
                        found.push((*layer, facts));
                    }
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content as Document, LockedBase, LockedPlatform, Name};
    use super::*;

    #[test]
    fn facts_come_back_only_as_the_lock_has_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::new(directory.path());
        let (pool, path) = (Pool::new(1).unwrap(), directory.path().join(FACTS_FILE));
        let facts = LayerFacts {
            version: oci_layout::layer::facts::FACTS_VERSION,
            inspector: 1,
            entries: Vec::new(),
            texts: BTreeMap::from([("/etc/passwd".parse().unwrap(), "root:x:0:0\n".to_owned())]),
            inspected: BTreeMap::new(),
            left_out: 0,
        };
        let (manifest, layer) = (Digest::of(b"manifest"), Digest::of(b"layer"));
        let mut all = LockedFacts::default();
        let sealed = all.insert(manifest, &[(layer, facts.clone()), (Digest::of(b"second"), facts.clone())]).unwrap();
        std::fs::write(&path, all.pack(&pool, &store).unwrap()).unwrap();
        let read = LockedFacts::read(&path).unwrap().unwrap();
        assert_eq!(read, all);

        let document = |digest| Document { digest, size: 1, media_type: "x".into() };
        let own = LockedPlatform { manifest: document(manifest), facts: Some(sealed) };
        let base = LockedBase { root: document(manifest), platforms: [("linux/amd64".parse().unwrap(), own)].into() };
        let mut lock = Lock::default();
        let name = Name::new(&"debian:12".parse().unwrap());
        lock.bases.insert(name.clone(), base);
        assert_eq!(read.of_lock(&path, &lock).unwrap()[0], (layer, facts));
        lock.bases.get_mut(&name).unwrap().platforms.values_mut().next().unwrap().facts = Some(Digest::of(b"other"));
        assert!(matches!(read.of_lock(&path, &lock), Err(LockError::Facts { .. })));

        std::fs::write(&path, b"not a layer").unwrap();
        assert!(matches!(LockedFacts::read(&path), Err(LockError::FactsFile { .. })));
        assert_eq!(LockedFacts::read(&directory.path().join("none")).unwrap(), None);
    }
}
