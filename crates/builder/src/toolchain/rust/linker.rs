//! What links a Rust program for a target.

use std::path::{Path, PathBuf};

use cargo_platform::Cfg;

use super::compiler::RustToolchain;
use super::config::{CargoConfig, target_variable};
use crate::process::{Children, Command, Environment, ProcessError, resolve_program};
use crate::target::{Libc, TargetPlatform};
use crate::toolchain::missing::Lack;

/// The question.
pub(in crate::toolchain) struct Wanted<'a> {
    pub(in crate::toolchain) platform: TargetPlatform,
    pub(in crate::toolchain) triple: &'a str,
    pub(in crate::toolchain) libc: Libc,
    /// Everything goes into one file, so the C library must be there as an archive.
    pub(in crate::toolchain) is_static: bool,
    pub(in crate::toolchain) toolchain: &'a RustToolchain,
    pub(in crate::toolchain) config: &'a CargoConfig,
    pub(in crate::toolchain) cfg: &'a [Cfg],
    /// Where the user's relative paths start.
    pub(in crate::toolchain) directory: &'a Path,
    pub(in crate::toolchain) env: &'a Environment,
    pub(in crate::toolchain) children: &'a Children,
}

/// Variables for cargo that name the linker, none where the user or rustc itself does, or what
/// is lacking.
pub(in crate::toolchain) fn find(wanted: &Wanted<'_>) -> Result<Result<Vec<(String, String)>, Lack>, ProcessError> {
    let Wanted { platform, triple, env, .. } = *wanted;
    if let Some(chosen) = wanted.config.linker(triple, wanted.cfg) {
        // What the user has chosen is taken as it is; rust-lld comes with the compiler.
        let known = chosen.program == "rust-lld" || resolve_program(&chosen.program, wanted.directory, env).is_some();
        let program = chosen.program.to_string_lossy().into_owned();
        return Ok(if known { Ok(Vec::new()) } else { Err(Lack::ChosenLinker { program, origin: chosen.origin }) });
    }
    let row = platform.target();
    let same_machine = wanted.toolchain.host.split('-').next() == triple.split('-').next();
    let cross = format!("{}-gcc", row.gcc_prefix);
    let set = |program: &str| vec![(target_variable(triple, "LINKER"), program.to_owned())];
    match wanted.libc {
        Libc::Gnu => {
            let native = triple == wanted.toolchain.host;
            let name = if native { "cc" } else { cross.as_str() };
            let Some(program) = env.lookup(name) else { return Ok(Err(Lack::Linker { program: name.to_owned() })) };
            let file = if wanted.is_static { "libc.a" } else { "crt1.o" };
            if !has_file(&program, file, wanted)? {
                return Ok(Err(Lack::CLibrary { linker: name.to_owned(), file }));
            }
            Ok(Ok(if native { Vec::new() } else { set(name) }))
        }
        // The target's own start files and C library come with its standard library; any linker
        // for the machine does.
        Libc::Musl => {
            let musl = format!("{}-linux-musl-gcc", triple.split('-').next().unwrap_or_default());
            let own = same_machine.then_some("musl-gcc");
            for name in [Some(musl.as_str()), own, Some(cross.as_str())].into_iter().flatten() {
                if env.lookup(name).is_some() {
                    return Ok(Ok(set(name)));
                }
            }
            if same_machine && env.lookup("cc").is_some() {
                return Ok(Ok(Vec::new()));
            }
            Ok(if wanted.toolchain.has_lld() { Ok(set("rust-lld")) } else { Err(Lack::Linker { program: cross }) })
        }
    }
}

/// Whether a compiler has a file of the C library: it answers with a path where it has, with the
/// bare name where it has not.
fn has_file(compiler: &PathBuf, file: &str, wanted: &Wanted<'_>) -> Result<bool, ProcessError> {
    let command = Command::new(compiler, wanted.directory, wanted.env.clone()).arg(format!("-print-file-name={file}"));
    let output = wanted.children.capture(&command)?;
    // A compiler that does not know the question is no GCC; what it has is its own affair.
    Ok(!output.status.success() || output.stdout.contains(&b'/'))
}
