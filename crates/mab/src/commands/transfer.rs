//! `mab copy` and `mab push`.

use std::sync::Arc;

use builder::event::Reporter;
use builder::transfer::{self, Arrived, CopyRequest, TransferError};
use registry_client::Client;

use super::session::Session;
use crate::cli::{Copy, Push, Talk};
use crate::{exit, progress, text};

pub(crate) fn copy(arguments: &Copy) -> u8 {
    let request = CopyRequest {
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        platforms: arguments.platforms.clone(),
        referrers: !arguments.no_referrers,
    };
    run(&arguments.talk, async |client, reporter| Ok(vec![transfer::copy(&request, &client, &reporter).await?]))
}

pub(crate) fn push(arguments: &Push) -> u8 {
    let Push { from, targets, no_referrers, talk } = arguments;
    run(talk, async |client, reporter| transfer::push(from, targets, !no_referrers, &client, &reporter).await)
}

/// Does `work` with a client and progress, and prints where its images are.
pub(super) fn run(
    talk: &Talk,
    work: impl AsyncFnOnce(Client, Arc<dyn Reporter>) -> Result<Vec<Arrived>, TransferError>,
) -> u8 {
    let session = Session::new();
    let reporter = progress::reporter(talk.progress, talk.verbose);
    let client = match session.client(&reporter, &talk.registries) {
        Ok(client) => client,
        Err(code) => return code,
    };
    session.block_on(session.until_interrupted(async {
        match work(client, reporter).await {
            Ok(arrived) => {
                for image in arrived {
                    if !text::result_line(&image.reference) {
                        break;
                    }
                }
                exit::SUCCESS
            }
            Err(error) => session.fail(&error, &error.hints(), exit::of_class(error.class())),
        }
    }))
}
