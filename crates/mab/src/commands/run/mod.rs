//! `mab run`: a program of an image, in a sandbox.

mod console;
mod forward;

use std::sync::Arc;

use builder::base::BaseError;
use builder::build::BuildError;
use builder::process::Children;
use builder::sandbox::{self, Container, Ending, Image, Overrides, Request, SandboxError, Unpacked};
use builder::transfer::{Source, TransferError, read_root};
use oci_layout::Cache;

use self::console::Console;
use self::forward::Signals;
use super::session::Session;
use crate::cli::Run;
use crate::{environment, exit, progress, text};

pub(crate) fn run(arguments: Run) -> u8 {
    let session = Session::new();
    go(arguments, &session).unwrap_or_else(|code| code)
}

fn go(arguments: Run, session: &Session) -> Result<u8, u8> {
    let cache = open_cache(session)?;
    let signals = Signals::listen();
    let mut unpacked = None;
    let code = session.block_on(session.until_interrupted(async {
        match unpack(&arguments, session, &cache).await {
            Ok(found) => {
                unpacked = Some(found);
                exit::SUCCESS
            }
            Err(code) => code,
        }
    }));
    let Some(Unpacked { platform, config, layers, .. }) = unpacked else { return Err(code) };
    let execution = sandbox::execution(platform, &session.env, &Children::new())
        .map_err(|(error, remedy)| session.fail(&error, &[remedy], exit::NOT_RUN))?;
    let console = Console::find();
    let overrides = Overrides {
        terminal: console.terminal_kind(&session.env),
        environment: variables(&arguments.env, session),
        entrypoint: arguments.entrypoint,
        arguments: arguments.arguments,
        directory: arguments.workdir,
        user: arguments.user,
    };
    let container = Container::of_image(&config.config, overrides).map_err(|error| fail(session, &error))?;
    let mount_point = cache.mount_point().map_err(|error| session.fail(&error, &[], exit::NOT_RUN))?;
    let own = session.sandbox();
    let request = Request {
        executable: &own.executable,
        mount_point,
        layers,
        overlay: own.overlay,
        network: arguments.network.into(),
        execution,
        time_limit: arguments.timeout,
        container,
    };
    let limit = arguments.timeout.unwrap_or_default();
    match console.run(request, signals) {
        Ok(Ending::Exited(code)) => Ok(u8::try_from(code).unwrap_or(exit::OTHER)),
        Ok(Ending::Signaled(signal)) => Ok(u8::try_from(128 + signal).unwrap_or(exit::OTHER)),
        Ok(ending @ Ending::OutOfMemory(code)) => {
            text::error_line(&format!("warning: the program {}", ending.told(limit)));
            Ok(u8::try_from(code).unwrap_or(exit::OTHER))
        }
        Ok(Ending::TimedOut) => {
            text::error_line(&format!("error: the program was ended: it {}", Ending::TimedOut.told(limit)));
            Ok(exit::TIMED_OUT)
        }
        Err(error) => Err(fail(session, &error)),
    }
}

/// Tells of an error of the sandbox, and gives the code that engines give for it.
fn fail(session: &Session, error: &SandboxError) -> u8 {
    let code = match error {
        SandboxError::NotFound { .. } => exit::NOT_FOUND,
        SandboxError::NotExecutable { .. } => exit::NOT_EXECUTABLE,
        _ => exit::NOT_RUN,
    };
    session.fail(error, &error.hints(), code)
}

/// The cache, which holds the unpacked layers.
fn open_cache(session: &Session) -> Result<Cache, u8> {
    let Some(root) = environment::cache_directory(&session.env) else {
        text::error_line(
            "error: there is no cache to unpack the image in\n\nhint: name an absolute directory in MAB_CACHE_DIR",
        );
        return Err(exit::NOT_RUN);
    };
    let hint = "name another directory in MAB_CACHE_DIR".to_owned();
    Cache::open(root).map_err(|error| session.fail(&error, &[hint], exit::NOT_RUN))
}

async fn unpack(arguments: &Run, session: &Session, cache: &Cache) -> Result<Unpacked, u8> {
    let reporter = progress::passing();
    let client = session.client(&reporter, &arguments.registries).map_err(|_| exit::NOT_RUN)?;
    let failed = |error: TransferError| session.fail(&error, &error.hints(), exit::NOT_RUN);
    let source = Source::open(&arguments.image, &client).await.map_err(|error| failed(error.into()))?;
    let source = Arc::new(source);
    let root = read_root(&source, &arguments.image).await.map_err(failed)?;
    let shown = arguments.image.to_string();
    let image = Image {
        source: &source,
        root: &root.descriptor,
        bytes: &root.bytes,
        shown: &shown,
        platform: arguments.platform,
    };
    sandbox::unpack(&image, cache, &reporter).await.map_err(|source: BaseError| {
        let error = BuildError::Base { base: shown.clone(), source };
        let hints = error.hints();
        session.fail(&NotUnpacked { shown: shown.clone(), source: error }, &hints, exit::NOT_RUN)
    })
}

/// An image that is none, or that this machine cannot hold.
#[derive(Debug)]
struct NotUnpacked {
    shown: String,
    source: BuildError,
}

impl std::fmt::Display for NotUnpacked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot unpack {}", self.shown)
    }
}

impl std::error::Error for NotUnpacked {
    // That the image is called a base there is of no use to those who run it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// Variables as they were typed. One without a value has the value that it has here, if it has one.
fn variables(typed: &[String], session: &Session) -> Vec<(String, String)> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((text.clone(), session.env.text(text)?.to_owned())),
    };
    typed.iter().filter_map(variable).collect()
}
