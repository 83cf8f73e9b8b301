//! `mab vendor`: everything that an offline build needs, in one file.

use std::sync::Arc;

use builder::bundle::vendor::{VendorRequest, vendor};
use builder::process::Children;
use builder::spec::BuildSpec;

use super::session::Session;
use crate::cli::{self, Progress};
use crate::{environment, errors, exit, progress, signals, text};

pub(crate) fn run(arguments: &cli::Vendor) -> u8 {
    let session = Session::new();
    let specs = if arguments.files.is_empty() && !arguments.images.is_empty() {
        Vec::new()
    } else {
        let asked = cli::BuildFiles {
            files: arguments.files.clone(),
            platforms: arguments.platforms.clone(),
            set: arguments.set.clone(),
            allow_exec: arguments.allow_exec,
            ..cli::BuildFiles::default()
        };
        match super::build_files::specs(&asked, &session) {
            Ok(specs) => specs,
            Err(code) => return code,
        }
    };
    session.block_on(go(arguments, &session, specs))
}

async fn go(arguments: &cli::Vendor, session: &Session, specs: Vec<BuildSpec>) -> u8 {
    let reporter = progress::reporter(Progress::Plain, arguments.verbose);
    let client = match session.client(&reporter) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let children = Arc::new(Children::new());
    let interrupted = match signals::listen(Arc::clone(&children)) {
        Ok(interrupted) => interrupted,
        Err(error) => return session.fail(&error, &[], exit::OTHER),
    };
    // Crates are unpacked on the way: where there is room for them.
    let cache = environment::cache_directory(&session.env).filter(|at| std::fs::create_dir_all(at).is_ok());
    let mut scratch = tempfile::Builder::new();
    scratch.prefix("mab-vendor-");
    let made = match &cache {
        Some(cache) => scratch.tempdir_in(cache).or_else(|_| scratch.tempdir()),
        None => scratch.tempdir(),
    };
    let scratch = match made {
        Ok(scratch) => scratch,
        Err(error) => return session.fail(&error, &[], exit::OUTPUT),
    };
    let request = VendorRequest {
        specs,
        images: arguments.images.clone(),
        platforms: arguments.platforms.clone(),
        since: arguments.since.clone(),
        output: arguments.output.clone(),
        env: session.env.clone(),
        scratch: scratch.path().to_owned(),
        jobs: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
    };
    match vendor(request, &client, children, reporter.as_ref()).await {
        Ok(done) => {
            let contents = &done.contents;
            text::error_line(&format!(
                "bundle: {} images, {} crates, {} Go modules, {}",
                contents.images.len(),
                contents.crates.len(),
                contents.modules.len(),
                text::size(done.size)
            ));
            text::result_line(&done.digest.to_string());
            exit::SUCCESS
        }
        Err(error) => match interrupted.code() {
            Some(code) => code,
            None => {
                errors::tell_build(&error, session.look);
                exit::of_class(error.class())
            }
        },
    }
}
