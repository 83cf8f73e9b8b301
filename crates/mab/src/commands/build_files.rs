//! The build files of a command: found, read and parsed; what is wrong with them is told.

use std::path::{Path, PathBuf};

use builder::spec::{BuildSpec, MAX_BYTES, Overrides, Placed, parse_bytes};
use registry_client::Repository;

use super::session::Session;
use crate::cli::{BuildFiles, Naming};
use crate::diagnostics::draw_all;
use crate::{exit, text};

/// What a build file is called where no `-f` says.
const NAMES: [&str; 2] = ["build.yaml", "build.yml"];

const SMALLEST: &str = "the smallest build file has four lines:

    version: 1
    binaries:
      - rust: .
        to: /app";

/// Reads the build files; what is wrong with them is told.
pub(crate) fn specs(arguments: &BuildFiles, naming: &Naming, session: &Session) -> Result<Vec<BuildSpec>, u8> {
    let files = match arguments.files.as_slice() {
        [] => match NAMES.iter().map(Path::new).find(|name| name.exists()) {
            Some(name) => vec![name.to_owned()],
            None => {
                let names = NAMES.join(" nor ");
                text::error_line(&format!(
                    "error: there is neither {names} in this directory\n\nhint: name the build file with -f; {SMALLEST}"
                ));
                return Err(exit::USAGE);
            }
        },
        files => files.to_vec(),
    };
    let prefix = prefix(arguments, naming, session);
    let mut specs = Vec::new();
    let mut failed = false;
    for file in files {
        let overrides = Overrides {
            set: arguments.set.clone(),
            platforms: arguments.platforms.clone(),
            tags: naming.tags.clone(),
            image: naming.image.clone(),
            allow_exec: arguments.allow_exec,
        };
        match read(&file) {
            Ok(bytes) => match parse_bytes(&file, &bytes, &overrides) {
                Ok(mut spec) => {
                    if let Some(prefix) = &prefix {
                        spec.image = Some(below(prefix, &spec)?);
                    }
                    specs.push(spec);
                }
                Err(diagnostics) => {
                    text::error_line(draw_all(&diagnostics, session.look).trim_end());
                    failed = true;
                }
            },
            Err(error) => {
                let error = text::tame(&error.to_string());
                text::error_line(&format!("error: cannot read the build file {}: {error}", file.display()));
                failed = true;
            }
        }
    }
    if failed { Err(exit::USAGE) } else { Ok(specs) }
}

/// A little more than a build file may have: that it is too long is told by who reads it.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = std::fs::File::open(file)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `MAB_REPO`, unless the command line itself says what the image is called.
fn prefix(arguments: &BuildFiles, naming: &Naming, session: &Session) -> Option<String> {
    let said = naming.image.is_some()
        || arguments.set.iter().any(|set| set.split('=').next().is_some_and(|path| path.trim() == "image"));
    let prefix = session.env.text("MAB_REPO").map(|text| text.trim_end_matches('/'))?;
    (!said && !prefix.is_empty()).then(|| prefix.to_owned())
}

/// The last part of the image's own name, or the directory's name, below `prefix`.
fn below(prefix: &str, spec: &BuildSpec) -> Result<Placed<Repository>, u8> {
    let name = match &spec.image {
        Some(image) => image.value.path().rsplit('/').next().unwrap_or_default().to_owned(),
        None => directory_name(&spec.file),
    };
    let text = format!("{prefix}/{name}");
    text.parse().map(Placed::implied).map_err(|error| {
        text::error_line(&text::tame(&format!("error: MAB_REPO makes the image name {text}: {error}")));
        exit::USAGE
    })
}

fn directory_name(file: &Path) -> String {
    let directory =
        std::path::absolute(file).ok().and_then(|path| path.parent().map(PathBuf::from)).unwrap_or_default();
    directory.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}
