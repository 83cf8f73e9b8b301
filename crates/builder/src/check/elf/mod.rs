//! ELF files: what one says about itself, and whether its headers fit a platform.
//!
//! Whether its libraries are in the image is the business of [`super::loader`]; what that needs to
//! know is read here: [`ElfFacts`]. A few small pieces of a file are read, and whatever it holds,
//! the worst outcome is an error.

pub mod arm_attributes;
mod facts;
mod fit;
mod go_build;
mod held;
mod inspector;
mod notes;
mod parse;
mod read;
mod relocations;
mod versions;
mod words;

pub use facts::{ElfFacts, ElfType, GoBuild, Malformed, Relocations, StaticNss, VersionNeeds, X86Level, glibc_version};
pub use inspector::{ElfInspector, FileFacts};
pub use read::ReadAt;

pub use fit::{CheckError, check_program};
pub(in crate::check) use fit::{not_program, unfit_float, unfit_machine};

const EM_ARM: u16 = 40;
const EM_PPC64: u16 = 21;

/// A machine's name, for people.
pub(in crate::check) fn machine_name(machine: u16) -> String {
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
