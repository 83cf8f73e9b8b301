//! `mab verify`: whether everything in an image is what it says.

use std::io;
use std::path::Path;

use builder::bundle::Bundle;
use oci_layout::archive::{Archive, ArchiveError};
use oci_layout::verify::{Finding, Problem};
use oci_layout::{Layout, LayoutError, StoreError};
use serde::Serialize;

use super::session::Session;
use crate::cli::{Progress, Subject, Verify};
use crate::{errors, exit, progress, text};

/// The result as JSON.
#[derive(Serialize)]
struct Report<'a> {
    image: &'a str,
    findings: &'a [Finding],
}

pub(crate) fn run(arguments: &Verify) -> u8 {
    let session = Session::new();
    let (image, findings) = match &arguments.image {
        Subject::Layout(directory) => (format!("oci:{}", directory.display()), layout(directory, &session)),
        Subject::Archive(file) => (file.display().to_string(), archive(file)),
        Subject::Bundle(path) => (path.display().to_string(), bundle(path, &session)),
        Subject::Registry(reference) => {
            let mut found = Ok(Vec::new());
            session.block_on(async {
                let reporter = progress::reporter(Progress::Plain, false);
                let verified = match session.client(&reporter, &arguments.registries) {
                    Ok(client) => client.verify(reference).await,
                    Err(code) => {
                        found = Err(code);
                        return code;
                    }
                };
                found = verified.map_err(|error| session.fail(&error, &[], exit::of_registry(&error)));
                exit::SUCCESS
            });
            (reference.to_string(), found)
        }
    };
    let findings = match findings {
        Ok(findings) => findings,
        Err(code) => return code,
    };
    if arguments.json {
        let report = Report { image: &image, findings: &findings };
        text::result_line(&serde_json::to_string_pretty(&report).unwrap_or_default());
    } else if findings.is_empty() {
        text::result_line(&format!("{}: everything is what it says", text::tame(&image)));
    } else {
        for finding in &findings {
            let line = format!("{}: {} ({})", finding.at, finding.message, finding.problem.name());
            if !text::result_line(&text::tame(&line)) {
                break;
            }
        }
    }
    if findings.is_empty() {
        return exit::SUCCESS;
    }
    let count = findings.len();
    text::error_line(&format!("error: {count} finding{} in {}", if count == 1 { "" } else { "s" }, text::tame(&image)));
    exit::CHECK
}

/// What cannot be opened at all is an error; a directory that is a damaged layout is a finding.
fn bundle(path: &Path, session: &Session) -> Result<Vec<Finding>, u8> {
    match Bundle::open(path) {
        Ok(bundle) => Ok(bundle.verify()),
        Err(error) => Err(session.fail(&error, &error.hints(), exit::of_class(error.class()))),
    }
}

fn layout(directory: &Path, session: &Session) -> Result<Vec<Finding>, u8> {
    let at = || directory.display().to_string();
    match Layout::open(directory) {
        Ok(layout) => Ok(layout.verify()),
        Err(error @ LayoutError::Store(StoreError::Io { .. })) => Err(session.fail(&error, &[], exit::OUTPUT)),
        Err(error) if directory.is_dir() => {
            Ok(vec![Finding { at: at(), problem: Problem::Layout, message: errors::plain(&error) }])
        }
        Err(error) => Err(session.fail(&error, &[], exit::OUTPUT)),
    }
}

fn archive(file: &Path) -> Result<Vec<Finding>, u8> {
    let at = file.display().to_string();
    match Archive::open(file) {
        Ok(archive) => Ok(archive.verify()),
        Err(error @ ArchiveError::Io { .. }) if is_of_the_file(&error) => {
            text::error_line(&format!("error: {}: {}", text::tame(&at), errors::plain(&error)));
            Err(exit::OUTPUT)
        }
        Err(error) => Ok(vec![Finding { at, problem: Problem::Layout, message: errors::plain(&error) }]),
    }
}

/// Whether the file could not be read at all; one that is cut short is read.
fn is_of_the_file(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Io { source, .. } if source.kind() != io::ErrorKind::UnexpectedEof)
}
