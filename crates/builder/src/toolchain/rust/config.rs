//! The parts of the user's cargo configuration that say which linker and compiler are taken.
//!
//! `cargo config get` is unstable, so the files are read as cargo reads them: every
//! `.cargo/config.toml` from the working directory up, then the one in cargo's home; the nearest
//! wins, environment variables win over files.
//! <https://doc.rust-lang.org/cargo/reference/config.html>

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use cargo_platform::{Cfg, Platform};
use toml::{Table, Value};

use crate::process::Environment;

/// The user's configuration as it applies to one directory.
#[derive(Debug, Default)]
pub(in crate::toolchain) struct CargoConfig {
    /// Nearest first.
    files: Vec<File>,
    env: Environment,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Where relative paths in it start: the directory that holds `.cargo`.
    root: PathBuf,
    table: Table,
}

/// A program that the user has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::toolchain) struct Chosen {
    /// A name for `PATH`, or an absolute path.
    pub(in crate::toolchain) program: OsString,
    /// Where it was said.
    pub(in crate::toolchain) origin: String,
}

impl CargoConfig {
    /// Reads the files. One that cannot be read or parsed is left out: cargo will say why.
    pub(in crate::toolchain) fn load(directory: &Path, cargo_home: Option<&Path>, env: &Environment) -> Self {
        let mut directories: Vec<PathBuf> = directory.ancestors().map(|ancestor| ancestor.join(".cargo")).collect();
        if let Some(home) = cargo_home
            && !directories.iter().any(|directory| directory == home)
        {
            directories.push(home.to_owned());
        }
        let files = directories.iter().filter_map(|directory| {
            let (path, text) = ["config", "config.toml"].iter().find_map(|name| {
                let path = directory.join(name);
                Some((fs_err::read_to_string(&path).ok()?, path)).map(|(text, path)| (path, text))
            })?;
            let table = text.parse().ok()?;
            Some(File { path, root: directory.parent().unwrap_or(directory).to_owned(), table })
        });
        Self { files: files.collect(), env: env.clone() }
    }

    /// The files that apply.
    pub(in crate::toolchain) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// What stands in them, the nearest last: a map made from it has what wins.
    pub(in crate::toolchain) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.files.iter().rev().map(|file| &file.table)
    }

    fn variable(&self, name: &str) -> Option<Chosen> {
        Some(Chosen { program: self.env.get(name)?.to_owned(), origin: format!("${name}") })
    }

    fn build(&self, key: &str) -> Option<Chosen> {
        self.files.iter().find_map(|file| {
            let program = file.table.get("build")?.get(key)?.as_str()?;
            Some(file.chosen(program, &format!("build.{key}")))
        })
    }

    /// The compiler, where it is not simply `rustc`.
    pub(in crate::toolchain) fn rustc(&self) -> Option<Chosen> {
        self.variable("RUSTC").or_else(|| self.variable("CARGO_BUILD_RUSTC")).or_else(|| self.build("rustc"))
    }

    /// The user's rustc wrapper. An empty one means none.
    pub(in crate::toolchain) fn rustc_wrapper(&self) -> Option<Chosen> {
        for name in ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"] {
            if self.env.iter().any(|(set, _)| set == name) {
                return self.variable(name);
            }
        }
        self.build("rustc-wrapper").filter(|chosen| !chosen.program.is_empty())
    }

    /// A variable's value, from the environment or the `[env]` of a file.
    pub(in crate::toolchain) fn text(&self, name: &str) -> Option<String> {
        let in_file = |file: &File| match file.table.get("env")?.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Table(table) => {
                let value = table.get("value")?.as_str()?;
                let relative = table.get("relative").and_then(Value::as_bool).unwrap_or(false);
                Some(if relative { file.root.join(value).to_string_lossy().into_owned() } else { value.to_owned() })
            }
            _ => None,
        };
        self.env.text(name).map(str::to_owned).or_else(|| self.files.iter().find_map(in_file))
    }

    /// Whether the user's environment, or the `[env]` of a file, sets a variable.
    pub(in crate::toolchain) fn sets(&self, name: &str) -> bool {
        let in_file = |file: &File| file.table.get("env").and_then(|env| env.get(name)).is_some();
        self.env.get(name).is_some() || self.files.iter().any(in_file)
    }

    /// Whether the standard library is compiled too, so that none need be installed.
    pub(in crate::toolchain) fn builds_std(&self) -> bool {
        let asked = |file: &File| file.table.get("unstable").and_then(|unstable| unstable.get("build-std")).is_some();
        self.env.get("CARGO_UNSTABLE_BUILD_STD").is_some() || self.files.iter().any(asked)
    }

    /// Whether some table for `cfg(…)` matters, so that the caller has to ask rustc for the
    /// target's.
    pub(in crate::toolchain) fn wants_cfg(&self) -> bool {
        self.targets().any(|(_, key, table)| {
            key.starts_with("cfg(") && (table.get("linker").is_some() || table.get("rustflags").is_some())
        })
    }

    /// The linker that the user has chosen for a target.
    pub(in crate::toolchain) fn linker(&self, triple: &str, cfg: &[Cfg]) -> Option<Chosen> {
        let variable = target_variable(triple, "LINKER");
        if let Some(chosen) = self.variable(&variable) {
            return Some(chosen);
        }
        // Flags come behind cargo's own `-C linker`, so they win over it; but not over ours, which
        // is not given then.
        if let Some(chosen) = self.in_flags("linker=", triple, cfg) {
            return Some(chosen);
        }
        let named = |exact: bool| {
            self.targets().find_map(|(file, key, table)| {
                let applies = if exact { key == triple } else { key.starts_with("cfg(") && matches(key, triple, cfg) };
                let linker = table.get("linker")?.as_str()?;
                applies.then(|| file.chosen(linker, &format!("target.{key}.linker")))
            })
        };
        named(true).or_else(|| named(false))
    }

    /// Where the user's flags tie programs to the processor of this machine.
    pub(in crate::toolchain) fn native_cpu(&self, triple: &str) -> Option<String> {
        self.in_flags("target-cpu=", triple, &[]).filter(|cpu| cpu.program == "native").map(|cpu| cpu.origin)
    }

    /// The value of a code generation option in the user's flags. Cargo's four sources of flags
    /// exclude each other; the first that has the option is good enough here.
    fn in_flags(&self, option: &str, triple: &str, cfg: &[Cfg]) -> Option<Chosen> {
        let in_words = |words: &mut dyn Iterator<Item = &str>, origin: &str| in_words(words, option, origin);
        if let Some(flags) = self.env.text("CARGO_ENCODED_RUSTFLAGS") {
            return in_words(&mut flags.split('\u{1f}'), "$CARGO_ENCODED_RUSTFLAGS");
        }
        if let Some(flags) = self.env.text("RUSTFLAGS") {
            return in_words(&mut flags.split(' '), "$RUSTFLAGS");
        }
        let variable = target_variable(triple, "RUSTFLAGS");
        if let Some(chosen) = self.env.text(&variable).and_then(|flags| in_words(&mut flags.split(' '), &variable)) {
            return Some(chosen);
        }
        let targets = self.targets().filter(|(_, key, _)| *key == triple || matches(key, triple, cfg));
        let of_targets = targets.map(|(file, key, table)| (file, format!("target.{key}.rustflags"), table));
        let builds = self
            .files
            .iter()
            .filter_map(|file| Some((file, "build.rustflags".to_owned(), file.table.get("build")?.as_table()?)));
        of_targets.chain(builds).find_map(|(file, key, table)| {
            let origin = format!("{key} in {}", file.path.display());
            match table.get("rustflags")? {
                Value::String(flags) => in_words(&mut flags.split(' '), &origin),
                Value::Array(flags) => in_words(&mut flags.iter().filter_map(Value::as_str), &origin),
                _ => None,
            }
        })
    }

    fn targets(&self) -> impl Iterator<Item = (&File, &String, &Table)> {
        self.files.iter().flat_map(|file| {
            let targets = file.table.get("target").and_then(Value::as_table);
            targets.into_iter().flatten().filter_map(move |(key, value)| Some((file, key, value.as_table()?)))
        })
    }
}

impl File {
    /// A program's name is looked up in `PATH`; with a slash it is a path from the file's root.
    fn chosen(&self, program: &str, key: &str) -> Chosen {
        let program = if program.contains('/') { self.root.join(program).into() } else { program.into() };
        Chosen { program, origin: format!("{key} in {}", self.path.display()) }
    }
}

/// `CARGO_TARGET_<TRIPLE>_<KEY>`.
pub(in crate::toolchain) fn target_variable(triple: &str, key: &str) -> String {
    format!("CARGO_TARGET_{}_{key}", triple.to_uppercase().replace(['-', '.'], "_"))
}

fn matches(key: &str, triple: &str, cfg: &[Cfg]) -> bool {
    Platform::from_str(key).is_ok_and(|platform| platform.matches(triple, cfg))
}

/// The value of the last `-C option=…`.
fn in_words(words: &mut dyn Iterator<Item = &str>, name: &str, origin: &str) -> Option<Chosen> {
    let mut found = None;
    let mut codegen = false;
    for word in words {
        let option = match word {
            "-C" | "--codegen" => {
                codegen = true;
                continue;
            }
            word if codegen => Some(word),
            word => word.strip_prefix("-C").or_else(|| word.strip_prefix("--codegen=")),
        };
        codegen = false;
        found = option.and_then(|option| option.strip_prefix(name)).or(found);
    }
    Some(Chosen { program: found?.into(), origin: origin.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "aarch64-unknown-linux-gnu";

    struct Files {
        root: tempfile::TempDir,
    }

    impl Files {
        fn new(files: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = root.path().join(name);
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
                fs_err::write(path, text).unwrap();
            }
            fs_err::create_dir_all(root.path().join("work/crate")).unwrap();
            Self { root }
        }

        fn config(&self, vars: &[(&str, &str)]) -> CargoConfig {
            let env = Environment::new(vars.iter().map(|(name, value)| (name.into(), value.into())));
            CargoConfig::load(&self.root.path().join("work/crate"), Some(&self.root.path().join("home")), &env)
        }

        fn linker(&self, vars: &[(&str, &str)]) -> Option<String> {
            let cfg = [Cfg::from_str("unix").unwrap(), Cfg::from_str("target_arch=\"aarch64\"").unwrap()];
            let chosen = self.config(vars).linker(ARM64, &cfg)?;
            Some(chosen.program.to_str().unwrap().replace(self.root.path().to_str().unwrap(), "ROOT"))
        }
    }

    #[test]
    fn the_nearest_file_wins_and_the_environment_over_all() {
        let files = Files::new(&[
            ("work/crate/.cargo/config.toml", "[target.aarch64-unknown-linux-gnu]\nlinker = \"near\""),
            ("work/.cargo/config.toml", "[target.aarch64-unknown-linux-gnu]\nlinker = \"far\""),
            ("home/config.toml", "[target.aarch64-unknown-linux-gnu]\nlinker = \"home\""),
        ]);
        assert_eq!(files.linker(&[]).unwrap(), "near");
        assert_eq!(files.linker(&[("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "env")]).unwrap(), "env");
        assert_eq!(files.config(&[]).files().count(), 3);
    }

    #[test]
    fn home_counts_paths_are_relative_to_the_files_root_and_other_targets_do_not_count() {
        let files = Files::new(&[
            ("home/config.toml", "[target.aarch64-unknown-linux-gnu]\nlinker = \"home\""),
            ("work/.cargo/config.toml", "[target.x86_64-unknown-linux-gnu]\nlinker = \"other\""),
        ]);
        assert_eq!(files.linker(&[]).unwrap(), "home");
        let files =
            Files::new(&[("work/.cargo/config.toml", "[target.aarch64-unknown-linux-gnu]\nlinker = \"tools/ld\"")]);
        assert_eq!(files.linker(&[]).unwrap(), "ROOT/work/tools/ld");
    }

    #[test]
    fn cfg_tables_apply_where_they_match() {
        let files = Files::new(&[(
            "work/.cargo/config.toml",
            "[target.'cfg(all(unix, target_arch = \"aarch64\"))']\nlinker = \"cfg\"",
        )]);
        assert!(files.config(&[]).wants_cfg());
        assert_eq!(files.linker(&[]).unwrap(), "cfg");
        let files = Files::new(&[("work/.cargo/config.toml", "[target.'cfg(windows)']\nlinker = \"cfg\"")]);
        assert_eq!(files.linker(&[]), None);
    }

    #[test]
    fn flags_can_name_the_linker_too() {
        let files = Files::new(&[("home/config.toml", "[build]\nrustflags = [\"-g\", \"-C\", \"linker=in-build\"]")]);
        assert_eq!(files.linker(&[]).unwrap(), "in-build");
        assert_eq!(files.linker(&[("RUSTFLAGS", "-Clinker=in-env -O")]).unwrap(), "in-env");
        assert_eq!(files.linker(&[("RUSTFLAGS", "-O")]), None, "the variable replaces the file");
        let files = Files::new(&[(
            "home/config.toml",
            "[target.aarch64-unknown-linux-gnu]\nrustflags = \"--codegen linker=in-target\"",
        )]);
        assert_eq!(files.linker(&[]).unwrap(), "in-target");
    }

    #[test]
    fn a_processor_of_this_machine_is_noticed() {
        let files = Files::new(&[("home/config.toml", "[build]\nrustflags = [\"-Ctarget-cpu=native\"]")]);
        assert!(files.config(&[]).native_cpu(ARM64).unwrap().starts_with("build.rustflags in "));
        assert_eq!(files.config(&[("RUSTFLAGS", "-C target-cpu=x86-64-v2")]).native_cpu(ARM64), None);
    }

    #[test]
    fn wrappers_and_compilers() {
        let files = Files::new(&[("home/config.toml", "[build]\nrustc-wrapper = \"sccache\"\nrustc = \"bin/rustc\"")]);
        assert_eq!(files.config(&[]).rustc_wrapper().unwrap().program, "sccache");
        assert_eq!(files.config(&[("RUSTC_WRAPPER", "other")]).rustc_wrapper().unwrap().program, "other");
        assert_eq!(files.config(&[("RUSTC_WRAPPER", "")]).rustc_wrapper(), None);
        assert_eq!(files.config(&[("RUSTC", "mine")]).rustc().unwrap().program, "mine");
        assert!(files.config(&[]).rustc().unwrap().program.to_str().unwrap().ends_with("/bin/rustc"));
    }

    #[test]
    fn a_file_that_is_no_toml_is_left_to_cargo() {
        let files = Files::new(&[("home/config.toml", "[build\n")]);
        assert_eq!(files.linker(&[]), None);
    }
}
