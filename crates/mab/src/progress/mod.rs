//! Progress as the user wants to see it, on standard error.

pub(crate) mod json;
mod plain;
mod tty;

use std::io::IsTerminal as _;
use std::sync::Arc;

use builder::event::Reporter;

use crate::cli::Progress;

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
