//! mab as a rustc wrapper: the one way to add flags that works whatever the user's own come from.
//!
//! Cargo's sources of flags (`RUSTFLAGS`, `target.X.rustflags`, `build.rustflags`, …) exclude
//! each other, so adding a flag through one of them can drop the user's from another. A wrapper
//! stands behind all of them. Cargo starts it as `mab rustc ARGUMENT…`; it starts the user's own
//! wrapper, or rustc, with a few arguments more.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::flags::CRATES;

/// The variable that carries [`Settings`]. Where it is set and the first argument names a
/// program, mab is being used as a wrapper.
pub const VARIABLE: &str = "MAB_RUSTC_WRAPPER_SETTINGS";

/// What the wrapper adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Paths and the names that are written in their place. In front of the user's flags: where
    /// they name the same path, theirs come later and win.
    pub remap: Vec<(Bytes, String)>,
    /// For what is compiled for a target, not for build scripts and macros. Behind the user's
    /// flags: these follow from the platform.
    pub target: Vec<String>,
    /// Cargo's home.
    pub cargo_home: Option<Bytes>,
    /// The user's own wrapper.
    pub wrapper: Option<Bytes>,
}

/// A path in JSON: text where it is, else bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// The usual case.
    Text(String),
    /// Not UTF-8.
    Raw(Vec<u8>),
}

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Raw(path.as_os_str().as_bytes().to_owned()),
        }
    }
}

impl From<Bytes> for PathBuf {
    fn from(path: Bytes) -> Self {
        match path {
            Bytes::Text(text) => Self::from(text),
            Bytes::Raw(bytes) => Self::from(OsString::from_vec(bytes)),
        }
    }
}

/// Why the wrapper did not start the compiler.
#[derive(Debug, thiserror::Error)]
pub enum WrapperError {
    /// The variable was not written by this version of mab.
    #[error("{VARIABLE} cannot be read")]
    Settings(#[from] serde_json::Error),
    /// Nothing to start.
    #[error("no compiler is named")]
    NoCompiler,
    /// It could not be started.
    #[error("cannot run {}", Path::new(program).display())]
    Start {
        /// The user's wrapper or rustc.
        program: OsString,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Becomes the compiler. `arguments` are those of the process without its own name, `settings`
/// is the value of [`VARIABLE`], `variable` looks up what cargo says about the package. Comes
/// back only with an error.
pub fn run(arguments: Vec<OsString>, settings: &OsStr, variable: impl Fn(&str) -> Option<OsString>) -> WrapperError {
    let settings: Settings = match serde_json::from_slice(settings.as_bytes()) {
        Ok(settings) => settings,
        Err(error) => return error.into(),
    };
    let for_target = is_for_target(&arguments);
    let package = Package {
        directory: variable("CARGO_MANIFEST_DIR"),
        name: variable("CARGO_PKG_NAME"),
        version: variable("CARGO_PKG_VERSION"),
    };
    let mut arguments = extend(arguments, &settings, for_target, &package).into_iter();
    let wrapper = settings.wrapper.map(|wrapper| PathBuf::from(wrapper).into_os_string());
    let Some(program) = wrapper.or_else(|| arguments.next()) else { return WrapperError::NoCompiler };
    // Exec keeps process id, job server and pipes; the compiler has no use for the settings.
    let source = std::process::Command::new(&program).args(arguments).env_remove(VARIABLE).exec();
    WrapperError::Start { program, source }
}

/// What cargo says about the package that is compiled.
#[derive(Clone, Debug, Default)]
struct Package {
    directory: Option<OsString>,
    name: Option<OsString>,
    version: Option<OsString>,
}

/// Whether cargo compiles for a target that it was given: then, and only then, it says so.
/// Arguments beyond what the system can pass come in a file, one a line.
fn is_for_target(arguments: &[OsString]) -> bool {
    let is_target = |argument: &[u8]| argument == b"--target" || argument.starts_with(b"--target=");
    arguments.iter().any(|argument| {
        let argument = argument.as_bytes();
        is_target(argument)
            || argument.strip_prefix(b"@").is_some_and(|path| {
                fs_err::read(Path::new(OsStr::from_bytes(path)))
                    .is_ok_and(|text| text.split(|byte| *byte == b'\n').any(is_target))
            })
    })
}

/// The arguments with mab's own. Pure.
fn extend(mut arguments: Vec<OsString>, settings: &Settings, for_target: bool, package: &Package) -> Vec<OsString> {
    let mut remaps: Vec<(PathBuf, String)> =
        settings.remap.iter().map(|(path, name)| (PathBuf::from(path.clone()), name.clone())).collect();
    // The name of a registry's directory follows from its address, which is another one where
    // the crates come through a mirror.
    let home = settings.cargo_home.clone().map(PathBuf::from);
    if let (Some(home), Some(directory)) = (home, &package.directory) {
        let directory = Path::new(directory);
        if let Ok(below) = directory.strip_prefix(home.join("registry/src"))
            && let Some(registry) = below.components().next()
        {
            remaps.push((home.join("registry/src").join(registry), CRATES.to_owned()));
        }
        // Out of a bundle, a crate from a git repository stands beside the others.
        if directory.starts_with(home.join("git/checkouts"))
            && let (Some(name), Some(version)) = (&package.name, &package.version)
        {
            let name = format!("{CRATES}/{}-{}", name.to_string_lossy(), version.to_string_lossy());
            remaps.push((directory.to_owned(), name));
        }
    }
    let remaps = remaps.into_iter().map(|(path, name)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(path);
        flag.push("=");
        flag.push(name);
        flag
    });
    // Behind the compiler's path, and behind that of a workspace wrapper in front of it.
    let flags = arguments
        .iter()
        .position(|argument| argument.as_bytes().starts_with(b"-") || argument.as_bytes().starts_with(b"@"));
    let flags = flags.unwrap_or(arguments.len());
    arguments.splice(flags..flags, remaps);
    if for_target {
        arguments.extend(settings.target.iter().map(OsString::from));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            remap: vec![(Path::new("/w").into(), "/workspace".to_owned())],
            target: vec!["-Ctarget-cpu=x86-64-v3".to_owned()],
            cargo_home: Some(Path::new("/h/.cargo").into()),
            wrapper: None,
        }
    }

    fn check(arguments: &[&str], manifest_directory: Option<&str>, expected: &[&str]) {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let for_target = is_for_target(&arguments);
        let package = Package {
            directory: manifest_directory.map(OsString::from),
            name: Some("tool".into()),
            version: Some("1.2.3".into()),
        };
        let found = extend(arguments, &settings(), for_target, &package);
        assert_eq!(found, expected);
    }

    #[test]
    fn names_come_first_and_the_platforms_flags_last() {
        check(
            &["rustc", "--crate-name", "a", "--target", "t", "-Ctarget-cpu=native"],
            None,
            &[
                "rustc",
                "--remap-path-prefix=/w=/workspace",
                "--crate-name",
                "a",
                "--target",
                "t",
                "-Ctarget-cpu=native",
                "-Ctarget-cpu=x86-64-v3",
            ],
        );
    }

    #[test]
    fn build_scripts_and_macros_get_no_flags_of_the_target() {
        check(&["rustc", "-vV"], None, &["rustc", "--remap-path-prefix=/w=/workspace", "-vV"]);
    }

    #[test]
    fn a_workspace_wrapper_stays_in_front() {
        check(
            &["clippy-driver", "rustc", "-"],
            None,
            &["clippy-driver", "rustc", "--remap-path-prefix=/w=/workspace", "-"],
        );
    }

    #[test]
    fn a_crate_has_the_same_path_whatever_registry_it_came_through() {
        check(
            &["rustc", "-O"],
            Some("/h/.cargo/registry/src/mirror.example-0123456789abcdef/serde-1.0.0"),
            &[
                "rustc",
                "--remap-path-prefix=/w=/workspace",
                "--remap-path-prefix=/h/.cargo/registry/src/mirror.example-0123456789abcdef=/cargo/registry/src",
                "-O",
            ],
        );
    }

    #[test]
    fn a_crate_of_a_git_repository_has_the_name_that_it_has_in_a_bundle() {
        check(
            &["rustc", "-O"],
            Some("/h/.cargo/git/checkouts/tool-0123456789abcdef/a1b2c3d/crates/tool"),
            &[
                "rustc",
                "--remap-path-prefix=/w=/workspace",
                "--remap-path-prefix=/h/.cargo/git/checkouts/tool-0123456789abcdef/a1b2c3d/crates/tool=/cargo/registry/src/tool-1.2.3",
                "-O",
            ],
        );
    }

    #[test]
    fn settings_survive_the_environment() {
        let mut before = settings();
        before.wrapper = Some(Path::new(OsStr::from_bytes(b"/\xff/sccache")).into());
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), before);
    }

    #[test]
    fn arguments_in_a_file_are_looked_at() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "--crate-name\na\n--target\nt\n").unwrap();
        assert!(is_for_target(&["rustc".into(), format!("@{}", file.path().display()).into()]));
        assert!(!is_for_target(&["rustc".into(), "@/nowhere".into()]));
    }
}
