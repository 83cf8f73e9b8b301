//! `mab build`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use builder::build::{BuildRequest, Output, build};
use builder::event::Reporter;
use builder::process::{Children, Environment};
use builder::spec::{BuildSpec, MAX_BYTES, Overrides, parse_bytes};
use registry_client::Repository;

use super::session::Session;
use crate::cli::{Build, Destination, Progress};
use crate::diagnostics::{Look, draw_all};
use crate::{environment, errors, exit, progress, signals, text};

/// What a build file is called where no `-f` says.
const NAMES: [&str; 2] = ["build.yaml", "build.yml"];

const SMALLEST: &str = "the smallest build file has four lines:

    version: 1
    binaries:
      - rust: .
        to: /app";

pub(crate) fn run(arguments: &Build) -> u8 {
    let session = Session::new();
    let specs = match specs(arguments, &session.env, session.look) {
        Ok(specs) => specs,
        Err(code) => return code,
    };
    let reporter = progress::reporter(arguments.progress, arguments.verbose);
    session.block_on(go(arguments, &session, specs, reporter))
}

async fn go(arguments: &Build, session: &Session, specs: Vec<BuildSpec>, reporter: Arc<dyn Reporter>) -> u8 {
    let Session { env, look } = session;
    let (env, look) = (env.clone(), *look);
    let client = match session.client(&reporter) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let children = Arc::new(Children::new());
    let interrupted = match signals::listen(Arc::clone(&children)) {
        Ok(interrupted) => interrupted,
        Err(error) => return session.fail(&error, &[], exit::OTHER),
    };
    let outputs = outputs(arguments);
    if specs.len() > 1
        && outputs.iter().any(|output| matches!(output, Output::OciArchive(_) | Output::DockerArchive(_)))
    {
        text::error_line(
            "error: an archive holds one image, but several build files are given\n\nhint: write an OCI layout with -o oci:DIR, which holds them all",
        );
        return exit::USAGE;
    }
    let wrapper = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => return session.fail(&error, &[], exit::OTHER),
    };
    let source_date_epoch = match env.text("SOURCE_DATE_EPOCH").map(str::trim).filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match text.parse::<i64>().ok().filter(|seconds| *seconds >= 0) {
            Some(seconds) => Some(seconds),
            None => {
                text::error_line(&format!(
                    "error: SOURCE_DATE_EPOCH is `{}`, not a number of seconds since 1970",
                    text::tame(text)
                ));
                return exit::USAGE;
            }
        },
    };
    let request = BuildRequest {
        specs,
        outputs,
        cache: environment::cache_directory(&env),
        allow: arguments.allow.iter().copied().collect(),
        jobs: jobs(arguments),
        locked: arguments.locked,
        locked_compilers: arguments.locked_compilers,
        offline: arguments.offline,
        colour: look.colour && arguments.progress != Progress::Json,
        rustc_wrapper: wrapper,
        source_date_epoch,
        env,
    };
    let result = build(request, &client, children, reporter).await;
    match result {
        Ok(outcomes) => {
            for reference in outcomes.iter().flat_map(|outcome| &outcome.references) {
                if !text::result_line(reference) {
                    break;
                }
            }
            exit::SUCCESS
        }
        Err(error) => match interrupted.code() {
            Some(code) => code,
            None => {
                errors::tell_build(&error, look);
                exit::of_class(error.class())
            }
        },
    }
}

fn outputs(arguments: &Build) -> Vec<Output> {
    let mut outputs = Vec::new();
    if arguments.push {
        outputs.push(Output::Push);
    }
    outputs.extend(arguments.outputs.iter().map(|destination| match destination {
        Destination::Layout(path) => Output::Layout(Some(path.clone())),
        Destination::OciArchive(path) => Output::OciArchive(path.clone()),
        Destination::DockerArchive(path) => Output::DockerArchive(path.clone()),
    }));
    if outputs.is_empty() {
        outputs.push(Output::Layout(None));
    }
    outputs
}

fn jobs(arguments: &Build) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    arguments.jobs.map_or_else(all, std::num::NonZeroUsize::get)
}

/// Reads the build files; what is wrong with them is told.
pub(super) fn specs(arguments: &Build, env: &Environment, look: Look) -> Result<Vec<BuildSpec>, u8> {
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
    let mut specs = Vec::new();
    let mut failed = false;
    for file in files {
        let image = match image(arguments, env, &file) {
            Ok(image) => image,
            Err(message) => {
                text::error_line(&format!("error: {message}"));
                return Err(exit::USAGE);
            }
        };
        let overrides = Overrides {
            set: arguments.set.clone(),
            platforms: arguments.platforms.clone(),
            tags: arguments.tags.clone(),
            image,
            allow_exec: arguments.allow_exec,
        };
        match read(&file) {
            Ok(bytes) => match parse_bytes(&file, &bytes, &overrides) {
                Ok(spec) => specs.push(spec),
                Err(diagnostics) => {
                    text::error_line(draw_all(&diagnostics, look).trim_end());
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

/// `--image`, else `MAB_REPO` with the last part of the build file's own image name.
fn image(arguments: &Build, env: &Environment, file: &Path) -> Result<Option<Repository>, String> {
    if arguments.image.is_some() {
        return Ok(arguments.image.clone());
    }
    let Some(prefix) = env.text("MAB_REPO").map(|text| text.trim_end_matches('/')).filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let overrides = Overrides { allow_exec: true, ..Overrides::default() };
    let own = read(file).ok().and_then(|bytes| parse_bytes(file, &bytes, &overrides).ok()).and_then(|spec| spec.image);
    let name = match own {
        Some(image) => image.value.path().rsplit('/').next().unwrap_or_default().to_owned(),
        None => directory_name(file),
    };
    let text = format!("{prefix}/{name}");
    text.parse().map(Some).map_err(|error| format!("MAB_REPO makes the image name {text}: {error}"))
}

fn directory_name(file: &Path) -> String {
    let directory =
        std::path::absolute(file).ok().and_then(|path| path.parent().map(PathBuf::from)).unwrap_or_default();
    directory.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}
