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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Credential, Credentials, Helpers};
    use std::path::Path;

    /// Every place at once, each with a name of its own.
    fn everywhere(root: &Path) -> Locations {
        let write = |path: &str, name: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = format!(r#"{{"auths":{{"r.example":{{"username":"{name}","password":"x"}}}}}}"#);
            std::fs::write(&path, text).unwrap();
        };
        write("named.json", "named");
        write("docker/config.json", "docker");
        write("home/.docker/config.json", "docker-home");
        write("run/containers/auth.json", "podman-run");
        write("config/containers/auth.json", "podman-config");
        write("home/.config/containers/auth.json", "podman-home");
        Locations {
            docker_auth_config: Some(r#"{"auths":{"r.example":{"username":"inline","password":"x"}}}"#.into()),
            registry_auth_file: Some(root.join("named.json")),
            docker_config: Some(root.join("docker")),
            xdg_runtime_dir: Some(root.join("run")),
            xdg_config_home: Some(root.join("config")),
            home: Some(root.join("home")),
            user: Some(4_000_000),
        }
    }

    fn winner(locations: &Locations) -> Option<String> {
        let (files, problems) = locations.load();
        assert!(problems.is_empty(), "{problems:?}");
        let credentials = Credentials { given: Vec::new(), files, helpers: Helpers::default() };
        let found = credentials.lookup(&"r.example".parse().unwrap(), None).unwrap()?;
        match found.credential {
            Credential::Password { username, .. } => Some(username),
            _ => None,
        }
    }

    #[test]
    fn every_source_in_its_order() {
        let root = tempfile::tempdir().unwrap();
        let mut locations = everywhere(root.path());
        let is = |locations: &Locations, expect: Option<&str>| assert_eq!(winner(locations).as_deref(), expect);
        is(&locations, Some("inline"));
        locations.docker_auth_config = Some("".into());
        is(&locations, Some("named"));
        locations.registry_auth_file = None;
        is(&locations, Some("docker"));
        locations.docker_config = None;
        is(&locations, Some("docker-home"));
        std::fs::remove_file(root.path().join("home/.docker/config.json")).unwrap();
        is(&locations, Some("podman-run"));
        // Without a runtime directory Podman's is named after the user, who is not here.
        locations.xdg_runtime_dir = None;
        is(&locations, Some("podman-config"));
        locations.xdg_config_home = None;
        is(&locations, Some("podman-home"));
        locations.home = None;
        is(&locations, None);
        assert_eq!(locations.files(), [PathBuf::from("/run/containers/4000000/auth.json")]);
        is(&Locations::default(), None);
    }

    #[test]
    fn a_broken_file_hides_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let locations = everywhere(root.path());
        std::fs::write(root.path().join("named.json"), "{canary").unwrap();
        let (files, problems) = locations.load();
        assert_eq!(files.len(), 4);
        let shown = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(shown.contains("named.json") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_login_writes_the_named_file_or_dockers() {
        let mut locations = Locations { home: Some("/home/me".into()), ..Locations::default() };
        assert_eq!(locations.login_file(), Some("/home/me/.docker/config.json".into()));
        locations.registry_auth_file = Some("/x.json".into());
        assert_eq!(locations.login_file(), Some("/x.json".into()));
        assert_eq!(Locations::default().login_file(), None);
    }
}
