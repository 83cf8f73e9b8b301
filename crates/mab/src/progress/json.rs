//! A JSON object for each event, one a line.

use builder::event::{Event, Outcome, Reporter};
use serde_json::json;

use crate::text::error_line;

/// Lines for programs.
pub(crate) struct Json;

impl Reporter for Json {
    fn report(&self, event: Event) {
        let line = match event {
            Event::Started { id, phase, platform, what, total } => json!({
                "event": "started", "id": id, "phase": phase.name(),
                "platform": platform.map(|platform| platform.to_string()), "what": what, "total": total,
            }),
            Event::Progress { id, done } => json!({"event": "progress", "id": id, "done": done}),
            Event::Finished { id, outcome, elapsed } => {
                let (outcome, result) = match outcome {
                    Outcome::Done(result) => ("done", result),
                    Outcome::Cached(result) => ("cached", result),
                    Outcome::Failed => ("failed", String::new()),
                };
                json!({
                    "event": "finished", "id": id, "outcome": outcome, "result": result,
                    "milliseconds": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                })
            }
            Event::Output { id, line } => json!({"event": "output", "id": id, "line": line}),
            Event::Warning { message } => json!({"event": "warning", "message": message}),
            Event::Note { message } => json!({"event": "note", "message": message}),
            _ => return,
        };
        error_line(&line.to_string());
    }
}
