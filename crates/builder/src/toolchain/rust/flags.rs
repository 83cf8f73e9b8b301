//! mab's own flags for rustc: names in place of this machine's paths.

use std::path::{Path, PathBuf};

use super::compiler::RustToolchain;

/// What every directory of crates is called, wherever they come from: `NAME-VERSION` is below it.
pub(super) const CRATES: &str = "/cargo/registry/src";

/// Which path is written as what, in the order in which rustc takes them: the last that fits
/// wins, so longer paths come later.
///
/// Sources keep their names under these: a panic says `/cargo/registry/src/…/serde-1.0.219/…`
/// whatever the cargo home is.
pub(in crate::toolchain) fn remaps(
    workspace: &Path,
    target_directory: &Path,
    cargo_home: Option<&Path>,
    home: Option<&Path>,
    vendored: Option<&Path>,
    toolchain: &RustToolchain,
) -> Vec<(PathBuf, String)> {
    let mut remaps = vec![
        (workspace.to_owned(), "/workspace".to_owned()),
        (target_directory.to_owned(), "/workspace/target".to_owned()),
    ];
    if let Some(home) = home.filter(|home| home.parent().is_some()) {
        remaps.push((home.to_owned(), "/home".to_owned()));
    }
    if let Some(cargo_home) = cargo_home {
        remaps.push((cargo_home.to_owned(), "/cargo".to_owned()));
        // The name of a registry's directory follows from its address, which is another one where
        // the crates come through a mirror.
        let registries = fs_err::read_dir(cargo_home.join("registry/src")).into_iter().flatten().flatten();
        remaps.extend(registries.map(|entry| (entry.path(), CRATES.to_owned())));
    }
    // A bundle's crates have the names that they have anywhere else.
    if let Some(vendored) = vendored {
        remaps.push((vendored.to_owned(), CRATES.to_owned()));
    }
    // Where the component rust-src is installed, rustc names the library's sources there, else
    // under the name on the right.
    if let Some(commit) = &toolchain.commit {
        remaps.push((toolchain.sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{commit}")));
    }
    // Cargo resolves some of them and not others.
    let resolved: Vec<_> = remaps
        .iter()
        .filter_map(|(path, name)| Some((fs_err::canonicalize(path).ok()?, name.clone())))
        .filter(|(path, _)| path.parent().is_some())
        .collect();
    remaps.extend(resolved);
    remaps.sort_by_key(|(path, name)| (path.as_os_str().len(), path.clone(), name.clone()));
    remaps.dedup();
    remaps
}

/// What a unit's target directory has to depend on because cargo does not see it.
pub(in crate::toolchain) fn salt(workspace: &Path, cargo_home: Option<&Path>, home: Option<&Path>) -> String {
    format!("{workspace:?} {cargo_home:?} {home:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_paths_come_later() {
        let toolchain = RustToolchain {
            sysroot: "/h/.rustup/toolchains/x".into(),
            commit: Some("abc".into()),
            ..Default::default()
        };
        let remaps = remaps(
            "/h/code/app".as_ref(),
            "/h/code/app/target/mab/1".as_ref(),
            Some("/h/.cargo".as_ref()),
            Some("/h".as_ref()),
            Some("/h/.cache/mab/bundles/crates-0".as_ref()),
            &toolchain,
        );
        let shown: Vec<_> = remaps.iter().map(|(path, name)| format!("{}={name}", path.display())).collect();
        assert_eq!(
            shown,
            [
                "/h=/home",
                "/h/.cargo=/cargo",
                "/h/code/app=/workspace",
                "/h/code/app/target/mab/1=/workspace/target",
                "/h/.cache/mab/bundles/crates-0=/cargo/registry/src",
                "/h/.rustup/toolchains/x/lib/rustlib/src/rust=/rustc/abc",
            ]
        );
    }

    #[test]
    fn a_home_that_is_the_root_directory_is_no_name() {
        let remaps = remaps("/w".as_ref(), "/w/t".as_ref(), None, Some("/".as_ref()), None, &RustToolchain::default());
        assert_eq!(remaps.len(), 2);
    }
}
