//! Which binary of which package a program is.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, Package};

use crate::process::{Children, Command, Environment, ProcessError};
use crate::toolchain::error::ProgramError;
use crate::toolchain::request::RustProgram;
use crate::toolchain::unit::Bin;

/// Runs `cargo metadata` for the members of the workspace of a directory. It needs neither the
/// network nor a lock file.
pub(in crate::toolchain) fn metadata(
    cargo: &Path,
    directory: &Path,
    env: &Environment,
    children: &Children,
) -> Result<Result<Metadata, ProgramError>, ProcessError> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--color=never"];
    let output = children.capture(&Command::new(cargo, directory, env.clone()).args(arguments))?;
    let failed = |said: &[String]| {
        let said = said.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
        ProgramError::Metadata { directory: directory.to_owned(), said }
    };
    if !output.status.success() {
        return Ok(Err(failed(&output.tail)));
    }
    Ok(serde_json::from_slice(&output.stdout).map_err(|error| failed(&[format!("its metadata: {error}")])))
}

/// Finds the binary that a program names, or the only one that it can mean.
pub(in crate::toolchain) fn select(program: &RustProgram, metadata: &Metadata) -> Result<Bin, ProgramError> {
    let workspace = || PathBuf::from(metadata.workspace_root.as_std_path());
    let members: Vec<&Package> =
        metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id)).collect();
    let candidates: Vec<&Package> = match &program.package {
        Some(name) => {
            let named: Vec<&Package> =
                members.iter().filter(|member| member.name.as_str() == name.as_str()).copied().collect();
            if named.is_empty() {
                let mut known: Vec<String> = members.iter().map(|member| member.name.to_string()).collect();
                known.sort();
                return Err(ProgramError::NoPackage { package: name.clone(), workspace: workspace(), known });
            }
            named
        }
        None => match package_of(&program.directory, &members) {
            Some(package) => vec![package],
            None => members,
        },
    };
    let mut bins: Vec<(&Package, &str)> =
        candidates.iter().flat_map(|package| bins(package).map(|bin| (*package, bin))).collect();
    bins.sort_by_key(|(package, bin)| (*bin, package.name.to_string()));
    let known = || bins.iter().map(|(_, bin)| (*bin).to_owned()).collect::<Vec<_>>();
    let directory = || program.directory.clone();

    let chosen = match &program.bin {
        Some(name) => {
            let named: Vec<_> = bins.iter().filter(|(_, bin)| bin == name).copied().collect();
            match named[..] {
                [] => return Err(ProgramError::NoBinary { bin: name.clone(), directory: directory(), known: known() }),
                [only] => only,
                _ => return Err(ProgramError::SeveralBinaries { directory: directory(), known: known() }),
            }
        }
        None => match (&bins[..], &candidates[..]) {
            ([], _) => return Err(ProgramError::NoBinaries(directory())),
            ([only], _) => *only,
            (_, [package]) => match package.default_run.as_deref() {
                Some(run) if bins.iter().any(|(_, bin)| *bin == run) => (*package, run),
                _ => return Err(ProgramError::SeveralBinaries { directory: directory(), known: known() }),
            },
            _ => return Err(ProgramError::SeveralBinaries { directory: directory(), known: known() }),
        },
    };
    let (package, name) = chosen;
    Ok(Bin {
        package: format!("{}@{}", package.name, package.version),
        package_id: package.id.repr.clone(),
        name: name.to_owned(),
    })
}

fn bins(package: &Package) -> impl Iterator<Item = &str> {
    package.targets.iter().filter(|target| target.is_bin()).map(|target| target.name.as_str())
}

/// The package whose directory it is, or that it lies in; none at the root of a workspace that
/// is no package itself.
fn package_of<'a>(directory: &Path, members: &[&'a Package]) -> Option<&'a Package> {
    let directory = fs_err::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let root = |package: &Package| {
        let root = package.manifest_path.parent().map(|parent| parent.as_std_path().to_owned()).unwrap_or_default();
        fs_err::canonicalize(&root).unwrap_or(root)
    };
    members
        .iter()
        .map(|package| (root(package), *package))
        .filter(|(root, _)| directory.starts_with(root))
        .max_by_key(|(root, _)| root.components().count())
        .map(|(_, package)| package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, bins: &[&str], default_run: Option<&str>) -> serde_json::Value {
        let target = |kind: &str, name: &str| {
            json!({"kind": [kind], "crate_types": [kind], "name": name, "src_path": "/w/x.rs", "edition": "2021",
                   "doctest": false, "test": true, "doc": true})
        };
        let mut targets = vec![target("lib", name)];
        targets.extend(bins.iter().map(|bin| target("bin", bin)));
        json!({"name": name, "version": "1.2.3", "id": format!("path+file:///w/{name}#1.2.3"), "source": null,
               "dependencies": [], "targets": targets, "features": {}, "default_run": default_run,
               "manifest_path": format!("/w/{name}/Cargo.toml"), "metadata": null, "publish": null, "authors": [],
               "categories": [], "keywords": [], "edition": "2021"})
    }

    fn workspace(packages: &[serde_json::Value]) -> Metadata {
        let ids: Vec<_> = packages.iter().map(|package| package["id"].clone()).collect();
        serde_json::from_value(json!({
            "packages": packages, "workspace_members": ids, "workspace_default_members": ids, "resolve": null,
            "target_directory": "/w/target", "version": 1, "workspace_root": "/w", "metadata": null
        }))
        .unwrap()
    }

    fn check(directory: &str, package: Option<&str>, bin: Option<&str>, metadata: &Metadata, expected: &str) {
        let program = RustProgram {
            directory: directory.into(),
            package: package.map(str::to_owned),
            bin: bin.map(str::to_owned),
            features: Vec::new(),
            default_features: true,
            all_features: false,
            profile: "release".into(),
            target_cpu: None,
            env: std::collections::BTreeMap::new(),
            glibc: None,
            toolchain: None,
        };
        let found = match select(&program, metadata) {
            Ok(bin) => format!("{} {}", bin.package, bin.name),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_only_binary_is_found_and_of_several_one_must_be_named() {
        let all = workspace(&[
            package("one", &["one"], None),
            package("two", &["a", "b"], None),
            package("run", &["x", "y"], Some("y")),
            package("lib", &[], None),
        ]);
        check("/w/one", None, None, &all, "one@1.2.3 one");
        check("/w", Some("one"), None, &all, "one@1.2.3 one");
        check("/w", None, Some("b"), &all, "two@1.2.3 b");
        check("/w/run", None, None, &all, "run@1.2.3 y");
        check("/w/two", None, None, &all, "/w/two has several binaries: a, b; say which with `bin:`");
        check("/w", None, None, &all, "/w has several binaries: a, b, one, x, y; say which with `bin:`");
        check("/w/lib", None, None, &all, "/w/lib has no binary, only libraries");
        check("/w/one", None, Some("tow"), &all, "there is no binary `tow` in /w/one; there is only `one`");
        check("/w", Some("tow"), None, &all, "there is no package `tow` in /w; there are lib, one, run, two");
    }

    #[test]
    fn a_workspace_with_one_program_needs_no_name() {
        check(
            "/w",
            None,
            None,
            &workspace(&[package("lib", &[], None), package("app", &["app"], None)]),
            "app@1.2.3 app",
        );
    }
}
