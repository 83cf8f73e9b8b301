//! Running a command: on the layers so far, unpacked, with what is mounted; and what went wrong with it.

use std::io;
use std::process::Stdio;

use oci_layout::layer::LayerPlan;

use super::super::transcript::{Lines, Transcript};
use super::*;
use crate::sandbox::step::{Secret, StepError, StepMount, StepMountKind, StepRequest, run_step};
use crate::sandbox::{Ending, Request, SandboxError, Streams, attend};
use crate::spec::model::{MountKind, MountSpec};

/// Most characters of a command that are told.
const SHOWN: usize = 80;

impl Stack<'_> {
    /// All layers so far, unpacked.
    pub(super) fn directories(&mut self, cache: &Arc<Cache>) -> Result<Vec<PathBuf>, BuildError> {
        let base = self.assembly.bases.of(&self.assembly.spec, self.platform);
        if self.base_directories.is_none() {
            let own = base.and_then(|base| Some((base, base.platforms.get(&self.platform)?)));
            let directories = match own {
                None => Vec::new(),
                Some((base, own)) => {
                    let (layers, diff_ids) = (&own.manifest.layers, &own.config.rootfs.diff_ids);
                    let begin = |total| {
                        let what = format!("unpack {}", base.shown);
                        self.shared.work.start(Phase::Run, Some(self.platform), what, Some(total))
                    };
                    let unpacked = sandbox::unpack_layers(&base.source, layers, diff_ids, cache, begin);
                    let unpacked = Handle::current().block_on(interruptible(self.shared, unpacked))?;
                    unpacked.map_err(|source| BuildError::Base { base: base.shown.clone(), source })?
                }
            };
            self.base_directories = Some(directories);
        }
        let mut directories = self.base_directories.clone().unwrap_or_default();
        for (layer, _) in &self.layers {
            let directory = match cache.unpacked(&layer.written.diff_id) {
                Some(directory) => directory,
                None => unpacked::unpack(cache, layer)?.finish().map_err(unpacked::internal)?,
            };
            directories.push(directory);
        }
        Ok(directories)
    }

    pub(super) fn execute(
        &self,
        run: &Placed<RunSpec>,
        container: Container,
        layers: Vec<PathBuf>,
        cache: &Arc<Cache>,
        piece: u64,
    ) -> Result<Option<Arc<NewLayer>>, BuildError> {
        let shared = self.shared;
        let execution = sandbox::execution(self.platform, &shared.env, &shared.children)
            .map_err(|(error, remedy)| self.failed(run, &format!("cannot run here: {error}"), vec![remedy]))?;
        let (mounts, secrets) = self.mounts(run, cache)?;
        let scratch = cache.step_scratch().map_err(unpacked::internal)?;
        let (reader, writer) = io::pipe()?;
        let streams = Streams { stdin: Stdio::null(), stdout: writer.try_clone()?.into(), stderr: writer.into() };
        let request = Request {
            executable: &shared.sandbox.executable,
            mount_point: cache.mount_point().map_err(unpacked::internal)?,
            layers,
            overlay: shared.sandbox.overlay,
            network: run.value.network,
            execution: execution.clone(),
            time_limit: Some(run.value.time_limit),
            container,
        };
        let request = StepRequest {
            request,
            below: self.growth.tree(),
            scratch: scratch.path(),
            mounts,
            limits: Default::default(),
        };
        let mut transcript = Transcript::default();
        let mut lines = Lines::new(&secrets);
        let reporter = &shared.reporter;
        let mut take = |line: String| {
            transcript.take(line.as_bytes());
            transcript.take(b"\n");
            reporter.report(Event::Output { id: piece, line });
        };
        let ended = run_step(request, streams).and_then(|running| {
            let (control, unwanted) = (running.control(), || shared.children.interrupted());
            attend(control, reader, &unwanted, &mut |bytes| lines.take(bytes, &mut take), || running.wait())
        });
        lines.end(&mut take);
        if shared.children.interrupted() {
            return Err(BuildError::Interrupted);
        }
        let outcome = ended.map_err(|error| {
            self.failed(run, &format!("failed: {}", with_causes(&error)), hints(&run.value, &error))
        })?;
        let why = match outcome.ending {
            Ending::Exited(0) => {
                if outcome.entries.is_empty() {
                    return Ok(None);
                }
                let options = layer_options(self.spec());
                let failed = |source| BuildError::Layer { platform: self.platform, source };
                let plan = LayerPlan::new(outcome.entries, options).map_err(failed)?;
                let maker = &self.assembly.maker;
                let written = {
                    let _turn = maker.pool.turn();
                    plan.write(&maker.pool, cache.store()).map_err(failed)?.0
                };
                let path = cache.store().path(&written.descriptor.digest);
                return Ok(Some(maker.kept(written, Origin::Written, path)));
            }
            other => other.told(run.value.time_limit),
        };
        let mut problem = self.problem(run, &why);
        problem.notes = transcript.last_lines();
        problem.hints = outcome.ending.hints(&execution);
        Err(BuildError::Step(Box::new(Diagnostics::one(self.spec().sources.clone(), problem))))
    }

    /// What is mounted, and what of it nobody else may see.
    fn mounts(&self, run: &Placed<RunSpec>, cache: &Cache) -> Result<(Vec<StepMount>, Vec<Vec<u8>>), BuildError> {
        let (mut mounts, mut secrets) = (Vec::new(), Vec::new());
        for mount in &run.value.mounts {
            let fault = |problem: Box<Diagnostic>| at_fault(self.spec(), vec![*problem]);
            let MountSpec { to, kind } = &mount.value;
            let target = render_destination(to, &self.values).map_err(fault)?.path.to_string();
            let mut secret = |content: Vec<u8>| {
                secrets.push(content.clone());
                StepMountKind::Secret { content: Secret::new(content) }
            };
            let kind = match kind {
                MountKind::Cache(name) => StepMountKind::Cache {
                    source: cache.mount(&format!("{name} {}", self.platform)).map_err(unpacked::internal)?,
                },
                MountKind::Bind(source) => {
                    StepMountKind::Bind { source: self.sources.open(source, &self.values).map_err(fault)? }
                }
                MountKind::Tmpfs => StepMountKind::Tmpfs,
                MountKind::Secret(source) => {
                    secret(fs_err::read(self.sources.open(source, &self.values).map_err(fault)?)?)
                }
                // That it is set was seen with the other sources.
                MountKind::SecretEnv(name) => {
                    let value = self.assembly.facts.env.get(&name.value);
                    secret(value.cloned().unwrap_or_default().into_bytes())
                }
            };
            mounts.push(StepMount { target, kind });
        }
        Ok((mounts, secrets))
    }

    fn problem(&self, run: &Placed<RunSpec>, why: &str) -> Diagnostic {
        let message = format!("on {} the command `{}` {why}", self.platform, shown(&run.value));
        Diagnostic::error("step", message, run.place)
    }

    fn failed(&self, run: &Placed<RunSpec>, why: &str, hints: Vec<String>) -> BuildError {
        let mut problem = self.problem(run, why);
        problem.hints = hints;
        BuildError::Step(Box::new(Diagnostics::one(self.spec().sources.clone(), problem)))
    }
}

/// What could be done about a command that did not run.
fn hints(run: &RunSpec, error: &StepError) -> Vec<String> {
    let mut hints = error.hints();
    if run.shell && matches!(error, StepError::Sandbox(SandboxError::NotFound { .. })) {
        let hint = "a text is for the image's own shell: take a base that has one, or write a program and its arguments \
                    as a list";
        hints.push(hint.to_owned());
    }
    hints
}

/// The same in one line that is not too long to be told.
pub(super) fn shown(run: &RunSpec) -> String {
    let written = written(run);
    let lines: Vec<&str> = written.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
