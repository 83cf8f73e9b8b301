//! Progress as the user wants to see it, on standard error.

pub(crate) mod json;
mod plain;
mod tty;

use std::io::IsTerminal as _;
use std::sync::Arc;

use builder::event::Reporter;

use crate::cli::Progress;

/// For what comes before a program has the terminal: while it lasts it is seen there, and nowhere else.
pub(crate) fn passing() -> Arc<dyn Reporter> {
    if std::io::stderr().is_terminal() {
        Arc::new(tty::Terminal::passing())
    } else {
        Arc::new(plain::Plain::new(false, true))
    }
}

/// Who draws.
pub(crate) fn reporter(progress: Progress, verbose: bool) -> Arc<dyn Reporter> {
    match progress {
        Progress::Auto if std::io::stderr().is_terminal() => Arc::new(tty::Terminal::new(verbose)),
        Progress::Tty => Arc::new(tty::Terminal::new(verbose)),
        Progress::Auto | Progress::Plain => Arc::new(plain::Plain::new(verbose, false)),
        Progress::Quiet => Arc::new(plain::Plain::new(false, true)),
        Progress::Json => Arc::new(json::Json),
    }
}
