//! Variables that point build scripts to the target's own C compiler, headers and libraries, and
//! away from those of this machine.
//!
//! The `cc` crate finds Debian's cross compilers by itself; only others need naming. What the
//! user has set stays, in the environment or under `[env]` in a cargo configuration.

use std::path::{Path, PathBuf};

use super::config::{CargoConfig, target_variable};
use crate::process::{Children, Command, Environment, ProcessError};
use crate::target::Target;
use crate::toolchain::zig;

/// What a workspace's lock file says about the tools that its crates call. It may say too much
/// (crates for other systems, for tests), so nothing is refused because of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::toolchain) struct Uses {
    /// C is compiled.
    pub(in crate::toolchain) c: bool,
    /// Headers are read by libclang.
    pub(in crate::toolchain) bindgen: bool,
    /// Libraries of the system are looked for.
    pub(in crate::toolchain) pkg_config: bool,
}

impl Uses {
    /// Reads `Cargo.lock` in the workspace's root; without one nothing is known.
    pub(in crate::toolchain) fn of(workspace: &Path) -> Self {
        fs_err::read_to_string(workspace.join("Cargo.lock")).map(|lock| Self::in_lock(&lock)).unwrap_or_default()
    }

    fn in_lock(lock: &str) -> Self {
        let has = |name: &str| lock.lines().any(|line| line == format!("name = \"{name}\""));
        Self { c: has("cc") || has("cmake"), bindgen: has("bindgen"), pkg_config: has("pkg-config") }
    }
}

/// Names variables for one target, unless the user has.
pub(super) struct Variables<'a> {
    pub(super) triple: &'a str,
    pub(super) config: &'a CargoConfig,
    pub(super) found: Vec<(String, String)>,
}

impl Variables<'_> {
    /// `NAME_<target>` in the spelling that every reader takes.
    pub(super) fn of_target(&self, name: &str) -> String {
        format!("{name}_{}", self.triple.replace(['-', '.'], "_"))
    }

    fn is_set(&self, name: &str) -> bool {
        self.config.sets(&self.of_target(name))
            || self.config.sets(&format!("{name}_{}", self.triple))
            || self.config.sets(&format!("TARGET_{name}"))
    }

    /// Sets `NAME_<target>`.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        if !self.is_set(name) {
            self.found.push((self.of_target(name), value.into()));
        }
    }

    /// zig links, compiles and archives.
    pub(super) fn zig(&mut self, tools: zig::Tools) {
        self.found.push((target_variable(self.triple, "LINKER"), tools.cc.clone()));
        for (name, program) in [("CC", tools.cc), ("CXX", tools.cxx), ("AR", tools.ar), ("RANLIB", tools.ranlib)] {
            self.set(name, program);
        }
    }

    /// pkg-config finds the target's libraries where they are installed beside the machine's own
    /// (Debian's multiarch) or in a sysroot that the user names, and never the machine's.
    pub(super) fn pkg_config(&mut self, target: &Target) {
        let multiarch = multiarch(target);
        if self.is_set("PKG_CONFIG_LIBDIR") {
            return;
        }
        let sysroot = self.sysroot();
        let root = sysroot.as_deref().unwrap_or_default();
        let libraries = format!("{root}/usr/lib/{multiarch}/pkgconfig");
        let installed = Path::new(&libraries).is_dir();
        // Asked for by the user for every target, it would find the machine's own libraries.
        let allowed = self.config.sets("PKG_CONFIG_ALLOW_CROSS") || self.is_set("PKG_CONFIG_ALLOW_CROSS");
        if sysroot.is_none() && !installed && !allowed {
            return;
        }
        let mut directories = vec![libraries];
        if sysroot.is_some() {
            directories.push(format!("{root}/usr/lib/pkgconfig"));
        }
        directories.push(format!("{root}/usr/share/pkgconfig"));
        self.set("PKG_CONFIG_LIBDIR", directories.join(":"));
        if sysroot.is_some() {
            self.set("CFLAGS", format!("-isystem {root}/usr/include/{multiarch}"));
        } else if installed && !allowed {
            self.set("PKG_CONFIG_ALLOW_CROSS", "1");
        }
    }

    /// zig searches none of this machine's directories, and pkg-config leaves those out that every
    /// compiler searches. They come behind zig's own, which has the C library's headers.
    pub(super) fn machines_headers(&mut self, target: &Target) {
        let multiarch = multiarch(target);
        self.set("CFLAGS", format!("-idirafter /usr/include/{multiarch} -idirafter /usr/include"));
    }

    /// The directory that the user names for this target's libraries.
    pub(super) fn sysroot(&self) -> Option<String> {
        let names = [self.of_target("PKG_CONFIG_SYSROOT_DIR"), format!("PKG_CONFIG_SYSROOT_DIR_{}", self.triple)];
        names.iter().find_map(|name| self.config.text(name))
    }

    /// libclang, which knows the directories of this machine alone, reads the headers that the
    /// target's compiler reads. The compiler's own come last: only where libclang was installed
    /// without its own are they wanted.
    pub(super) fn bindgen(
        &mut self,
        compiler: &Path,
        env: &Environment,
        children: &Children,
    ) -> Result<(), ProcessError> {
        if self.is_set("BINDGEN_EXTRA_CLANG_ARGS") {
            return Ok(());
        }
        let mut env = env.clone();
        env.set("LC_ALL", "C");
        let command = Command::new(compiler, "/", env).args(["-E", "-v", "-x", "c", "/dev/null"]);
        let directories = searched(&children.capture(&command)?.tail);
        // Only a C library has this; compilers have the freestanding headers.
        let is_compilers = |directory: &&String| {
            let has = |name: &str| Path::new(directory.as_str()).join(name).exists();
            has("stdarg.h") && !has("stdio.h")
        };
        let (own, others): (Vec<&String>, Vec<&String>) = directories.iter().partition(is_compilers);
        let arguments: Vec<String> = others
            .into_iter()
            .map(|directory| format!("-isystem {directory}"))
            .chain(own.into_iter().map(|directory| format!("-idirafter {directory}")))
            .collect();
        if !arguments.is_empty() {
            self.set("BINDGEN_EXTRA_CLANG_ARGS", arguments.join(" "));
        }
        Ok(())
    }
}

/// The directories that GCC and clang list with `-v`. One with a blank in it cannot be passed on.
fn searched(said: &[String]) -> Vec<String> {
    let list = said.iter().skip_while(|line| !line.starts_with("#include <...>")).skip(1);
    list.take_while(|line| line.starts_with(' '))
        .map(|line| line.trim().to_owned())
        .filter(|directory| !directory.contains(char::is_whitespace))
        .collect()
}

/// Flags for C compilers that write names in place of this machine's paths, added to the user's
/// own: where these are for one target under the user's name for it, else for all under ours.
///
/// The `cc` crate splits them at blanks, so a path with a blank in it cannot be replaced.
pub(super) fn prefix_maps(triple: &str, remaps: &[(PathBuf, String)], env: &Environment) -> Vec<(String, String)> {
    let maps: Vec<String> = remaps
        .iter()
        .filter_map(|(path, name)| Some((path.to_str()?, name)))
        .filter(|(path, _)| !path.contains(char::is_whitespace))
        .map(|(path, name)| format!("-ffile-prefix-map={path}={name}"))
        .collect();
    let maps = maps.join(" ");
    let add = |flags: &str| {
        let ours = format!("{flags}_{}", triple.replace(['-', '.'], "_"));
        let own = [format!("{flags}_{triple}"), ours.clone()].into_iter().find(|name| env.get(name).is_some());
        let general = || [format!("TARGET_{flags}"), flags.to_owned()].into_iter().find(|name| env.get(name).is_some());
        let users = own.clone().or_else(general).and_then(|name| env.text(name)).unwrap_or_default();
        (own.unwrap_or(ours), format!("{users} {maps}").trim().to_owned())
    };
    if maps.is_empty() { Vec::new() } else { ["CFLAGS", "CXXFLAGS"].map(add).to_vec() }
}

/// Debian's directory name of an architecture: the compiler's prefix but for 32-bit x86.
fn multiarch(target: &Target) -> &str {
    if target.debian == "i386" { "i386-linux-gnu" } else { target.gcc_prefix }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "aarch64-unknown-linux-gnu";

    fn check(vars: &[(&str, &str)], set: impl FnOnce(&mut Variables<'_>), expected: &[(&str, &str)]) {
        let env = Environment::new(vars.iter().map(|(name, value)| (name.into(), value.into())));
        let config = CargoConfig::load("/nonexistent".as_ref(), None, &env);
        let mut variables = Variables { triple: ARM64, config: &config, found: Vec::new() };
        set(&mut variables);
        let found: Vec<_> = variables.found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }

    fn loongarch() -> &'static Target {
        crate::target::TARGETS.iter().find(|row| row.goarch == "loong64").unwrap()
    }

    #[test]
    fn what_the_user_has_set_stays() {
        let set = |variables: &mut Variables<'_>| variables.set("CC", "ours");
        check(&[], set, &[("CC_aarch64_unknown_linux_gnu", "ours")]);
        check(&[("CC", "the host's")], set, &[("CC_aarch64_unknown_linux_gnu", "ours")]);
        check(&[("CC_aarch64_unknown_linux_gnu", "x")], set, &[]);
        check(&[("CC_aarch64-unknown-linux-gnu", "x")], set, &[]);
        check(&[("TARGET_CC", "x")], set, &[]);
    }

    #[test]
    fn pkg_config_never_answers_with_the_machines_own_libraries() {
        let set = |variables: &mut Variables<'_>| variables.pkg_config(loongarch());
        // Nothing installed, nothing said: the crate refuses, as it should.
        check(&[], set, &[]);
        check(
            &[("PKG_CONFIG_ALLOW_CROSS", "1")],
            set,
            &[(
                "PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu",
                "/usr/lib/loongarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig",
            )],
        );
        check(
            &[("PKG_CONFIG_SYSROOT_DIR_aarch64_unknown_linux_gnu", "/s")],
            set,
            &[
                (
                    "PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu",
                    "/s/usr/lib/loongarch64-linux-gnu/pkgconfig:/s/usr/lib/pkgconfig:/s/usr/share/pkgconfig",
                ),
                ("CFLAGS_aarch64_unknown_linux_gnu", "-isystem /s/usr/include/loongarch64-linux-gnu"),
            ],
        );
        check(&[("PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu", "/x")], set, &[]);
    }

    #[test]
    fn names_for_paths_are_added_to_the_users_c_flags() {
        let check = |vars: &[(&str, &str)], expected: [&str; 2]| {
            let env = Environment::new(vars.iter().map(|(name, value)| (name.into(), value.into())));
            let remaps = [("/w".into(), "/workspace".to_owned()), ("/a b".into(), "/no".to_owned())];
            let found = prefix_maps(ARM64, &remaps, &env);
            assert_eq!(found.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(), expected);
        };
        let map = "-ffile-prefix-map=/w=/workspace";
        let cxx = format!("CXXFLAGS_aarch64_unknown_linux_gnu={map}");
        check(&[], [&format!("CFLAGS_aarch64_unknown_linux_gnu={map}"), &cxx]);
        check(&[("CFLAGS", "-O3")], [&format!("CFLAGS_aarch64_unknown_linux_gnu=-O3 {map}"), &cxx]);
        check(
            &[("CFLAGS", "-O3"), ("CFLAGS_aarch64-unknown-linux-gnu", "-O2")],
            [&format!("CFLAGS_aarch64-unknown-linux-gnu=-O2 {map}"), &cxx],
        );
    }

    /// As GCC 12 says it.
    #[test]
    fn a_compilers_directories_are_read_from_what_it_says() {
        let said = "ignoring nonexistent directory \"/x\"\n#include \"...\" search starts here:\n\
                    #include <...> search starts here:\n /usr/lib/gcc-cross/s390x-linux-gnu/12/include\n \
                    /usr/s390x-linux-gnu/include\n /a b\nEnd of search list.\n # 1";
        let said: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(searched(&said), ["/usr/lib/gcc-cross/s390x-linux-gnu/12/include", "/usr/s390x-linux-gnu/include"]);
        assert!(searched(&[]).is_empty());
    }

    #[test]
    fn libclang_gets_the_c_library_first_and_the_compilers_headers_last() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        for file in ["gcc/stdarg.h", "libc/stdio.h", "libc/stdarg.h", "linux/limits.h"] {
            let path = directory.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        let gcc = directory.path().join("gcc/gcc");
        let text = format!(
            "#!/bin/sh\necho '#include <...> search starts here:' >&2\n\
             for name in gcc libc linux; do echo \" {root}/$name\" >&2; done\necho 'End of search list.' >&2\n"
        );
        crate::toolchain::script::write(gcc.parent().unwrap(), &gcc, &text).unwrap();
        let config = CargoConfig::default();
        let mut variables = Variables { triple: ARM64, config: &config, found: Vec::new() };
        variables.bindgen(&gcc, &Environment::default(), &Children::new()).unwrap();
        assert_eq!(
            variables.found,
            [(
                "BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu".to_owned(),
                format!("-isystem {root}/libc -isystem {root}/linux -idirafter {root}/gcc")
            )]
        );
    }

    #[test]
    fn the_lock_file_tells_which_tools_are_called() {
        let lock = "[[package]]\nname = \"cc\"\nversion = \"1.0\"\n\n[[package]]\nname = \"pkg-config-x\"\n";
        assert_eq!(Uses::in_lock(lock), Uses { c: true, bindgen: false, pkg_config: false });
    }
}
