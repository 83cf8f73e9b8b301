//! Texts of TOML files and of cargo's `--config`.

use std::fmt::Write as _;

/// A basic string. Whatever `text` holds, it stays one value on one line.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_read_as_it_was() {
        for text in ["", "plain", "a \"b\" \\ c", "two\nlines\u{7f}\u{0}", "Ärger"] {
            let table: toml::Table = format!("key = {}\n", quoted(text)).parse().unwrap();
            assert_eq!(table["key"].as_str(), Some(text));
        }
    }
}
