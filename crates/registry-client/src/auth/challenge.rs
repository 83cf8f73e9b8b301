//! `WWW-Authenticate` (RFC 9110, section 11.6.1): any number of challenges, in one header or several.
//!
//! Registries and proxies in front of them send several (`Negotiate`, `Basic`, `Bearer`), with
//! quoted commas inside, with upper-case scheme names, with tokens instead of parameters.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Most challenges that are looked at.
const MAX_CHALLENGES: usize = 16;

/// One way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme, in lower case.
    pub(crate) scheme: String,
    /// The parameters, names in lower case, in the order they came.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of an answer.
pub(crate) fn of_headers(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(parse).take(MAX_CHALLENGES).collect()
}

/// The challenges of one header value. What cannot be read is skipped, never guessed at.
pub(crate) fn parse(value: &str) -> Vec<Challenge> {
    let mut rest = value;
    let mut challenges: Vec<Challenge> = Vec::new();
    while challenges.len() <= MAX_CHALLENGES {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((word, after)) = token(rest) else { break };
        let after_space = after.trim_start_matches([' ', '\t']);
        if let (Some(value), Some(challenge)) = (after_space.strip_prefix('='), challenges.last_mut())
            && !value.starts_with('=')
        {
            let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
            challenge.parameters.push((word.to_ascii_lowercase(), value));
            rest = after;
            continue;
        }
        challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
        rest = after_space;
        // `Negotiate YII=` has a token68 and no parameters: it is skipped.
        if let Some((token68, after)) = token68(rest) {
            let _ = token68;
            rest = after;
        }
    }
    challenges.truncate(MAX_CHALLENGES);
    challenges
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !is_token_byte(b)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token68 stands alone until the next comma or the end; `name=value` is none.
fn token68(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !(b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))).unwrap_or(text.len());
    let padded = text[end..].bytes().position(|b| b != b'=').map_or(text.len(), |count| end + count);
    let after = text[padded..].trim_start_matches([' ', '\t']);
    (end > 0 && (after.is_empty() || after.starts_with(','))).then(|| (&text[..padded], after))
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        // Leniently up to the next comma: unquoted realms hold slashes and colons.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expect: &[(&str, &[(&str, &str)])]) {
        let found = parse(value);
        let shown: Vec<(&str, Vec<(&str, &str)>)> = found
            .iter()
            .map(|c| (c.scheme.as_str(), c.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()))
            .collect();
        let expect: Vec<(&str, Vec<(&str, &str)>)> = expect.iter().map(|(s, p)| (*s, p.to_vec())).collect();
        assert_eq!(shown, expect, "{value}");
    }

    #[test]
    fn challenges_of_real_registries() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull""#,
            &[(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:library/debian:pull"),
                ],
            )],
        );
        check(r#"Basic realm="Registry Realm""#, &[("basic", &[("realm", "Registry Realm")])]);
        check(
            r#"bearer Realm="https://a/b" , scope="repository:x:pull,push repository:y:pull""#,
            &[("bearer", &[("realm", "https://a/b"), ("scope", "repository:x:pull,push repository:y:pull")])],
        );
    }

    #[test]
    fn several_in_one_value() {
        check(
            r#"Negotiate, NTLM abc==, Basic realm="a, b", BEARER realm=https://x/y,service=z"#,
            &[
                ("negotiate", &[]),
                ("ntlm", &[]),
                ("basic", &[("realm", "a, b")]),
                ("bearer", &[("realm", "https://x/y"), ("service", "z")]),
            ],
        );
    }

    #[test]
    fn broken_ones_are_survived() {
        check("", &[]);
        check(",,,", &[]);
        check(r#"Basic realm="open"#, &[("basic", &[("realm", "open")])]);
        check(r#"Basic realm="a\"b\\""#, &[("basic", &[("realm", r#"a"b\"#)])]);
        check("é", &[]);
        check("=x", &[]);
        assert!(parse(&"a, ".repeat(10_000)).len() <= MAX_CHALLENGES);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(value: String, soup in "[a-zA-Z=\",\\\\ \t]{0,60}") {
            for text in [value, soup] {
                for challenge in parse(&text) {
                    proptest::prop_assert!(!challenge.scheme.is_empty());
                }
            }
        }

        #[test]
        fn what_is_quoted_reads_back(realm: String, scope in "[a-z:,/]{0,20}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let found = parse(&format!("Basic realm=\"{quoted}\", Bearer scope=\"{scope}\""));
            proptest::prop_assert_eq!(found[0].get("realm"), Some(realm.as_str()));
            proptest::prop_assert_eq!(found[1].get("scope"), Some(scope.as_str()));
        }
    }
}
