//! `mab build`.

use std::path::PathBuf;
use std::sync::Arc;

use builder::build::{BuildOutcome, BuildRequest, Output, build, plan};
use builder::event::Reporter;
use builder::plan::ImagePlan;
use builder::process::Children;
use builder::result::{ImageResult, metadata_file};
use builder::spec::BuildSpec;

use super::build_files;
use super::session::Session;
use crate::cli::{Build, Destination, Progress};
use crate::{environment, errors, exit, output_file, plan_text, progress, signals, text};

pub(crate) fn run(arguments: &Build) -> u8 {
    let session = Session::new();
    let specs = match build_files::specs(&arguments.build_files, &session) {
        Ok(specs) => specs,
        Err(code) => return code,
    };
    if arguments.iidfile.is_some() && specs.len() > 1 {
        text::error_line("error: --iidfile is for one image\n\nhint: with several build files use --metadata-file");
        return exit::USAGE;
    }
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
    let source_date_epoch = match session.source_date_epoch() {
        Ok(epoch) => epoch,
        Err(code) => return code,
    };
    let request = BuildRequest {
        specs,
        outputs,
        cache: environment::cache_directory(&env),
        allow: arguments.build_files.allow.iter().copied().collect(),
        jobs: jobs(arguments),
        locked: arguments.locked,
        locked_compilers: arguments.locked_compilers,
        offline: arguments.offline,
        bundles: environment::bundles(&arguments.bundles, &env),
        colour: look.colour && arguments.progress != Progress::Json,
        rustc_wrapper: wrapper,
        source_date_epoch,
        env,
    };
    let result = if arguments.dry_run {
        plan(request, &client, children, reporter).await.map(|plans| show(&plans, arguments.json))
    } else {
        build(request, &client, children, reporter).await.map(|outcomes| tell(&outcomes, arguments, session))
    };
    match result {
        Ok(code) => code,
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

/// Shows plans on standard output.
fn show(plans: &[ImagePlan], json: bool) -> u8 {
    let look = environment::output_look();
    let shown = match (json, plans) {
        (true, [only]) => serde_json::to_string_pretty(only).unwrap_or_default(),
        (true, several) => serde_json::to_string_pretty(several).unwrap_or_default(),
        (false, plans) => plan_text::draw_all(plans, look),
    };
    text::result_line(shown.trim_end());
    exit::SUCCESS
}

/// Tells what became of the images: on standard output, and in the files that were asked for.
fn tell(outcomes: &[BuildOutcome], arguments: &Build, session: &Session) -> u8 {
    let references: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.references).collect();
    for reference in &references {
        if !text::result_line(reference) {
            break;
        }
    }
    let results: Vec<ImageResult> = outcomes.iter().map(|outcome| outcome.result.clone()).collect();
    let metadata = || serde_json::to_string_pretty(&metadata_file(&results)).unwrap_or_default() + "\n";
    let lines = || references.iter().map(|reference| format!("{reference}\n")).collect();
    // As docker writes it: without a line end.
    let digest = || outcomes.first().map(|outcome| outcome.index.digest.to_string()).unwrap_or_default();
    let files: [(&Option<PathBuf>, &dyn Fn() -> String); 3] =
        [(&arguments.metadata_file, &metadata), (&arguments.image_refs, &lines), (&arguments.iidfile, &digest)];
    for (path, content) in files {
        if let Some(path) = path
            && let Err(error) = output_file::write(path, &content())
        {
            return session.fail(&error, &[], exit::OUTPUT);
        }
    }
    exit::SUCCESS
}

fn jobs(arguments: &Build) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    arguments.jobs.map_or_else(all, std::num::NonZeroUsize::get)
}
