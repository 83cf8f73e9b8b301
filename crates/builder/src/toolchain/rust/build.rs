//! Calls `cargo build` for one unit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::wrapper::{self, Bytes, Settings};
use crate::bundle::CrateSources;
use crate::event::Event;
use crate::process::{Command, Environment, Stream};
use crate::toolchain::artifact::{self, Artifact, LocalPaths, Mark, crate_of};
use crate::toolchain::turn::Turn;
use crate::toolchain::unit::{CompileUnit, RustUnit};
use crate::toolchain::{Compiled, ToolContext, error::CompileError, hints};

/// A line of cargo's standard output, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<MessageTarget>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    kind: Vec<String>,
    name: String,
}

/// What cargo's messages have told so far.
#[derive(Default)]
struct Told {
    packages: BTreeSet<String>,
    /// By package id, binary and target.
    executables: BTreeMap<(String, String, String), PathBuf>,
}

impl Told {
    fn message(&mut self, line: &str, target_directory: &Path) -> Result<(), serde_json::Error> {
        let message: Message = serde_json::from_str(line)?;
        let ("compiler-artifact", Some(package)) = (message.reason.as_str(), message.package_id) else { return Ok(()) };
        if let (Some(target), Some(executable)) = (message.target, message.executable)
            && target.kind.iter().any(|kind| kind == "bin")
            && let Ok(below) = executable.strip_prefix(target_directory)
            && let Some(triple) = below.iter().next().and_then(|triple| triple.to_str())
        {
            // The message has no target; the path has: TARGET-DIRECTORY/TRIPLE/PROFILE/NAME.
            self.executables.insert((package.clone(), target.name, triple.to_owned()), executable);
        }
        self.packages.insert(package);
        Ok(())
    }
}

/// Runs cargo and puts the programs aside.
pub(in crate::toolchain) fn compile(
    unit: &RustUnit,
    id: u64,
    context: &ToolContext<'_>,
) -> Result<Compiled, CompileError> {
    let _turn = Turn::take(&unit.target_directory, context)?;
    // Cargo tells resolved paths.
    let target_directory = fs_err::canonicalize(&unit.target_directory)?;
    fetch_first(unit, context)?;
    let command = command(unit, context);
    context.note(format!("in {}: {command}", unit.directory.display()));
    for target in &unit.targets {
        let tools = target.tools.iter().chain(&target.build_scripts);
        let tools: String = tools.map(|(name, value)| format!(", {name}={value}")).collect();
        context.note(format!("{} is linked by {}{tools}", target.triple, target.linker));
    }
    let (mut told, mut wrong) = (Told::default(), None);
    let output = context.children.run(&command, &mut |stream, line| {
        if stream == Stream::Stdout && line.starts_with('{') {
            let known = told.message(line, &unit.target_directory).map(|()| {
                if unit.target_directory != target_directory {
                    let _ = told.message(line, &target_directory);
                }
            });
            if let Err(source) = known {
                let line = line.chars().take(200).collect();
                wrong.get_or_insert(CompileError::Message { line, source });
            }
        } else {
            context.reporter.report(Event::Output { id, line: line.to_owned() });
        }
    })?;
    if !output.status.success() {
        let platforms = CompileUnit::Rust(unit.clone()).platforms();
        return Err(hints::failed("cargo build", platforms, output, context));
    }
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let artifacts = put_aside(unit, &told, context)?;
    Ok(Compiled { artifacts, packages: told.packages, is_as_before: false })
}

/// Where C is compiled, the flags have to name the directories that cargo keeps crates in, which
/// follow from the registries' addresses: in an empty cargo home they are made first.
fn fetch_first(unit: &RustUnit, context: &ToolContext<'_>) -> Result<(), CompileError> {
    let known = context.cargo_home().map(|home| home.join("registry/src"));
    let is_empty = known.is_none_or(|at| fs_err::read_dir(at).map_or(true, |mut entries| entries.next().is_none()));
    let vendored = context.vendored.crates.as_ref().is_some_and(|crates| takes(unit, crates));
    if !is_empty || vendored || context.offline || !super::Uses::of(&unit.workspace).c {
        return Ok(());
    }
    let mut command = Command::new(&unit.toolchain.cargo, &unit.directory, context.compiler_environment()).arg("fetch");
    for target in &unit.targets {
        command = command.args(["--target", &target.triple]);
    }
    // Where this fails, the build itself says why.
    context.children.capture(&command.args(context.locked.then_some("--locked")))?;
    Ok(())
}

fn put_aside(unit: &RustUnit, told: &Told, context: &ToolContext<'_>) -> Result<Vec<Artifact>, CompileError> {
    let (cargo_home, home) = (context.cargo_home(), context.env.home());
    let paths = [Some(unit.workspace.as_path()), Some(&unit.target_directory), cargo_home.as_deref(), home.as_deref()];
    let local = LocalPaths::new(paths.into_iter().flatten().chain([context.work_dir]));
    let mut artifacts = Vec::new();
    for output in &unit.outputs {
        let key = (output.bin.package_id.clone(), output.bin.name.clone(), output.triple.clone());
        let executable = told.executables.get(&key).ok_or_else(|| CompileError::NoArtifact {
            tool: "cargo build",
            program: output.bin.name.clone(),
            platform: output.platform,
        })?;
        let directory = unit.target_directory.join("staged").join(&output.triple);
        let mark = Mark::of_state(executable)?;
        let aside = artifact::put_aside(executable, &directory, &output.bin.name, &local, &mark)?;
        for found in aside.found {
            let of = crate_of(&found).map(|name| format!(" (from {name})")).unwrap_or_default();
            context.warn(format!(
                "{} for {} holds a path of this machine, so it is not the same elsewhere: {found}{of}",
                output.name, output.platform
            ));
        }
        artifacts.push(Artifact { binary: output.binary, platform: output.platform, path: aside.path });
    }
    Ok(artifacts)
}

/// The command that builds a unit.
pub(in crate::toolchain) fn command(unit: &RustUnit, context: &ToolContext<'_>) -> Command {
    let settings = &unit.settings;
    let mut command = Command::new(&unit.toolchain.cargo, &unit.directory, environment(unit, context))
        .args(["build", "--message-format=json-render-diagnostics", "--profile", &settings.profile, "--target-dir"])
        .arg(&unit.target_directory)
        .args(["--jobs".to_owned(), context.jobs.to_string()]);
    for target in &unit.targets {
        command = command.args(["--target", &target.triple]);
    }
    let mut packages: Vec<&str> = unit.outputs.iter().map(|output| output.bin.package.as_str()).collect();
    let mut bins: Vec<&str> = unit.outputs.iter().map(|output| output.bin.name.as_str()).collect();
    for (flag, names) in [("--package", &mut packages), ("--bin", &mut bins)] {
        names.sort_unstable();
        names.dedup();
        for name in names.iter() {
            command = command.args([flag, *name]);
        }
    }
    if !settings.features.is_empty() {
        command = command.arg("--features").arg(settings.features.join(","));
    }
    let flags = [
        (settings.all_features, "--all-features"),
        (!settings.default_features, "--no-default-features"),
        (context.locked, "--locked"),
        (context.offline, "--offline"),
    ];
    let command = match &context.vendored.crates {
        Some(crates) if takes(unit, crates) => crates
            .settings(&unit.sources.iter().cloned().collect())
            .iter()
            .fold(command, |command, setting| command.args(["--config", setting.as_str()])),
        _ => command,
    };
    command.args(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag))
}

/// Whether the bundles have all that a unit's workspace takes from outside. Without one crate of
/// it, cargo would have to do without all others too.
fn takes(unit: &RustUnit, crates: &CrateSources) -> bool {
    let locked = crate::bundle::locked_crates(&unit.workspace);
    locked.is_ok_and(|locked| locked.is_some_and(|(_, locked)| crates.lacks(&locked).is_empty()))
}

fn environment(unit: &RustUnit, context: &ToolContext<'_>) -> Environment {
    let mut env = context.compiler_environment();
    for (name, value) in &unit.settings.env {
        env.set(name, value);
    }
    if let Some(toolchain) = &unit.settings.toolchain {
        env.set("RUSTUP_TOOLCHAIN", toolchain);
    }
    env.set_default("CARGO_TERM_COLOR", if context.color { "always" } else { "never" });
    // What an incremental build produces depends on what was built before it.
    env.set_default("CARGO_INCREMENTAL", "0");
    // Newer cargos keep what is in between elsewhere, where the user has configured it: shared
    // with builds whose flags are others, which cargo cannot see.
    env.set("CARGO_BUILD_BUILD_DIR", &unit.target_directory);
    for (name, value) in unit.variables() {
        env.set_default(name, value);
    }
    let remaps = remaps(unit, context);
    for target in &unit.targets {
        for (name, value) in super::prefix_maps(&target.triple, &remaps, &env) {
            env.set(name, value);
        }
    }
    env.set("RUSTC_WRAPPER", context.rustc_wrapper);
    // Only what the user's own settings consist of can be written as JSON: this cannot fail.
    let settings = serde_json::to_string(&wrapper_settings(unit, remaps, context)).unwrap_or_default();
    env.set(wrapper::VARIABLE, settings);
    env
}

fn remaps(unit: &RustUnit, context: &ToolContext<'_>) -> Vec<(PathBuf, String)> {
    let (cargo_home, home) = (context.cargo_home(), context.env.home());
    let vendored = context.vendored.crates.as_ref().map(|crates| crates.directory.as_path());
    let (workspace, target) = (&unit.workspace, &unit.target_directory);
    super::remaps(workspace, target, cargo_home.as_deref(), home.as_deref(), vendored, &unit.toolchain)
}

fn wrapper_settings(unit: &RustUnit, remap: Vec<(PathBuf, String)>, context: &ToolContext<'_>) -> Settings {
    let mut target = Vec::new();
    if unit.settings.crt_static {
        target.push("-Ctarget-feature=+crt-static".to_owned());
    }
    if let Some(cpu) = &unit.settings.target_cpu {
        target.push(format!("-Ctarget-cpu={cpu}"));
    }
    Settings {
        remap: remap.into_iter().map(|(path, name)| (Bytes::from(path.as_path()), name)).collect(),
        target,
        cargo_home: context.cargo_home().as_deref().map(Bytes::from),
        wrapper: unit.user_wrapper.as_deref().map(Bytes::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tell_programs_by_package_name_and_target() {
        let mut told = Told::default();
        let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///w#app@1.0.0","manifest_path":"/w/Cargo.toml","target":{"kind":["bin"],"crate_types":["bin"],"name":"app","src_path":"/w/src/main.rs","edition":"2021"},"profile":{"opt_level":"3"},"features":[],"filenames":["/w/target/mab/1/s390x-unknown-linux-gnu/release/app"],"executable":"/w/target/mab/1/s390x-unknown-linux-gnu/release/app","fresh":false}"#;
        told.message(line, Path::new("/w/target/mab/1")).unwrap();
        told.message(r#"{"reason":"build-finished","success":true}"#, Path::new("/w")).unwrap();
        let key = ("path+file:///w#app@1.0.0".to_owned(), "app".to_owned(), "s390x-unknown-linux-gnu".to_owned());
        assert!(told.executables.contains_key(&key));
        assert_eq!(told.packages.len(), 1);
        for length in 1..line.len() {
            assert!(told.message(&line[..length], Path::new("/w")).is_err(), "{length}");
        }
    }
}
