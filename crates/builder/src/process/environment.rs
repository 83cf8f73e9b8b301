//! The user's environment as a value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Environment variables, taken once at the start of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
}

/// Variables that hold or name registry credentials (fault row X05).
///
/// Compilers, build scripts and build steps have no use for them. What cargo and go themselves
/// need to fetch dependencies (`CARGO_REGISTRIES_…`, `GOPRIVATE`, netrc, a job's git token)
/// stays.
const CREDENTIALS: &[&str] = &[
    "CI_DEPLOY_PASSWORD",
    "CI_DEPENDENCY_PROXY_PASSWORD",
    "CI_REGISTRY_PASSWORD",
    "COSIGN_PASSWORD",
    "COSIGN_PRIVATE_KEY",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CONFIG",
    "DOCKER_PASSWORD",
    "DOCKER_TOKEN",
    "DOCKERHUB_PASSWORD",
    "DOCKERHUB_TOKEN",
    "REGISTRY_AUTH_FILE",
    "REGISTRY_PASSWORD",
    "REGISTRY_TOKEN",
];

impl Environment {
    /// An environment of these variables.
    pub fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { vars: vars.into_iter().collect() }
    }

    /// A variable's value. An empty value counts as unset: that is how all programs that mab
    /// starts read the variables that it looks at.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.vars.get(name.as_ref()).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable's value, where it is text.
    pub fn text(&self, name: impl AsRef<OsStr>) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.vars.insert(name.into(), value.into());
    }

    /// Sets a variable unless the user has.
    pub fn set_default(&mut self, name: impl AsRef<OsStr>, value: impl Into<OsString>) {
        if self.get(name.as_ref()).is_none() {
            self.set(name.as_ref(), value);
        }
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The same without registry credentials, and without mab's own variables.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        let kept = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            !name.starts_with(b"MAB_") && !CREDENTIALS.iter().any(|secret| secret.as_bytes() == name)
        };
        let vars = self.vars.iter().filter(|(name, _)| kept(name));
        Self { vars: vars.map(|(name, value)| (name.clone(), value.clone())).collect() }
    }

    /// The user's home directory, where the environment names one.
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
    }

    /// Where `PATH` finds a program; a name with a slash in it is taken as a path.
    pub fn lookup(&self, program: impl AsRef<OsStr>) -> Option<PathBuf> {
        let program = Path::new(program.as_ref());
        if program.components().count() > 1 {
            return is_executable(program).then(|| program.to_owned());
        }
        // An empty or relative entry means the current directory, which for a build is the
        // checkout: nothing is started from there by accident.
        let directories = self.get("PATH")?.as_bytes().split(|byte| *byte == b':');
        directories
            .map(|directory| Path::new(OsStr::from_bytes(directory)))
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(program))
            .find(|candidate| is_executable(candidate))
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// What a setting that names a program means: a bare name is looked up in `PATH`, a relative path
/// starts at `directory`.
pub fn resolve_program(setting: &OsStr, directory: &Path, env: &Environment) -> Option<PathBuf> {
    let path = Path::new(setting);
    if path.components().count() > 1 { env.lookup(directory.join(path)) } else { env.lookup(setting) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        Environment::new(vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn x05_credentials_are_taken_out_and_the_rest_stays() {
        let env = environment(&[
            ("DOCKER_AUTH_CONFIG", "{}"),
            ("REGISTRY_AUTH_FILE", "/a"),
            ("MAB_TOKEN", "secret"),
            ("CARGO_REGISTRIES_OURS_TOKEN", "needed"),
            ("PATH", "/bin"),
        ])
        .without_credentials();
        let names: Vec<_> = env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["CARGO_REGISTRIES_OURS_TOKEN", "PATH"]);
    }

    #[test]
    fn programs_are_found_in_path_and_never_in_the_current_directory() {
        let env = environment(&[("PATH", ":.:/nowhere:/bin:/usr/bin")]);
        assert_eq!(env.lookup("sh").unwrap(), Path::new("/bin/sh"));
        assert_eq!(env.lookup("/bin/sh").unwrap(), Path::new("/bin/sh"));
        assert_eq!(env.lookup("Cargo.toml"), None);
        assert_eq!(env.lookup("/etc/passwd"), None);
        assert_eq!(environment(&[]).lookup("sh"), None);
        assert_eq!(resolve_program("bin/sh".as_ref(), Path::new("/"), &env).unwrap(), Path::new("/bin/sh"));
        assert_eq!(resolve_program("sh".as_ref(), Path::new("/"), &env).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn empty_is_unset() {
        let mut env = environment(&[("CC", "")]);
        assert_eq!(env.get("CC"), None);
        env.set_default("CC", "gcc");
        env.set_default("CC", "clang");
        assert_eq!(env.text("CC"), Some("gcc"));
    }
}
