//! Which files of credentials count, in which order.
//!
//! Docker and Podman each have places of their own; mab reads both, what the user set for this run
//! before what lies in the home directory. The paths come in as values: the front end reads the
//! environment.

use std::path::PathBuf;

use super::{AuthFile, CredentialsError};
use crate::secret::Secret;

/// What the environment says about credentials.
#[derive(Clone, Debug, Default)]
pub struct Locations {
    /// `DOCKER_AUTH_CONFIG`: the file's text itself, as CI systems set it.
    pub docker_auth_config: Option<Secret>,
    /// `REGISTRY_AUTH_FILE`: a file in place of Podman's own.
    pub registry_auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the directory of Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// The user's number: where Podman keeps credentials without `XDG_RUNTIME_DIR`.
    pub user: Option<u32>,
}

impl Locations {
    /// Docker's file.
    pub fn docker_file(&self) -> Option<PathBuf> {
        let directory = self.docker_config.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")))?;
        Some(directory.join("config.json"))
    }

    /// The file that a login writes: the one that was named for it, else Docker's.
    pub fn login_file(&self) -> Option<PathBuf> {
        self.registry_auth_file.clone().or_else(|| self.docker_file())
    }

    /// The files, the one that counts most first.
    pub fn files(&self) -> Vec<PathBuf> {
        let runtime = match (&self.xdg_runtime_dir, self.user) {
            (Some(directory), _) => Some(directory.join("containers/auth.json")),
            (None, Some(user)) => Some(PathBuf::from(format!("/run/containers/{user}/auth.json"))),
            (None, None) => None,
        };
        let config = self.xdg_config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")));
        let podman = config.map(|directory| directory.join("containers/auth.json"));
        [self.registry_auth_file.clone(), self.docker_file(), runtime, podman].into_iter().flatten().collect()
    }

    /// Reads everything. A file that cannot be read does not hide the others: it comes as a
    /// problem, for a warning.
    pub fn load(&self) -> (Vec<AuthFile>, Vec<CredentialsError>) {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        let text = self.docker_auth_config.as_ref().filter(|text| !text.is_empty());
        let inline = text.map(|text| AuthFile::parse("DOCKER_AUTH_CONFIG", text.expose().as_bytes()).map(Some));
        for read in inline.into_iter().chain(self.files().iter().map(|path| AuthFile::read(path))) {
            match read {
                Ok(Some(file)) if !file.is_empty() => files.push(file),
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
        }
        (files, problems)
    }
}
