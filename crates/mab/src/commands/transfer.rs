//! `mab copy` and `mab push`.

use std::path::Path;
use std::sync::Arc;

use builder::event::Reporter;
use builder::transfer::report::Report;
use builder::transfer::{self, Arrived, CopyRequest, List, Location, TransferError};
use registry_client::Client;

use super::session::Session;
use crate::cli::{Copy, Push, Talk};
use crate::{errors, exit, output_file, progress, text};

pub(crate) fn copy(arguments: &Copy) -> u8 {
    let request = |from: Location, to: Location| CopyRequest {
        from,
        to,
        platforms: arguments.platforms.clone(),
        referrers: !arguments.no_referrers,
    };
    let listed = match arguments.list.as_deref().map(list).transpose() {
        Ok(listed) => listed,
        Err(code) => return code,
    };
    run(&arguments.talk, arguments.report.as_deref(), async |client, reporter, arrived| {
        let list = match (listed, &arguments.from, &arguments.to) {
            (None, Some(from), Some(to)) if arguments.all_tags => transfer::all_tags(from, to, &client).await?,
            (None, Some(from), Some(to)) => List(vec![(from.clone(), to.clone())]),
            // The command line has either of them.
            (listed, ..) => listed.unwrap_or_default(),
        };
        transfer::copy_list(list, request, &client, &reporter, arrived).await
    })
}

/// Reads a list of images.
fn list(path: &Path) -> Result<List, u8> {
    let session = Session::new();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let error = std::io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()));
        session.fail(&error, &[], exit::USAGE)
    })?;
    text.parse().map_err(|error: TransferError| session.fail(&error, &error.hints(), exit::of_class(error.class())))
}

pub(crate) fn push(arguments: &Push) -> u8 {
    let Push { from, targets, no_referrers, report, talk } = arguments;
    run(talk, report.as_deref(), async |client, reporter, arrived| {
        transfer::push(from, targets, !no_referrers, &client, &reporter, arrived).await
    })
}

/// Does `work` with a client and progress, prints where its images are, and writes the report;
/// both also of what arrived before an error.
pub(super) fn run(
    talk: &Talk,
    report: Option<&Path>,
    work: impl AsyncFnOnce(Client, Arc<dyn Reporter>, &mut Vec<Arrived>) -> Result<(), TransferError>,
) -> u8 {
    let session = Session::new();
    let reporter = progress::reporter(talk.progress, talk.verbose);
    let client = match session.client(&reporter, &talk.registries) {
        Ok(client) => client,
        Err(code) => return code,
    };
    session.block_on(session.until_interrupted(async {
        let mut arrived = Vec::new();
        let outcome = work(client, reporter, &mut arrived).await;
        for image in &arrived {
            if !text::result_line(&image.reference) {
                break;
            }
        }
        let code = match &outcome {
            Ok(()) => exit::SUCCESS,
            Err(error) => session.fail(error, &error.hints(), exit::of_class(error.class())),
        };
        let Some(path) = report else { return code };
        let document = Report::of(&arrived, outcome.err().map(|error| errors::plain(&error)));
        let written = output_file::write(path, &(serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"));
        match written {
            Ok(()) => code,
            Err(error) => {
                let unwritten = session.fail(&error, &[], exit::OUTPUT);
                if code == exit::SUCCESS { unwritten } else { code }
            }
        }
    }))
}
