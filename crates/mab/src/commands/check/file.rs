//! Build files: everything that a build does short of compiling.

use builder::build::{BuildRequest, plan};
use builder::plan::ImagePlan;

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
                    text::error_line(&text::tame(&format!("{}: nothing is wrong: {}", plan.file, extent(&plan))));
                }
                exit::SUCCESS
            }
            Err(error) => session.ended(&interrupted, &error),
        }
    })
}

/// How much a build file asks for: `3 platforms, 2 programs each`.
fn extent(plan: &ImagePlan) -> String {
    let platforms = plan.platforms.len();
    let each = if platforms == 1 { "" } else { " each" };
    let programs = match plan.programs() {
        (fewest, most) if fewest == most => format!("{}{each}", text::count(most, "program")),
        (fewest, most) => format!("{fewest} to {}{each}", text::count(most, "program")),
    };
    format!("{}, {programs}", text::count(platforms, "platform"))
}
