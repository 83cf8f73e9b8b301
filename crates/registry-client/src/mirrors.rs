//! Mirrors: Podman's `registries.conf`, version 2 (containers-registries.conf(5)).
//!
//! Read: `[[registry]]` with `prefix`, `location`, `insecure`, `blocked`, `mirror-by-digest-only`,
//! and its `mirror` list with `location`, `insecure`, `pull-from-mirror`. The rest of the format is
//! about short names, which mab does not have. Mirrors and locations are for pulling; a push goes
//! where its name says.

use std::path::Path;
use std::sync::PoisonError;

use serde::Deserialize;

use crate::Client;
use crate::error::Error;
use crate::notice::Notice;
use crate::reference::{Registry, Repository};
use crate::transport::Tries;

/// Rules for registries, by prefix.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// `host`, `host/path` or `*.host`.
    prefix: String,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
    origin: String,
}

#[derive(Clone, Debug)]
struct Mirror {
    location: String,
    insecure: bool,
    serves: Serves,
}

/// Which references a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    All,
    Digests,
    Tags,
}

/// A place that a repository can be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) repository: Repository,
    pub(crate) is_mirror: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawFile {
    #[serde(default)]
    registry: Vec<RawRule>,
    /// Version 1 of the format had a table of this name.
    registries: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawRule {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<RawMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<String>,
}

impl Mirrors {
    /// Reads the text of a file. `origin` is shown to people.
    pub fn parse(origin: &str, bytes: &[u8]) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Config { what: origin.to_owned(), reason };
        if bytes.len() > 1024 * 1024 {
            return Err(invalid("more than 1 MiB".to_owned()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("not UTF-8".to_owned()))?;
        let raw: RawFile = toml::from_str(text).map_err(|error| invalid(error.to_string().trim().to_owned()))?;
        if raw.registries.is_some() {
            return Err(invalid("version 1 of the format is not supported; write [[registry]] tables".to_owned()));
        }
        let rules = raw.registry.into_iter().map(|rule| rule.check(origin)).collect::<Result<_, _>>();
        rules.map(|rules| Self { rules }).map_err(invalid)
    }

    /// Reads the file at `path`; nothing where there is none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&path.display().to_string(), &bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::Config { what: path.display().to_string(), reason: error.to_string() }),
        }
    }

    /// Reads the `*.conf` files of a drop-in directory over this, in the order of their names: a
    /// rule there replaces one with the same prefix.
    pub fn with_drop_ins(mut self, directory: &Path) -> Result<Self, Error> {
        let Ok(entries) = std::fs::read_dir(directory) else { return Ok(self) };
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        paths.sort();
        for path in paths {
            for rule in Self::read(&path)?.rules {
                self.rules.retain(|other| other.prefix != rule.prefix);
                self.rules.push(rule);
            }
        }
        Ok(self)
    }

    /// Whether `authority` (`host[:port]`) may be spoken to without TLS.
    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        let host_of = |location: &str| location.split('/').next().unwrap_or_default().eq_ignore_ascii_case(authority);
        self.rules.iter().any(|rule| {
            let own = match &rule.location {
                Some(location) => host_of(location),
                None => prefix_length(&rule.prefix, authority).is_some() || host_of(&rule.prefix),
            };
            (rule.insecure && own) || rule.mirrors.iter().any(|mirror| mirror.insecure && host_of(&mirror.location))
        })
    }

    /// The rule with the longest prefix of `repository`, and the length of what it stands for.
    fn rule(&self, repository: &str) -> Option<(&Rule, usize)> {
        let fitting = self.rules.iter().filter_map(|rule| Some((rule, prefix_length(&rule.prefix, repository)?)));
        fitting.max_by_key(|(rule, _)| (!rule.prefix.starts_with('*'), rule.prefix.len()))
    }

    /// Fails where `repository` is blocked.
    pub(crate) fn allow(&self, repository: &Repository) -> Result<(), Error> {
        match self.rule(&repository.to_string()) {
            Some((rule, _)) if rule.blocked => {
                Err(Error::Blocked { registry: repository.registry().clone(), origin: rule.origin.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Where `repository` is read from, in order: the mirrors that serve such references, then the
    /// place itself.
    pub(crate) fn endpoints(&self, repository: &Repository, by_digest: bool) -> Result<Vec<Endpoint>, Error> {
        let name = repository.to_string();
        let own = |repository| Endpoint { repository, is_mirror: false };
        let Some((rule, length)) = self.rule(&name) else { return Ok(vec![own(repository.clone())]) };
        self.allow(repository)?;
        let rest = &name[length..];
        let moved = |location: &str| -> Result<Repository, Error> {
            let text = format!("{}{rest}", location.trim_end_matches('/'));
            text.parse().map_err(|error| Error::Config {
                what: rule.origin.clone(),
                reason: format!("{} leads to {text}: {error}", rule.prefix),
            })
        };
        let mut endpoints = Vec::new();
        for mirror in &rule.mirrors {
            let serves = match mirror.serves {
                Serves::All => true,
                Serves::Digests => by_digest,
                Serves::Tags => !by_digest,
            };
            if serves {
                endpoints.push(Endpoint { repository: moved(&mirror.location)?, is_mirror: true });
            }
        }
        endpoints.push(own(match &rule.location {
            Some(location) => moved(location)?,
            None => repository.clone(),
        }));
        Ok(endpoints)
    }
}

impl Client {
    /// Where `repository` is read from, without the mirrors that sent wrong bytes.
    pub(crate) fn endpoints(&self, repository: &Repository, by_digest: bool) -> Result<Vec<Endpoint>, Error> {
        let mut endpoints = self.inner.config.mirrors.endpoints(repository, by_digest)?;
        let distrusted = self.inner.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.retain(|endpoint| !endpoint.is_mirror || !distrusted.contains(endpoint.repository.registry()));
        Ok(endpoints)
    }

    /// How often one endpoint is tried: where others can be asked, one retry is enough.
    pub(crate) fn tries(&self, endpoint: &Endpoint) -> Tries {
        if endpoint.is_mirror { Tries::few(self) } else { Tries::of(self) }
    }

    /// What to make of an endpoint's outcome: the result, or `None` to ask the next one.
    pub(crate) fn judge<T>(
        &self,
        repository: &Repository,
        endpoint: &Endpoint,
        outcome: Result<Option<T>, Error>,
    ) -> Option<Result<Option<T>, Error>> {
        if !endpoint.is_mirror {
            return Some(outcome);
        }
        let reason = match outcome {
            Ok(Some(found)) => {
                self.served(repository, endpoint);
                return Some(Ok(Some(found)));
            }
            Ok(None) => "it does not have it".to_owned(),
            Err(error) => {
                self.distrust(endpoint, &error);
                crate::error::reason(&error)
            }
        };
        self.failed(repository, endpoint, reason);
        None
    }

    /// A mirror served what was asked for.
    pub(crate) fn served(&self, repository: &Repository, endpoint: &Endpoint) {
        let (registry, mirror) = (repository.registry().clone(), endpoint.repository.to_string());
        self.inner.config.notices.send(Notice::Mirror { registry, mirror });
    }

    /// A mirror could not.
    pub(crate) fn failed(&self, repository: &Repository, endpoint: &Endpoint, reason: String) {
        let (registry, mirror) = (repository.registry().clone(), endpoint.repository.to_string());
        self.inner.config.notices.send(Notice::MirrorFailed { registry, mirror, reason });
    }

    /// A mirror that sent wrong bytes once is not asked again.
    pub(crate) fn distrust(&self, endpoint: &Endpoint, error: &Error) {
        if endpoint.is_mirror && matches!(error, Error::Content { .. }) {
            let mut distrusted = self.inner.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
            distrusted.insert(endpoint.repository.registry().clone());
        }
    }
}

impl RawRule {
    fn check(self, origin: &str) -> Result<Rule, String> {
        let location = self.location.filter(|location| !location.is_empty());
        let prefix = self.prefix.filter(|prefix| !prefix.is_empty()).or_else(|| location.clone());
        let prefix = prefix.ok_or("a [[registry]] has neither prefix nor location")?;
        let prefix = normal(&prefix)?;
        if prefix.starts_with('*') && prefix.contains('/') {
            return Err(format!("prefix {prefix}: a wildcard stands for a host, without a path"));
        }
        let location = location.map(|location| normal(&location)).transpose()?;
        let mirrors = self
            .mirror
            .into_iter()
            .map(|mirror| {
                let serves = match mirror.pull_from_mirror.as_deref() {
                    None | Some("" | "all") if self.mirror_by_digest_only => Serves::Digests,
                    None | Some("" | "all") => Serves::All,
                    Some("digest-only") => Serves::Digests,
                    Some("tag-only") => Serves::Tags,
                    Some(other) => {
                        return Err(format!("pull-from-mirror is all, digest-only or tag-only, not {other:?}"));
                    }
                };
                Ok(Mirror { location: normal(&mirror.location)?, insecure: mirror.insecure, serves })
            })
            .collect::<Result<_, String>>()?;
        let location = location.filter(|location| *location != prefix);
        Ok(Rule {
            prefix,
            location,
            insecure: self.insecure,
            blocked: self.blocked,
            mirrors,
            origin: origin.to_owned(),
        })
    }
}

/// `host[:port][/path]`, its host in lower case; a wildcard host stays.
fn normal(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let wildcard = host.starts_with("*.");
    let registry: Registry =
        host.strip_prefix("*.").unwrap_or(host).parse().map_err(|error| format!("{text}: {error}"))?;
    let host = if wildcard { format!("*.{registry}") } else { registry.to_string() };
    match path {
        None => Ok(host),
        Some(path) => match Repository::new(Registry::docker_hub(), path) {
            Ok(_) => Ok(format!("{host}/{path}")),
            Err(error) => Err(format!("{text}: {error}")),
        },
    }
}

/// How much of `name` the prefix stands for, if it fits.
fn prefix_length(prefix: &str, name: &str) -> Option<usize> {
    if let Some(suffix) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or_default();
        return host.len().checked_sub(suffix.len()).filter(|at| *at > 0 && host.ends_with(suffix)).map(|_| host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        unqualified-search-registries = ["docker.io"]

        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.lan:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "tags.lan"
        pull-from-mirror = "tag-only"

        [[registry]]
        prefix = "docker.io/library/debian"
        location = "debian.lan/images/debian"

        [[registry]]
        prefix = "*.corp.example"
        location = "proxy.corp.example"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "digests.lan"

        [[registry]]
        prefix = "evil.example"
        blocked = true

        [[registry]]
        location = "plain.example:5000"
        insecure = true
    "#;

    #[track_caller]
    fn reads(repository: &str, by_digest: bool, expect: &[&str]) {
        let mirrors = Mirrors::parse("registries.conf", FILE.as_bytes()).unwrap();
        let endpoints = mirrors.endpoints(&repository.parse().unwrap(), by_digest).unwrap();
        let found: Vec<String> = endpoints.iter().map(|endpoint| endpoint.repository.to_string()).collect();
        assert_eq!(found, expect);
        assert!(!endpoints.last().unwrap().is_mirror);
    }

    #[test]
    fn the_longest_prefix_counts() {
        let hub = ["mirror.lan:5000/hub/library/alpine", "docker.io/library/alpine"];
        reads("alpine", true, &hub);
        reads("alpine", false, &[hub[0], "tags.lan/library/alpine", hub[1]]);
        reads("debian", true, &["debian.lan/images/debian"]);
        reads("debian-like", true, &["mirror.lan:5000/hub/library/debian-like", "docker.io/library/debian-like"]);
        reads("a.corp.example/x/y", false, &["proxy.corp.example/x/y"]);
        reads("a.corp.example/x/y", true, &["digests.lan/x/y", "proxy.corp.example/x/y"]);
        reads("corp.example/x", false, &["corp.example/x"]);
        reads("other.example/x", false, &["other.example/x"]);
    }

    #[test]
    fn blocked_and_insecure_are_seen() {
        let mirrors = Mirrors::parse("registries.conf", FILE.as_bytes()).unwrap();
        let error = mirrors.endpoints(&"evil.example/x".parse().unwrap(), true).unwrap_err();
        assert_eq!(error.to_string(), "evil.example is blocked by registries.conf");
        assert!(mirrors.is_insecure("mirror.lan:5000"));
        assert!(mirrors.is_insecure("plain.example:5000"));
        assert!(!mirrors.is_insecure("docker.io"));
        assert!(!mirrors.is_insecure("plain.example"));
    }

    #[test]
    fn mistakes_are_errors() {
        for (text, expect) in [
            ("[[registry]]\ninsecure = true", "neither prefix nor location"),
            ("[registries.search]\nregistries = []", "version 1"),
            ("[[registry]]\nlocation = \"https://x\"", "https:"),
            ("[[registry]]\nprefix = \"*.x.example/y\"", "wildcard"),
            (
                "[[registry]]\nlocation = \"x.example\"\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"no\"",
                "pull-from-mirror",
            ),
            ("[[registry", "line 1"),
        ] {
            let error = Mirrors::parse("f", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }

    #[test]
    fn drop_ins_replace_by_prefix() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("b.conf"), "[[registry]]\nlocation = \"evil.example\"").unwrap();
        std::fs::write(directory.path().join("a.conf"), "[[registry]]\nlocation = \"evil.example\"\nblocked = true")
            .unwrap();
        std::fs::write(directory.path().join("c.txt"), "nonsense").unwrap();
        let mirrors = Mirrors::parse("f", FILE.as_bytes()).unwrap().with_drop_ins(directory.path()).unwrap();
        assert!(mirrors.allow(&"evil.example/x".parse().unwrap()).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, text in "(\\[\\[registry\\]\\]\n(prefix|location) = \"[a-z*./:]{0,12}\"\n){0,4}") {
            let _ = Mirrors::parse("f", &bytes);
            if let Ok(mirrors) = Mirrors::parse("f", text.as_bytes()) {
                let _ = mirrors.endpoints(&"a.b/c".parse().unwrap(), true);
            }
        }
    }
}
