//! What the environment says: the only place that reads it.

use std::path::{Path, PathBuf};

use builder::process::Environment;
use registry_client::config::Config;
use registry_client::credentials::{Helpers, Locations};
use registry_client::mirrors::Mirrors;
use registry_client::proxy::{NoProxy, Proxies, ProxyUrl};
use registry_client::{Credentials, Secret};

use crate::diagnostics::Look;

/// The process's environment.
pub(crate) fn of_process() -> Environment {
    Environment::new(std::env::vars_os())
}

/// The files of credentials.
pub(crate) fn credential_locations(env: &Environment) -> Locations {
    let path = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    Locations {
        docker_auth_config: env.text("DOCKER_AUTH_CONFIG").map(|text| Secret::from(text.to_owned())),
        registry_auth_file: path("REGISTRY_AUTH_FILE"),
        docker_config: path("DOCKER_CONFIG"),
        xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
        xdg_config_home: path("XDG_CONFIG_HOME"),
        home: env.home(),
        user: Some(rustix::process::getuid().as_raw()),
    }
}

/// Where credential helpers are looked for.
pub(crate) fn helpers(env: &Environment) -> Helpers {
    let directories = env.get("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    Helpers { directories, ..Helpers::default() }
}

/// Settings of the registry client, and what about them deserves a warning.
pub(crate) fn registries(env: &Environment) -> Result<(Config, Vec<String>), registry_client::Error> {
    let path = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let locations = credential_locations(env);
    let (files, problems) = locations.load();
    let warnings = problems.iter().map(|problem| crate::errors::plain(problem)).collect();
    let configuration = path("XDG_CONFIG_HOME").or_else(|| Some(env.home()?.join(".config")));
    let mut certs_d = vec![PathBuf::from("/etc/docker/certs.d"), PathBuf::from("/etc/containers/certs.d")];
    certs_d.extend(configuration.as_ref().map(|directory| directory.join("containers/certs.d")));
    let mut config = Config {
        credentials: Credentials { files, helpers: helpers(env), ..Credentials::default() },
        certs_d,
        mirrors: mirrors(env, configuration.as_deref())?,
        proxies: proxies(env)?,
        ..Config::default()
    };
    if let Some(file) = path("SSL_CERT_FILE") {
        config.roots.system = vec![file];
    }
    Ok((config, warnings))
}

/// Podman's registries.conf: the one that is named, else the user's, else the system's.
fn mirrors(env: &Environment, configuration: Option<&Path>) -> Result<Mirrors, registry_client::Error> {
    if let Some(named) = env.get("CONTAINERS_REGISTRIES_CONF").filter(|value| !value.is_empty()) {
        return Mirrors::read(Path::new(named));
    }
    let own = configuration.map(|directory| directory.join("containers/registries.conf")).filter(|path| path.is_file());
    let file = own.unwrap_or_else(|| PathBuf::from("/etc/containers/registries.conf"));
    Mirrors::read(&file)?.with_drop_ins(Path::new("/etc/containers/registries.conf.d"))
}

fn proxies(env: &Environment) -> Result<Proxies, registry_client::Error> {
    // The lower-case names are older; an upper-case HTTP_PROXY may come from a CGI request.
    let either = |lower: &str, upper: &str| {
        [lower, upper].into_iter().find_map(|name| {
            env.text(name).filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value.to_owned()))
        })
    };
    let proxy = |found: Option<(String, String)>| found.map(|(name, url)| ProxyUrl::parse(&name, &url)).transpose();
    let all = either("all_proxy", "ALL_PROXY");
    Ok(Proxies {
        http: proxy(either("http_proxy", "HTTP_PROXY").or_else(|| all.clone()))?,
        https: proxy(either("https_proxy", "HTTPS_PROXY").or(all))?,
        except: either("no_proxy", "NO_PROXY").map(|(_, list)| NoProxy::parse(&list)).unwrap_or_default(),
    })
}

/// mab's cache directory: `MAB_CACHE_DIR`, else `mab` in the user's cache directory.
pub(crate) fn cache_directory(env: &Environment) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    if let Some(named) = env.get("MAB_CACHE_DIR").filter(|value| !value.is_empty()) {
        return std::path::absolute(named).ok();
    }
    let xdg = env.get("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from).and_then(absolute);
    Some(xdg.or_else(|| Some(env.home()?.join(".cache")))?.join("mab"))
}

/// How many bytes the cache may keep from one day to the next: `MAB_CACHE_KEEP`, where that can be
/// read, else what `mab cache prune` keeps unasked.
pub(crate) fn cache_limit(env: &Environment) -> u64 {
    let said = env.text("MAB_CACHE_KEEP").and_then(|text| crate::cli::cache_bytes(text).ok());
    said.unwrap_or(crate::cli::CACHE_KEEP)
}

/// The bundles that are named, else those of `MAB_BUNDLE`, separated by colons.
pub(crate) fn bundles(named: &[PathBuf], env: &Environment) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let list = env.get("MAB_BUNDLE").map(std::env::split_paths).into_iter().flatten();
    list.filter(|path| !path.as_os_str().is_empty()).collect()
}

/// Columns of the terminal on standard error, 80 where it is none or does not say.
pub(crate) fn width() -> usize {
    // A terminal that does not know how wide it is says 0.
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    let width = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    width.unwrap_or(80).clamp(20, 200)
}

/// How results look on standard output: lines are broken for terminals alone.
pub(crate) fn output_look() -> Look {
    let out = std::io::stdout();
    let width = rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col));
    let width = width.filter(|columns| *columns > 0).map_or(usize::MAX, |columns| columns.max(20));
    Look { width, colour: anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never }
}

/// Whether standard error shows colours.
pub(crate) fn colour() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        Environment::new(vars.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn the_cache_is_where_the_user_keeps_caches() {
        let directory =
            |vars: &[(&str, &str)]| cache_directory(&environment(vars)).map(|path| path.display().to_string());
        assert_eq!(directory(&[("HOME", "/h")]).as_deref(), Some("/h/.cache/mab"));
        assert_eq!(directory(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]).as_deref(), Some("/c/mab"));
        assert_eq!(directory(&[("HOME", "/h"), ("XDG_CACHE_HOME", "c")]).as_deref(), Some("/h/.cache/mab"));
        assert_eq!(directory(&[("MAB_CACHE_DIR", "/m"), ("HOME", "/h")]).as_deref(), Some("/m"));
        assert_eq!(directory(&[]), None);
    }

    #[test]
    fn x02_a_proxys_password_is_not_shown() {
        let error = proxies(&environment(&[("HTTPS_PROXY", "ftp://user:canary@host")])).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
        let proxies =
            proxies(&environment(&[("https_proxy", "http://u:canary@p:1"), ("NO_PROXY", "localhost")])).unwrap();
        assert!(proxies.https.is_some() && proxies.http.is_none());
        assert!(!format!("{proxies:?}").contains("canary"));
    }
}
