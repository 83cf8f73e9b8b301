//! Files and directories that the build file names, looked at before anything is fetched or
//! compiled: all that are not there are told at once, each with its place.

use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

use super::*;
use crate::image::Context;
use crate::spec::model::{FileSpec, MountKind};

/// Whether the sources of all platforms are there.
pub(super) fn check(
    spec: &BuildSpec,
    context: &Context,
    facts: &Facts,
    env: &Environment,
    jobs: NonZeroUsize,
) -> Result<(), BuildError> {
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut looked: Vec<&BuildSpec> = Vec::new();
    for platform in spec.platforms.iter().map(|platform| platform.value) {
        let values = Variables { platform: Some(platform), facts };
        let own = spec.of(platform);
        // What does not name the platform is the same for all that share their settings.
        let again = looked.iter().any(|other| std::ptr::eq(*other, own));
        looked.push(own);
        let files: Vec<&FileSpec> =
            own.files.iter().map(|file| &file.value).filter(|file| !again || file.from.varies()).collect();
        let binaries = own.binaries.iter().map(|binary| program(&binary.value.source, context, &values, env));
        let mounts = own.runs.iter().flat_map(|run| &run.value.mounts);
        let mounts = mounts.map(|mount| mounted(&mount.value.kind, context, &values));
        let single = binaries.chain(mounts).filter_map(Result::err).map(|problem| *problem);
        for problem in single.chain(missing(&files, context, &values, jobs)) {
            // Most are the same for every platform.
            if !problems.iter().any(|told| told.place() == problem.place() && told.message == problem.message) {
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(at_fault(spec, problems)) }
}

/// What is wrong with `files`, in their order. Asking the file system takes the time: it is asked
/// for many at once.
fn missing(files: &[&FileSpec], context: &Context, values: &Variables<'_>, jobs: NonZeroUsize) -> Vec<Diagnostic> {
    /// As many are looked at in the time that it takes to start a thread.
    const FEW: usize = 64;
    let look = |files: &[&FileSpec]| -> Vec<Diagnostic> {
        files.iter().filter_map(|file| context.find(file, values).err()).map(|problem| *problem).collect()
    };
    let share = files.len().div_ceil(jobs.get()).max(FEW);
    if files.len() <= share {
        return look(files);
    }
    std::thread::scope(|scope| {
        let looks: Vec<_> = files.chunks(share).map(|share| scope.spawn(|| look(share))).collect();
        // A panic goes on here.
        let join = |look: ScopedJoinHandle<'_, _>| look.join().unwrap_or_else(|panic| resume_unwind(panic));
        looks.into_iter().flat_map(join).collect()
    })
}

/// What a command is to find.
fn mounted(kind: &MountKind, context: &Context, values: &Variables<'_>) -> Result<(), Box<Diagnostic>> {
    match kind {
        MountKind::Cache(_) | MountKind::Tmpfs => Ok(()),
        MountKind::Bind(path) => context.open(path, values).map(drop),
        MountKind::Secret(path) => {
            let file = context.open(path, values)?;
            if file.is_file() {
                return Ok(());
            }
            let shown = file.strip_prefix(context.directory()).unwrap_or(&file).display();
            Err(Box::new(Diagnostic::error("source", format!("the secret {shown} is no file"), path.place)))
        }
        MountKind::SecretEnv(name) if values.facts.env.contains_key(&name.value) => Ok(()),
        MountKind::SecretEnv(name) => {
            let message = format!("the environment does not set the secret {}", name.value);
            Err(Box::new(Diagnostic::error("secret", message, name.place).hint("export it before mab is started")))
        }
    }
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
