//! Does a program fit a platform, by its headers alone?

use std::path::{Path, PathBuf};

use super::{EM_PPC64, ElfFacts, ElfType, Malformed, ReadAt as _, machine_name};
use crate::check::CheckId;
use crate::target::{ElfKind, FloatAbi, TargetPlatform};

/// Why a program does not fit its platform.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file cannot be read.
    #[error("cannot read {name} for {platform}")]
    Io {
        /// What the program is called.
        name: String,
        /// What it is for.
        platform: TargetPlatform,
        /// What the system said, with the path.
        source: std::io::Error,
    },
    /// It is not an ELF file.
    #[error("{name} for {platform} is not a Linux program (ELF) but {found}: {}", path.display())]
    NotElf {
        /// What the program is called.
        name: String,
        /// What it is for.
        platform: TargetPlatform,
        /// Its file.
        path: PathBuf,
        /// What it is, as far as that can be told.
        found: &'static str,
    },
    /// It begins like an ELF file, but does not go on like one.
    #[error("{name} for {platform} is a damaged ELF file: {}", path.display())]
    Malformed {
        /// What the program is called.
        name: String,
        /// What it is for.
        platform: TargetPlatform,
        /// Its file.
        path: PathBuf,
        /// Where it is damaged.
        source: Malformed,
    },
    /// It is for another platform, or not a program.
    #[error("{name} for {platform} is {found}, but {wanted} is wanted: {}", path.display())]
    Unfit {
        /// Which check says so.
        check: CheckId,
        /// What the program is called.
        name: String,
        /// What it is for.
        platform: TargetPlatform,
        /// Its file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it ought to be.
        wanted: String,
    },
}

impl CheckError {
    /// The check that it belongs to.
    pub fn check(&self) -> CheckId {
        match self {
            Self::Unfit { check, .. } => *check,
            _ => CheckId::Program,
        }
    }
}

/// Checks the program at `path`, called `name` in messages, against a platform.
pub fn check_program(name: &str, path: &Path, platform: TargetPlatform) -> Result<ElfFacts, CheckError> {
    let io = |source| CheckError::Io { name: name.to_owned(), platform, source };
    let file = fs_err::File::open(path).map_err(io)?;
    let mut start = [0; 8];
    let length = file.file().read_at_most(0, &mut start).map_err(io)?;
    if let Some(found) = not_elf(&start[..length]) {
        return Err(CheckError::NotElf { name: name.to_owned(), platform, path: path.to_owned(), found });
    }
    let facts = ElfFacts::read(file.file()).map_err(|source| match source {
        Malformed::Io(source) => io(source),
        source => CheckError::Malformed { name: name.to_owned(), platform, path: path.to_owned(), source },
    })?;
    let wanted = platform.target().elf;
    let unfit = None
        .or_else(|| unfit_machine(&facts, wanted).map(|unfit| (CheckId::Machine, unfit)))
        .or_else(|| not_program(&facts).map(|unfit| (CheckId::Program, unfit)))
        .or_else(|| unfit_float(&facts, wanted).map(|unfit| (CheckId::FloatAbi, unfit)));
    match unfit {
        Some((check, (found, wanted))) => {
            Err(CheckError::Unfit { check, name: name.to_owned(), platform, path: path.to_owned(), found, wanted })
        }
        None => Ok(facts),
    }
}

/// What a file is that does not begin like an ELF file.
fn not_elf(start: &[u8]) -> Option<&'static str> {
    Some(match start {
        [0x7f, b'E', b'L', b'F', ..] => return None,
        [] => "an empty file",
        [b'#', b'!', ..] => "a script",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "an archive (for Go: the package is not `main`)",
        [b'M', b'Z', ..] => "a Windows program",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "a macOS program",
        [0, b'a', b's', b'm', ..] => "a WebAssembly module",
        [0x1f, 0x8b, ..] => "a gzip file",
        _ => "something else",
    })
}

/// What was found and what was wanted.
pub(in crate::check) type Unfit = (String, String);

/// Machine, class, byte order and ABI.
pub(in crate::check) fn unfit_machine(facts: &ElfFacts, wanted: ElfKind) -> Option<Unfit> {
    let sizes = |is_64: bool, little: bool, machine: u16| {
        format!(
            "a {}-bit {}-endian {} program",
            if is_64 { 64 } else { 32 },
            if little { "little" } else { "big" },
            machine_name(machine)
        )
    };
    if (facts.machine, facts.is_64, facts.little_endian) != (wanted.machine, wanted.is_64, wanted.little_endian) {
        return Some((
            sizes(facts.is_64, facts.little_endian, facts.machine),
            sizes(wanted.is_64, wanted.little_endian, wanted.machine),
        ));
    }
    // https://openpowerfoundation.org/specifications/64bitelfabi/: 0 is "not said".
    if wanted.machine == EM_PPC64 && facts.flags & 3 == 1 {
        return Some(("a program of the ELFv1 ABI".into(), "one of ELFv2".into()));
    }
    None
}

/// Libraries and object files are no programs.
pub(in crate::check) fn not_program(facts: &ElfFacts) -> Option<Unfit> {
    match facts.kind {
        ElfType::Program => None,
        ElfType::Library => Some(("a shared library".into(), "a program".into())),
        ElfType::Object => Some(("an object file, not linked yet".into(), "a program".into())),
        ElfType::Other(number) => Some((format!("an ELF file of type {number}"), "a program".into())),
    }
}

/// How floating-point arguments are passed on 32-bit ARM.
pub(in crate::check) fn unfit_float(facts: &ElfFacts, wanted: ElfKind) -> Option<Unfit> {
    match (facts.float, wanted.float) {
        (Some(FloatAbi::Hard), Some(FloatAbi::Soft)) => {
            Some(("a hard-float program (gnueabihf)".into(), "a soft-float one (gnueabi)".into()))
        }
        // Alone, a soft-float program runs anywhere; its libraries would have to be like it.
        (Some(FloatAbi::Soft), Some(FloatAbi::Hard)) if !facts.is_static() => {
            Some(("a soft-float program with libraries (gnueabi)".into(), "a hard-float one (gnueabihf)".into()))
        }
        _ => None,
    }
}
