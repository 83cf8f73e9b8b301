//! Crates for a bundle: `cargo vendor` fetches them, and each becomes a layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, Pool, write_layer};
use oci_layout::{BlobStore, ImagePath};

use super::error::said;
use super::{BundleError, Contents, CrateEntry, LockedCrate};
use crate::process::{Children, Command, Environment};

/// What packing needs.
pub(super) struct Packing<'a> {
    pub(super) env: &'a Environment,
    pub(super) children: &'a Children,
    pub(super) pool: &'a Pool,
    /// Takes the layers.
    pub(super) store: &'a BlobStore,
    /// A directory for what is under way.
    pub(super) scratch: &'a Path,
}

/// Takes up the crates of the workspace of `lock`, a `Cargo.lock`. The checkout stays as it is.
pub(super) fn take(
    lock: &Path,
    crates: &[LockedCrate],
    packing: &Packing<'_>,
    contents: &mut Contents,
) -> Result<(), BundleError> {
    let workspace = lock.parent().unwrap_or(Path::new("/"));
    let cargo = packing.env.lookup("cargo").ok_or(BundleError::NoTool("cargo"))?;
    let target = packing.scratch.join("crates");
    let remove = || std::fs::remove_dir_all(&target);
    let _ = remove();
    // Its own choice of versions would be another one than the build's.
    let arguments = ["vendor", "--locked", "--versioned-dirs", "--respect-source-config"];
    let command = Command::new(cargo, workspace, packing.env.without_credentials()).args(arguments).arg(&target);
    let output = packing.children.capture(&command)?;
    if !output.status.success() {
        let directory = workspace.to_owned();
        return Err(BundleError::Tool { tool: "cargo vendor", directory, said: said(&output.tail) });
    }
    let settings = String::from_utf8_lossy(&output.stdout).into_owned();
    sources(workspace, &settings, contents)?;
    for own in crates {
        let directory = target.join(format!("{}-{}", own.name, own.version));
        let entries = tree(&directory)?;
        let layer = write_layer(&entries, &LayerOptions::default(), packing.pool, packing.store)
            .map_err(|source| BundleError::Pack { name: format!("{} {}", own.name, own.version), source })?;
        let LockedCrate { name, version, source, checksum } = own.clone();
        let entry = CrateEntry { name, version, source, checksum, blob: layer.descriptor };
        let twin = contents.crates.iter().find(|other| other.directory() == entry.directory());
        match twin {
            Some(twin) if twin.blob != entry.blob => {
                return Err(BundleError::Ambiguous(format!("crate {} {}", entry.name, entry.version)));
            }
            Some(_) => {}
            None => contents.crates.push(entry),
        }
    }
    remove().map_err(|source| BundleError::Io { action: "remove", path: target, source })
}

/// What cargo's own advice says has to be replaced.
fn sources(workspace: &Path, settings: &str, contents: &mut Contents) -> Result<(), BundleError> {
    let table: toml::Table = settings.parse().map_err(|error: toml::de::Error| BundleError::Tool {
        tool: "cargo vendor",
        directory: workspace.to_owned(),
        said: error.to_string(),
    })?;
    for (name, source) in table.get("source").and_then(toml::Value::as_table).into_iter().flatten() {
        let keys = source.as_table().into_iter().flatten();
        // The one with the directory is ours to name.
        let keys: BTreeMap<String, String> = keys
            .filter(|(key, _)| *key != "replace-with")
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        if !keys.contains_key("directory") {
            contents.sources.insert(name.clone(), keys);
        }
    }
    Ok(())
}

/// A directory as entries of a layer. Modes are as git keeps them: executable or not.
fn tree(root: &Path) -> Result<Vec<Entry>, BundleError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BundleError::Io { action, path, source }
    };
    let mut entries = Vec::new();
    let mut waiting: Vec<(PathBuf, String)> = vec![(root.to_owned(), String::new())];
    while let Some((directory, below)) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).map_err(io("list", &directory))? {
            let path = entry.map_err(io("list", &directory))?.path();
            let metadata = std::fs::symlink_metadata(&path).map_err(io("look at", &path))?;
            let unusable = || std::io::Error::other("its name is not UTF-8");
            let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unusable);
            let name = format!("{below}/{}", name.map_err(io("pack", &path))?);
            let place: Result<ImagePath, _> = name.parse();
            let place = place.map_err(std::io::Error::other).map_err(io("pack", &path))?;
            if metadata.is_dir() {
                entries.push(Entry::new(place, EntryKind::Directory, 0o755));
                waiting.push((path, name));
            } else if metadata.is_file() {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = if metadata.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 };
                let content = Content::File { size: metadata.len(), path: path.into() };
                entries.push(Entry::new(place, EntryKind::File(content), mode));
            } else {
                let source = std::io::Error::other("it is neither a file nor a directory");
                return Err(BundleError::Io { action: "pack", path, source });
            }
        }
    }
    Ok(entries)
}
