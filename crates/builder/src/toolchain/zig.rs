//! zig as linker and C compiler: it has headers and C libraries for every target, and links
//! against any version of glibc.
//!
//! Cargo and build scripts want one program for each tool, so small shell scripts stand for
//! `zig cc -target …`. They drop what rustc and the `cc` crate say for other linkers and zig
//! does not know.

use std::path::{Path, PathBuf};

use super::script::{self, quoted};
use crate::process::Environment;
use crate::spec::model::GlibcVersion;
use crate::target::Libc;

/// musl's start files come from zig, not from Rust's standard library.
const START_FILES: &str =
    "-nostartfiles|crt*.o|[rS]crt1.o|*/crt[1in].o|*/[rS]crt1.o|*/crtbegin*.o|*/crtend*.o) continue ;;\n";

/// The scripts for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::toolchain) struct Tools {
    pub(in crate::toolchain) cc: String,
    pub(in crate::toolchain) cxx: String,
    pub(in crate::toolchain) ar: String,
    pub(in crate::toolchain) ranlib: String,
}

/// zig on `PATH`, or in a Python environment there.
pub(in crate::toolchain) fn find(env: &Environment) -> Option<PathBuf> {
    env.lookup("zig").or_else(|| {
        // The wheel's own command is `python -m ziglang`; the program is in the package.
        let python = env.lookup("python3")?;
        let prefix = python.parent()?.parent()?;
        let versions = fs_err::read_dir(prefix.join("lib")).ok()?;
        let mut found: Vec<PathBuf> = versions
            .flatten()
            .map(|version| version.path().join("site-packages/ziglang/zig"))
            .filter(|zig| env.lookup(zig).is_some())
            .collect();
        found.sort();
        found.pop()
    })
}

/// zig's own name of a target, with flags for the processor; none where zig cannot link for it.
fn target(triple: &str, libc: Libc, glibc: Option<GlibcVersion>) -> Option<(String, &'static [&'static str])> {
    let machine = triple.split('-').next()?;
    // Its own unwinder wants the long double of glibc 2.32.
    if machine == "powerpc64le" && glibc.is_some_and(|version| version < GlibcVersion { major: 2, minor: 32 }) {
        return None;
    }
    let (zig, abi, flags): (_, _, &[&str]) = match machine {
        "x86_64" | "aarch64" | "s390x" | "powerpc64le" => (machine, "", &[]),
        "i686" => ("x86", "", &[]),
        "riscv64gc" => ("riscv64", "", &[]),
        "loongarch64" => ("loongarch64", "", &[]),
        "armv7" => ("arm", "eabihf", &["-mcpu=generic+v7a+vfp3d16+thumb2"]),
        "arm" => ("arm", "eabihf", &["-mcpu=generic+v6+strict_align+vfp2"]),
        "armv5te" => ("arm", "eabi", &["-mcpu=generic+v5te+soft_float+strict_align"]),
        "mips64el" => ("mips64el", "abi64", &[]),
        _ => return None,
    };
    let libc = match libc {
        Libc::Gnu => "gnu",
        Libc::Musl => "musl",
    };
    let floor = glibc.map(|version| format!(".{version}")).unwrap_or_default();
    Some((format!("{zig}-linux-{libc}{abi}{floor}"), flags))
}

/// Writes the scripts for a target below `work_dir`, or finds them there.
pub(in crate::toolchain) fn tools(
    zig: &Path,
    triple: &str,
    libc: Libc,
    glibc: Option<GlibcVersion>,
    work_dir: &Path,
) -> std::io::Result<Option<Tools>> {
    let Some((target, flags)) = target(triple, libc, glibc) else { return Ok(None) };
    let cache = work_dir.join("zig");
    let head = format!(
        "#!/bin/sh\n# Written by mab.\nexport ZIG_GLOBAL_CACHE_DIR=\"${{ZIG_GLOBAL_CACHE_DIR:-{}}}\" \
         ZIG_LOCAL_CACHE_DIR=\"${{ZIG_LOCAL_CACHE_DIR:-{}}}\"\n",
        quoted(cache.as_os_str()),
        quoted(cache.as_os_str())
    );
    let zig = quoted(zig.as_os_str());
    // rust's `libgcc_s` is `libunwind` there, the target is named already, and the processor's
    // names are zig's own. Without optimization zig checks C for undefined behaviour, as no other
    // compiler does unasked, and leaves out what the checks call where it is told to optimize
    // when it links, as go tells it.
    let compile = |command: &str| {
        format!(
            "{head}n=$#\nwhile [ \"$n\" -gt 0 ]; do\n  a=$1; shift; n=$((n - 1))\n  case $a in\n    \
             -lgcc_s) a=-lunwind ;;\n    \
             --target=*|-march=*|-mcpu=*|-mfpu=*|-mfloat-abi=*) continue ;;\n    \
             -Wl,--no-undefined-version|-Wl,-znostart-stop-gc|-Wl,--fix-cortex-a53-843419) continue ;;\n    \
             {}  esac\n  set -- \"$@\" \"$a\"\ndone\n\
             exec \"{zig}\" {command} -g0 -fno-sanitize=undefined -target {target} {} \"$@\"\n",
            if libc == Libc::Musl { START_FILES } else { "" },
            flags.join(" ")
        )
    };
    let simple = |command: &str| format!("{head}exec \"{zig}\" {command} \"$@\"\n");
    let scripts = [("cc", compile("cc")), ("c++", compile("c++")), ("ar", simple("ar")), ("ranlib", simple("ranlib"))];
    let [cc, cxx, ar, ranlib] = script::write_all(work_dir, triple, scripts)?;
    Ok(Some(Tools { cc, cxx, ar, ranlib }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_zigs_names() {
        let check = |triple, libc, glibc, expected: &str| {
            let found = target(triple, libc, glibc).map(|(target, _)| target);
            assert_eq!(found.unwrap_or_default(), expected);
        };
        check(
            "aarch64-unknown-linux-gnu",
            Libc::Gnu,
            Some(GlibcVersion { major: 2, minor: 28 }),
            "aarch64-linux-gnu.2.28",
        );
        check("armv7-unknown-linux-musleabihf", Libc::Musl, None, "arm-linux-musleabihf");
        check("armv5te-unknown-linux-gnueabi", Libc::Gnu, None, "arm-linux-gnueabi");
        check("riscv64gc-unknown-linux-gnu", Libc::Gnu, None, "riscv64-linux-gnu");
        check("powerpc64le-unknown-linux-gnu", Libc::Gnu, Some(GlibcVersion { major: 2, minor: 28 }), "");
        check("sparc64-unknown-linux-gnu", Libc::Gnu, None, "");
    }

    #[test]
    fn every_target_of_the_table_has_one() {
        for row in crate::target::TARGETS {
            assert!(target(row.rust_gnu, Libc::Gnu, None).is_some());
            assert!(row.rust_musl.is_none_or(|musl| target(musl, Libc::Musl, None).is_some()));
        }
    }

    /// What reaches zig, seen by a fake one.
    #[test]
    fn scripts_drop_what_zig_does_not_know_and_keep_blanks() {
        let directory = tempfile::tempdir().unwrap();
        let zig = directory.path().join("bin dir/zig");
        script::write(zig.parent().unwrap(), &zig, "#!/bin/sh\nprintf '[%s]' \"$@\"\n").unwrap();
        let tools = tools(&zig, "aarch64-unknown-linux-musl", Libc::Musl, None, directory.path()).unwrap().unwrap();
        let ask = |program: &str, arguments: &[&str]| {
            let output = std::process::Command::new(program).args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(
            ask(
                &tools.cc,
                &["--target=x", "-lgcc_s", "a b.c", "", "/x/self-contained/crt1.o", "-march=armv8-a", "-o", "$x"],
            ),
            "[cc][-g0][-fno-sanitize=undefined][-target][aarch64-linux-musl][-lunwind][a b.c][][-o][$x]"
        );
        assert_eq!(ask(&tools.ar, &["cq", "a b"]), "[ar][cq][a b]");
    }
}
