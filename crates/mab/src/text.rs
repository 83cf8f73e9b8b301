//! Lines for the terminal: a closed pipe is no panic, and nobody else's control characters get out.

use std::io::Write as _;

/// A line on standard error.
pub(crate) fn error_line(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// A result on standard output. False where nobody reads it any more.
pub(crate) fn result_line(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// The text with its control characters made visible; line ends and tabs stay.
pub(crate) fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            tamed.extend(c.escape_default());
        } else {
            tamed.push(c);
        }
    }
    tamed
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r49_escapes_do_not_reach_the_terminal() {
        assert_eq!(tame("a\u{1b}[31mb\n\tc\r"), "a\\u{1b}[31mb\n\tc\\r");
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(
            [size(999), size(1_500), size(17_000_000), size(2_500_000_000)],
            ["999 B", "1.5 kB", "17.0 MB", "2.50 GB"]
        );
    }
}
