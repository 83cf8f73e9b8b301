//! A log for looking into what goes wrong: `MAB_LOG=debug` or `MAB_LOG=trace`, on standard error.
//!
//! Secrets are redacted by their types, also at the level of traces (row X03).

use tracing_subscriber::filter::LevelFilter;

/// Begins it, where the environment asks for one. A word that is no level is told, and no error.
pub(crate) fn begin() {
    let Some(text) = std::env::var("MAB_LOG").ok().filter(|text| !text.is_empty()) else { return };
    let Ok(level) = text.parse::<LevelFilter>() else {
        let text = crate::text::tame(&text);
        crate::text::error_line(&format!("warning: MAB_LOG is `{text}`, not one of error, warn, info, debug, trace"));
        return;
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
}
