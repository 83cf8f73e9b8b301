//! What an ELF file says about itself, in a form that is small enough to be kept for each file
//! of a base: the names of the fields on disk are short.

use std::io;

use serde::{Deserialize, Serialize};

use crate::target::FloatAbi;

/// Why a file that begins like ELF cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It cannot be read.
    #[error("cannot be read")]
    Io(#[source] io::Error),
    /// It ends before what it announces.
    #[error("it ends within {0}")]
    Short(&'static str),
    /// Something in it contradicts the format.
    #[error("{0} is not valid")]
    Invalid(&'static str),
}

/// What kind of ELF file it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElfType {
    /// Something that can be started, position-independent or not.
    #[serde(rename = "p")]
    Program,
    /// A shared library.
    #[default]
    #[serde(rename = "l")]
    Library,
    /// An object file.
    #[serde(rename = "o")]
    Object,
    /// Any other type.
    #[serde(rename = "x")]
    Other(u16),
}

/// Symbol versions that a file wants from a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionNeeds {
    /// The library, as in `needed`.
    #[serde(rename = "l")]
    pub library: String,
    /// The versions, as `GLIBC_2.34`, sorted.
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Versions that the file runs without, too.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub weak: Vec<String>,
}

/// Levels of x86-64, as the psABI counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct X86Level(pub u8);

/// What Go's linker has written into a program: `go version -m` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoBuild {
    /// The compiler's version, as `go1.24.1`.
    #[serde(rename = "v")]
    pub version: String,
    /// `GOARCH`.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The level of the architecture: the value of `GOAMD64`, `GOARM` and so on.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// C was compiled in.
    #[serde(rename = "c", default, skip_serializing_if = "is_default")]
    pub cgo: bool,
}

/// What a static program of glibc does to look names up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaticNss {
    /// It has `files` and `dns` in it (since glibc 2.34) and loads libraries for other services.
    #[serde(rename = "b")]
    BuiltIn,
    /// It loads a library for each service.
    #[serde(rename = "l")]
    Loads,
}

/// What becomes of the relocations of a static program that is position-independent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relocations {
    /// Its start code applies all of them.
    #[serde(rename = "a")]
    Applied,
    /// Its start code leaves some as they are.
    #[serde(rename = "l")]
    Left {
        /// How many.
        #[serde(rename = "c")]
        count: u32,
        /// The symbol that the first is about; empty for one without.
        #[serde(rename = "f", default, skip_serializing_if = "is_default")]
        first: String,
    },
}

/// What an ELF file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFacts {
    /// `e_machine`.
    #[serde(rename = "m")]
    pub machine: u16,
    /// 64-bit class.
    #[serde(rename = "6", default, skip_serializing_if = "is_default")]
    pub is_64: bool,
    /// Little-endian data.
    #[serde(rename = "le", default, skip_serializing_if = "is_default")]
    pub little_endian: bool,
    /// `e_flags`.
    #[serde(rename = "f", default, skip_serializing_if = "is_default")]
    pub flags: u32,
    /// What kind of file it is.
    #[serde(rename = "k", default, skip_serializing_if = "is_default")]
    pub kind: ElfType,
    /// On 32-bit ARM how floating-point arguments are passed, where the file says.
    #[serde(rename = "fl", default, skip_serializing_if = "Option::is_none")]
    pub float: Option<FloatAbi>,
    /// On 32-bit ARM the architecture that it is compiled for (`Tag_CPU_arch`), where it says.
    #[serde(rename = "ca", default, skip_serializing_if = "Option::is_none")]
    pub arm_arch: Option<u8>,
    /// On x86 the level that it needs (`GNU_PROPERTY_X86_ISA_1_NEEDED`), where it says.
    #[serde(rename = "xl", default, skip_serializing_if = "Option::is_none")]
    pub x86_level: Option<X86Level>,
    /// What Go says of it.
    #[serde(rename = "go", default, skip_serializing_if = "Option::is_none")]
    pub go: Option<GoBuild>,
    /// The loader that it asks for.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// The name that it has for others (`DT_SONAME`).
    #[serde(rename = "so", default, skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// Libraries that it asks for, in order.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// `DT_RPATH`, split at colons.
    #[serde(rename = "rp", default, skip_serializing_if = "Vec::is_empty")]
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, split at colons.
    #[serde(rename = "ru", default, skip_serializing_if = "Vec::is_empty")]
    pub runpath: Vec<String>,
    /// Symbol versions that it wants, sorted by library.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionNeeds>,
    /// Symbol versions that it defines, sorted; the file's own name is none.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub defined: Vec<String>,
    /// It asks for a stack that is executable.
    #[serde(rename = "es", default, skip_serializing_if = "is_default")]
    pub executable_stack: bool,
    /// Its code has to be changed when it is loaded.
    #[serde(rename = "tr", default, skip_serializing_if = "is_default")]
    pub text_relocations: bool,
    /// How it looks names up, where it is a static program of glibc that does.
    #[serde(rename = "ns", default, skip_serializing_if = "Option::is_none")]
    pub static_nss: Option<StaticNss>,
    /// What becomes of its relocations, where it is static and position-independent.
    #[serde(rename = "rl", default, skip_serializing_if = "Option::is_none")]
    pub relocations: Option<Relocations>,
    /// Where it looks for libraries by itself, where it is glibc's loader.
    #[serde(rename = "ld", default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ElfFacts {
    /// It needs neither a loader nor a library.
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }

    /// The newest version of glibc that it does not run without, as major and minor number.
    pub fn glibc(&self) -> Option<(u32, u32)> {
        let needs = self.versions.iter().flat_map(|need| &need.versions);
        needs.filter_map(|version| glibc_version(version)).max()
    }

    /// The newest version of glibc that it defines: what it is, where it is `libc.so.6`.
    pub fn defined_glibc(&self) -> Option<(u32, u32)> {
        self.defined.iter().filter_map(|version| glibc_version(version)).max()
    }
}

/// `GLIBC_2.34`, `GLIBC_2.2.5`; the third number never decides.
pub fn glibc_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
