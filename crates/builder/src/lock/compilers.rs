//! Which compilers build the programs of some build files.

use std::path::Path;

use super::Compilers;
use crate::process::{Children, Command, Environment, ProcessError};
use crate::spec::BuildSpec;
use crate::spec::model::BinarySource;

/// Asks rustc and go in the directories of the programs, where rustup and go.mod may name a
/// toolchain. One that is not there, or does not answer, is left out: who compiles says why.
pub fn of_programs(specs: &[BuildSpec], env: &Environment, children: &Children) -> Result<Compilers, ProcessError> {
    let env = env.without_credentials();
    let mut found = Compilers::new();
    let mut note = |name: &str, directory: &Path, program: Option<std::path::PathBuf>, arguments: &[&str]| {
        let Some(program) = program.filter(|_| directory.is_dir()) else { return Ok(()) };
        let command = Command::new(program, directory, env.clone()).args(arguments.iter().copied());
        let output = children.capture(&command)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().unwrap_or_default().trim_start_matches("rustc ").trim().to_owned();
        if output.status.success() && !version.is_empty() {
            found.entry(name.to_owned()).or_default().insert(version);
        }
        Ok(())
    };
    for spec in specs {
        let context = std::path::absolute(crate::image_context(spec)).unwrap_or_default();
        let each = spec.platforms.iter().flat_map(|platform| &spec.of(platform.value).binaries);
        let mut sources: Vec<(&str, &Path)> = each
            .filter_map(|binary| match &binary.value.source {
                BinarySource::Rust(rust) => Some(("rustc", rust.path.value.as_path())),
                BinarySource::Go(go) => Some(("go", go.path.value.as_path())),
                BinarySource::File(_) => None,
            })
            .collect();
        sources.sort_unstable();
        sources.dedup();
        for (name, path) in sources {
            let directory = context.join(path);
            match name {
                "rustc" => {
                    let rustc = env.get("RUSTC").map_or_else(|| env.lookup("rustc"), |program| env.lookup(program));
                    note(name, &directory, rustc, &["-V"])?;
                }
                _ => note(name, &directory, env.lookup("go"), &["env", "GOVERSION"])?,
            }
        }
    }
    Ok(found)
}
