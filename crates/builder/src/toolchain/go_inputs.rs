//! What a Go program is made of, as go itself lists it: whether it has to be built again.
//!
//! For a program of which nothing has changed, `go build` takes three times as long as `go list`: it
//! starts its tools to ask their versions, and hashes. So what was built is remembered with what it was built of: go's
//! settings, the packages outside the standard library with the files that go counts to each, and the states of these
//! files. Where all of that is as it was, the program that lies there is the one that go would make.
//!
//! What cannot be seen through is built: C, which includes files that nobody lists, and flags that bring
//! tools or files of their own. Files too young to be trusted (git's rule, see
//! [`SourceStates::settled_by`]) are built again. The standard library and go's tools are taken for
//! what their `VERSION` file and the go command are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_layout::Digest;
use oci_layout::digest::{Algorithm, Hasher};
use oci_layout::layer::{Moment, SourceStates};
use serde::{Deserialize, Serialize};

use super::ToolContext;
use super::artifact::Mark;
use super::unit::GoUnit;
use crate::process::{Command, Environment, ProcessError};

/// Part of every digest: changes with what goes into it.
const VERSION: &str = "go inputs 1";

/// Flags of the user's that change nothing but what go lists and what stands in the flags themselves.
const CLEAR_FLAGS: [&str; 7] = ["-mod", "-modcacherw", "-trimpath", "-buildvcs", "-tags", "-ldflags", "-v"];

/// What `go env` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Asks go, as it is in `directory`. Nothing where go cannot tell: the build says why.
    pub(super) fn ask(
        go: &Path,
        directory: &Path,
        env: &Environment,
        context: &ToolContext<'_>,
    ) -> Result<Self, ProcessError> {
        let command = Command::new(go, directory, env.clone()).args(["env", "-json"]);
        let output = context.children.capture(&command)?;
        let mut settings: BTreeMap<String, String> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        // It names a directory that is another one each time.
        settings.remove("GOGCCFLAGS");
        Ok(Self(settings))
    }

    /// One of them; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether all flags of the user's, and `arguments`, are understood.
    fn is_clear(&self, arguments: &[String]) -> bool {
        // A linker of the system's has files of its own.
        let links_outside = |flags: &str| flags.contains("linkmode") || flags.contains("extld");
        !self.0.is_empty()
            && !arguments.iter().map(String::as_str).chain([self.get("GOFLAGS")]).any(links_outside)
            && self.get("GOFLAGS").split_whitespace().all(|flag| {
                let name = flag.split('=').next().unwrap_or_default();
                CLEAR_FLAGS.contains(&name.strip_prefix('-').filter(|name| name.starts_with('-')).unwrap_or(name))
            })
    }
}

/// What a program is made of, seen before it is built.
pub(super) struct Inputs {
    digest: Digest,
    /// No file can change any more without showing it.
    settled: bool,
}

/// A package, as far as it matters where its files are.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    dir: PathBuf,
    #[serde(default)]
    standard: bool,
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    module: Option<Module>,
    #[serde(flatten)]
    files: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    #[serde(default)]
    go_mod: Option<PathBuf>,
}

/// What go counts to a package without C.
const FILES: [&str; 5] = ["GoFiles", "HFiles", "SFiles", "SysoFiles", "EmbedFiles"];
/// What it counts to one that is not to be judged here.
const FOREIGN: [&str; 7] = ["CgoFiles", "CFiles", "CXXFiles", "MFiles", "FFiles", "SwigFiles", "SwigCXXFiles"];

impl Inputs {
    /// What `unit` is made of now. None where that cannot be seen through.
    pub(super) fn of(unit: &GoUnit, place: &Path, context: &ToolContext<'_>) -> Result<Option<Self>, ProcessError> {
        if unit.environment.get("CGO_ENABLED") != Some("0".as_ref()) || !unit.settings.is_clear(&unit.arguments) {
            return Ok(None);
        }
        let Some(moment) = now(place) else { return Ok(None) };
        let fields = ["Dir", "ImportPath", "Standard", "Incomplete", "Module", "DefaultGODEBUG"];
        let fields: Vec<&str> = fields.into_iter().chain(FILES).chain(FOREIGN).collect();
        let command = Command::new(&unit.go, &unit.directory, unit.environment.clone())
            .args(["list", "-deps"])
            .arg(format!("-json={}", fields.join(",")))
            .args(&unit.arguments);
        let command = super::go::with_mod(command, unit, context).arg(".");
        let output = context.children.capture(&command)?;
        if !output.status.success() {
            return Ok(None);
        }
        let mut states = SourceStates::new();
        if Self::note(unit, &output.stdout, &mut states).is_none() {
            return Ok(None);
        }
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut add = |text: &[u8]| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        add(VERSION.as_bytes());
        let variables = unit.environment.iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GO"));
        for (name, value) in variables {
            add(name.as_encoded_bytes());
            add(value.as_encoded_bytes());
        }
        for (name, value) in &unit.settings.0 {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        unit.arguments.iter().for_each(|argument| add(argument.as_bytes()));
        add(&output.stdout);
        add(states.digest().bytes());
        Ok(Some(Self { digest: hasher.finish(), settled: states.settled_by(moment) }))
    }

    /// Notes the states of all files. None where one cannot be seen, or is not to be judged here.
    fn note(unit: &GoUnit, listed: &[u8], states: &mut SourceStates) -> Option<()> {
        let mut look = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            states.note(path, &metadata);
            Some(())
        };
        for package in serde_json::Deserializer::from_slice(listed).into_iter::<Package>() {
            let package = package.ok()?;
            if package.standard {
                continue;
            }
            if package.incomplete || FOREIGN.iter().any(|name| package.files.contains_key(*name)) {
                return None;
            }
            for file in FILES.iter().filter_map(|name| package.files.get(*name)).flat_map(serde_json::Value::as_array) {
                for name in file {
                    look(&package.dir.join(name.as_str()?))?;
                }
            }
            if let Some(go_mod) = package.module.and_then(|module| module.go_mod) {
                look(&go_mod)?;
            }
        }
        let settings = &unit.settings;
        look(&std::fs::canonicalize(&unit.go).ok()?)?;
        look(&Path::new(settings.get("GOROOT")).join("VERSION"))?;
        // What may be there, and counts when it is.
        let mut others = vec![unit.directory.join("default.pgo"), Path::new(settings.get("GOROOT")).join("go.env")];
        for name in ["GOMOD", "GOWORK"] {
            let file = Path::new(settings.get(name));
            if let (true, Some(directory)) = (file.is_absolute(), file.parent()) {
                others.push(file.to_owned());
                others.push(file.with_extension("sum"));
                others.push(file.with_extension("work.sum"));
                others.push(directory.join("vendor/modules.txt"));
            }
        }
        for path in others.iter().filter(|path| path.exists()) {
            look(path)?;
        }
        Some(())
    }

    /// Whether `program` was built of exactly this, and has been left alone since.
    pub(super) fn made(&self, program: &Path, place: &Path) -> bool {
        let record = fs_err::read(record(place)).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        self.settled
            && record.is_some_and(|record| {
                record.inputs == self.digest && Mark::of_state(program).is_ok_and(|mark| mark == record.program)
            })
    }

    /// Remembers that `program` was built of this.
    pub(super) fn remember(&self, program: &Path, place: &Path) {
        if !self.settled {
            return;
        }
        let record = Mark::of_state(program).and_then(|program| {
            let text = serde_json::to_vec(&Record { inputs: self.digest, program })?;
            fs_err::write(record(place), text)
        });
        if let Err(error) = record {
            tracing::debug!(%error, "what a program was built of is not remembered");
        }
    }
}

/// What was built of what. Who is interrupted while it is written has none: it is no JSON then.
#[derive(Serialize, Deserialize)]
struct Record {
    inputs: Digest,
    /// The state that it was left in.
    program: Mark,
}

fn record(place: &Path) -> PathBuf {
    place.join("inputs.json")
}

/// The file system's now.
fn now(place: &Path) -> Option<Moment> {
    let file = tempfile::Builder::new().prefix(".now").tempfile_in(place).ok()?;
    Some(Moment::of(&file.as_file().metadata().ok()?))
}
