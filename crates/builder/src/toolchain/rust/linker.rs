//! What links a Rust program for a target, and compiles the C in it.

use std::path::Path;

use cargo_platform::Cfg;

use super::compiler::RustToolchain;
use super::config::{CargoConfig, target_variable};
use super::environment::{Uses, Variables};
use crate::process::{Children, Environment, ProcessError, resolve_program};
use crate::spec::model::GlibcVersion;
use crate::target::{Libc, TargetPlatform};
use crate::toolchain::c_compiler::{self, MuslGcc};
use crate::toolchain::missing::Lack;
use crate::toolchain::script::{self, quoted};
use crate::toolchain::{clang, zig};

/// The question.
pub(in crate::toolchain) struct Wanted<'a> {
    pub(in crate::toolchain) platform: TargetPlatform,
    pub(in crate::toolchain) triple: &'a str,
    pub(in crate::toolchain) libc: Libc,
    /// Everything goes into one file, so the C library must be there as an archive.
    pub(in crate::toolchain) is_static: bool,
    /// The standard library for musl has all that a program is linked with, or will when rustup
    /// has added it.
    pub(in crate::toolchain) self_contained: bool,
    /// The oldest glibc that the program has to run with, where the build file says.
    pub(in crate::toolchain) glibc: Option<GlibcVersion>,
    pub(in crate::toolchain) uses: Uses,
    pub(in crate::toolchain) toolchain: &'a RustToolchain,
    pub(in crate::toolchain) config: &'a CargoConfig,
    pub(in crate::toolchain) cfg: &'a [Cfg],
    /// Where the user's relative paths start.
    pub(in crate::toolchain) directory: &'a Path,
    pub(in crate::toolchain) env: &'a Environment,
    pub(in crate::toolchain) children: &'a Children,
    /// Where scripts may be written.
    pub(in crate::toolchain) work_dir: &'a Path,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::toolchain) struct Tools {
    /// What links, for people.
    pub(in crate::toolchain) linker: String,
    /// Variables for cargo and build scripts.
    pub(in crate::toolchain) variables: Vec<(String, String)>,
    /// Variables for what is compiled for this machine: build scripts and macros.
    pub(in crate::toolchain) build_scripts: Vec<(String, String)>,
    /// C for this target compiles against its own C library.
    pub(in crate::toolchain) compiles_c: bool,
}

/// What links, by name, and whether it compiles C too.
enum Choice {
    /// The user's own: left alone.
    Users(String),
    /// rustc's default.
    Default,
    /// A GCC that the `cc` crate finds by itself.
    Gcc(String),
    /// A GCC without the target's C library: it links what the standard library brings.
    LinkerOnly(String),
    /// A GCC with musl.
    MuslGcc(MuslGcc),
    /// clang with lld, through these scripts.
    Clang(clang::Tools),
    /// zig, through these scripts.
    Zig(zig::Tools),
    /// The linker that comes with rustc.
    Lld,
}

/// Finds linker and C compiler, or what is lacking.
pub(in crate::toolchain) fn find(wanted: &Wanted<'_>) -> Result<Result<Tools, Lack>, ProcessError> {
    let choice = match wanted.libc {
        Libc::Gnu => for_glibc(wanted)?,
        Libc::Musl => for_musl(wanted),
    };
    let choice = match choice {
        Ok(choice) => choice,
        Err(lack) => return Ok(Err(lack)),
    };
    let row = wanted.platform.target();
    let mut variables = Variables { triple: wanted.triple, config: wanted.config, found: Vec::new() };
    let linker = target_variable(wanted.triple, "LINKER");
    let mut set_linker = |name: &str| variables.found.push((linker.clone(), name.to_owned()));
    // What knows where the target's headers are.
    let mut compiler = None;
    let is_zig = matches!(choice, Choice::Zig(_));
    let (name, compiles_c) = match choice {
        Choice::Users(name) => {
            compiler = Some(cross_gcc(wanted));
            (name, true)
        }
        Choice::Default => ("cc".to_owned(), wanted.libc == Libc::Gnu),
        Choice::Gcc(name) => {
            set_linker(&name);
            compiler = Some(name.clone());
            (name, true)
        }
        Choice::LinkerOnly(name) => {
            set_linker(&name);
            variables.set("CC", &name);
            (name, false)
        }
        Choice::MuslGcc(gcc) => {
            match with_musl_gcc(wanted, &gcc.cc) {
                Ok(linker) => set_linker(&linker),
                Err(lack) => return Ok(Err(lack)),
            }
            compiler = Some(gcc.cc.clone());
            let tools = [("CC", Some(gcc.cc.clone())), ("CXX", gcc.cxx), ("AR", gcc.ar), ("RANLIB", gcc.ranlib)];
            for (name, program) in tools.into_iter().filter_map(|(name, program)| Some((name, program?))) {
                variables.set(name, program);
            }
            (gcc.cc, true)
        }
        Choice::Clang(tools) => {
            set_linker(&tools.cc);
            compiler = Some(tools.cc.clone());
            for (name, program) in [("CC", Some(tools.cc)), ("CXX", Some(tools.cxx)), ("AR", tools.ar)] {
                if let Some(program) = program {
                    variables.set(name, program);
                }
            }
            ("clang".to_owned(), true)
        }
        Choice::Zig(tools) => {
            compiler = Some(tools.cc.clone());
            variables.zig(tools);
            ("zig".to_owned(), true)
        }
        Choice::Lld => {
            set_linker("rust-lld");
            ("rust-lld".to_owned(), false)
        }
    };
    let is_cross = wanted.triple != wanted.toolchain.host;
    if wanted.uses.pkg_config && wanted.libc == Libc::Gnu {
        if is_cross || variables.sysroot().is_some() {
            variables.pkg_config(row);
        } else if is_zig {
            variables.machines_headers(row);
        }
    }
    if is_cross
        && wanted.uses.bindgen
        && let Some(compiler) = compiler.and_then(|name| wanted.env.lookup(name))
    {
        variables.bindgen(&compiler, wanted.env, wanted.children)?;
    }
    let variables = variables.found;
    Ok(for_build_scripts(wanted).map(|build_scripts| Tools { linker: name, variables, build_scripts, compiles_c }))
}

/// What links with a GCC that has musl: a script that adds what rustc leaves out.
///
/// C that a GCC compiles may call its support library (`__popcountdi2` for processors that cannot count bits), of
/// which Rust's has a part. For s390x, GNU ld (2.40) leaves pointers to exported symbols of a program that nobody
/// relocates but itself to the dynamic linker, and musl's start code knows only how to add the program's address: what
/// comes from archives, as all crates do, must not be exported.
fn with_musl_gcc(wanted: &Wanted<'_>, gcc: &str) -> Result<String, Lack> {
    let hidden = if wanted.platform.target().goarch == "s390x" { " -Wl,--exclude-libs,ALL" } else { "" };
    let text = format!("#!/bin/sh\n# Written by mab.\nexec \"{}\" \"$@\"{hidden} -lgcc\n", quoted(gcc.as_ref()));
    let [path] = script::write_all(wanted.work_dir, wanted.triple, [("cc", text)])
        .map_err(|error| Lack::Broken { program: gcc.to_owned(), said: error.to_string() })?;
    Ok(path)
}

/// Build scripts and macros are linked for this machine, by `cc` unless something is said: where there is
/// none, by another compiler of this machine's, or by zig.
fn for_build_scripts(wanted: &Wanted<'_>) -> Result<Vec<(String, String)>, Lack> {
    let host = wanted.toolchain.host.as_str();
    // What a `cfg(…)` of the user's says of this machine is not asked.
    let is_chosen = wanted.config.wants_cfg() || wanted.config.linker(host, &[]).is_some();
    if wanted.triple == host || is_chosen || wanted.env.lookup("cc").is_some() {
        return Ok(Vec::new());
    }
    let mut variables = Variables { triple: host, config: wanted.config, found: Vec::new() };
    let libc = if host.ends_with("musl") { Libc::Musl } else { Libc::Gnu };
    if let Some(compiler) = ["gcc", "clang"].into_iter().find(|name| wanted.env.lookup(name).is_some()) {
        variables.found.push((target_variable(host, "LINKER"), compiler.to_owned()));
        variables.set("CC", compiler);
    } else if let Some(tools) = zig_for(wanted, host, libc, None)? {
        variables.zig(tools);
    }
    Ok(variables.found)
}

fn cross_gcc(wanted: &Wanted<'_>) -> String {
    format!("{}-gcc", wanted.platform.target().gcc_prefix)
}

/// What the user has chosen is taken as it is, as long as it is there.
fn users(wanted: &Wanted<'_>) -> Option<Result<Choice, Lack>> {
    let chosen = wanted.config.linker(wanted.triple, wanted.cfg)?;
    // rust-lld comes with the compiler.
    let known =
        chosen.program == "rust-lld" || resolve_program(&chosen.program, wanted.directory, wanted.env).is_some();
    let program = chosen.program.to_string_lossy().into_owned();
    Some(if known { Ok(Choice::Users(program)) } else { Err(Lack::ChosenLinker { program, origin: chosen.origin }) })
}

fn with_zig(wanted: &Wanted<'_>) -> Result<Option<Choice>, Lack> {
    // zig has no archive of glibc, so it cannot put one into a program.
    if wanted.libc == Libc::Gnu && wanted.is_static {
        return Ok(None);
    }
    Ok(zig_for(wanted, wanted.triple, wanted.libc, wanted.glibc)?.map(Choice::Zig))
}

fn zig_for(
    wanted: &Wanted<'_>,
    triple: &str,
    libc: Libc,
    glibc: Option<GlibcVersion>,
) -> Result<Option<zig::Tools>, Lack> {
    let Some(zig) = zig::find(wanted.env) else { return Ok(None) };
    zig::tools(&zig, triple, libc, glibc, wanted.work_dir)
        .map_err(|error| Lack::Broken { program: zig.display().to_string(), said: error.to_string() })
}

fn for_glibc(wanted: &Wanted<'_>) -> Result<Result<Choice, Lack>, ProcessError> {
    if let Some(choice) = users(wanted) {
        return Ok(choice);
    }
    // Only zig links against an older glibc than the machine's.
    if wanted.glibc.is_some() {
        match with_zig(wanted) {
            Ok(Some(choice)) => return Ok(Ok(choice)),
            Ok(None) => {}
            Err(lack) => return Ok(Err(lack)),
        }
    }
    let row = wanted.platform.target();
    let native = wanted.triple == wanted.toolchain.host;
    let name = if native { "cc".to_owned() } else { cross_gcc(wanted) };
    let zig_would_do = !wanted.is_static;
    let file = if wanted.is_static { "libc.a" } else { "crt1.o" };
    let lack = match wanted.env.lookup(&name) {
        None => Lack::Linker { program: name, zig: zig_would_do },
        Some(program) => {
            if !c_compiler::has_file(&program, file, row, wanted.env, wanted.children)? {
                Lack::CLibrary { linker: name, file, zig: zig_would_do }
            } else if let Some(version) = c_compiler::newer_arm(&program, wanted.platform, wanted.env, wanted.children)?
            {
                Lack::NewerArm { linker: name, version, zig: zig_would_do }
            } else {
                return Ok(Ok(if native { Choice::Default } else { Choice::Gcc(name) }));
            }
        }
    };
    if let Some(tools) = clang::tools(wanted.platform, file, wanted.env, wanted.children, wanted.work_dir)? {
        return Ok(Ok(Choice::Clang(tools)));
    }
    Ok(match with_zig(wanted) {
        Ok(Some(choice)) => Ok(choice),
        Ok(None) => Err(lack),
        Err(lack) => Err(lack),
    })
}

/// rustup's standard library for musl has start files and C library with it: any linker for the
/// machine does. Others' want a linker that has them, such as zig. C compiles well only with musl's headers, though.
fn for_musl(wanted: &Wanted<'_>) -> Result<Choice, Lack> {
    if let Some(choice) = users(wanted) {
        return choice;
    }
    if let Some(gcc) = c_compiler::musl_gcc(wanted.platform, wanted.env) {
        return Ok(Choice::MuslGcc(gcc));
    }
    if (wanted.uses.c || !wanted.self_contained)
        && let Some(choice) = with_zig(wanted)?
    {
        return Ok(choice);
    }
    if !wanted.self_contained {
        let name = wanted.platform.musl_prefixes().pop().unwrap_or_else(|| wanted.triple.to_owned());
        return Err(Lack::Linker { program: format!("{name}-gcc"), zig: true });
    }
    let machine = |triple: &str| triple.split('-').next().map(str::to_owned);
    if machine(&wanted.toolchain.host) == machine(wanted.triple) && wanted.env.lookup("cc").is_some() {
        return Ok(Choice::Default);
    }
    let cross = cross_gcc(wanted);
    if wanted.env.lookup(&cross).is_some() {
        return Ok(Choice::LinkerOnly(cross));
    }
    if wanted.toolchain.has_lld() {
        return Ok(Choice::Lld);
    }
    with_zig(wanted)?.ok_or(Lack::Linker { program: cross, zig: true })
}
