//! `mab build`.

use std::path::PathBuf;
use std::sync::Arc;

use builder::build::{BuildOutcome, BuildRequest, Output, build, plan};
use builder::event::Reporter;
use builder::plan::ImagePlan;
use builder::result::{ImageResult, metadata_file};
use builder::spec::BuildSpec;
use oci_layout::Cache;

use super::build_files;
use super::session::{Session, Tools};
use crate::cli::{Build, Destination, Progress};
use crate::{environment, exit, output_file, plan_text, progress, text};

pub(crate) fn run(arguments: &Build) -> u8 {
    let session = Session::new();
    let images = &arguments.images;
    let specs = match build_files::specs(&images.build_files, &images.naming, &session) {
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
    let Tools { client, children, interrupted } = match session.tools(&reporter, &arguments.registries) {
        Ok(tools) => tools,
        Err(code) => return code,
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
    let request = match session.request(specs, &arguments.images) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let request = BuildRequest {
        outputs,
        jobs: arguments.jobs.map_or(request.jobs, std::num::NonZeroUsize::get),
        locked: arguments.locked,
        locked_compilers: arguments.locked_compilers,
        offline: arguments.offline,
        no_cache: arguments.no_cache,
        smoke: arguments.smoke.into(),
        bundles: environment::bundles(&arguments.bundles, &session.env),
        colour: request.colour && arguments.progress != Progress::Json,
        ..request
    };
    let result = if arguments.dry_run {
        plan(request, &client, children, reporter).await.map(|plans| show(&plans, arguments.json))
    } else {
        build(request, &client, children, reporter).await.map(|outcomes| {
            keep_the_cache_small(session);
            tell(&outcomes, arguments, session)
        })
    };
    match result {
        Ok(code) => code,
        Err(error) => session.ended(&interrupted, &error),
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

/// Once a day a build that went well removes what the cache has not used for longest. That it
/// cannot is no fault of the build: the next one tries again.
fn keep_the_cache_small(session: &Session) {
    let keep = environment::cache_limit(&session.env);
    let cache = environment::cache_directory(&session.env).and_then(|root| Cache::open(root).ok());
    if let Some(mut cache) = cache {
        let _ = cache.prune_if_due(keep, std::time::SystemTime::now());
    }
}
