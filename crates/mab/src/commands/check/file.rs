//! Build files: everything that a build does short of compiling.

use builder::build::{BuildRequest, plan};

use crate::cli::{Check, Progress};
use crate::commands::build_files;
use crate::commands::session::{Session, Tools};
use crate::{exit, progress, text};

pub(super) fn run(arguments: &Check) -> u8 {
    let session = Session::new();
    let images = &arguments.images;
    let specs = match build_files::specs(&images.build_files, &images.naming, &session) {
        Ok(specs) => specs,
        Err(code) => return code,
    };
    session.block_on(async {
        let reporter =
            progress::reporter(if arguments.verbose { Progress::Plain } else { Progress::Quiet }, arguments.verbose);
        let Tools { client, children, interrupted } = match session.tools(&reporter, &arguments.registries) {
            Ok(tools) => tools,
            Err(code) => return code,
        };
        let request = match session.request(specs, images) {
            Ok(request) => BuildRequest { offline: arguments.offline, ..request },
            Err(code) => return code,
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
            Err(error) => session.ended(&interrupted, &error),
        }
    })
}
