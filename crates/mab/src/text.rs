//! Lines for the terminal: a closed pipe is no panic, and nobody else's control characters get out.

use std::io::{self, Write as _};
use std::sync::OnceLock;

pub(crate) use builder::event::size;

/// A line on standard error.
pub(crate) fn error_line(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// A result on standard output. False where nobody reads it any more, or it cannot be written
/// ([`lost_result`] tells then).
pub(crate) fn result_line(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                let _ = LOST.set(error);
            }
            false
        }
    }
}

static LOST: OnceLock<io::Error> = OnceLock::new();

/// Why a result did not get out. Who closes a pipe has read enough: that is no reason.
pub(crate) fn lost_result() -> Option<&'static io::Error> {
    LOST.get()
}

/// A document on standard output, byte for byte.
pub(crate) fn result_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
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

/// Rows with their cells under each other, two blanks between; control characters are tamed.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let rows: Vec<[String; N]> = rows.iter().map(|row| std::array::from_fn(|column| tame(&row[column]))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A text in lines of at most `width` columns, broken at blanks; a longer word stays whole, so
/// that it can be copied.
pub(crate) fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A number of things in words: `1 program`, `2 programs`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
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
    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["A", "LONG"], ["arm\u{1b}", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), ["A          LONG", "arm\\u{1b}  x"]);
    }

    #[test]
    fn numbers_have_their_nouns() {
        assert_eq!(
            [count(0, "program"), count(1, "program"), count(600, "program")].join(", "),
            "0 programs, 1 program, 600 programs"
        );
    }
}
