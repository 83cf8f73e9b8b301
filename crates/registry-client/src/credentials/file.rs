//! Docker's `config.json` and Podman's `auth.json`: one format, read leniently where Docker and
//! Podman are lenient, and never quoted in an error.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::{Credential, CredentialsError, Found, Helpers};
use crate::reference::Registry;
use crate::secret::Secret;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The key under which Docker keeps what belongs to Docker Hub.
pub(crate) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A file of credentials, parsed.
#[derive(Clone, Debug, Default)]
pub struct AuthFile {
    /// For people: its path, or the setting that held the text.
    pub origin: String,
    /// An entry that cannot be read is an error for whoever needs it, not for the whole file.
    entries: BTreeMap<String, Result<Credential, &'static str>>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<RawEntry>>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct RawEntry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl AuthFile {
    /// Parses the file's text. `origin` is shown to people.
    pub fn parse(origin: impl Into<String>, bytes: &[u8]) -> Result<Self, CredentialsError> {
        let origin = origin.into();
        let syntax = |problem: String| CredentialsError::Syntax { origin: origin.clone(), problem };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { origin, ..Self::default() });
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| {
            syntax(format!("not a credentials file (line {}, column {})", error.line(), error.column()))
        })?;
        let mut entries = BTreeMap::new();
        for (key, entry) in raw.auths.unwrap_or_default() {
            if let Some(credential) = entry.unwrap_or_default().credential().transpose() {
                // `https://r.example` and `r.example` are one key; the plain one counts.
                let plain = normalize_key(&key);
                if plain == key || !entries.contains_key(&plain) {
                    entries.insert(plain, credential);
                }
            }
        }
        let helpers =
            raw.cred_helpers.unwrap_or_default().into_iter().map(|(key, name)| (normalize_key(&key), name)).collect();
        Ok(Self { origin, entries, helpers, store: raw.creds_store.filter(|name| !name.is_empty()) })
    }

    /// Reads the file at `path`; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, CredentialsError> {
        match read_limited(path) {
            Ok(bytes) => Self::parse(path.display().to_string(), &bytes).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(CredentialsError::File { path: path.to_owned(), source }),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.helpers.is_empty() && self.store.is_none()
    }

    /// The helper that the file names for `registry`: its own, else the one for all.
    pub fn helper_for(&self, registry: &Registry) -> Option<&str> {
        self.helpers.get(&registry.to_string()).or(self.store.as_ref()).map(String::as_str)
    }

    /// Whether there is an entry for `registry` itself.
    pub(super) fn has_entry(&self, registry: &Registry) -> bool {
        self.entries.contains_key(&registry.to_string())
    }

    pub(super) fn lookup(
        &self,
        registry: &Registry,
        keys: &[String],
        helpers: &Helpers,
    ) -> Result<Option<Found>, CredentialsError> {
        // As Podman has it: a helper of the registry's own, the entries, then the general store.
        for key in keys {
            if let Some(name) = self.helpers.get(key).filter(|name| !name.is_empty())
                && let Some(credential) = helpers.get(name, &server_name(key))?
            {
                let origin = format!("credential helper {name}");
                return Ok(Some(Found { credential, origin }));
            }
        }
        for key in keys {
            match self.entries.get(key) {
                None => {}
                Some(Ok(credential)) => {
                    return Ok(Some(Found { credential: credential.clone(), origin: self.origin.clone() }));
                }
                Some(Err(problem)) => {
                    let problem = format!("the entry for {key}: {problem}");
                    return Err(CredentialsError::Syntax { origin: self.origin.clone(), problem });
                }
            }
        }
        if let Some(name) = &self.store
            && let Some(credential) = helpers.get(name, &server_name(&registry.to_string()))?
        {
            return Ok(Some(Found { credential, origin: format!("credential helper {name}") }));
        }
        Ok(None)
    }
}

/// What helpers and Docker's file call a registry.
pub(crate) fn server_name(key: &str) -> String {
    if key == crate::reference::DOCKER_HUB { DOCKER_HUB_KEY.to_owned() } else { key.to_owned() }
}

/// Strips what old files put around a registry's name: a scheme, `/v1/`, `/v2/`, a slash.
pub(crate) fn normalize_key(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let trimmed = bare.unwrap_or(key).trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/v1").or_else(|| trimmed.strip_suffix("/v2")).unwrap_or(trimmed);
    let (host, path) = trimmed.split_once('/').map_or((trimmed, None), |(host, path)| (host, Some(path)));
    let host = match host.to_ascii_lowercase() {
        host if matches!(host.as_str(), "index.docker.io" | "registry-1.docker.io") => "docker.io".to_owned(),
        host => host,
    };
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host,
    }
}

impl RawEntry {
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let given = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credential::Bearer(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let text = decode_auth(auth.expose())?;
            let (username, password) = text.split_once(':').ok_or("`auth` is not name:password in base64")?;
            // Docker pads the password with NUL.
            let password = password.trim_end_matches('\0');
            return Ok(Some(Credential::Password { username: username.to_owned(), password: password.into() }));
        }
        Ok(match (self.username.filter(|name| !name.is_empty()), given(&self.password)) {
            (Some(username), Some(password)) => Some(Credential::Password { username, password }),
            _ => None,
        })
    }
}

fn decode_auth(text: &str) -> Result<String, &'static str> {
    let lenient = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = lenient.decode(text.trim()).map_err(|_| "`auth` is not base64")?;
    String::from_utf8(bytes).map_err(|_| "`auth` is not UTF-8")
}

/// A path that leads to no file, rather than to one that cannot be read.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

pub(super) fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "more than 4 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Repository;

    /// `me:pw` in base64.
    const ME: &str = "bWU6cHc=";

    #[track_caller]
    fn finds(text: &str, repository: &str, expect: Option<&str>) {
        let file = AuthFile::parse("auth.json", text.as_bytes()).unwrap();
        let repository: Repository = repository.parse().unwrap();
        let keys = super::super::keys(repository.registry(), Some(&repository));
        let found = file.lookup(repository.registry(), &keys, &Helpers::default()).unwrap();
        let shown = found.map(|found| match found.credential {
            Credential::Password { username, password } => format!("{username}:{}", password.expose()),
            Credential::Identity(token) => format!("identity {}", token.expose()),
            Credential::Bearer(token) => format!("bearer {}", token.expose()),
        });
        assert_eq!(shown.as_deref(), expect, "{text} {repository}");
    }

    #[test]
    fn keys_come_in_every_spelling() {
        let entry = |key: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"{ME}"}}}}}}"#);
        for key in ["r.example", "https://r.example", "http://r.example/", "https://R.example/v2/", "r.example/v1/"] {
            finds(&entry(key), "r.example/a", Some("me:pw"));
        }
        for key in ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io"] {
            finds(&entry(key), "debian", Some("me:pw"));
        }
        finds(&entry("r.example:5000"), "r.example/a", None);
        finds(&entry("r.example"), "r.example:5000/a", None);
        finds(&entry("ample"), "r.example/a", None);
    }

    #[test]
    fn the_most_special_path_counts() {
        let text = r#"{"auths":{
            "r.example": {"username": "host", "password": "1"},
            "r.example/team": {"username": "team", "password": "2"},
            "r.example/team/app": {"username": "app", "password": "3"}}}"#;
        finds(text, "r.example/team/app", Some("app:3"));
        finds(text, "r.example/team/app/deep", Some("app:3"));
        finds(text, "r.example/team/other", Some("team:2"));
        finds(text, "r.example/teamster", Some("host:1"));
    }

    #[test]
    fn entries_hold_tokens_and_odd_base64() {
        let entry = |fields: &str| format!(r#"{{"auths":{{"r.example":{{{fields}}}}}}}"#);
        finds(&entry(r#""identitytoken":"t","auth":"PHRva2VuPjo=""#), "r.example/a", Some("identity t"));
        finds(&entry(r#""registrytoken":"t""#), "r.example/a", Some("bearer t"));
        finds(&entry(r#""auth":"bWU6cHc""#), "r.example/a", Some("me:pw"));
        finds(&entry(r#""auth":"bWU6cDp3""#), "r.example/a", Some("me:p:w"));
        finds(&entry(r#""auth":"bWU6cHcAAA==""#), "r.example/a", Some("me:pw"));
        finds(&entry(r#""auth":"","email":"x""#), "r.example/a", None);
        finds(r#"{"auths":{"r.example":null},"HttpHeaders":{"x":"y"}}"#, "r.example/a", None);
        finds(r#"{"auths":null}"#, "r.example/a", None);
        finds(" \n", "r.example/a", None);
    }

    #[test]
    fn x01_errors_do_not_quote_the_file() {
        for text in [r#"{"auths":{"r.example":{"password":["canary"]}}}"#, r#"{"auths":"canary"}"#, r#"{"canary"#] {
            let error = AuthFile::parse("auth.json", text.as_bytes()).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.to_lowercase().contains("canary") && shown.contains("auth.json"), "{shown}");
            assert!(std::error::Error::source(&error).is_none());
        }
        for auth in ["canary!", "Y2FuYXJ5"] {
            let text = format!(r#"{{"auths":{{"r.example":{{"auth":"{auth}"}},"o.example":{{"auth":"{ME}"}}}}}}"#);
            finds(&text, "o.example/a", Some("me:pw"));
            let file = AuthFile::parse("auth.json", text.as_bytes()).unwrap();
            let keys = ["r.example".to_owned()];
            let error = file.lookup(&"r.example".parse().unwrap(), &keys, &Helpers::default()).unwrap_err();
            assert!(error.to_string().starts_with("auth.json: the entry for r.example: `auth` is not"), "{error}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        let file = AuthFile::parse("f", r#"{"auths":{"r.example":{"username":"u","password":"canary"}}}"#.as_bytes());
        assert!(!format!("{file:?}").contains("canary"));
    }

    #[test]
    fn files_that_are_none_are_absent_and_odd_ones_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert!(AuthFile::read(&path).unwrap().is_none());
        assert!(AuthFile::read(&path.join("below")).unwrap().is_none());
        assert!(AuthFile::read(directory.path()).is_err(), "a directory");
        std::fs::write(&path, vec![b' '; 5 << 20]).unwrap();
        assert!(AuthFile::read(&path).is_err(), "too large");
        std::fs::write(&path, "{}").unwrap();
        assert!(AuthFile::read(&path).unwrap().unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, key: String, auth: String) {
            let _ = AuthFile::parse("f", &bytes);
            let text = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
            let _ = AuthFile::parse("f", text.as_bytes());
        }
    }
}
