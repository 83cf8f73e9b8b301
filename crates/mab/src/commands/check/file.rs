//! Build files: everything that a build does short of compiling.

use std::sync::Arc;

use builder::build::{BuildRequest, plan};
use builder::process::Children;

use crate::cli::{Check, Progress};
use crate::commands::build_files;
use crate::commands::session::Session;
use crate::{environment, errors, exit, progress, signals, text};

pub(super) fn run(arguments: &Check) -> u8 {
    let session = Session::new();
    let specs = match build_files::specs(&arguments.build_files, &session) {
        Ok(specs) => specs,
        Err(code) => return code,
    };
    session.block_on(async {
        let reporter =
            progress::reporter(if arguments.verbose { Progress::Plain } else { Progress::Quiet }, arguments.verbose);
        let (client, children) = match session.client(&reporter) {
            Ok(client) => (client, Arc::new(Children::new())),
            Err(code) => return code,
        };
        let interrupted = match signals::listen(Arc::clone(&children)) {
            Ok(interrupted) => interrupted,
            Err(error) => return session.fail(&error, &[], exit::OTHER),
        };
        let rustc_wrapper = match std::env::current_exe() {
            Ok(path) => path,
            Err(error) => return session.fail(&error, &[], exit::OTHER),
        };
        let source_date_epoch = match session.source_date_epoch() {
            Ok(epoch) => epoch,
            Err(code) => return code,
        };
        let request = BuildRequest {
            specs,
            outputs: Vec::new(),
            cache: environment::cache_directory(&session.env),
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            allow: arguments.build_files.allow.iter().copied().collect(),
            locked: false,
            locked_compilers: false,
            offline: arguments.offline,
            bundles: environment::bundles(&[], &session.env),
            colour: session.look.colour,
            rustc_wrapper,
            source_date_epoch,
            env: session.env.clone(),
        };
        match plan(request, &client, children, reporter).await {
            Ok(plans) => {
                for plan in plans {
                    let (platforms, programs) = (plan.platforms.len(), plan.programs());
                    text::error_line(&text::tame(&format!(
                        "{}: nothing is wrong: {platforms} platforms, {programs} programs",
                        plan.file
                    )));
                }
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
    })
}
