//! Certificates for single registries, as Docker and Podman keep them: `certs.d/HOST[:PORT]/` with
//! `*.crt` for roots, `*.cert` and `*.key` for a client certificate (containers-certs.d(5)).

use std::path::{Path, PathBuf};

use crate::config::{Identity, RegistryTls};
use crate::error::Error;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// What the first of `directories` that knows `registry` (`host[:port]`) has for it.
pub fn read(directories: &[PathBuf], registry: &str) -> Result<Option<RegistryTls>, Error> {
    // A name that could lead out of the directory is none of a registry's; look twice all the same.
    if registry.is_empty() || registry.contains(['/', '\0']) || registry.starts_with('.') {
        return Ok(None);
    }
    for directory in directories {
        let path = directory.join(registry);
        if path.is_dir() {
            return read_directory(&path).map(Some);
        }
    }
    Ok(None)
}

fn read_directory(path: &Path) -> Result<RegistryTls, Error> {
    let failed = |path: &Path, reason: String| Error::Config { what: path.display().to_string(), reason };
    let entries = std::fs::read_dir(path).map_err(|error| failed(path, error.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(path, error.to_string()))?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let load = |path: &Path| -> Result<Vec<u8>, Error> {
        let size = std::fs::metadata(path).map_err(|error| failed(path, error.to_string()))?.len();
        if size > MAX_FILE {
            return Err(failed(path, format!("more than {MAX_FILE} bytes")));
        }
        std::fs::read(path).map_err(|error| failed(path, error.to_string()))
    };
    let mut tls = RegistryTls::default();
    for file in &files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => tls.roots.push((file.display().to_string(), load(file)?)),
            Some("cert") => {
                let key = file.with_extension("key");
                if !files.contains(&key) {
                    return Err(failed(file, "its .key is missing".to_owned()));
                }
                if tls.identity.is_some() {
                    return Err(failed(path, "more than one client certificate".to_owned()));
                }
                tls.identity =
                    Some(Identity { name: file.display().to_string(), chain: load(file)?, key: load(&key)? });
            }
            Some("key") if !files.contains(&file.with_extension("cert")) => {
                return Err(failed(file, "its .cert is missing".to_owned()));
            }
            _ => {}
        }
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_that_knows_the_registry_counts() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        let directories = [a.clone(), b.clone()];
        assert!(read(&directories, "r.example:5000").unwrap().is_none());
        std::fs::create_dir_all(b.join("r.example:5000")).unwrap();
        std::fs::write(b.join("r.example:5000/ca.crt"), "x").unwrap();
        std::fs::write(b.join("r.example:5000/ca.txt"), "x").unwrap();
        assert_eq!(read(&directories, "r.example:5000").unwrap().unwrap().roots.len(), 1);
        std::fs::create_dir_all(a.join("r.example:5000")).unwrap();
        assert_eq!(read(&directories, "r.example:5000").unwrap().unwrap().roots.len(), 0);
        for bad in ["", "..", ".", "../x", "a/b"] {
            assert!(read(&directories, bad).unwrap().is_none(), "{bad}");
        }
    }

    #[test]
    fn half_a_client_certificate_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("r");
        std::fs::create_dir(&directory).unwrap();
        let fails = || read(&[root.path().to_owned()], "r").unwrap_err().to_string();
        std::fs::write(directory.join("client.cert"), "x").unwrap();
        assert!(fails().ends_with("its .key is missing"), "{}", fails());
        std::fs::rename(directory.join("client.cert"), directory.join("client.key")).unwrap();
        assert!(fails().ends_with("its .cert is missing"), "{}", fails());
        std::fs::write(directory.join("client.cert"), "x").unwrap();
        assert!(read(&[root.path().to_owned()], "r").unwrap().unwrap().identity.is_some());
    }
}
