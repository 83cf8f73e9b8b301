//! What an ELF file says about itself.

use std::io;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramHeader};
use goblin::elf::section_header::SectionHeader;
use goblin::elf::{dynamic, header};

use super::read::ReadAt;
use super::{EM_ARM, arm_attributes};
use crate::target::FloatAbi;

/// Program or section headers that are looked at; real files have dozens.
const HEADERS: usize = 4096;
/// Entries of the dynamic section that are looked at.
const DYNAMIC_ENTRIES: usize = 16384;
/// Longest name or path, in bytes.
const NAME: usize = 4096;
/// Libraries, and versions of each, that are looked at.
const NEEDS: usize = 8192;
/// Section type of `.ARM.attributes`.
const SHT_ARM_ATTRIBUTES: u32 = 0x7000_0003;
/// Longest `.ARM.attributes`.
const ATTRIBUTES: u64 = 64 << 10;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfType {
    /// Something that can be started, position-independent or not.
    Program,
    /// A shared library.
    Library,
    /// An object file.
    Object,
    /// Any other type.
    Other(u16),
}

/// A symbol version that a file wants from a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNeed {
    /// The library, as in `needed`.
    pub library: String,
    /// The version, as `GLIBC_2.34`.
    pub version: String,
    /// The program runs without it too.
    pub weak: bool,
}

/// What an ELF file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElfFacts {
    /// `e_machine`.
    pub machine: u16,
    /// 64-bit class.
    pub is_64: bool,
    /// Little-endian data.
    pub little_endian: bool,
    /// `e_flags`.
    pub flags: u32,
    /// What kind of file it is.
    pub kind: ElfType,
    /// On 32-bit ARM how floating-point arguments are passed, where the file says.
    pub float: Option<FloatAbi>,
    /// The loader that it asks for.
    pub interpreter: Option<String>,
    /// Libraries that it asks for, in order.
    pub needed: Vec<String>,
    /// Where it wants them looked for first (RUNPATH, else RPATH), split at colons.
    pub library_path: Vec<String>,
    /// Symbol versions that it wants, sorted.
    pub versions: Vec<VersionNeed>,
}

impl ElfFacts {
    /// It needs neither a loader nor a library.
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }

    /// The newest version of glibc that it does not run without, as major and minor number.
    pub fn glibc(&self) -> Option<(u32, u32)> {
        let needs = self.versions.iter().filter(|need| !need.weak);
        needs.filter_map(|need| glibc_version(&need.version)).max()
    }

    /// Reads the facts of a file.
    pub fn read<R: ReadAt + ?Sized>(source: &R) -> Result<Self, Malformed> {
        let mut start = [0; header::header64::SIZEOF_EHDR];
        let length = source.read_at_most(0, &mut start).map_err(Malformed::Io)?;
        let bytes = &start[..length];
        let is_64 = match bytes.get(header::EI_CLASS) {
            Some(1) => false,
            Some(2) => true,
            Some(_) => return Err(Malformed::Invalid("the class")),
            None => return Err(Malformed::Short("the header")),
        };
        if !matches!(bytes.get(header::EI_DATA), Some(1 | 2)) {
            return Err(Malformed::Invalid("the byte order"));
        }
        if bytes.len() < if is_64 { header::header64::SIZEOF_EHDR } else { header::header32::SIZEOF_EHDR } {
            return Err(Malformed::Short("the header"));
        }
        let header = goblin::elf::Elf::parse_header(bytes).map_err(|_| Malformed::Invalid("the header"))?;
        let endian = header.endianness().map_err(|_| Malformed::Invalid("the byte order"))?;
        let file = File {
            source,
            ctx: Ctx::new(if is_64 { Container::Big } else { Container::Little }, endian),
            segments: Vec::new(),
        };
        file.facts(&header)
    }
}

/// `GLIBC_2.34`, `GLIBC_2.2.5`; the third number never decides.
fn glibc_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A file with its byte order, class and segments.
struct File<'a, R: ?Sized> {
    source: &'a R,
    ctx: Ctx,
    segments: Vec<ProgramHeader>,
}

impl<R: ReadAt + ?Sized> File<'_, R> {
    fn facts(mut self, header: &header::Header) -> Result<ElfFacts, Malformed> {
        let (offset, count) = (header.e_phoff, usize::from(header.e_phnum));
        if count > HEADERS {
            return Err(Malformed::Invalid("the number of segments"));
        }
        if count > 0 {
            if usize::from(header.e_phentsize) != ProgramHeader::size(self.ctx) {
                return Err(Malformed::Invalid("the size of program headers"));
            }
            let bytes = self.exact(offset, count * ProgramHeader::size(self.ctx), "the program headers")?;
            self.segments =
                ProgramHeader::parse(&bytes, 0, count, self.ctx).map_err(|_| Malformed::Invalid("a program header"))?;
        }
        let interpreter = match self.segments.iter().find(|segment| segment.p_type == PT_INTERP) {
            Some(segment) => Some(self.text(segment.p_offset, "the interpreter's path")?),
            None => None,
        };
        let dynamic = self.dynamic()?;
        let names = |tag| dynamic.texts(&self, tag);
        let needed = names(dynamic::DT_NEEDED)?;
        let mut library_path = names(dynamic::DT_RUNPATH)?;
        if library_path.is_empty() {
            library_path = names(dynamic::DT_RPATH)?;
        }
        let library_path =
            library_path.iter().flat_map(|path| path.split(':')).filter(|path| !path.is_empty()).map(str::to_owned);

        let kind = match header.e_type {
            header::ET_EXEC => ElfType::Program,
            // A library may have an entry too, but then it is a program as well.
            header::ET_DYN if interpreter.is_some() || header.e_entry != 0 => ElfType::Program,
            header::ET_DYN => ElfType::Library,
            header::ET_REL => ElfType::Object,
            other => ElfType::Other(other),
        };
        Ok(ElfFacts {
            machine: header.e_machine,
            is_64: self.ctx.is_big(),
            little_endian: self.ctx.is_little_endian(),
            flags: header.e_flags,
            kind,
            float: if header.e_machine == EM_ARM { self.float(header)? } else { None },
            library_path: library_path.collect(),
            versions: self.versions(&dynamic)?,
            interpreter,
            needed,
        })
    }

    /// "ELF for the Arm Architecture", 5.2: set by linkers for programs of EABI version 5. Go
    /// leaves it out; then the attributes that C compilers write may tell, or nothing does.
    fn float(&self, header: &header::Header) -> Result<Option<FloatAbi>, Malformed> {
        const EABI5: u32 = 0x0500_0000;
        const HARD: u32 = 0x400;
        const SOFT: u32 = 0x200;
        if header.e_flags & 0xff00_0000 == EABI5 {
            match (header.e_flags & HARD != 0, header.e_flags & SOFT != 0) {
                (true, false) => return Ok(Some(FloatAbi::Hard)),
                (false, true) => return Ok(Some(FloatAbi::Soft)),
                _ => {}
            }
        }
        let (count, size) = (usize::from(header.e_shnum), SectionHeader::size(self.ctx));
        if count == 0 || count > HEADERS || usize::from(header.e_shentsize) != size {
            return Ok(None);
        }
        let bytes = self.exact(header.e_shoff, count * size, "the section headers")?;
        let sections = SectionHeader::parse_from(&bytes, 0, count, self.ctx)
            .map_err(|_| Malformed::Invalid("a section header"))?;
        match sections.iter().find(|section| section.sh_type == SHT_ARM_ATTRIBUTES) {
            Some(section) if section.sh_size <= ATTRIBUTES => {
                let bytes = self.exact(section.sh_offset, section.sh_size as usize, "the ARM attributes")?;
                Ok(arm_attributes::float_abi(&bytes, self.ctx.is_little_endian()))
            }
            _ => Ok(None),
        }
    }

    fn dynamic(&self) -> Result<Dynamic, Malformed> {
        let mut dynamic = Dynamic::default();
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type == PT_DYNAMIC) else {
            return Ok(dynamic);
        };
        let word = if self.ctx.is_big() { 8 } else { 4 };
        let size = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX).min(DYNAMIC_ENTRIES * 2 * word);
        let bytes = self.exact(segment.p_offset, size, "the dynamic section")?;
        for entry in bytes.chunks_exact(2 * word) {
            let (tag, value) = (self.word(&entry[..word]), self.word(&entry[word..]));
            if tag == dynamic::DT_NULL {
                break;
            }
            dynamic.entries.push((tag, value));
        }
        dynamic.strings = dynamic.value(dynamic::DT_STRTAB).and_then(|address| self.offset_of(address));
        Ok(dynamic)
    }

    /// "Linux Standard Base, Symbol Versioning", 10.7.5: a list of libraries, each with a list of
    /// versions, linked by relative offsets.
    fn versions(&self, dynamic: &Dynamic) -> Result<Vec<VersionNeed>, Malformed> {
        const WEAK: u16 = 2;
        let mut needs = Vec::new();
        let Some(start) = dynamic.value(dynamic::DT_VERNEED) else { return Ok(needs) };
        let Some(mut library_at) = self.offset_of(start) else {
            return Err(Malformed::Invalid("the place of symbol versions"));
        };
        let count = dynamic.value(dynamic::DT_VERNEEDNUM).unwrap_or(0);
        for _ in 0..count.min(NEEDS as u64) {
            let entry = self.exact(library_at, 16, "the symbol versions")?;
            let (versions, file, first, next) =
                (self.half(&entry[2..4]), self.word(&entry[4..8]), self.word(&entry[8..12]), self.word(&entry[12..16]));
            let library = dynamic.text(self, file)?;
            let mut version_at = library_at.saturating_add(first);
            for _ in 0..versions {
                let entry = self.exact(version_at, 16, "the symbol versions")?;
                let (flags, name, next) =
                    (self.half(&entry[4..6]), self.word(&entry[8..12]), self.word(&entry[12..16]));
                let version = dynamic.text(self, name)?;
                needs.push(VersionNeed { library: library.clone(), version, weak: flags & WEAK != 0 });
                if needs.len() > NEEDS {
                    return Err(Malformed::Invalid("the number of symbol versions"));
                }
                if next == 0 {
                    break;
                }
                version_at = version_at.saturating_add(next);
            }
            if next == 0 {
                break;
            }
            library_at = library_at.saturating_add(next);
        }
        needs.sort();
        needs.dedup();
        Ok(needs)
    }

    /// Where in the file an address is.
    fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type == PT_LOAD)
            .find(|segment| address.checked_sub(segment.p_vaddr).is_some_and(|within| within < segment.p_filesz))
            .and_then(|segment| segment.p_offset.checked_add(address - segment.p_vaddr))
    }

    fn exact(&self, offset: u64, length: usize, what: &'static str) -> Result<Vec<u8>, Malformed> {
        let mut bytes = vec![0; length];
        match self.source.read_at_most(offset, &mut bytes) {
            Ok(filled) if filled == length => Ok(bytes),
            Ok(_) => Err(Malformed::Short(what)),
            Err(error) => Err(Malformed::Io(error)),
        }
    }

    /// The text up to the next zero byte.
    fn text(&self, offset: u64, what: &'static str) -> Result<String, Malformed> {
        // Most names are short; the long ones take a second read.
        for length in [256, NAME] {
            let mut bytes = vec![0; length];
            let filled = self.source.read_at_most(offset, &mut bytes).map_err(Malformed::Io)?;
            if let Some(end) = bytes[..filled].iter().position(|byte| *byte == 0) {
                bytes.truncate(end);
                return String::from_utf8(bytes).map_err(|_| Malformed::Invalid(what));
            }
            if filled < length {
                return Err(Malformed::Short(what));
            }
        }
        Err(Malformed::Invalid(what))
    }

    fn half(&self, bytes: &[u8]) -> u16 {
        self.number(bytes) as u16
    }

    /// A number of as many bytes as there are.
    fn word(&self, bytes: &[u8]) -> u64 {
        self.number(bytes)
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.ctx.le {
            Endian::Little => bytes.iter().rev().fold(0, join),
            Endian::Big => bytes.iter().fold(0, join),
        }
    }
}

/// The dynamic section.
#[derive(Default)]
struct Dynamic {
    entries: Vec<(u64, u64)>,
    /// Where in the file its names are.
    strings: Option<u64>,
}

impl Dynamic {
    fn value(&self, wanted: u64) -> Option<u64> {
        self.entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value)
    }

    fn text<R: ReadAt + ?Sized>(&self, file: &File<'_, R>, name: u64) -> Result<String, Malformed> {
        let strings = self.strings.ok_or(Malformed::Invalid("the place of library names"))?;
        file.text(strings.saturating_add(name), "a library's name")
    }

    fn texts<R: ReadAt + ?Sized>(&self, file: &File<'_, R>, wanted: u64) -> Result<Vec<String>, Malformed> {
        let names = self.entries.iter().filter(|(tag, _)| *tag == wanted).take(NEEDS);
        names.map(|(_, name)| self.text(file, *name)).collect()
    }
}
