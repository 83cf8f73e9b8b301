//! What commands share: the environment, how messages look, a registry client, a runtime.

use std::error::Error;
use std::sync::Arc;

use builder::event::{Event, Reporter};
use builder::process::{Children, Environment};
use registry_client::Client;
use registry_client::config::{Notices, Url};
use tokio::runtime::{Builder, Runtime};

use crate::diagnostics::Look;
use crate::{environment, errors, exit, signals, text};

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
    pub(crate) fn client(&self, reporter: &Arc<dyn Reporter>) -> Result<Client, u8> {
        self.client_trusting(reporter, None)
    }

    /// The same; `realm` is then the only token server that may see credentials.
    pub(crate) fn client_trusting(&self, reporter: &Arc<dyn Reporter>, realm: Option<Url>) -> Result<Client, u8> {
        let fail = |error: registry_client::Error| self.fail(&error, &[], exit::of_registry(&error));
        let (mut config, warnings) = environment::registries(&self.env).map_err(fail)?;
        config.auth_realm = realm;
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

    /// `SOURCE_DATE_EPOCH`. What is no number of seconds is told, and comes back as an exit code.
    pub(crate) fn source_date_epoch(&self) -> Result<Option<i64>, u8> {
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
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                code = &mut work => return interrupted.code().unwrap_or(code),
                () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {
                    if let Some(code) = interrupted.code() {
                        return code;
                    }
                }
            }
        }
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
