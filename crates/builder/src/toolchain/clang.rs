//! clang with lld as linker and C compiler for other machines. It compiles for every target, but
//! has no C library of its own: it is taken where it finds the target's, such as Debian's
//! `libc6-dev-arm64-cross` and `libgcc-12-dev-arm64-cross` without the GCC.

use std::path::Path;

use super::c_compiler::is_native;
use super::script::{self, quoted};
use crate::process::{Children, Command, Environment, ProcessError};
use crate::target::TargetPlatform;

/// The scripts for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tools {
    pub(super) cc: String,
    pub(super) cxx: String,
    /// `llvm-ar`, where it is there.
    pub(super) ar: Option<String>,
}

/// Scripts for a platform of another machine, where clang and lld are on `PATH` and have `file`
/// of the C library (`crt1.o`, `libc.a`) and GCC's support library for it.
pub(super) fn tools(
    platform: TargetPlatform,
    file: &str,
    env: &Environment,
    children: &Children,
    work_dir: &Path,
) -> Result<Option<Tools>, ProcessError> {
    let row = platform.target();
    let (Some(clang), Some(_)) = (env.lookup("clang"), env.lookup("ld.lld")) else { return Ok(None) };
    if is_native(row) {
        return Ok(None);
    }
    let arm: &[&str] = match row.platform {
        "linux/arm/v7" => &["-march=armv7-a"],
        // Debian's C library of that name is made for ARMv7.
        "linux/arm/v6" => return Ok(None),
        _ => &[],
    };
    let target = format!("--target={}", row.gcc_prefix);
    for wanted in [file, "libgcc.a"] {
        let command = Command::new(&clang, "/", env.clone()).arg(&target).arg(format!("-print-file-name={wanted}"));
        let output = children.capture(&command)?;
        // It answers with the bare name where it does not have it.
        if !output.status.success() || !output.stdout.contains(&b'/') {
            return Ok(None);
        }
    }
    let script = |program: &Path| {
        format!(
            "#!/bin/sh\n# Written by mab.\nexec \"{}\" {target} {}-fuse-ld=lld -Wno-unused-command-line-argument \"$@\"\n",
            quoted(program.as_os_str()),
            arm.iter().map(|flag| format!("{flag} ")).collect::<String>(),
        )
    };
    let cxx = env.lookup("clang++").unwrap_or_else(|| clang.clone());
    let scripts = [("clang", script(&clang)), ("clang++", script(&cxx))];
    let written = script::write_all(work_dir, row.rust_gnu, scripts);
    // Where mab may not write, the next compiler is looked at.
    let Ok([cc, cxx]) = written else { return Ok(None) };
    let ar = ["llvm-ar".to_owned(), format!("{}-ar", row.gcc_prefix)];
    Ok(Some(Tools { cc, cxx, ar: ar.into_iter().find(|name| env.lookup(name).is_some()) }))
}
