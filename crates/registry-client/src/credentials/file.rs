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
    entries: BTreeMap<String, Credential>,
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
            let credential = entry.unwrap_or_default().credential().map_err(|problem| {
                syntax(format!("the entry for {}: {problem}", crate::redact::ShownUrl::of_text(&key)))
            })?;
            if let Some(credential) = credential {
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
            if let Some(credential) = self.entries.get(key) {
                return Ok(Some(Found { credential: credential.clone(), origin: self.origin.clone() }));
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
