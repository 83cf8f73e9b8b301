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
