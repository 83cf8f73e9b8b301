//! Lines that change while work goes on, and stay when it has ended.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use builder::event::{Event, Reporter};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::Plain;

/// Columns beside a message: for the sign that turns, and for so many bytes of so many.
const BYTES: usize = 2 + 24;
/// For how many bytes in a second.
const RATE: usize = 18;
/// For the sign that turns, and the time.
const ELAPSED: usize = 2 + 9;
/// Terminals of fewer columns have no room for rates.
const NARROW: usize = 80;

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

    /// Of which nothing stays.
    pub(crate) fn passing() -> Self {
        Self { plain: Plain::new(false, true), ..Self::new(false) }
    }
}

impl Reporter for Terminal {
    fn report(&self, event: Event) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Started { id, phase, platform, what, total } => {
                let platform = platform.map(|platform| format!(" {platform}")).unwrap_or_default();
                let width = crate::environment::width();
                let (bar, template, figures) = match total {
                    Some(total) if width < NARROW => {
                        (ProgressBar::new(*total), "{spinner} {msg} {bytes}/{total_bytes}", BYTES)
                    }
                    Some(total) => (
                        ProgressBar::new(*total),
                        "{spinner} {msg} {bytes}/{total_bytes} ({bytes_per_sec})",
                        BYTES + RATE,
                    ),
                    None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", ELAPSED),
                };
                let bar = self.lines.add(bar);
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                let message = format!("[{}]{platform} {}", phase.name(), crate::text::tame(what));
                bar.set_message(cut(message, width.saturating_sub(figures)));
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

/// A message that has to do with so many columns.
fn cut(message: String, room: usize) -> String {
    if message.chars().count() <= room {
        return message;
    }
    message.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_their_room() {
        assert_eq!(cut("ünpack".to_owned(), 6), "ünpack");
        assert_eq!(cut("ünpack".to_owned(), 5), "ünpa…");
        assert_eq!(cut("ünpack".to_owned(), 0), "…");
    }
}
