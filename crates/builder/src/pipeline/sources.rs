//! Files and directories that the build file names, looked at before anything is fetched or
//! compiled: all that are not there are told at once, each with its place.

use super::*;
use crate::image::Context;

/// Whether the sources of all platforms are there.
pub(super) fn check(spec: &BuildSpec, context: &Context, facts: &Facts, env: &Environment) -> Result<(), BuildError> {
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut looked: Vec<&BuildSpec> = Vec::new();
    for platform in spec.platforms.iter().map(|platform| platform.value) {
        let values = Variables { platform: Some(platform), facts };
        let own = spec.of(platform);
        // What does not name the platform is the same for all that share their settings.
        let again = looked.iter().any(|other| std::ptr::eq(*other, own));
        looked.push(own);
        let binaries = own.binaries.iter().map(|binary| program(&binary.value.source, context, &values, env));
        let files = own.files.iter().filter(|file| !again || file.value.from.varies()).map(|file| {
            let found = context.find(&file.value, &values);
            found.map(drop)
        });
        for problem in binaries.chain(files).filter_map(Result::err) {
            // Most are the same for every platform.
            if !problems.iter().any(|told| told.place() == problem.place() && told.message == problem.message) {
                problems.push(*problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(at_fault(spec, problems)) }
}

fn program(
    source: &BinarySource,
    context: &Context,
    values: &Variables<'_>,
    env: &Environment,
) -> Result<(), Box<Diagnostic>> {
    let (path, marker, hint) = match source {
        BinarySource::File(path) => {
            let file = context.open(path, values)?;
            if file.is_dir() {
                let shown = file.strip_prefix(context.directory()).unwrap_or(&file).display();
                let message = format!("{shown} is a directory, not a program");
                return Err(Box::new(Diagnostic::error("source", message, path.place)));
            }
            return Ok(());
        }
        BinarySource::Rust(rust) => (&rust.path, "Cargo.toml", "name the directory of the package or workspace"),
        BinarySource::Go(go) => (&go.path, "go.mod", "name a directory of a module; `go mod init` makes one"),
    };
    let directory = context.directory().join(&path.value);
    let fail = |message: String| Err(Box::new(Diagnostic::error("source", message, path.place).hint(hint)));
    if !directory.is_dir() {
        return fail(format!("there is no directory {}", path.value.display()));
    }
    // As the compilers look for it: here or further up.
    let without_modules = marker == "go.mod" && env.text("GO111MODULE") == Some("off");
    if !without_modules && !directory.ancestors().any(|directory| directory.join(marker).exists()) {
        return fail(format!("there is no {marker} in {}, nor above it", path.value.display()));
    }
    Ok(())
}
