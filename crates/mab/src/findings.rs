//! What the gate finds, as people read it.

use anstyle::{AnsiColor, Style};
use builder::check::Finding;
use builder::spec::Severity;

use crate::diagnostics::Look;
use crate::text::tame;

/// A finding in a line.
pub(crate) fn line(finding: &Finding, look: Look) -> String {
    let style = if look.colour { AnsiColor::Yellow.on_default().bold() } else { Style::new() };
    let how = if finding.allowed { " (let through)" } else { "" };
    format!("{style}warning{style:#}: {} [{}]{how}", tame(&finding.message), finding.check)
}

/// A finding with its evidence, and after an empty line its ways out.
pub(crate) fn draw(finding: &Finding, look: Look) -> String {
    let paint = |colour: AnsiColor| if look.colour { colour.on_default().bold() } else { Style::new() };
    let (word, colour) = match finding.severity {
        _ if finding.allowed => ("let through", AnsiColor::Yellow),
        Severity::Error => ("error", AnsiColor::Red),
        Severity::Warning => ("warning", AnsiColor::Yellow),
    };
    let (style, cyan) = (paint(colour), paint(AnsiColor::Cyan));
    let mut text = format!("{style}{word}{style:#}: {}", tame(&finding.message));
    for note in &finding.notes {
        text.push_str(&format!("\n  {}", tame(note)));
    }
    text.push_str(&format!("\n  check: {}", finding.check));
    if finding.is_error() || !finding.hints.is_empty() {
        text.push('\n');
    }
    for hint in &finding.hints {
        text.push_str(&format!("\n{cyan}hint{cyan:#}: {}", tame(hint)));
    }
    if finding.is_error() {
        text.push_str(&format!("\n{cyan}hint{cyan:#}: `--allow {}` lets it through", finding.check));
    }
    text
}
