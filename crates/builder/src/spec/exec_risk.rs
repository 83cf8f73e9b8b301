//! Settings of compilers that run a program which the build file names (fault row I22).
//!
//! Building a checkout runs its build scripts anyway; what is refused here is a build file that
//! runs something that `cargo build` or `go build` in the same checkout would not.

/// Variables that name a program for cargo or rustc, without those that end in a target.
const CARGO: &[&str] = &[
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "CARGO",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTDOC",
    "CARGO_HOME",
    "CARGO_CREDENTIAL_ALIAS",
    "CARGO_REGISTRY_CREDENTIAL_PROVIDER",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_HOME",
];

/// Variables that name a program for go or cgo, or where its programs or settings are.
const GO: &[&str] = &["GOROOT", "GOTOOLDIR", "GOTOOLCHAIN", "GOENV", "GOAUTH", "GOVCS", "GOCACHEPROG", "FC", "GCCGO"];

/// Variables that load code into other programs, or move the settings that name some.
const SYSTEM: &[&str] = &[
    "PATH",
    "BASH_ENV",
    "ENV",
    "SHELL",
    "HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "LIBCLANG_PATH",
    "CLANG_PATH",
    "LLVM_CONFIG_PATH",
    "PROTOC",
    "MAKE",
    "NASM",
    "YASM",
];

/// Beginnings of such names: git is run by cargo and go, the rest by build scripts.
const PREFIXES: &[&str] = &["GIT_", "SSH_", "DYLD_", "BASH_FUNC", "PYTHON", "PERL", "RUBY", "NODE_"];

/// C compilers and their helpers, also with a target behind or before them (`CC_x86_64-…`).
const TOOLS: &[&str] = &["CC", "CXX", "AR", "AS", "LD", "NM", "RANLIB", "STRIP", "OBJCOPY", "CMAKE"];

/// What names a program within flags.
const FLAGS: &[(&str, &[&str])] = &[
    ("GOFLAGS", &["-toolexec", "-exec", "-overlay", "-modfile", "-vettool"]),
    ("RUSTFLAGS", &["linker", "link-arg", "codegen-backend", "load-plugin", "@"]),
    ("CFLAGS", C_FLAGS),
    ("CXXFLAGS", C_FLAGS),
    ("CPPFLAGS", C_FLAGS),
    ("LDFLAGS", C_FLAGS),
    ("CLANG_ARGS", C_FLAGS),
];
const C_FLAGS: &[&str] = &["-B", "plugin", "-specs", "-wrapper", "-fuse-ld", "@"];

/// Whether setting `name` to `value` runs a program: none where it does not, else what is to be
/// said behind the variable's name (empty, or the part of the value). A value that is not known
/// yet counts as one that does.
pub(crate) fn of(name: &str, value: Option<&str>) -> Option<String> {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let tool = |tool: &str| {
        upper == tool
            || upper.strip_prefix(tool).is_some_and(|rest| rest.starts_with('_'))
            || ["HOST_", "TARGET_"].iter().any(|prefix| upper.strip_prefix(prefix) == Some(tool))
    };
    let target =
        upper.starts_with("CARGO_TARGET_") && ["_LINKER", "_RUNNER", "_AR"].iter().any(|end| upper.ends_with(end));
    // What cgo lets through of the flags in source files.
    let allows = upper.starts_with("CGO_") && upper.ends_with("_ALLOW");
    // Its other variables are paths and switches.
    let pkg_config = upper.strip_prefix("PKG_CONFIG").is_some_and(|rest| rest.is_empty() || rest.contains("LINUX"));
    let listed = CARGO.contains(&name) || GO.contains(&name) || SYSTEM.contains(&name);
    let prefixed = PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) || upper.ends_with("_ASKPASS");
    if listed || prefixed || target || allows || pkg_config || TOOLS.iter().any(|it| tool(it)) {
        return Some(String::new());
    }
    let (_, words) = FLAGS.iter().find(|(flags, _)| upper.contains(flags))?;
    let Some(value) = value else { return Some(String::new()) };
    let names_program = |word: &&str| {
        words.iter().any(|bad| match *bad {
            "-B" | "@" => word.starts_with(bad),
            _ => word.contains(bad),
        })
    };
    let found = value.split([' ', '\t', '\n', '=', '\u{1f}', '\'', '"']).find(names_program)?;
    Some(format!(": `{found}`"))
}

/// The same for one word of go's `-ldflags`.
pub(crate) fn of_ldflag(text: &str) -> Option<String> {
    let word = text.split_whitespace().find(|word| word.trim_start_matches('-').starts_with("extld"))?;
    Some(format!(": `{word}`"))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn i22_variables_that_name_programs() {
        for name in [
            "RUSTC_WRAPPER",
            "CC",
            "CC_x86_64-unknown-linux-gnu",
            "HOST_CC",
            "LD_PRELOAD",
            "PATH",
            "HOME",
            "GIT_SSH_COMMAND",
            "GOCACHEPROG",
            "CGO_LDFLAGS_ALLOW",
            "PKG_CONFIG",
            "PKG_CONFIG_aarch64_unknown_linux_gnu",
            "PYTHONPATH",
        ] {
            assert!(of(name, Some("/bin/true")).is_some(), "{name}");
        }
        assert!(of("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", Some("/bin/true")).is_some());
        for name in [
            "CARGO_PROFILE_RELEASE_LTO",
            "OPENSSL_STATIC",
            "GOPRIVATE",
            "CCACHE_DIR",
            "VERSION",
            "CGO_ENABLED",
            "PKG_CONFIG_ALLOW_CROSS",
        ] {
            assert_eq!(of(name, Some("1")), None, "{name}");
        }
    }

    #[test]
    fn i22_flags_that_name_programs() {
        for (name, value) in [
            ("GOFLAGS", "-toolexec=/bin/true"),
            ("GOFLAGS", "-mod=mod --toolexec=/bin/true"),
            ("GOFLAGS", "'-toolexec=/bin/true x'"),
            ("RUSTFLAGS", "-C linker=/bin/true"),
            ("RUSTFLAGS", "-Clinker=/bin/true"),
            ("CARGO_ENCODED_RUSTFLAGS", "-C\u{1f}linker=/bin/true"),
            ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Clink-arg=-B/tmp"),
            ("CGO_LDFLAGS", "-fuse-ld=/tmp/ld"),
        ] {
            assert!(of(name, Some(value)).is_some(), "{name}={value}");
        }
        assert_eq!(of("GOFLAGS", Some("-trimpath -mod=vendor")), None);
        assert_eq!(of("RUSTFLAGS", Some("-C target-feature=+crt-static")), None);
        assert!(super::of_ldflag("-extld=/bin/true").is_some() && super::of_ldflag("-s -extldflags x").is_some());
        assert_eq!(super::of_ldflag("-X main.version=extld"), None);
        assert_eq!(of("GOFLAGS", None), Some(String::new()));
    }
}
