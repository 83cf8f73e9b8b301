//! Keeping and forgetting credentials: what `login` and `logout` do to a file or a helper.
//!
//! The file is replaced as a whole, readable by its owner only; what else it holds stays. Where it
//! names a helper for the registry, the helper keeps the secret and the file never sees it.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::file::{normalize_key, read_limited, server_name};
use super::{AuthFile, CredentialsError, Helpers};
use crate::reference::Registry;
use crate::secret::Secret;

/// Where a credential went to or came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Into the file, in base64.
    File(PathBuf),
    /// To this helper.
    Helper(String),
}

/// Keeps a name and password for `registry`.
pub fn login(
    path: &Path,
    registry: &Registry,
    username: &str,
    password: &Secret,
    helpers: &Helpers,
) -> Result<Kept, CredentialsError> {
    let file = AuthFile::read(path)?.unwrap_or_default();
    if username.contains(':') {
        let problem = "a name with a colon in it cannot be kept".to_owned();
        return Err(CredentialsError::Syntax { origin: path.display().to_string(), problem });
    }
    let key = server_name(&registry.to_string());
    if let Some(helper) = file.helper_for(registry) {
        helpers.store(helper, &key, username, password)?;
        return Ok(Kept::Helper(helper.to_owned()));
    }
    let text = Secret::new(format!("{username}:{}", password.expose()));
    let auth = base64::engine::general_purpose::STANDARD.encode(text.expose());
    edit(path, |auths| {
        auths.retain(|other, _| normalize_key(other) != registry.to_string());
        auths.insert(key, json!({ "auth": auth }));
    })?;
    Ok(Kept::File(path.to_owned()))
}

/// Forgets what is kept for `registry`; `None` where nothing was.
pub fn logout(path: &Path, registry: &Registry, helpers: &Helpers) -> Result<Option<Kept>, CredentialsError> {
    let Some(file) = AuthFile::read(path)? else { return Ok(None) };
    let mut kept = None;
    if let Some(helper) = file.helper_for(registry) {
        let key = server_name(&registry.to_string());
        if helpers.get(helper, &key)?.is_some() {
            helpers.erase(helper, &key)?;
            kept = Some(Kept::Helper(helper.to_owned()));
        }
    }
    if file.has_entry(registry) {
        edit(path, |auths| auths.retain(|other, _| normalize_key(other) != registry.to_string()))?;
        kept = Some(Kept::File(path.to_owned()));
    }
    Ok(kept)
}

/// Changes the entries of the file and puts the new one in its place at once.
fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), CredentialsError> {
    let failed = |source| CredentialsError::File { path: path.to_owned(), source };
    // A link (dotfiles kept elsewhere) stays one.
    let path_behind = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut document = match read_limited(&path_behind) {
        Ok(bytes) if !bytes.iter().all(u8::is_ascii_whitespace) => serde_json::from_slice(&bytes).map_err(|error| {
            let problem = format!("not a credentials file (line {}, column {})", error.line(), error.column());
            CredentialsError::Syntax { origin: path.display().to_string(), problem }
        })?,
        Ok(_) => json!({}),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(failed(error)),
    };
    let not_an_object =
        || CredentialsError::Syntax { origin: path.display().to_string(), problem: "not a JSON object".to_owned() };
    let auths = document.as_object_mut().ok_or_else(not_an_object)?.entry("auths").or_insert_with(|| json!({}));
    if auths.is_null() {
        *auths = json!({});
    }
    change(auths.as_object_mut().ok_or_else(not_an_object)?);
    let directory =
        path_behind.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    // Made with mode 0600, whatever the umask.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let mut text = serde_json::to_vec_pretty(&document).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(&path_behind).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Credential, keys};

    fn registry(text: &str) -> Registry {
        text.parse().unwrap()
    }

    fn kept(path: &Path, name: &str) -> Option<Credential> {
        let file = AuthFile::read(path).unwrap()?;
        let registry = registry(name);
        let found = file.lookup(&registry, &keys(&registry, None), &Helpers::default()).unwrap();
        found.map(|found| found.credential)
    }

    #[test]
    fn a_login_is_found_again_and_touches_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/.docker/config.json");
        let helpers = Helpers::default();
        login(&path, &registry("r.example:5000"), "me", &"p:w".into(), &helpers).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let expect = Credential::Password { username: "me".into(), password: "p:w".into() };
        assert_eq!(kept(&path, "r.example:5000"), Some(expect));

        let text = r#"{"HttpHeaders":{"a":"b"},"auths":{"https://r.example/v2/":{"auth":"old"},"o.example":{"auth":"eDp5"}},"detachKeys":"x"}"#;
        std::fs::write(&path, text).unwrap();
        login(&path, &registry("r.example"), "me", &"pw".into(), &helpers).unwrap();
        let document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let expect = json!({"HttpHeaders": {"a": "b"}, "auths": {"r.example": {"auth": "bWU6cHc="}, "o.example": {"auth": "eDp5"}}, "detachKeys": "x"});
        assert_eq!(document, expect);

        assert_eq!(logout(&path, &registry("r.example"), &helpers).unwrap(), Some(Kept::File(path.clone())));
        assert_eq!(logout(&path, &registry("r.example"), &helpers).unwrap(), None);
        assert!(kept(&path, "o.example").is_some());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn docker_hub_has_its_old_key() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        login(&path, &registry("docker.io"), "me", &"pw".into(), &Helpers::default()).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains(r#""https://index.docker.io/v1/""#));
        assert!(kept(&path, "docker.io").is_some());
        assert!(logout(&path, &registry("docker.io"), &Helpers::default()).unwrap().is_some());
    }

    #[test]
    fn a_link_stays_a_link_and_a_broken_file_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real.json"), root.path().join("config.json"));
        std::fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        login(&link, &registry("r.example"), "me", &"pw".into(), &Helpers::default()).unwrap();
        assert!(link.is_symlink() && kept(&real, "r.example").is_some());
        for broken in ["[]", "{", r#"{"auths":[]}"#] {
            std::fs::write(&real, broken).unwrap();
            login(&link, &registry("r.example"), "me", &"canary".into(), &Helpers::default()).unwrap_err();
            assert_eq!(std::fs::read_to_string(&real).unwrap(), broken);
        }
        let error = login(&root.path().join("x"), &registry("r.example"), "a:b", &"canary".into(), &Helpers::default());
        assert!(!format!("{:?}", error.unwrap_err()).contains("canary"));
    }

    #[test]
    fn a_helper_that_the_file_names_keeps_the_secret() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("docker-credential-x");
        let script = "#!/bin/sh\ncd \"$(dirname $0)\"; case $1 in store) cat > kept;; get) cat kept 2>/dev/null || { echo credentials not found; exit 1; };; erase) rm kept;; esac\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let helpers = Helpers { directories: vec![root.path().to_owned()], ..Helpers::default() };
        for text in [r#"{"credsStore":"x"}"#, r#"{"credHelpers":{"r.example":"x"}}"#] {
            let path = root.path().join("config.json");
            std::fs::write(&path, text).unwrap();
            let stored = login(&path, &registry("r.example"), "me", &"canary".into(), &helpers).unwrap();
            assert_eq!(stored, Kept::Helper("x".to_owned()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the file never sees the secret");
            let file = AuthFile::read(&path).unwrap().unwrap();
            let found = file.lookup(&registry("r.example"), &["r.example".to_owned()], &helpers).unwrap().unwrap();
            assert_eq!(found.origin, "credential helper x");
            assert_eq!(logout(&path, &registry("r.example"), &helpers).unwrap(), Some(Kept::Helper("x".to_owned())));
            assert_eq!(logout(&path, &registry("r.example"), &helpers).unwrap(), None);
        }
    }
}
