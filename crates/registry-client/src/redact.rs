//! What may be shown of a URL and of text that a server sent.
//!
//! A URL can hold a password before its host and a signature in its query (row X02); a server's
//! text can hold terminal escapes, pages of HTML, or what we sent it (rows R49, X03).

use std::fmt;

use url::Url;

use crate::secret::Secret;

/// Longest piece of a server's text that is shown, in characters.
const SHOWN: usize = 300;

/// A URL as it may be shown: scheme, host, port and path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ShownUrl(String);

impl ShownUrl {
    /// Drops what may be secret.
    pub fn new(url: &Url) -> Self {
        let mut shown = url.clone();
        // These fail only for URLs without a host, which have no credentials either.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_fragment(None);
        let hidden = shown.query().is_some();
        shown.set_query(None);
        let mut text = shown_text(shown.as_str(), &[]);
        if hidden {
            text.push_str("?…");
        }
        Self(text)
    }

    /// The same for text that may not be a URL at all.
    pub fn of_text(text: &str) -> Self {
        match Url::parse(text) {
            Ok(url) => Self::new(&url),
            Err(_) => Self(shown_text(text.split(['?', '#']).next().unwrap_or_default(), &[])),
        }
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server's text in one line: control characters escaped, `secrets` taken out, cut.
pub(crate) fn shown_text(text: &str, secrets: &[&Secret]) -> String {
    let mut text = text.trim().to_owned();
    for secret in secrets.iter().filter(|secret| secret.expose().len() >= 4) {
        text = text.replace(secret.expose(), "[redacted]");
    }
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count >= SHOWN {
            shown.push('…');
            break;
        }
        match character {
            '\n' | '\r' | '\t' => {
                if !shown.ends_with(' ') {
                    shown.push(' ');
                }
            }
            // Control and formatting characters could rewrite what stands on the terminal.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
            {
                shown.extend(c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x02_urls_lose_userinfo_and_query() {
        let url = Url::parse("https://me:canary@host.example:8443/v2/x?sig=canary#canary").unwrap();
        let shown = format!("{} {:?}", ShownUrl::new(&url), ShownUrl::new(&url));
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.starts_with("https://host.example:8443/v2/x?…"), "{shown}");
        assert!(!ShownUrl::of_text("/relative?sig=canary").to_string().contains("canary"));
    }

    #[test]
    fn r49_text_is_one_line_without_escapes() {
        let shown = shown_text("<html>\n\x1b]0;evil\x07 \u{202e}x</html>", &[]);
        assert_eq!(shown, "<html> \\u{1b}]0;evil\\u{7} \\u{202e}x</html>");
        assert_eq!(shown_text(&"x".repeat(1000), &[]).chars().count(), SHOWN + 1);
        assert_eq!(shown_text("you sent canary", &[&Secret::new("canary")]), "you sent [redacted]");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_shown_without_its_secrets(text: String, path in "[a-z/]{0,9}") {
            proptest::prop_assert!(!shown_text(&text, &[]).chars().any(char::is_control));
            let _ = ShownUrl::of_text(&text);
            let url = format!("https://u:canary@h.example/{path}?canary={text}#canary");
            proptest::prop_assert!(!ShownUrl::of_text(&url).to_string().contains("canary"));
        }
    }
}
