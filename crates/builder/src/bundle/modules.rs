//! Go modules for a bundle: go itself fetches what the programs need into a cache of its own,
//! which is laid out as a module proxy has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use oci_layout::{BlobStore, Descriptor};

use super::contents::is_component;
use super::error::said;
use super::{BundleError, Contents, MODULE, ModuleEntry};
use crate::process::{Children, Command, Environment};
use crate::target::TargetPlatform;

/// A Go program that is to be built offline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) directory: PathBuf,
    pub(crate) tags: Vec<String>,
    pub(crate) platform: TargetPlatform,
}

/// Whether a program's modules are in its checkout (`go mod vendor`).
pub(crate) fn is_vendored(directory: &Path) -> bool {
    let module = directory.ancestors().find(|above| above.join("go.mod").exists() || above.join("go.work").exists());
    module.is_some_and(|module| module.join("vendor/modules.txt").exists())
}

/// Takes up the modules of some programs: exactly what go asks for when it looks for everything
/// that they import, for each platform, with and without C. The checkout stays as it is.
pub(super) fn take(
    wanted: &BTreeSet<Wanted>,
    env: &Environment,
    children: &Children,
    scratch: &Path,
    store: &BlobStore,
    contents: &mut Contents,
) -> Result<(), BundleError> {
    let wanted: Vec<&Wanted> = wanted.iter().filter(|own| !is_vendored(&own.directory)).collect();
    let Some(first) = wanted.first() else { return Ok(()) };
    let go = env.lookup("go").ok_or(BundleError::NoTool("go"))?;
    let mut env = env.without_credentials();
    let ask = |name: &str, env: &Environment| -> Result<String, BundleError> {
        let output = children.capture(&Command::new(&go, &first.directory, env.clone()).args(["env", name]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // What the user's own cache has need not be fetched again.
    let own = Path::new(&ask("GOMODCACHE", &env)?).join("cache/download");
    let proxies = ask("GOPROXY", &env)?;
    let cache = scratch.join("modules");
    if own.is_dir() && !proxies.is_empty() {
        env.set("GOPROXY", format!("file://{},{proxies}", own.display()));
    }
    let flags = ask("GOFLAGS", &env)?;
    env.set("GOFLAGS", format!("{flags} -modcacherw").trim().to_owned());
    env.set("GOMODCACHE", &cache);
    env.set("GOOS", "linux");
    for program in &wanted {
        let row = program.platform.target();
        env.set("GOARCH", row.goarch);
        if let Some((name, value)) = row.go_level {
            env.set(name, value);
        }
        for cgo in ["0", "1"] {
            env.set("CGO_ENABLED", cgo);
            let mut command = Command::new(&go, &program.directory, env.clone()).args(["list", "-deps"]);
            if !program.tags.is_empty() {
                command = command.arg(format!("-tags={}", program.tags.join(",")));
            }
            let output = children.capture(&command.arg("."))?;
            if !output.status.success() {
                let directory = program.directory.clone();
                return Err(BundleError::Tool { tool: "go list", directory, said: said(&output.tail) });
            }
        }
    }
    let root = cache.join("cache/download");
    let mut found: BTreeMap<(String, String), BTreeMap<String, Descriptor>> = BTreeMap::new();
    collect(&root, &root, store, &mut found)?;
    for ((path, version), files) in found {
        let entry = ModuleEntry { path, version, files };
        // Go's own toolchains come as modules; they are for this machine alone.
        if entry.path == "golang.org/toolchain" {
            continue;
        }
        contents.modules.push(entry);
    }
    Ok(())
}

/// The files `PATH/@v/VERSION.{info,mod,zip}` below `root`.
fn collect(
    root: &Path,
    directory: &Path,
    store: &BlobStore,
    found: &mut BTreeMap<(String, String), BTreeMap<String, Descriptor>>,
) -> Result<(), BundleError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BundleError::Io { action, path, source }
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("list", directory)(error)),
    };
    for entry in entries {
        let path = entry.map_err(io("list", directory))?.path();
        if path.is_dir() {
            collect(root, &path, store, found)?;
            continue;
        }
        let Some(module) = directory.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        let Some(module) = module.strip_suffix("/@v") else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((version, extension)) = name.rsplit_once('.') else { continue };
        if !["info", "mod", "zip"].contains(&extension) || !is_component(version) {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(io("read", &path))?;
        let descriptor = store.put_document(MODULE, &bytes).map_err(|error| BundleError::Io {
            action: "keep",
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        let key = (module.to_owned(), version.to_owned());
        found.entry(key).or_default().insert(extension.to_owned(), descriptor);
    }
    Ok(())
}
