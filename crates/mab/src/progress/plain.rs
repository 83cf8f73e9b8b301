//! A line for each thing that has happened.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use builder::event::{Event, Outcome, Phase, Reporter};
use builder::target::TargetPlatform;

use crate::text::{error_line, tame};

/// Lines that stay.
pub(crate) struct Plain {
    verbose: bool,
    quiet: bool,
    pieces: Mutex<HashMap<u64, Piece>>,
}

struct Piece {
    phase: Phase,
    platform: Option<TargetPlatform>,
    what: String,
}

impl Plain {
    pub(crate) fn new(verbose: bool, quiet: bool) -> Self {
        Self { verbose, quiet, pieces: Mutex::default() }
    }

    /// The lines that `event` comes to.
    pub(crate) fn line(&self, event: Event) -> Option<String> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { id, phase, platform, what, .. } => {
                let begins = (matches!(phase, Phase::Compile | Phase::Run) && !self.quiet)
                    .then(|| label(phase, platform, &what));
                pieces.insert(id, Piece { phase, platform, what });
                begins
            }
            Event::Finished { id, outcome, elapsed, .. } => {
                let piece = pieces.remove(&id)?;
                let (how, result) = match outcome {
                    Outcome::Done(result) => ("done", result),
                    Outcome::Cached(result) => ("cached", result),
                    Outcome::Failed => ("failed", String::new()),
                    Outcome::Stopped => ("stopped", String::new()),
                };
                let result = if result.is_empty() { result } else { format!(": {result}") };
                let label = label(piece.phase, piece.platform, &piece.what);
                (!self.quiet).then(|| format!("{label} {how} in {:.1}s{result}", elapsed.as_secs_f64()))
            }
            // Compilers write their own colours; they were asked for them only where they are shown.
            // Those of single platforms run side by side.
            Event::Output { id, line } => match pieces.get(&id).and_then(|piece| piece.platform) {
                _ if self.quiet => None,
                Some(platform) => Some(format!("{platform} | {line}")),
                None => Some(line),
            },
            Event::Warning { message } => Some(format!("warning: {}", tame(&message))),
            Event::Note { message } => self.verbose.then(|| format!("note: {}", tame(&message))),
            _ => None,
        }
    }
}

fn label(phase: Phase, platform: Option<TargetPlatform>, what: &str) -> String {
    let platform = platform.map(|platform| format!(" {platform}")).unwrap_or_default();
    format!("[{}]{platform} {}", phase.name(), tame(what))
}

impl Reporter for Plain {
    fn report(&self, event: Event) {
        if let Some(line) = self.line(event) {
            error_line(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn finished_work_is_a_line() {
        let plain = Plain::new(false, false);
        let start = |id, phase| Event::Started {
            id,
            phase,
            platform: "linux/arm64".parse().ok(),
            what: "layers".to_owned(),
            total: None,
        };
        assert_eq!(plain.line(start(1, Phase::Assemble)), None);
        assert_eq!(plain.line(start(2, Phase::Compile)).as_deref(), Some("[compile] linux/arm64 layers"));
        let end = Event::Finished {
            id: 1,
            outcome: Outcome::Done("2 new".to_owned()),
            elapsed: Duration::from_millis(1500),
            cpu: None,
        };
        assert_eq!(plain.line(end).as_deref(), Some("[assemble] linux/arm64 layers done in 1.5s: 2 new"));
        assert_eq!(plain.line(Event::Note { message: "x".to_owned() }), None);
        let output = |id| Event::Output { id, line: "main.go:3: no".to_owned() };
        assert_eq!(plain.line(output(2)).as_deref(), Some("linux/arm64 | main.go:3: no"));
        assert_eq!(plain.line(output(9)).as_deref(), Some("main.go:3: no"), "of no platform alone");
        let quiet = Plain::new(false, true);
        assert_eq!(quiet.line(start(1, Phase::Compile)), None);
        assert_eq!(quiet.line(Event::Warning { message: "w".to_owned() }).as_deref(), Some("warning: w"));
    }
}
