//! A JSON object for each event, one a line. docs/results.md describes them; its table is made
//! from [`EVENTS`]. Keys may be added, and events; what is there keeps its meaning.

use builder::event::{Event, Outcome, Reporter};
use serde_json::{Value, json};

use crate::text::error_line;

/// Every event with its keys, and what they hold.
#[cfg(test)]
pub(crate) const EVENTS: &[(&str, &[(&str, &str)])] = &[
    (
        "started",
        &[
            ("id", "number of the piece of work, unique in the build"),
            ("phase", "`resolve`, `compile`, `run`, `check`, `assemble`, `smoke` or `deliver`"),
            ("platform", "the platform that it is for, or null"),
            ("what", "a few words for people"),
            ("total", "bytes to go, or null where they are not known"),
        ],
    ),
    ("progress", &[("id", "which piece of work"), ("done", "bytes so far")]),
    (
        "finished",
        &[
            ("id", "which piece of work"),
            (
                "outcome",
                "`done`, `cached` (it was there already), `failed`, or `stopped` (another had failed, or the build was interrupted)",
            ),
            ("result", "a few words for people, may be empty"),
            ("milliseconds", "how long it took"),
            ("cpuMilliseconds", "how long a processor worked for it, with a fraction; null but for `check`"),
        ],
    ),
    ("output", &[("id", "which piece of work"), ("line", "a line that a compiler wrote")]),
    ("warning", &[("message", "a sentence for people")]),
    ("note", &[("message", "a sentence for people")]),
];

/// Lines for programs.
pub(crate) struct Json;

impl Reporter for Json {
    fn report(&self, event: Event) {
        if let Some(object) = object(event) {
            error_line(&object.to_string());
        }
    }
}

fn object(event: Event) -> Option<Value> {
    Some(match event {
        Event::Started { id, phase, platform, what, total } => json!({
            "event": "started", "id": id, "phase": phase.name(),
            "platform": platform.map(|platform| platform.to_string()), "what": what, "total": total,
        }),
        Event::Progress { id, done } => json!({"event": "progress", "id": id, "done": done}),
        Event::Finished { id, outcome, elapsed, cpu } => {
            let (outcome, result) = match outcome {
                Outcome::Done(result) => ("done", result),
                Outcome::Cached(result) => ("cached", result),
                Outcome::Failed => ("failed", String::new()),
                Outcome::Stopped => ("stopped", String::new()),
            };
            json!({
                "event": "finished", "id": id, "outcome": outcome, "result": result,
                "milliseconds": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                "cpuMilliseconds": cpu.map(|cpu| cpu.as_micros() as f64 / 1e3),
            })
        }
        Event::Output { id, line } => json!({"event": "output", "id": id, "line": line}),
        Event::Warning { message } => json!({"event": "warning", "message": message}),
        Event::Note { message } => json!({"event": "note", "message": message}),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use builder::event::Phase;

    use super::*;

    #[test]
    fn events_have_the_keys_of_the_table_and_no_others() {
        let text = || "x".to_owned();
        let all = [
            Event::Started {
                id: 1,
                phase: Phase::Check,
                platform: "linux/386".parse().ok(),
                what: text(),
                total: None,
            },
            Event::Progress { id: 1, done: 2 },
            Event::Finished {
                id: 1,
                outcome: Outcome::Cached(text()),
                elapsed: Duration::from_millis(7),
                cpu: Some(Duration::from_micros(1500)),
            },
            Event::Output { id: 1, line: text() },
            Event::Warning { message: text() },
            Event::Note { message: text() },
        ];
        let written: Vec<(String, BTreeSet<String>)> = all
            .into_iter()
            .map(|event| {
                let object = object(event).unwrap();
                let keys = object.as_object().unwrap().keys().filter(|key| *key != "event").cloned().collect();
                (object["event"].as_str().unwrap().to_owned(), keys)
            })
            .collect();
        let table: Vec<(String, BTreeSet<String>)> = EVENTS
            .iter()
            .map(|(event, keys)| ((*event).to_owned(), keys.iter().map(|(key, _)| (*key).to_owned()).collect()))
            .collect();
        assert_eq!(written, table);
    }
}
