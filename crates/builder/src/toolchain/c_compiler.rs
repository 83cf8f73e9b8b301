//! C compilers that link for a platform.

use std::path::Path;

use super::ToolContext;
use super::request::Linkage;
use super::zig;
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
        let machine = row.rust_gnu.split('-').next().unwrap_or_default();
        let musl = [Some(format!("{machine}-linux-musl-gcc")), native.then(|| "musl-gcc".to_owned())];
        for name in musl.into_iter().flatten() {
            if env.lookup(&name).is_some() {
                let cxx = name.replace("-gcc", "-g++");
                return Ok(Ok(CCompiler { cxx: env.lookup(&cxx).map(|_| cxx), cc: Some(name) }));
            }
        }
        if let Some(found) = with_zig(Libc::Musl) {
            return Ok(Ok(found));
        }
        if linkage == Linkage::Dynamic(Libc::Musl) {
            return Ok(Err(format!("{machine}-linux-musl-gcc")));
        }
    }
    let cross = format!("{}-gcc", row.gcc_prefix);
    let name = if native { "gcc" } else { cross.as_str() };
    if let Some(program) = env.lookup(name) {
        let file = if linkage == Linkage::Static { "libc.a" } else { "crt1.o" };
        if has_file(&program, file, row, env, context.children)? {
            let cxx = format!("{}-g++", row.gcc_prefix);
            let found = CCompiler {
                cc: (!native).then_some(cross.clone()),
                cxx: (!native && env.lookup(&cxx).is_some()).then_some(cxx),
            };
            return Ok(Ok(found));
        }
    }
    Ok(match linkage {
        Linkage::Dynamic(Libc::Gnu) => with_zig(Libc::Gnu).ok_or_else(|| name.to_owned()),
        _ => Err(name.to_owned()),
    })
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
