//! Building without a network: what compilers are told, and what would be missing.
//!
//! mab itself opens no connection offline but to push: bases come from bundles, layouts and its own
//! cache. The compilers are told so in every way that they know, so that they do not try either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Value;

use crate::base::{BaseError, Source};
use crate::bundle::vendor::{go_programs, rust_directories};
use crate::bundle::{Bundles, LockedCrate, Vendored, locked_crates};
use crate::error::BuildError;
use crate::lock::book::{Book, Wants};
use crate::process::{Children, Command, Environment};
use crate::spec::BuildSpec;

/// Something that an offline build would have to fetch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Absent {
    /// What it is: `base docker.io/library/debian:12 for linux/arm64`, `crate serde 1.0.0`.
    pub what: String,
    /// Why, or where it was looked for; may be empty.
    pub why: String,
    /// The command that gets it, where there is a network.
    pub command: String,
}

impl std::fmt::Display for Absent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, " ({})", self.why) }
    }
}

/// Tells compilers, and whatever they start, that there is no network.
pub(crate) fn close(env: &mut Environment) {
    env.set("CARGO_NET_OFFLINE", "true");
    // A toolchain that rust-toolchain.toml names is not installed on the way; older rustups know
    // no such switch, and look for it here.
    env.set("RUSTUP_AUTO_INSTALL", "0");
    env.set("RUSTUP_DIST_SERVER", "file:///offline");
    close_go(env);
}

/// The same for go, whose settings a build file may have changed.
pub(crate) fn close_go(env: &mut Environment) {
    env.set("GOPROXY", "off");
    env.set("GONOPROXY", "none");
    env.set("GOSUMDB", "off");
    env.set("GOVCS", "*:off");
    env.set("GOTOOLCHAIN", "local");
}

/// Lets go read modules from a bundle, and from nowhere else.
pub(crate) fn take_modules(env: &mut Environment, vendored: &Vendored) {
    let Some(modules) = &vendored.modules else { return };
    env.set("GOPROXY", format!("file://{}", modules.directory.display()));
    env.set("GONOPROXY", "none");
    // go.sum is still compared.
    env.set("GOSUMDB", "off");
    env.set("GOMODCACHE", &modules.cache);
    // Who cleans the cache up must be able to.
    let flags = env.text("GOFLAGS").map(|flags| format!("{flags} ")).unwrap_or_default();
    env.set("GOFLAGS", format!("{flags}-modcacherw"));
}

/// How the bundle is made that an offline build takes.
fn vendor_command(specs: &[BuildSpec]) -> String {
    let files: String = specs.iter().map(|spec| format!(" -f {}", spec.file.display())).collect();
    format!("mab vendor{files} -o bundle.tar")
}

/// Everything that the build files need and that is not here, in one list.
pub(crate) async fn absent(
    specs: &[BuildSpec],
    book: &Book,
    bundles: &Bundles,
    source: &Source,
) -> Result<Vec<Absent>, BuildError> {
    let mut absent = Vec::new();
    for (directory, wants) in Wants::by_directory(specs) {
        for (name, platforms) in wants.bases {
            let Some(locked) = book.base(&directory, name.reference()) else { continue };
            let mut lacking = Vec::new();
            for platform in platforms {
                let Some(own) = locked.platforms.get(&platform) else { continue };
                match is_whole(source, &own.manifest.descriptor()).await {
                    Ok(true) => {}
                    Ok(false) => lacking.push(platform.to_string()),
                    Err(BaseError::Bundle(error)) => return Err(error.into()),
                    Err(source) => return Err(BuildError::Base { base: name.to_string(), source }),
                }
            }
            if !lacking.is_empty() {
                let why = if bundles.is_empty() { String::new() } else { format!("not in {}", bundles.shown()) };
                let what = format!("base {name}@{} for {}", locked.root.digest, lacking.join(", "));
                absent.push(Absent { what, why, command: vendor_command(specs) });
            }
        }
    }
    Ok(absent)
}

/// Whether all of a platform's image is on this machine.
async fn is_whole(source: &Source, manifest: &oci_layout::Descriptor) -> Result<bool, BaseError> {
    if !source.keeps(manifest) {
        return Ok(false);
    }
    let bytes = source.document(manifest, None).await?;
    let parsed = oci_layout::document::Document::parse(&bytes, &manifest.media_type)
        .map_err(|source| BaseError::Document { digest: manifest.digest, source })?;
    Ok(match parsed {
        oci_layout::document::Document::Manifest(own) => {
            std::iter::once(&own.config).chain(&own.layers).all(|blob| source.keeps(blob))
        }
        oci_layout::document::Document::Index(_) => false,
    })
}

/// Crates and modules that the programs need and that neither a bundle nor the user's own caches
/// have. Asks cargo and go; to be run on a thread for blocking work.
pub(crate) fn absent_sources(
    specs: &[BuildSpec],
    vendored: &Vendored,
    env: &Environment,
    children: &Children,
) -> Result<Vec<Absent>, BuildError> {
    let mut absent = BTreeSet::new();
    let mut env = env.without_credentials();
    close(&mut env);
    for directory in rust_directories(specs) {
        let Some((lock, crates)) = locked_crates(&directory)? else { continue };
        if crates.is_empty() || covers(vendored, &crates) {
            continue;
        }
        let workspace = lock.parent().unwrap_or(&directory);
        let missing: Vec<&LockedCrate> = match &vendored.crates {
            Some(own) => own.lacks(&crates),
            None if cargo_is_content(workspace, &env, children)? => continue,
            None => crates.iter().filter(|own| !is_fetched(own, &env)).collect(),
        };
        for own in missing {
            let what = format!("crate {} {}", own.name, own.version);
            let command = match &vendored.crates {
                Some(_) => vendor_command(specs),
                None => format!("cargo fetch --locked --manifest-path {}", workspace.join("Cargo.toml").display()),
            };
            absent.insert(Absent { what, why: String::new(), command });
        }
    }
    let Some(go) = env.lookup("go") else { return Ok(absent.into_iter().collect()) };
    take_modules(&mut env, vendored);
    env.set("GOOS", "linux");
    for program in go_programs(specs) {
        let row = program.platform.target();
        let mut env = env.clone();
        env.set("GOARCH", row.goarch);
        let format = "{{if .Error}}{{.ImportPath}}: {{.Error.Err}}{{end}}";
        let mut command = Command::new(&go, &program.directory, env).args(["list", "-e", "-deps", "-f", format]);
        if !program.tags.is_empty() {
            command = command.arg(format!("-tags={}", program.tags.join(",")));
        }
        if !program.directory.is_dir() {
            continue;
        }
        let output = children.capture(&command.arg("."))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &output.tail.join("\n");
        for module in modules_in(&said) {
            let what = format!("Go {module}");
            let command = match &vendored.modules {
                Some(_) => vendor_command(specs),
                None => format!("cd {} && go mod download", program.directory.display()),
            };
            absent.insert(Absent { what, why: String::new(), command });
        }
    }
    Ok(absent.into_iter().collect())
}

/// Whether the bundles have all of these crates.
fn covers(vendored: &Vendored, crates: &[LockedCrate]) -> bool {
    vendored.crates.as_ref().is_some_and(|own| own.lacks(crates).is_empty())
}

/// Whether cargo finds everything that it needs: in its own cache, or where the user's
/// configuration says.
fn cargo_is_content(workspace: &Path, env: &Environment, children: &Children) -> Result<bool, BuildError> {
    let Some(cargo) = env.lookup("cargo") else { return Ok(true) };
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--color=never"];
    let output = children.capture(&Command::new(cargo, workspace, env.clone()).args(arguments))?;
    Ok(output.status.success())
}

/// Whether cargo's own cache has a crate.
fn is_fetched(own: &LockedCrate, env: &Environment) -> bool {
    let home = env.get("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env.home()?.join(".cargo")));
    let Some(home) = home else { return false };
    let name = format!("{}-{}", own.name, own.version);
    let below = |directory: PathBuf| {
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    if own.source.starts_with("git+") {
        let url = own.source.trim_start_matches("git+").split(['?', '#']).next().unwrap_or_default();
        let repository = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default().trim_end_matches(".git");
        return below(home.join("git/db")).iter().any(|path| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{repository}-")))
        });
    }
    below(home.join("registry/cache")).iter().any(|registry| registry.join(format!("{name}.crate")).is_file())
        || below(home.join("registry/src")).iter().any(|registry| registry.join(&name).is_dir())
}

/// The modules that go may not fetch: `PATH@vVERSION` in a complaint, or the one of a package in a
/// complaint, which `go: downloading PATH vVERSION` names (as it does those that are there); else
/// the package.
fn modules_in(said: &str) -> BTreeSet<String> {
    let announced: Vec<(&str, &str)> =
        said.lines().filter_map(|line| line.strip_prefix("go: downloading ")?.trim().split_once(' ')).collect();
    let refused = |line: &&str| line.contains("module lookup disabled by GOPROXY") || line.contains("reading file://");
    let mut found = BTreeSet::new();
    for line in said.lines().filter(refused) {
        let named = named_modules(line);
        let package = line.split_once(": ").map(|(package, _)| package).unwrap_or_default();
        if !named.is_empty() {
            found.extend(named.into_iter().map(|name| format!("module {name}")));
        } else if package.contains('.') && !package.contains(['@', ' ']) {
            let of = |path: &str| package == path || package.starts_with(&format!("{path}/"));
            found.insert(match announced.iter().find(|(path, _)| of(path)) {
                Some((path, version)) => format!("module {path}@{version}"),
                None => format!("package {package}"),
            });
        }
    }
    found
}

fn named_modules(line: &str) -> BTreeSet<String> {
    let words = line.split_whitespace().map(|word| word.trim_matches([':', ',', '(', ')', ';', '"']));
    let named = words.filter(|word| {
        word.split_once('@').is_some_and(|(path, version)| {
            path.contains('.') && version.len() > 1 && version.starts_with('v') && !word.contains("://")
        })
    });
    named.map(str::to_owned).collect()
}

/// The sources that the user's own configuration of cargo defines, by what defines them.
pub(crate) fn users_sources<'a>(tables: impl Iterator<Item = &'a toml::Table>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for table in tables {
        for (name, source) in table.get("source").and_then(Value::as_table).into_iter().flatten() {
            let defined = ["registry", "git"].iter().find_map(|key| source.get(*key)?.as_str());
            found.extend(defined.map(|it| (it.to_owned(), name.clone())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_what_go_says() {
        let said = "client.go:11:2: github.com/spf13/pflag@v1.0.10: module lookup disabled by GOPROXY=off\ngo: golang.org/x/sys@v0.30.0 (replaced by x): reading file:///p/golang.org/x/sys/@v/v0.30.0.mod: no such file, a@b.c";
        let found: Vec<_> = modules_in(said).into_iter().collect();
        assert_eq!(found, ["module github.com/spf13/pflag@v1.0.10", "module golang.org/x/sys@v0.30.0"]);
        let said =
            "golang.org/x/sys/unix: module lookup disabled by GOPROXY=off\ngo: downloading golang.org/x/sys v0.30.0";
        assert_eq!(modules_in(said).into_iter().collect::<Vec<_>>(), ["module golang.org/x/sys@v0.30.0"]);
        let said = "go: downloading golang.org/x/sys v0.30.0\ngo: downloading github.com/spf13/pflag v1.0.10";
        assert!(modules_in(said).is_empty(), "what was found is announced too");
        let said = "golang.org/x/sys/unix: module lookup disabled by GOPROXY=off\nexample.com/x: undefined: y";
        assert_eq!(modules_in(said).into_iter().collect::<Vec<_>>(), ["package golang.org/x/sys/unix"]);
    }

    #[test]
    fn a_closed_environment_overrides_what_was_set() {
        let mut env = Environment::new([("GOPROXY".into(), "https://proxy.example".into())]);
        close(&mut env);
        assert_eq!(env.text("GOPROXY"), Some("off"));
        assert_eq!(env.text("GOTOOLCHAIN"), Some("local"));
        assert_eq!(env.text("CARGO_NET_OFFLINE"), Some("true"));
        let modules = crate::bundle::ModuleProxy { directory: "/b/modules".into(), cache: "/b/cache".into() };
        env.set("GOFLAGS", "-mod=mod");
        take_modules(&mut env, &Vendored { crates: None, modules: Some(modules) });
        assert_eq!(env.text("GOPROXY"), Some("file:///b/modules"));
        assert_eq!(env.text("GOFLAGS"), Some("-mod=mod -modcacherw"));
        assert_eq!(env.text("GOTOOLCHAIN"), Some("local"));
    }

    #[test]
    fn cargos_cache_is_looked_into() {
        let home = tempfile::tempdir().unwrap();
        let mut env = Environment::new([]);
        env.set("CARGO_HOME", home.path());
        let own = |source: &str| LockedCrate {
            name: "a".into(),
            version: "1.0.0".into(),
            source: source.into(),
            checksum: None,
        };
        let (registry, git) = (own("registry+https://x"), own("git+https://example.com/team/tool.git?rev=1#2"));
        assert!(!is_fetched(&registry, &env) && !is_fetched(&git, &env));
        fs_err::create_dir_all(home.path().join("registry/cache/index-0123")).unwrap();
        fs_err::write(home.path().join("registry/cache/index-0123/a-1.0.0.crate"), "").unwrap();
        fs_err::create_dir_all(home.path().join("git/db/tool-0123")).unwrap();
        assert!(is_fetched(&registry, &env) && is_fetched(&git, &env));
    }
}
