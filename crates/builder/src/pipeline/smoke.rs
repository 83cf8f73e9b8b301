//! Trial runs: each platform's finished image is started as its build file says, before a tag, an
//! `index.json` or an archive names it.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::future::join_all;
use oci_layout::cache::Unpacking;
use oci_layout::document::ImageConfig;
use tokio::sync::Semaphore;

use super::assembly::Assembly;
use super::programs::with_causes;
use super::transcript::Transcript;
use super::*;
use crate::result::SmokeOutcome;
use crate::sandbox::{self, Container, Ending, Execution, Overrides, Request, SandboxError, Streams, attend};
use crate::spec::model::{SmokeCommand, SmokeSpec};
use crate::spec::{Placed, Template, render};

/// What came of one platform's runs.
struct Tried {
    platform: TargetPlatform,
    results: Vec<SmokeResult>,
    failures: Vec<Diagnostic>,
    /// Why none was started, and what would mend that.
    skipped: Option<(String, Vec<String>)>,
}

/// A run, ready to be started.
struct Trial<'a> {
    spec: &'a Placed<SmokeSpec>,
    container: Container,
    /// What its output has to have.
    output: Option<String>,
}

/// Why a run was not what the build file says, and what could be done about it.
struct Refused {
    why: String,
    hints: Vec<String>,
}

/// Whether a run was what the build file says.
type Verdict = Result<(), Refused>;

/// Tries all images, those of all platforms side by side. Gives what came of it, by image and platform;
/// an error tells of all runs that failed.
pub(super) async fn try_all(
    shared: &Arc<Shared>,
    assemblies: &[Arc<Assembly>],
    images: &[Vec<Arc<Finished>>],
) -> Result<Vec<BTreeMap<TargetPlatform, Vec<SmokeResult>>>, BuildError> {
    let turns = Arc::new(Semaphore::new(shared.jobs.get()));
    let mut all = Vec::new();
    for (assembly, images) in assemblies.iter().zip(images) {
        let wanted = images.iter().filter(|image| !assembly.spec.of(image.platform).smoke.is_empty());
        let runs = wanted.map(|image| {
            let turns = Arc::clone(&turns);
            async move {
                let _turn = turns.acquire().await;
                try_image(shared, assembly, image).await
            }
        });
        let mut tried: Vec<Tried> = join_all(runs).await.into_iter().collect::<Result<_, _>>()?;
        tried.sort_by_key(|tried| tried.platform);
        tell_skipped(shared, &assembly.spec, &mut tried);
        let failures: Vec<Diagnostic> =
            tried.iter_mut().flat_map(|tried| std::mem::take(&mut tried.failures)).collect();
        if let Some(diagnostics) = Diagnostics::new(assembly.spec.sources.clone(), failures) {
            return Err(BuildError::Check(Box::new(diagnostics)));
        }
        all.push(tried.into_iter().map(|tried| (tried.platform, tried.results)).collect());
    }
    Ok(all)
}

/// What was left out is told once for all platforms that have the same reason, or is an error where
/// nothing may be.
fn tell_skipped(shared: &Shared, spec: &BuildSpec, tried: &mut [Tried]) {
    let mut reasons: BTreeMap<(String, Vec<String>), Vec<usize>> = BTreeMap::new();
    for (number, tried) in tried.iter().enumerate() {
        if let Some(skipped) = &tried.skipped {
            reasons.entry(skipped.clone()).or_default().push(number);
        }
    }
    for ((reason, hints), numbers) in reasons {
        let platforms: Vec<String> =
            numbers.iter().filter_map(|number| tried.get(*number)).map(|it| it.platform.to_string()).collect();
        let platforms = platforms.join(", ");
        match shared.smoke {
            SmokeMode::Skip => {}
            SmokeMode::Auto => {
                let hints: String = hints.iter().map(|hint| format!("; {hint}")).collect();
                let message = format!("the smoke runs of {platforms} were left out: {reason}{hints}");
                shared.reporter.report(Event::Warning { message });
            }
            SmokeMode::Require => {
                let place = spec.smoke.first().and_then(|smoke| smoke.place);
                let message = format!("the smoke runs of {platforms} cannot run here: {reason}");
                let mut problem = Diagnostic::error("smoke", message, place);
                problem.hints = hints;
                problem.hints.push("`--smoke auto` leaves out what cannot run".to_owned());
                if let Some(first) = numbers.first().and_then(|number| tried.get_mut(*number)) {
                    first.failures.push(problem);
                }
            }
        }
    }
}

async fn try_image(shared: &Arc<Shared>, assembly: &Assembly, image: &Arc<Finished>) -> Result<Tried, BuildError> {
    let platform = image.platform;
    let spec = assembly.spec.of(platform);
    let values = Variables { platform: Some(platform), facts: &assembly.facts };
    let config: ImageConfig =
        serde_json::from_slice(&image.config_bytes).map_err(|error| BuildError::Internal(error.to_string()))?;
    let mut trials = Vec::new();
    let mut wrong = Vec::new();
    for spec in &spec.smoke {
        match trial(spec, &config, &values) {
            Ok(trial) => trials.push(trial),
            Err(problem) => wrong.push(*problem),
        }
    }
    if !wrong.is_empty() {
        return Err(at_fault(spec, wrong));
    }
    let skip = |reason: String, hints: Vec<String>| Tried {
        platform,
        results: trials.iter().map(|trial| skipped(trial, &reason)).collect(),
        failures: Vec::new(),
        skipped: Some((reason, hints)),
    };
    if shared.smoke == SmokeMode::Skip {
        return Ok(skip("--smoke=skip".to_owned(), Vec::new()));
    }
    let execution = {
        let shared = Arc::clone(shared);
        blocking(move || Ok(sandbox::execution(platform, &shared.env, &shared.children))).await?
    };
    let execution = match execution {
        Ok(execution) => execution,
        Err((error, remedy)) => return Ok(skip(error.to_string(), vec![remedy])),
    };
    let what = format!("{} smoke run{}", trials.len(), if trials.len() == 1 { "" } else { "s" });
    let piece = shared.work.start(Phase::Smoke, Some(platform), what, None);
    let files = Files::of(shared, assembly, image, &config).await?;
    let mut tried = Tried { platform, results: Vec::new(), failures: Vec::new(), skipped: None };
    for trial in &trials {
        match run(shared, &files, &execution, trial).await? {
            Ok((verdict, transcript)) => match verdict {
                Ok(()) => tried
                    .results
                    .push(SmokeResult { command: trial.container.command.clone(), outcome: SmokeOutcome::Passed }),
                Err(Refused { why, hints }) => {
                    let mut problem = failure(platform, trial, &why, &transcript);
                    problem.hints.extend(hints);
                    tried.failures.push(problem);
                }
            },
            Err(error @ SandboxError::Forbidden { .. }) => {
                piece.failed();
                return Ok(skip(with_causes(&error), error.hints()));
            }
            Err(error) => {
                let transcript = Transcript::default();
                let mut problem =
                    failure(platform, trial, &format!("was not started: {}", with_causes(&error)), &transcript);
                problem.notes.clear();
                problem.hints.extend(error.hints());
                let alone = matches!(trial.spec.value.command, SmokeCommand::Arguments(_))
                    && config.config.entrypoint.is_none();
                if alone && matches!(error, SandboxError::NotFound { .. }) {
                    let hint = "the image has no entrypoint for these arguments: write the program under `command`";
                    problem.hints.push(hint.to_owned());
                }
                tried.failures.push(problem);
            }
        }
    }
    match tried.failures.len() {
        0 => piece.done("passed".to_owned()),
        _ => piece.failed(),
    }
    Ok(tried)
}

fn trial<'a>(
    spec: &'a Placed<SmokeSpec>,
    config: &ImageConfig,
    values: &Variables<'_>,
) -> Result<Trial<'a>, Box<Diagnostic>> {
    let words =
        |words: &[Placed<Template>]| words.iter().map(|word| render(word, values)).collect::<Result<Vec<_>, _>>();
    let (entrypoint, arguments) = match &spec.value.command {
        SmokeCommand::Image => (None, Vec::new()),
        SmokeCommand::Arguments(arguments) => (None, words(arguments)?),
        SmokeCommand::Program(program) => (Some(String::new()), words(program)?),
    };
    let environment = spec.value.env.iter().map(|(name, value)| Ok((name.clone(), render(value, values)?)));
    let overrides = Overrides {
        entrypoint,
        arguments,
        environment: environment.collect::<Result<_, Box<Diagnostic>>>()?,
        ..Overrides::default()
    };
    let mut config = config.config.clone();
    if spec.value.command == SmokeCommand::Arguments(Vec::new()) {
        config.cmd = None;
    }
    let container = Container::of_image(&config, overrides)
        .map_err(|error| Box::new(Diagnostic::error("smoke", error.to_string(), spec.place)))?;
    let output = spec.value.output.as_ref().map(|text| render(text, values)).transpose()?;
    Ok(Trial { spec, container, output })
}

fn skipped(trial: &Trial<'_>, reason: &str) -> SmokeResult {
    SmokeResult {
        command: trial.container.command.clone(),
        outcome: SmokeOutcome::Skipped { reason: reason.to_owned() },
    }
}

fn failure(platform: TargetPlatform, trial: &Trial<'_>, why: &str, transcript: &Transcript) -> Diagnostic {
    let command = trial.container.command.join(" ");
    let mut problem =
        Diagnostic::error("smoke", format!("on {platform} the smoke run `{command}` {why}"), trial.spec.place);
    problem.notes = transcript.last_lines();
    problem
}

/// Starts one run and looks at what it does.
async fn run(
    shared: &Arc<Shared>,
    files: &Arc<Files>,
    execution: &Execution,
    trial: &Trial<'_>,
) -> Result<Result<(Verdict, Transcript), SandboxError>, BuildError> {
    let (shared, files, execution) = (Arc::clone(shared), Arc::clone(files), execution.clone());
    let (container, spec, output) = (trial.container.clone(), trial.spec.value.clone(), trial.output.clone());
    blocking(move || {
        let (reader, writer) = io::pipe()?;
        let streams = Streams { stdin: Stdio::null(), stdout: writer.try_clone()?.into(), stderr: writer.into() };
        let request = Request {
            executable: &shared.sandbox.executable,
            mount_point: files.mount_point.clone(),
            layers: files.layers.clone(),
            overlay: shared.sandbox.overlay,
            network: spec.network,
            execution: execution.clone(),
            time_limit: Some(spec.time_limit),
            container,
        };
        let mut transcript = Transcript::default();
        let ending = sandbox::start(request, Some(streams)).and_then(|running| {
            let (control, unwanted) = (running.control(), || shared.interrupted());
            attend(control, reader, &unwanted, &mut |bytes| transcript.take(bytes), || running.wait())
        });
        match ending {
            _ if shared.interrupted() => Err(BuildError::Interrupted),
            Ok(ending) => {
                let verdict = verdict(&spec, output.as_deref(), ending, &transcript)
                    .map_err(|why| Refused { why, hints: ending.hints(&execution) });
                Ok(Ok((verdict, transcript)))
            }
            Err(error) => Ok(Err(error)),
        }
    })
    .await
}

/// Whether the run was what the build file says; why not.
fn verdict(spec: &SmokeSpec, output: Option<&str>, ending: Ending, transcript: &Transcript) -> Result<(), String> {
    let expected = i32::from(spec.exit_code);
    match ending {
        Ending::Exited(code) if code == expected => {}
        Ending::Exited(code) => return Err(format!("ended with exit code {code}, not {expected}")),
        other => return Err(other.told(spec.time_limit)),
    }
    let text = transcript.text();
    if let Some(wanted) = output.filter(|wanted| !text.contains(wanted)) {
        return Err(format!("did not write `{wanted}`"));
    }
    match &spec.pattern {
        Some(pattern) if !pattern.value.is_match(&text) => {
            Err(format!("wrote nothing that matches `{}`", pattern.value.as_str()))
        }
        _ => Ok(()),
    }
}

/// An image's layers, unpacked.
struct Files {
    mount_point: PathBuf,
    layers: Vec<PathBuf>,
    /// The new ones, which are gone with this: the next build has others.
    _new: Vec<Unpacking>,
}

impl Files {
    async fn of(
        shared: &Arc<Shared>,
        assembly: &Assembly,
        image: &Arc<Finished>,
        config: &ImageConfig,
    ) -> Result<Arc<Self>, BuildError> {
        let cache = shared.sandbox_cache()?;
        let diff_ids = &config.rootfs.diff_ids;
        let mut layers = Vec::new();
        if let Some(base) = assembly.bases.of(&assembly.spec, image.platform) {
            let begin = |total| {
                let what = format!("unpack {}", base.shown);
                shared.work.start(Phase::Smoke, Some(image.platform), what, Some(total))
            };
            let unpacked = sandbox::unpack_layers(&base.source, &image.base_layers, diff_ids, &cache, begin).await;
            layers = unpacked.map_err(|source| BuildError::Base { base: base.shown.clone(), source })?;
        }
        let image = Arc::clone(image);
        blocking(move || {
            let mut new = Vec::new();
            for layer in &image.new_layers {
                match cache.unpacked(&layer.written.diff_id) {
                    Some(path) => layers.push(path),
                    None => {
                        let unpacking = unpacked::unpack(&cache, layer)?;
                        layers.push(unpacking.root());
                        new.push(unpacking);
                    }
                }
            }
            let mount_point = cache.mount_point().map_err(unpacked::internal)?;
            Ok(Arc::new(Self { mount_point, layers, _new: new }))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::sandbox::Network;

    fn spec() -> SmokeSpec {
        SmokeSpec {
            command: SmokeCommand::Image,
            env: BTreeMap::new(),
            exit_code: 3,
            output: None,
            pattern: None,
            time_limit: Duration::from_millis(1500),
            network: Network::None,
        }
    }

    #[test]
    fn a_run_is_what_the_build_file_says_or_the_reason_is_told() {
        let mut transcript = Transcript::default();
        transcript.take(b"hello\nversion 1.2\n");
        let tell = |spec: &SmokeSpec, output: Option<&str>, ending: Ending| {
            verdict(spec, output, ending, &transcript).err().unwrap_or_default()
        };
        let plain = spec();
        assert_eq!(tell(&plain, None, Ending::Exited(3)), "");
        assert_eq!(tell(&plain, None, Ending::Exited(0)), "ended with exit code 0, not 3");
        assert_eq!(tell(&plain, None, Ending::Signaled(11)), "was killed by signal 11 (SIGSEGV)");
        assert_eq!(tell(&plain, None, Ending::TimedOut), "took more than 1.5 s");
        assert_eq!(tell(&plain, Some("version"), Ending::Exited(3)), "");
        assert_eq!(tell(&plain, Some("Version"), Ending::Exited(3)), "did not write `Version`");
        let pattern = |text: &str| SmokeSpec { pattern: Some(Placed::implied(Regex::new(text).unwrap())), ..spec() };
        assert_eq!(tell(&pattern(r"(?m)^version \d\.\d$"), None, Ending::Exited(3)), "");
        let wrong = pattern("^version");
        assert_eq!(tell(&wrong, None, Ending::Exited(3)), "wrote nothing that matches `^version`");
    }
}
