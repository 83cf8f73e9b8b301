//! From bundles to what cargo and go read: a directory of crates, a module proxy of files.
//!
//! Both go into a directory of mab's own, named by what is in them, and become visible whole and
//! verified; what is there already is used again. Nothing from a bundle is written anywhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use oci_layout::digest::VerifyingReader;
use oci_layout::layer::Limits;
use oci_layout::layer::read::{TarKind, TarReader, decompress};
use oci_layout::media_type::Compression;
use oci_layout::{Descriptor, Digest};

use super::{BundleError, Bundles, CrateEntry, LockedCrate, ModuleEntry};
use crate::toml_text::quoted;

/// What compilers take from bundles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vendored {
    /// Crates.
    pub crates: Option<CrateSources>,
    /// Go modules.
    pub modules: Option<ModuleProxy>,
}

impl Vendored {
    /// Nothing from bundles.
    pub const NONE: &Self = &Self { crates: None, modules: None };
}

/// A directory source of cargo's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrateSources {
    /// The directory: `NAME-VERSION/…`.
    pub directory: PathBuf,
    /// What stands in it, by name and version, with source and checksum as `Cargo.lock` has them.
    pub crates: BTreeSet<LockedCrate>,
    /// cargo's names of what it replaces, with the keys that define each.
    pub sources: BTreeMap<String, BTreeMap<String, String>>,
}

/// A module proxy of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleProxy {
    /// Its directory.
    pub directory: PathBuf,
    /// Where go unpacks modules.
    pub cache: PathBuf,
}

impl CrateSources {
    /// Those among these crates that are not here.
    pub fn lacks<'a>(&self, wanted: &'a [LockedCrate]) -> Vec<&'a LockedCrate> {
        wanted.iter().filter(|own| !self.crates.contains(*own)).collect()
    }

    /// Settings for cargo that put the directory in place of every source. `users` are the
    /// sources that the user's own configuration defines, by what defines them: cargo takes no
    /// second name for one of these, so the user's is replaced.
    pub fn settings(&self, users: &BTreeMap<String, String>) -> Vec<String> {
        let mut settings = Vec::new();
        for (name, keys) in &self.sources {
            let defined = keys.get("registry").or_else(|| keys.get("git"));
            let own = defined.and_then(|it| users.get(it)).unwrap_or(name);
            let table = format!("source.{}", quoted(own));
            if own == name {
                settings.extend(keys.iter().map(|(key, value)| format!("{table}.{key}={}", quoted(value))));
            }
            settings.push(format!("{table}.replace-with=\"mab-bundle\""));
        }
        settings.push(format!("source.mab-bundle.directory={}", quoted(&self.directory.to_string_lossy())));
        settings
    }
}

impl Vendored {
    /// Makes what the bundles hold ready below `root`. The newest bundle wins where two have one
    /// thing of the same name.
    pub fn prepare(bundles: &Bundles, root: &Path) -> Result<Self, BundleError> {
        let mut crates: BTreeMap<String, &CrateEntry> = BTreeMap::new();
        let mut modules: BTreeMap<(&str, &str), &ModuleEntry> = BTreeMap::new();
        let mut sources = BTreeMap::new();
        for contents in bundles.iter().map(|bundle| &bundle.contents) {
            crates.extend(contents.crates.iter().map(|own| (own.directory(), own)));
            modules.extend(contents.modules.iter().map(|own| ((own.path.as_str(), own.version.as_str()), own)));
            sources.extend(contents.sources.clone());
        }
        let mut vendored = Self::default();
        if !crates.is_empty() {
            let key = crates.iter().map(|(name, own)| format!("{name} {}\n", own.blob.digest)).collect::<String>();
            let directory = place(root, "crates", &key, |fresh| {
                crates.values().try_for_each(|own| unpack_crate(bundles, own, &fresh.join(own.directory())))
            })?;
            let locked = |own: &&CrateEntry| LockedCrate {
                name: own.name.clone(),
                version: own.version.clone(),
                source: own.source.clone(),
                checksum: own.checksum.clone(),
            };
            let crates = crates.values().map(locked).collect();
            vendored.crates = Some(CrateSources { directory, crates, sources });
        }
        if !modules.is_empty() {
            let line = |own: &ModuleEntry| {
                let files = own.files.iter().map(|(key, file)| format!(" {key} {}", file.digest));
                format!("{}@{}{}\n", own.path, own.version, files.collect::<String>())
            };
            let key = modules.values().map(|own| line(own)).collect::<String>();
            let directory = place(root, "modules", &key, |fresh| {
                modules.values().try_for_each(|own| unpack_module(bundles, own, fresh))
            })?;
            let cache = directory.with_extension("cache");
            vendored.modules = Some(ModuleProxy { directory, cache });
        }
        Ok(vendored)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::Io { action, path, source }
}

/// The directory `kind-KEY` below `root`, made by `fill` where it is not there.
fn place(
    root: &Path,
    kind: &str,
    key: &str,
    fill: impl FnOnce(&Path) -> Result<(), BundleError>,
) -> Result<PathBuf, BundleError> {
    let directory = root.join(format!("{kind}-{}", Digest::of(key.as_bytes()).short()));
    if directory.is_dir() {
        // It is wanted still: the cache lets go of what was not for longest.
        let _ = fs::File::open(&directory).map(|it| it.set_modified(std::time::SystemTime::now()));
        return Ok(directory);
    }
    fs::create_dir_all(root).map_err(failed("create", root))?;
    let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(root).map_err(failed("write below", root))?;
    fill(fresh.path())?;
    match fs::rename(fresh.path(), &directory) {
        Ok(()) => drop(fresh.keep()),
        // Another build was faster: its directory is the same.
        Err(_) if directory.is_dir() => {}
        Err(error) => return Err(failed("create", &directory)(error)),
    }
    Ok(directory)
}

type Verified = VerifyingReader<Box<dyn Read + Send>>;

fn open<'a>(bundles: &'a Bundles, descriptor: &Descriptor, what: &str) -> Result<(&'a Path, Verified), BundleError> {
    let Some((bundle, blob)) = bundles.find(&descriptor.digest) else {
        let reason = format!("{what} is in none of them");
        return Err(BundleError::Changed { path: bundles.shown().into(), reason });
    };
    let path = bundle.path.as_path();
    let damaged = |source| BundleError::Content { path: path.to_owned(), what: what.to_owned(), source };
    let reader = blob.open_at(0).map_err(damaged)?;
    Ok((path, VerifyingReader::new(reader, descriptor.digest, descriptor.size)))
}

fn unpack_crate(bundles: &Bundles, own: &CrateEntry, directory: &Path) -> Result<(), BundleError> {
    let what = format!("crate {} {}", own.name, own.version);
    let (path, reader) = open(bundles, &own.blob, &what)?;
    let damaged = |source| BundleError::Content { path: path.to_owned(), what: what.clone(), source };
    let limits = Limits::default();
    let tar = decompress(reader, Compression::Gzip, &limits).map_err(damaged)?;
    let mut tar = TarReader::new(tar, &limits);
    fs::create_dir_all(directory).map_err(failed("create", directory))?;
    while let Some(entry) = tar.next_entry().map_err(|error| damaged(io::Error::other(error)))? {
        let name = std::str::from_utf8(&entry.path).unwrap_or_default().trim_end_matches('/');
        // A table of contents can name any layer: what leaves the directory is not followed.
        let inside = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let target = directory.join(name);
        match entry.kind {
            TarKind::Directory if inside => fs::create_dir_all(&target).map_err(failed("create", &target))?,
            TarKind::File if inside && !entry.sparse => {
                let parent = target.parent().unwrap_or(directory);
                fs::create_dir_all(parent).map_err(failed("create", parent))?;
                let mut file = create(&target, entry.mode & 0o100 != 0)?;
                io::copy(&mut tar.read_content(), &mut file).map_err(|error| write_or_read(error, &target, damaged))?;
            }
            _ => {
                let name = String::from_utf8_lossy(&entry.path).escape_debug().to_string();
                return Err(damaged(io::Error::other(format!("its layer has the entry `{name}`"))));
            }
        }
    }
    let mut rest = tar.finish().map_err(|error| damaged(io::Error::other(error)))?;
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    Ok(())
}

/// Whether a copy failed at the disk or at the source cannot be told from the error's type alone.
fn write_or_read(error: io::Error, target: &Path, damaged: impl FnOnce(io::Error) -> BundleError) -> BundleError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
            failed("write", target)(error)
        }
        _ => damaged(error),
    }
}

fn create(path: &Path, executable: bool) -> Result<fs::File, BundleError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = if executable { 0o755 } else { 0o644 };
    let file = fs::File::options().write(true).create_new(true).mode(mode).open(path);
    file.map_err(failed("write", path))
}

fn unpack_module(bundles: &Bundles, own: &ModuleEntry, directory: &Path) -> Result<(), BundleError> {
    let versions = directory.join(&own.path).join("@v");
    fs::create_dir_all(&versions).map_err(failed("create", &versions))?;
    for (extension, descriptor) in &own.files {
        let what = format!("module {}@{}", own.path, own.version);
        let (path, mut reader) = open(bundles, descriptor, &what)?;
        let damaged = |source| BundleError::Content { path: path.to_owned(), what: what.clone(), source };
        let target = versions.join(format!("{}.{extension}", own.version));
        let mut file = create(&target, false)?;
        io::copy(&mut reader, &mut file).map_err(|error| write_or_read(error, &target, damaged))?;
        file.flush().map_err(failed("write", &target))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oci_layout::Layout;
    use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, Pool, write_layer};

    use super::*;
    use crate::base::Source;
    use crate::bundle::{Contents, write};

    /// A bundle with one crate, whose files are in `layer`.
    async fn bundle(directory: &Path, layer: &[u8]) -> Bundles {
        let layout = Layout::create_or_open(directory.join("staging")).unwrap();
        let blob = layout.store().put_document(oci_layout::media_type::OCI_LAYER_GZIP, layer).unwrap();
        let mut contents = Contents::new();
        contents.crates.push(CrateEntry {
            name: "tool".into(),
            version: "1.0.0".into(),
            source: "registry+https://github.com/rust-lang/crates.io-index".into(),
            checksum: None,
            blob: blob.clone(),
        });
        let origins = [(blob.digest, Arc::new(Source::Layout(layout)))].into();
        let path = directory.join("bundle.tar");
        assert!(write::tar(&path, &contents, &origins).await.is_ok());
        Bundles::open(&[path]).unwrap()
    }

    fn layer(entries: &[Entry]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let store = oci_layout::BlobStore::new(directory.path());
        let written = write_layer(entries, &LayerOptions::default(), &Pool::new(1).unwrap(), &store).unwrap();
        store.read(&written.descriptor, u64::MAX).unwrap()
    }

    fn file(path: &str) -> Entry {
        Entry::new(path.parse().unwrap(), EntryKind::File(Content::Bytes(b"x".as_slice().into())), 0o755)
    }

    /// A gzip with one stored block.
    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        let crc = !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        });
        let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(bytes);
        out.extend(crc.to_le_bytes());
        out.extend(u32::from(length).to_le_bytes());
        out
    }

    /// A tar with one empty file.
    fn tar(name: &str) -> Vec<u8> {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(b"00000000000");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        [&header[..], &[0; 1024]].concat()
    }

    #[tokio::test]
    async fn crates_are_unpacked_once_and_stay_inside_their_directory() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let good = bundle(directory.path(), &layer(&[file("/Cargo.toml"), file("/src/main.rs")])).await;
        let vendored = Vendored::prepare(&good, &root).unwrap().crates.unwrap();
        assert!(vendored.directory.join("tool-1.0.0/src/main.rs").is_file());
        assert_eq!(Vendored::prepare(&good, &root).unwrap().crates.unwrap(), vendored);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        for name in ["../evil", "/evil", "a/../../evil", "./a"] {
            let root = directory.path().join("bad");
            let bad = bundle(directory.path(), &gzip(&tar(name))).await;
            let error = Vendored::prepare(&bad, &root).unwrap_err();
            assert!(matches!(error, BundleError::Content { .. }), "{name}: {error}");
            assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "{name}");
        }
        assert!(!directory.path().join("evil").exists() && !Path::new("/evil").exists());
        let link = Entry::new("/link".parse().unwrap(), EntryKind::Symlink { target: "/etc".into() }, 0o777);
        let bad = bundle(directory.path(), &layer(&[link, file("/x")])).await;
        assert!(matches!(Vendored::prepare(&bad, &root.join("link")), Err(BundleError::Content { .. })));
    }

    #[test]
    fn the_users_own_names_of_sources_are_kept() {
        let sources = CrateSources {
            directory: "/cache/crates".into(),
            crates: BTreeSet::new(),
            sources: BTreeMap::from([
                ("crates-io".to_owned(), BTreeMap::new()),
                (
                    "sparse+https://ours.example/".to_owned(),
                    BTreeMap::from([("registry".to_owned(), "sparse+https://ours.example/".to_owned())]),
                ),
            ]),
        };
        let check = |users: &[(&str, &str)], expected: &[&str]| {
            let users = users.iter().map(|(url, name)| ((*url).to_owned(), (*name).to_owned())).collect();
            assert_eq!(sources.settings(&users), expected);
        };
        check(
            &[],
            &[
                "source.\"crates-io\".replace-with=\"mab-bundle\"",
                "source.\"sparse+https://ours.example/\".registry=\"sparse+https://ours.example/\"",
                "source.\"sparse+https://ours.example/\".replace-with=\"mab-bundle\"",
                "source.mab-bundle.directory=\"/cache/crates\"",
            ],
        );
        check(
            &[("sparse+https://ours.example/", "ours")],
            &[
                "source.\"crates-io\".replace-with=\"mab-bundle\"",
                "source.\"ours\".replace-with=\"mab-bundle\"",
                "source.mab-bundle.directory=\"/cache/crates\"",
            ],
        );
    }
}
