//! Errors as people read them: what, why, and after an empty line what to do.

use std::error::Error;

use anstyle::{AnsiColor, Style};
use builder::build::BuildError;
use registry_client::reference::ParseReferenceError;

use crate::diagnostics::{Look, draw_all};
use crate::text::{error_line, tame};

/// Tells of an error of the builder's.
pub(crate) fn tell_build(error: &BuildError, look: Look) {
    match error {
        BuildError::Spec(diagnostics)
        | BuildError::Check(diagnostics)
        | BuildError::Step(diagnostics)
        | BuildError::OfflineStep(diagnostics) => {
            error_line(draw_all(diagnostics, look).trim_end());
        }
        BuildError::Gate(gate) => {
            for (number, finding) in gate.findings.iter().enumerate() {
                if number > 0 {
                    error_line("");
                }
                error_line(&crate::findings::draw(finding, look));
            }
        }
        error => error_line(&draw(error, &error.hints(), look)),
    }
}

/// An error with its causes and hints.
pub(crate) fn draw(error: &dyn Error, hints: &[String], look: Look) -> String {
    draw_parts(error.to_string(), error.source(), hints, look)
}

/// What was typed is no reference to an image.
pub(crate) fn draw_not_a_reference(typed: &str, error: &ParseReferenceError, look: Look) -> String {
    let hint = "write REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:…; a layout is oci:DIR".to_owned();
    draw_parts(format!("`{typed}` is not a reference to an image"), Some(error), &[hint], look)
}

/// An error of a registry with its causes and hints.
pub(crate) fn draw_registry(error: registry_client::Error, look: Look) -> String {
    let error = BuildError::from(error);
    draw(&error, &error.hints(), look)
}

fn draw_parts(message: String, mut cause: Option<&dyn Error>, hints: &[String], look: Look) -> String {
    let paint = |colour: AnsiColor| if look.colour { colour.on_default().bold() } else { Style::new() };
    let (red, cyan) = (paint(AnsiColor::Red), paint(AnsiColor::Cyan));
    let mut text = format!("{red}error{red:#}: {}", tame(&message));
    let mut said = message;
    while let Some(error) = cause {
        let line = error.to_string();
        // Some libraries repeat their cause in their own words.
        if !said.contains(&line) {
            text.push_str(&format!("\n  caused by: {}", tame(&line)));
            said = line;
        }
        cause = error.source();
    }
    if !hints.is_empty() {
        text.push('\n');
    }
    for hint in hints {
        text.push_str(&format!("\n{cyan}hint{cyan:#}: {}", tame(hint)));
    }
    text
}

/// An error with its causes in one line.
pub(crate) fn plain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    tame(&text)
}
