//! Go: one `go build` for each program and platform.
//!
//! Go's own cache is shared by all of them. The program's place is fixed, so that go finds the
//! one from last time there and does not link again what has not changed. Its build ID follows
//! from the sources and flags alone and stays as it is: without one, go would link every time.
//! What goes into the image is a copy, which is left alone while the build ID is the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_layout::Digest;

use super::artifact::{Artifact, LocalPaths, Mark, put_aside};
use super::error::{CompileError, ProgramError, SurveyError};
use super::go_inputs::Inputs;
use super::missing::{Lack, Lacks};
use super::request::{CompileRequest, GoProgram, Linkage, Program};
use super::turn::Turn;
use super::unit::GoUnit;
use super::{Compiled, ToolContext, c_compiler, cgo, hints};
use crate::event::Event;
use crate::process::{Command, Environment};
use crate::target::TargetPlatform;

/// The units of all Go programs.
pub(super) fn units(
    requests: &[CompileRequest],
    context: &ToolContext<'_>,
    lacks: &mut Lacks,
) -> Result<Vec<GoUnit>, SurveyError> {
    let mut units: Vec<GoUnit> = Vec::new();
    let mut known = cgo::Known::default();
    for request in requests {
        let Program::Go(program) = &request.program else { continue };
        let wrong = |source| SurveyError::Program { binary: request.binary, name: request.name.clone(), source };
        if !has_go_files(&program.directory) {
            return Err(wrong(ProgramError::NoGoFiles(program.directory.clone())));
        }
        let Some(go) = context.env.lookup("go") else {
            lacks.add(Lack::Compiler { program: "go" }, None, request.platform);
            continue;
        };
        let mut environment = environment(program, request.platform, context);
        let (facts, settings) = known.of(program, &go, &environment, context)?;
        if facts.package.as_ref().is_some_and(|name| name != "main") {
            return Err(wrong(ProgramError::NotMain(program.directory.clone())));
        }
        // Who sets the variable has decided.
        let package = if environment.get("CGO_ENABLED") == Some("0".as_ref()) {
            if let Some(package) = &facts.cgo {
                context.warn(format!("{}: CGO_ENABLED=0 leaves out the C in {package}", request.name));
            }
            None
        } else if program.env.get("CGO_ENABLED").is_some_and(|value| value == "1") {
            Some(facts.cgo.unwrap_or_else(|| "net".to_owned()))
        } else {
            facts.cgo
        };
        environment.set("CGO_ENABLED", if package.is_some() { "1" } else { "0" });
        if let Some(package) = &package {
            match c_compiler::find(request.platform, request.linkage, &environment, context)? {
                Ok(found) => {
                    let names = [("CC", found.cc), ("CXX", found.cxx)];
                    for (name, value) in names.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                        environment.set(name, value);
                    }
                }
                Err(program) => {
                    let package = package.clone();
                    lacks.add(Lack::Cgo { program, package }, None, request.platform);
                    continue;
                }
            }
        }
        let archive = package.is_some() && request.linkage == Linkage::Static;
        let arguments = arguments(program, archive).map_err(wrong)?;
        let binary = (request.binary, request.name.clone());
        let output = output(program, request.platform, &arguments, &environment, context.work_dir);
        match units.iter_mut().find(|unit| unit.output == output) {
            Some(unit) => unit.binaries.push(binary),
            None => units.push(GoUnit {
                directory: program.directory.clone(),
                platform: request.platform,
                binaries: vec![binary],
                arguments,
                environment,
                go,
                settings,
                output,
            }),
        }
    }
    Ok(units)
}

fn has_go_files(directory: &Path) -> bool {
    let Ok(entries) = fs_err::read_dir(directory) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|extension| extension == "go"))
}

/// Everything behind `go build` that does not depend on the platform. `archive`: the C library
/// goes into the program.
fn arguments(program: &GoProgram, archive: bool) -> Result<Vec<String>, ProgramError> {
    let mut arguments = vec!["-trimpath".to_owned(), "-buildvcs=false".to_owned()];
    let words: Result<Vec<String>, ProgramError> = program.ldflags.iter().map(|flag| quoted(flag)).collect();
    let mut words = words?;
    if archive {
        words.extend(["-linkmode=external".to_owned(), "-extldflags=-static".to_owned()]);
    }
    if !words.is_empty() {
        arguments.push(format!("-ldflags={}", words.join(" ")));
    }
    if !program.tags.is_empty() {
        arguments.push(format!("-tags={}", program.tags.join(",")));
    }
    Ok(arguments)
}

/// A linker flag, and its value behind the first space, each as a word of its own: whatever a
/// rendered value holds, it stays one value.
fn quoted(flag: &str) -> Result<String, ProgramError> {
    let quote = |word: &str| {
        let plain = |c: char| c.is_ascii_graphic() && c != '\'' && c != '"';
        if !word.is_empty() && word.chars().all(plain) {
            Ok(word.to_owned())
        } else if !word.contains('\'') {
            Ok(format!("'{word}'"))
        } else if !word.contains('"') {
            Ok(format!("\"{word}\""))
        } else {
            Err(ProgramError::Quotes(flag.to_owned()))
        }
    };
    match flag.split_once(' ') {
        Some((name, value)) if name.starts_with('-') => Ok(format!("{name} {}", quote(value.trim())?)),
        _ => quote(flag),
    }
}

fn environment(program: &GoProgram, platform: TargetPlatform, context: &ToolContext<'_>) -> Environment {
    let mut env = context.compiler_environment();
    for (name, value) in &program.env {
        env.set(name, value);
    }
    let row = platform.target();
    env.set("GOOS", "linux");
    env.set("GOARCH", row.goarch);
    if let Some((name, value)) = row.go_level {
        env.set(name, value);
    }
    if context.offline {
        crate::offline::close_go(&mut env);
    }
    crate::offline::take_modules(&mut env, context.vendored);
    // Without a home that can be written to go has nowhere to work.
    let home = context.env.home().filter(|home| rustix::fs::access(home, rustix::fs::Access::WRITE_OK).is_ok());
    if home.is_none() {
        if env.get("XDG_CACHE_HOME").is_none() {
            env.set_default("GOCACHE", context.work_dir.join("go-build"));
        }
        env.set_default("GOPATH", context.work_dir.join("gopath"));
        env.set_default("GOENV", "off");
    }
    env
}

/// Another place for everything that may change the program beside its sources.
fn output(
    program: &GoProgram,
    platform: TargetPlatform,
    arguments: &[String],
    environment: &Environment,
    work_dir: &Path,
) -> PathBuf {
    let compiler = ["CGO_ENABLED", "CC", "CXX"].map(|name| environment.get(name));
    let env: &BTreeMap<String, String> = &program.env;
    let text = format!("1\0{:?}\0{platform}\0{arguments:?}\0{env:?}\0{compiler:?}", program.directory);
    let name = program.directory.file_name().unwrap_or("program".as_ref());
    work_dir.join("go").join(Digest::of(text.as_bytes()).short()).join(name)
}

/// The command that builds a unit.
pub(super) fn command(unit: &GoUnit, context: &ToolContext<'_>) -> Command {
    let command = Command::new(&unit.go, &unit.directory, unit.environment.clone())
        .arg("build")
        .args(["-p".to_owned(), context.jobs.to_string()])
        .args(&unit.arguments)
        .arg("-o")
        .arg(&unit.output);
    with_mod(command, unit, context).arg(".")
}

/// The same with what go may do about modules.
pub(super) fn with_mod(command: Command, unit: &GoUnit, context: &ToolContext<'_>) -> Command {
    // Read-only is what go does by itself, unless the user's own flags say otherwise.
    let writes = context.locked && unit.environment.text("GOFLAGS").is_some_and(|flags| flags.contains("-mod=mod"));
    match (writes, crate::bundle::has_vendored_modules(&unit.directory)) {
        (false, _) => command,
        (true, true) => command.arg("-mod=vendor"),
        (true, false) => command.arg("-mod=readonly"),
    }
}

/// What go says of itself, such as `go1.26.0`.
pub fn version(unit: &GoUnit) -> &str {
    unit.settings.get("GOVERSION")
}

/// Runs go.
pub(super) fn compile(unit: &GoUnit, id: u64, context: &ToolContext<'_>) -> Result<Compiled, CompileError> {
    let place = unit.output.parent().unwrap_or(context.work_dir);
    let _turn = Turn::take(place, context)?;
    let inputs = Inputs::of(unit, place, context)?;
    let is_as_before = inputs.as_ref().is_some_and(|inputs| inputs.made(&unit.output, place));
    if is_as_before {
        context.note(format!("{}: all that it is built of is as before", unit.output.display()));
    } else {
        let command = command(unit, context);
        context.note(format!("in {}: {command}", unit.directory.display()));
        let mut on_line = |_, line: &str| context.reporter.report(Event::Output { id, line: line.to_owned() });
        let output = context.children.run(&command, &mut on_line)?;
        if !output.status.success() {
            return Err(hints::failed("go build", vec![unit.platform], output, context));
        }
        if let Some(inputs) = inputs {
            inputs.remember(&unit.output, place);
        }
    }
    let home = context.env.home();
    let module = unit.directory.ancestors().find(|directory| directory.join("go.mod").exists());
    let paths = [Some(unit.directory.as_path()), module, Some(context.work_dir), home.as_deref()];
    let local = LocalPaths::new(paths.into_iter().flatten());
    let name = unit.output.file_name().unwrap_or_default().to_string_lossy();
    let aside = put_aside(&unit.output, &place.join("staged"), &name, &local, &Mark::of_go(&unit.output)?)?;
    let mut artifacts = Vec::new();
    for (binary, name) in &unit.binaries {
        for path in &aside.found {
            context.warn(format!(
                "{name} for {} holds a path of this machine, so it is not the same elsewhere: {path}",
                unit.platform
            ));
        }
        artifacts.push(Artifact { binary: *binary, platform: unit.platform, path: aside.path.clone() });
    }
    Ok(Compiled { artifacts, packages: std::collections::BTreeSet::new(), is_as_before })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ldflags: &[&str], expected: &str) {
        let program = GoProgram {
            directory: "/m".into(),
            ldflags: ldflags.iter().map(|flag| (*flag).to_owned()).collect(),
            tags: vec!["netgo".to_owned(), "x".to_owned()],
            env: BTreeMap::new(),
        };
        let arguments = match arguments(&program, false) {
            Ok(arguments) => arguments.join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(arguments, expected);
    }

    #[test]
    fn a_value_of_a_linker_flag_stays_one_value() {
        check(
            &["-s", "-w", "-X main.version=1.0 -linkmode=external"],
            "-trimpath -buildvcs=false -ldflags=-s -w -X 'main.version=1.0 -linkmode=external' -tags=netgo,x",
        );
        check(&["-X a=it's"], "-trimpath -buildvcs=false -ldflags=-X \"a=it's\" -tags=netgo,x");
        check(&["-X a='\""], "the linker flag `-X a='\"` holds both kinds of quotation marks, which Go cannot take");
        check(&[], "-trimpath -buildvcs=false -tags=netgo,x");
    }
}
