//! C compilers that link for a platform.

use std::path::Path;

use super::ToolContext;
use super::request::Linkage;
use super::{clang, zig};
use crate::process::{Children, Command, Environment, ProcessError};
use crate::target::{Libc, Target, TargetPlatform};

/// A C compiler, as go is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CCompiler {
    /// `CC`; nothing where go's default does.
    pub(super) cc: Option<String>,
    /// `CXX`.
    pub(super) cxx: Option<String>,
}

/// Whether programs of this row run here.
pub(super) fn is_native(row: &Target) -> bool {
    row.goarch == if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// A GCC with its own musl, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MuslGcc {
    pub(super) cc: String,
    /// `CXX`, `AR` and `RANLIB`, where they are there.
    pub(super) cxx: Option<String>,
    pub(super) ar: Option<String>,
    pub(super) ranlib: Option<String>,
}

/// The first GCC for musl on `PATH`. Its archiver comes from the cross GCC where it has none of
/// its own: this machine's may not know the target's object files.
pub(super) fn musl_gcc(platform: TargetPlatform, env: &Environment) -> Option<MuslGcc> {
    let row = platform.target();
    let there = |name: String| env.lookup(&name).map(|_| name);
    platform.musl_prefixes().into_iter().chain(is_native(row).then(|| "musl".to_owned())).find_map(|prefix| {
        let cc = there(format!("{prefix}-gcc"))?;
        let tool =
            |name: &str| there(format!("{prefix}-{name}")).or_else(|| there(format!("{}-{name}", row.gcc_prefix)));
        Some(MuslGcc { cc, cxx: there(format!("{prefix}-g++")), ar: tool("ar"), ranlib: tool("ranlib") })
    })
}

/// Finds a C compiler for a platform, or says which would have done.
pub(super) fn find(
    platform: TargetPlatform,
    linkage: Linkage,
    env: &Environment,
    context: &ToolContext<'_>,
) -> Result<Result<CCompiler, String>, ProcessError> {
    let row = platform.target();
    let native = is_native(row);
    // The names that cargo's build scripts know too; `CC` alone means this machine's own.
    let named = [row.rust_gnu, row.rust_musl.unwrap_or(row.rust_gnu)].map(|triple| triple.replace('-', "_"));
    for triple in &named {
        if let Some(cc) = env.text(format!("CC_{triple}")) {
            let cxx = env.text(format!("CXX_{triple}")).map(str::to_owned);
            return Ok(Ok(CCompiler { cc: Some(cc.to_owned()), cxx }));
        }
    }
    if native && env.get("CC").is_some() {
        return Ok(Ok(CCompiler { cc: None, cxx: None }));
    }
    let with_zig = |libc: Libc| -> Option<CCompiler> {
        let triple = platform.rust_target(libc)?;
        let tools = zig::tools(&zig::find(env)?, triple, libc, None, context.work_dir).ok()??;
        Some(CCompiler { cc: Some(tools.cc), cxx: Some(tools.cxx) })
    };
    if linkage != Linkage::Dynamic(Libc::Gnu) {
        if let Some(gcc) = musl_gcc(platform, env) {
            return Ok(Ok(CCompiler { cc: Some(gcc.cc), cxx: gcc.cxx }));
        }
        if let Some(found) = with_zig(Libc::Musl) {
            return Ok(Ok(found));
        }
        if linkage == Linkage::Dynamic(Libc::Musl) {
            let name = platform.musl_prefixes().pop().unwrap_or_else(|| row.rust_gnu.to_owned());
            return Ok(Err(format!("{name}-gcc")));
        }
    }
    let cross = format!("{}-gcc", row.gcc_prefix);
    let name = if native { "gcc" } else { cross.as_str() };
    let file = if linkage == Linkage::Static { "libc.a" } else { "crt1.o" };
    if let Some(program) = env.lookup(name)
        && has_file(&program, file, row, env, context.children)?
        && newer_arm(&program, platform, env, context.children)?.is_none()
    {
        let cxx = format!("{}-g++", row.gcc_prefix);
        let found = CCompiler {
            cc: (!native).then_some(cross.clone()),
            cxx: (!native && env.lookup(&cxx).is_some()).then_some(cxx),
        };
        return Ok(Ok(found));
    }
    if let Some(tools) = clang::tools(platform, file, env, context.children, context.work_dir)? {
        return Ok(Ok(CCompiler { cc: Some(tools.cc), cxx: Some(tools.cxx) }));
    }
    Ok(match linkage {
        Linkage::Dynamic(Libc::Gnu) => with_zig(Libc::Gnu).ok_or_else(|| name.to_owned()),
        _ => Err(name.to_owned()),
    })
}

/// Where a compiler for 32-bit ARM is made for a newer version than the platform: that version.
///
/// Debian's `arm-linux-gnueabihf-gcc` compiles for ARMv7, and so are its start files, its C
/// library and its `libgcc`, whatever `-march` says: what it links does not run on ARMv6.
/// Raspberry Pi OS has one of the same name that is made for ARMv6.
pub(super) fn newer_arm(
    compiler: &Path,
    platform: TargetPlatform,
    env: &Environment,
    children: &Children,
) -> Result<Option<u32>, ProcessError> {
    let wanted = match platform.target().platform {
        "linux/arm/v5" => 5,
        "linux/arm/v6" => 6,
        _ => return Ok(None),
    };
    let command = Command::new(compiler, "/", env.clone()).args(["-dM", "-E", "-x", "c", "/dev/null"]);
    let output = children.capture(&command)?;
    let made_for = String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("#define __ARM_ARCH ")?.trim().parse().ok());
    Ok(made_for.filter(|version| *version > wanted))
}

/// Whether a compiler has a file of the C library.
pub(super) fn has_file(
    compiler: &Path,
    file: &str,
    row: &Target,
    env: &Environment,
    children: &Children,
) -> Result<bool, ProcessError> {
    // Debian's places, to save the question.
    let prefix = row.gcc_prefix;
    let known = [format!("/usr/{prefix}/lib/{file}"), format!("/usr/lib/{prefix}/{file}")];
    if compiler.starts_with("/usr/bin") && known.iter().any(|path| Path::new(path).exists()) {
        return Ok(true);
    }
    let command = Command::new(compiler, "/", env.clone()).arg(format!("-print-file-name={file}"));
    let output = children.capture(&command)?;
    // It answers with a path where it has it, with the bare name where not. A compiler that does
    // not know the question is no GCC; what it has is its own affair.
    Ok(!output.status.success() || output.stdout.contains(&b'/'))
}
