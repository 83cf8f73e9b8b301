//! What commands share: the environment, how messages look, a registry client, a runtime.

use std::error::Error;
use std::sync::Arc;

use builder::build::{BuildError, BuildRequest, Sandbox, SmokeMode};
use builder::event::{Event, Reporter};
use builder::process::{Children, Environment};
use builder::spec::BuildSpec;
use registry_client::Client;
use registry_client::config::Notices;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Images, Registries};
use crate::diagnostics::Look;
use crate::signals::Interrupted;
use crate::{environment, errors, exit, signals, text};

/// mab itself, whatever its file is called by now.
const OWN_EXECUTABLE: &str = "/proc/self/exe";
/// Asks for a copy of the images' files in place of an overlay.
const COPY: &str = "MAB_SANDBOX_COPY";

/// What a command works with that asks registries and runs compilers.
pub(crate) struct Tools {
    pub(crate) client: Client,
    pub(crate) children: Arc<Children>,
    /// Whether the user has had enough.
    pub(crate) interrupted: Interrupted,
}

/// One run of a command.
pub(crate) struct Session {
    /// The process's environment.
    pub(crate) env: Environment,
    /// How messages look on standard error.
    pub(crate) look: Look,
}

impl Session {
    pub(crate) fn new() -> Self {
        let look = Look { width: environment::width(), colour: environment::colour() };
        Self { env: environment::of_process(), look }
    }

    /// Tells of an error and gives its exit code back.
    pub(crate) fn fail(&self, error: &dyn Error, hints: &[String], code: u8) -> u8 {
        text::error_line(&errors::draw(error, hints, self.look));
        code
    }

    /// A client with the user's credentials, mirrors, proxies and certificates; what it has to
    /// say goes to the reporter. Errors are told, and come back as an exit code.
    pub(crate) fn client(&self, reporter: &Arc<dyn Reporter>, registries: &Registries) -> Result<Client, u8> {
        let fail = |error: registry_client::Error| self.fail(&error, &[], exit::of_registry(&error));
        let (mut config, warnings) = environment::registries(&self.env).map_err(fail)?;
        config.auth_realm = registries.auth_realm.clone();
        for message in warnings {
            reporter.report(Event::Warning { message });
        }
        let reporter = Arc::clone(reporter);
        config.notices = Notices::to(move |notice| {
            let message = notice.to_string();
            let event = if notice.is_warning() { Event::Warning { message } } else { Event::Note { message } };
            reporter.report(event);
        });
        Client::new(config).map_err(fail)
    }

    /// What a command works with; signals are listened to from now on. Errors are told, and come
    /// back as an exit code.
    pub(crate) fn tools(&self, reporter: &Arc<dyn Reporter>, registries: &Registries) -> Result<Tools, u8> {
        let client = self.client(reporter, registries)?;
        let children = Arc::new(Children::new());
        let interrupted =
            signals::listen(Arc::clone(&children)).map_err(|error| self.fail(&error, &[], exit::OTHER))?;
        Ok(Tools { client, children, interrupted })
    }

    /// The exit code of a command of the builder's that failed; why is told, unless the user knows.
    pub(crate) fn ended(&self, interrupted: &Interrupted, error: &BuildError) -> u8 {
        interrupted.code().unwrap_or_else(|| {
            errors::tell_build(error, self.look);
            exit::of_class(error.class())
        })
    }

    /// A build of `specs` that goes nowhere yet, as environment and command line have it.
    pub(crate) fn request(&self, specs: Vec<BuildSpec>, images: &Images) -> Result<BuildRequest, u8> {
        Ok(BuildRequest {
            specs,
            outputs: Vec::new(),
            cache: environment::cache_directory(&self.env),
            allow: images.allow.iter().copied().collect(),
            jobs: processors(),
            locked: false,
            locked_compilers: false,
            offline: false,
            bundles: environment::bundles(&[], &self.env),
            colour: self.look.colour,
            rustc_wrapper: std::env::current_exe().map_err(|error| self.fail(&error, &[], exit::OTHER))?,
            sandbox: self.sandbox(),
            no_cache: false,
            smoke: SmokeMode::default(),
            source_date_epoch: self.source_date_epoch()?,
            env: self.env.clone(),
        })
    }

    /// What programs of images are started with.
    pub(crate) fn sandbox(&self) -> Sandbox {
        Sandbox { executable: OWN_EXECUTABLE.into(), overlay: self.env.get(COPY).is_none() }
    }

    /// `SOURCE_DATE_EPOCH`. What is no number of seconds is told, and comes back as an exit code.
    fn source_date_epoch(&self) -> Result<Option<i64>, u8> {
        let text = self.env.text("SOURCE_DATE_EPOCH").map(str::trim).filter(|text| !text.is_empty());
        let Some(text) = text else { return Ok(None) };
        match text.parse::<i64>().ok().filter(|seconds| *seconds >= 0) {
            Some(seconds) => Ok(Some(seconds)),
            None => {
                text::error_line(&format!(
                    "error: SOURCE_DATE_EPOCH is `{}`, not a number of seconds since 1970",
                    text::tame(text)
                ));
                Err(exit::USAGE)
            }
        }
    }

    /// Drops `work` when the user has had enough. What it was writing is cleaned up.
    pub(crate) async fn until_interrupted(&self, work: impl Future<Output = u8>) -> u8 {
        let interrupted = match signals::listen(Arc::new(Children::new())) {
            Ok(interrupted) => interrupted,
            Err(error) => return self.fail(&error, &[], exit::OTHER),
        };
        interrupted.or(work).await
    }

    /// Runs something asynchronous. What is left of it then, such as the reading of a file, is
    /// not waited for.
    pub(crate) fn block_on(&self, work: impl Future<Output = u8>) -> u8 {
        let runtime: Runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(&error, &[], exit::OTHER),
        };
        let code = runtime.block_on(work);
        runtime.shutdown_timeout(std::time::Duration::from_millis(500));
        code
    }
}

/// How much can be done at a time.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
