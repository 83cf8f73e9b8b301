//! Does a program fit the platform that it is for? By its ELF header, before a layer is written.
//!
//! Whether its libraries are in the base is another check's question; what that needs to know
//! is read here: [`ElfFacts`]. A few small pieces of the file are read, never all of it, and
//! whatever it holds, the worst outcome is an error.

mod arm_attributes;
mod facts;
mod read;

use std::path::{Path, PathBuf};

pub use facts::{ElfFacts, ElfType, Malformed, VersionNeed};
pub use read::ReadAt;

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
    match unfit(&facts, platform.target().elf) {
        Some((found, wanted)) => {
            Err(CheckError::Unfit { name: name.to_owned(), platform, path: path.to_owned(), found, wanted })
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

/// What the program is and what was wanted, where they differ.
fn unfit(facts: &ElfFacts, wanted: ElfKind) -> Option<(String, String)> {
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
    match facts.kind {
        ElfType::Program => {}
        ElfType::Library => return Some(("a shared library".into(), "a program".into())),
        ElfType::Object => return Some(("an object file, not linked yet".into(), "a program".into())),
        ElfType::Other(number) => return Some((format!("an ELF file of type {number}"), "a program".into())),
    }
    // https://openpowerfoundation.org/specifications/64bitelfabi/: 0 is "not said".
    if wanted.machine == EM_PPC64 && facts.flags & 3 == 1 {
        return Some(("a program of the ELFv1 ABI".into(), "one of ELFv2".into()));
    }
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

const EM_ARM: u16 = 40;
const EM_PPC64: u16 = 21;

/// A machine's name, for people.
fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "x86 (386)",
        8 => "MIPS",
        20 => "PowerPC",
        EM_PPC64 => "PowerPC 64",
        22 => "s390",
        EM_ARM => "ARM",
        62 => "x86-64",
        183 => "AArch64 (arm64)",
        243 => "RISC-V",
        258 => "LoongArch",
        other => return format!("machine {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
