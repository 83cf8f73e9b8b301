//! Lines that change while work goes on, and stay when it has ended.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use builder::event::{Event, Reporter};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::Plain;

/// A terminal.
pub(crate) struct Terminal {
    lines: MultiProgress,
    bars: Mutex<HashMap<u64, ProgressBar>>,
    plain: Plain,
}

impl Terminal {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { lines: MultiProgress::new(), bars: Mutex::default(), plain: Plain::new(verbose, false) }
    }
}

impl Reporter for Terminal {
    fn report(&self, event: Event) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Started { id, phase, platform, what, total } => {
                let platform = platform.map(|platform| format!(" {platform}")).unwrap_or_default();
                let (bar, template) = match total {
                    Some(total) => {
                        (ProgressBar::new(*total), "{spinner} {msg} {bytes}/{total_bytes} ({bytes_per_sec})")
                    }
                    None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
                };
                let bar = self.lines.add(bar);
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_message(format!("[{}]{platform} {}", phase.name(), crate::text::tame(what)));
                bar.enable_steady_tick(Duration::from_millis(120));
                bars.insert(*id, bar);
            }
            Event::Progress { id, done } => {
                if let Some(bar) = bars.get(id) {
                    bar.set_position(*done);
                }
                return;
            }
            Event::Finished { id, .. } => {
                if let Some(bar) = bars.remove(id) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
        let begins = matches!(event, Event::Started { .. });
        if let Some(line) = self.plain.line(event).filter(|_| !begins) {
            let _ = self.lines.println(line);
        }
    }
}
