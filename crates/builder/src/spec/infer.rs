//! The annotations that mab knows by itself: out of Cargo.toml, go.mod and git.
//!
//! Names: image-spec, annotations.md, "Pre-Defined Annotation Keys". `created`, `base.name` and
//! `base.digest` are the plan's, who knows date and base. A pure function: the facts come in.

use std::collections::BTreeMap;

use super::model::{BinarySource, BuildSpec};
use super::variable::Facts;

/// What is known from `facts`, by annotation. Empty values and control characters never are.
///
/// Cargo's facts come before Go's where an image has both; of one language, only those are taken
/// that a binary of the image is of.
pub fn annotations(spec: &BuildSpec, facts: &Facts) -> BTreeMap<String, String> {
    let sources = || spec.binaries.iter().map(|binary| &binary.value.source);
    let cargo = facts.cargo.as_ref().filter(|_| sources().any(|source| matches!(source, BinarySource::Rust(_))));
    let go = facts.go.as_ref().filter(|_| sources().any(|source| matches!(source, BinarySource::Go(_))));
    let git = facts.git.as_ref();
    let known = [
        ("title", cargo.map(|cargo| cargo.name.clone()).or(go.and_then(|go| module_name(&go.module)))),
        ("description", cargo.and_then(|cargo| cargo.description.clone())),
        ("licenses", cargo.and_then(|cargo| cargo.license.as_deref()).map(licence_expression)),
        ("authors", cargo.map(|cargo| cargo.authors.join(", "))),
        ("url", cargo.and_then(|cargo| cargo.homepage.clone())),
        ("documentation", cargo.and_then(|cargo| cargo.documentation.clone())),
        (
            "source",
            cargo
                .and_then(|cargo| cargo.repository.as_deref())
                .or(git.and_then(|git| git.remote.as_deref()))
                .and_then(web_address),
        ),
        ("version", cargo.map(|cargo| cargo.version.clone()).or(git.and_then(|git| git.tag.clone()))),
        ("revision", git.map(|git| format!("{}{}", git.commit, if git.dirty { "-dirty" } else { "" }))),
    ];
    known
        .into_iter()
        .filter_map(|(name, value)| Some((format!("org.opencontainers.image.{name}"), tidy(&value?)?)))
        .collect()
}

/// One line without blanks at its ends; none where nothing is left.
fn tidy(text: &str) -> Option<String> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|it| !it.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The last part of a module's path that is no major version.
fn module_name(module: &str) -> Option<String> {
    let is_version = |part: &&str| {
        part.strip_prefix('v').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    module.rsplit('/').find(|part| !is_version(part)).map(str::to_owned)
}

/// Cargo's old way of writing "or" was a slash; SPDX has none.
fn licence_expression(text: &str) -> String {
    text.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

/// A repository's address that a browser can open, without credentials, query and `.git`. None
/// for what is no address of the web (a path of this machine, above all).
fn web_address(remote: &str) -> Option<String> {
    let (host, path) = match remote.split_once("://") {
        Some(("https" | "http" | "ssh" | "git" | "git+ssh", rest)) => {
            let (authority, path) = rest.split_once('/')?;
            (authority.rsplit('@').next()?, path)
        }
        Some(_) => return None,
        // user@host:path, as scp has it.
        None => {
            let (authority, path) = remote.split_once(':')?;
            (authority.split_once('@').map(|(_, host)| host).filter(|host| !host.contains('/'))?, path)
        }
    };
    let plain = remote.starts_with("http://");
    let host = if remote.starts_with("http") { host } else { host.split(':').next()? };
    let path = path.split(['?', '#']).next()?.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let scheme = if plain { "http" } else { "https" };
    (!host.is_empty() && !path.is_empty()).then(|| format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::variable::{CargoFacts, GitFacts, GoFacts};
    use crate::spec::{Overrides, parse};

    #[test]
    fn addresses_are_for_browsers_and_hold_no_secrets() {
        for (remote, expect) in [
            ("https://example.com/team/app", Some("https://example.com/team/app")),
            ("https://example.com/team/app.git/", Some("https://example.com/team/app")),
            ("https://user:token@example.com/team/app.git", Some("https://example.com/team/app")),
            ("https://example.com:8443/a/b.git?token=x#y", Some("https://example.com:8443/a/b")),
            ("http://example.com/a", Some("http://example.com/a")),
            ("ssh://git@example.com:2222/team/app.git", Some("https://example.com/team/app")),
            ("git@example.com:team/app.git", Some("https://example.com/team/app")),
            ("/srv/git/app.git", None),
            ("../app", None),
            ("file:///srv/git/app.git", None),
            ("C:/work/app", None),
        ] {
            assert_eq!(web_address(remote).as_deref(), expect, "{remote}");
        }
    }

    fn facts() -> Facts {
        Facts {
            git: Some(GitFacts {
                commit: "0123abcd".to_owned(),
                tag: Some("v2".to_owned()),
                dirty: true,
                remote: Some("git@example.com:team/app.git".to_owned()),
                ..GitFacts::default()
            }),
            cargo: Some(CargoFacts {
                name: "app".to_owned(),
                version: "1.2.3".to_owned(),
                description: Some("Does\n  things.".to_owned()),
                license: Some("MIT/Apache-2.0".to_owned()),
                ..CargoFacts::default()
            }),
            go: Some(GoFacts { module: "example.com/team/agent/v2".to_owned(), version: None }),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check(binaries: &str, facts: &Facts, expect: &[(&str, &str)]) {
        let text = format!("version: 1\nbinaries: [{binaries}]\n");
        let spec = parse(Path::new("f"), &text, &Overrides::default()).unwrap();
        let got = annotations(&spec, facts);
        let got: Vec<(&str, &str)> = got
            .iter()
            .map(|(name, value)| (name.strip_prefix("org.opencontainers.image.").unwrap(), value.as_str()))
            .collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn what_is_known_depends_on_the_languages_of_the_image() {
        check(
            "{rust: ., to: /a}, {go: ., to: /b}",
            &facts(),
            &[
                ("description", "Does things."),
                ("licenses", "MIT OR Apache-2.0"),
                ("revision", "0123abcd-dirty"),
                ("source", "https://example.com/team/app"),
                ("title", "app"),
                ("version", "1.2.3"),
            ],
        );
        check(
            "{go: ., to: /b}",
            &facts(),
            &[
                ("revision", "0123abcd-dirty"),
                ("source", "https://example.com/team/app"),
                ("title", "agent"),
                ("version", "v2"),
            ],
        );
        check("{file: x, to: /b}", &Facts::default(), &[]);
    }
}
