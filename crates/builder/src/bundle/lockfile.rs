//! `Cargo.lock`, as far as it says what comes from outside.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::BundleError;

/// A package of a lock file that is not a part of the checkout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedCrate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `registry+…`, `sparse+…` or `git+…`.
    pub source: String,
    /// The registry's checksum.
    pub checksum: Option<String>,
}

#[derive(Deserialize)]
struct RawLock {
    #[serde(default)]
    package: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// The lock file of the workspace that a directory belongs to: the nearest one upward.
pub(super) fn lock_of(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|above| above.join("Cargo.lock")).find(|path| path.is_file())
}

/// What the workspace of `directory` takes from outside, sorted. Nothing without a lock file.
pub fn locked_crates(directory: &Path) -> Result<Option<(PathBuf, Vec<LockedCrate>)>, BundleError> {
    let Some(path) = lock_of(directory) else { return Ok(None) };
    let failed = |reason: String| BundleError::CargoLock { path: path.clone(), reason };
    let text = fs_err::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let raw: RawLock = toml::from_str(&text).map_err(|error| failed(error.to_string().trim_end().to_owned()))?;
    let outside = raw.package.into_iter().filter_map(|package| {
        let RawPackage { name, version, source, checksum } = package;
        Some(LockedCrate { name, version, source: source?, checksum })
    });
    let mut crates: Vec<LockedCrate> = outside.collect();
    crates.sort();
    Ok(Some((path, crates)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_from_outside_counts() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("app/src")).unwrap();
        let lock = "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"serde\"]\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"ab\"\n";
        fs_err::write(root.path().join("Cargo.lock"), lock).unwrap();
        let (path, crates) = locked_crates(&root.path().join("app/src")).unwrap().unwrap();
        assert_eq!(path, root.path().join("Cargo.lock"));
        assert_eq!(crates.iter().map(|own| own.name.as_str()).collect::<Vec<_>>(), ["serde"]);
        fs_err::write(root.path().join("Cargo.lock"), "no toml").unwrap();
        assert!(matches!(locked_crates(root.path()), Err(BundleError::CargoLock { .. })));
    }
}
