//! `mab vendor`: everything that an offline build needs, in one file.

use builder::bundle::vendor::{VendorRequest, vendor};
use builder::spec::BuildSpec;

use super::build_files;
use super::session::{self, Session, Tools};
use crate::cli::{self, Progress};
use crate::{environment, exit, progress, text};

pub(crate) fn run(arguments: &cli::Vendor) -> u8 {
    let session = Session::new();
    let files = &arguments.build_files;
    let specs = if files.files.is_empty() && !arguments.images.is_empty() {
        Vec::new()
    } else {
        match build_files::specs(files, &cli::Naming::default(), &session) {
            Ok(specs) => specs,
            Err(code) => return code,
        }
    };
    session.block_on(go(arguments, &session, specs))
}

async fn go(arguments: &cli::Vendor, session: &Session, specs: Vec<BuildSpec>) -> u8 {
    let reporter = progress::reporter(Progress::Plain, arguments.verbose);
    let Tools { client, children, interrupted } = match session.tools(&reporter, &arguments.registries) {
        Ok(tools) => tools,
        Err(code) => return code,
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
        platforms: arguments.build_files.platforms.clone(),
        since: arguments.since.clone(),
        output: arguments.output.clone(),
        env: session.env.clone(),
        scratch: scratch.path().to_owned(),
        jobs: session::processors(),
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
        Err(error) => session.ended(&interrupted, &error),
    }
}
