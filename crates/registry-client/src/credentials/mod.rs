//! Credentials: what they are, and where one for a repository is found.
//!
//! The files of Docker and Podman are read as those two read them ([`AuthFile`]); programs that
//! keep credentials are asked through [`helper`]; [`Locations`] knows which files count, in which
//! order; [`store`] writes. Nothing here looks at the environment: paths come in as values.

pub mod file;
pub mod helper;
mod locations;
pub mod store;

use std::path::PathBuf;

pub use file::AuthFile;
pub use helper::Helpers;
pub use locations::Locations;

use crate::reference::{Registry, Repository};
use crate::secret::Secret;

/// Something that opens a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token (`identitytoken`), exchanged for access tokens.
    Identity(Secret),
    /// A bearer token that is sent as it is (`registrytoken`).
    Bearer(Secret),
}

/// A credential with the place where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// The credential.
    pub credential: Credential,
    /// For people: a file's path, a helper's name.
    pub origin: String,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file is there, but cannot be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not what it should be. The parser's own message is not shown: it could quote
    /// a secret.
    #[error("{origin}: {problem}")]
    Syntax {
        /// A path, or the name of the setting that held the text.
        origin: String,
        /// What is wrong, without the text.
        problem: String,
    },
    /// A helper failed, hung or said too much (row X04).
    #[error("credential helper {name}: {problem}")]
    Helper {
        /// Its whole program name.
        name: String,
        /// What it did.
        problem: String,
    },
}

/// Everything that is known about credentials, in the order of precedence.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Credentials given directly. A registry or a repository, as in a file's keys.
    pub given: Vec<(String, Found)>,
    /// Files, the one that counts most first.
    pub files: Vec<AuthFile>,
    /// How helpers are run.
    pub helpers: Helpers,
}

impl Credentials {
    /// The credential for `repository`, or for `registry` as such. Blocks while a helper runs.
    pub fn lookup(
        &self,
        registry: &Registry,
        repository: Option<&Repository>,
    ) -> Result<Option<Found>, CredentialsError> {
        let keys = keys(registry, repository);
        for key in &keys {
            if let Some((_, found)) = self.given.iter().find(|(name, _)| file::normalize_key(name) == *key) {
                return Ok(Some(found.clone()));
            }
        }
        for file in &self.files {
            if let Some(found) = file.lookup(registry, &keys, &self.helpers)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The names under which a credential can be kept, the most special first: `host/team/app`,
/// `host/team`, `host` (containers-auth.json, "FORMAT").
pub(crate) fn keys(registry: &Registry, repository: Option<&Repository>) -> Vec<String> {
    let mut keys = Vec::new();
    if let Some(repository) = repository {
        let mut path = repository.path();
        loop {
            keys.push(format!("{registry}/{path}"));
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => break,
            }
        }
    }
    keys.push(registry.to_string());
    keys
}
