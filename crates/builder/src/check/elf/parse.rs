//! Reads [`ElfFacts`] out of a file: a few small pieces of it, whatever it announces.

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::program_header::{
    PF_W, PF_X, PT_DYNAMIC, PT_GNU_PROPERTY, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_NOTE, ProgramHeader,
};
use goblin::elf::section_header::SectionHeader;
use goblin::elf::{dynamic, header};

use super::arm_attributes::{self, ArmAttributes};
use super::facts::{ElfFacts, ElfType, Malformed, X86Level};
use super::read::ReadAt;
use super::{EM_ARM, go_build, notes, versions, words};

/// Program or section headers that are looked at; real files have dozens.
const HEADERS: usize = 4096;
/// Entries of the dynamic section that are looked at.
const DYNAMIC_ENTRIES: usize = 16384;
/// Longest name or path, in bytes.
const NAME: usize = 4096;
/// Libraries, and versions of each, that are looked at.
pub(super) const NEEDS: usize = 8192;
/// Section type of `.ARM.attributes`.
const SHT_ARM_ATTRIBUTES: u32 = 0x7000_0003;
/// Longest `.ARM.attributes`, and longest notes.
pub(super) const ATTRIBUTES: u64 = 64 << 10;
/// How far into the data Go's build information may begin.
pub(super) const GO_WINDOW: usize = 64 << 10;
/// `DF_TEXTREL`.
const DF_TEXTREL: u64 = 4;

impl ElfFacts {
    /// Reads the facts of a file.
    pub fn read<R: ReadAt + ?Sized>(source: &R) -> Result<Self, Malformed> {
        let (file, header) = File::open(source)?;
        file.facts(&header)
    }
}

/// A file with its byte order, class and segments.
pub(super) struct File<'a, R: ?Sized> {
    source: &'a R,
    ctx: Ctx,
    segments: Vec<ProgramHeader>,
}

impl<'a, R: ReadAt + ?Sized> File<'a, R> {
    /// Reads the headers.
    pub(super) fn open(source: &'a R) -> Result<(Self, header::Header), Malformed> {
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
        let ctx = Ctx::new(if is_64 { Container::Big } else { Container::Little }, endian);
        let mut file = File { source, ctx, segments: Vec::new() };
        let (offset, count) = (header.e_phoff, usize::from(header.e_phnum));
        if count > HEADERS {
            return Err(Malformed::Invalid("the number of segments"));
        }
        if count > 0 {
            if usize::from(header.e_phentsize) != ProgramHeader::size(ctx) {
                return Err(Malformed::Invalid("the size of program headers"));
            }
            let bytes = file.exact(offset, count * ProgramHeader::size(ctx), "the program headers")?;
            file.segments =
                ProgramHeader::parse(&bytes, 0, count, ctx).map_err(|_| Malformed::Invalid("a program header"))?;
        }
        Ok((file, header))
    }

    /// Where the pieces are that [`File::facts`] reads, as offset and length, as far as the
    /// segments tell.
    pub(super) fn pieces(&self) -> Vec<(u64, u64)> {
        let piece = |segment: &ProgramHeader| match segment.p_type {
            PT_DYNAMIC => Some((segment.p_offset, segment.p_filesz.min((DYNAMIC_ENTRIES * 16) as u64))),
            PT_NOTE | PT_GNU_PROPERTY => Some((segment.p_offset, segment.p_filesz.min(ATTRIBUTES))),
            PT_INTERP => Some((segment.p_offset, NAME as u64)),
            PT_LOAD if segment.p_flags & PF_W != 0 => {
                Some((segment.p_offset, segment.p_filesz.min(2 * GO_WINDOW as u64)))
            }
            _ => None,
        };
        self.segments.iter().filter_map(piece).take(64).collect()
    }

    fn facts(&self, header: &header::Header) -> Result<ElfFacts, Malformed> {
        let interpreter = match self.segments.iter().find(|segment| segment.p_type == PT_INTERP) {
            Some(segment) => Some(self.text(segment.p_offset, "the interpreter's path")?),
            None => None,
        };
        let dynamic = self.dynamic()?;
        let names = |tag| dynamic.texts(self, tag);
        let needed = names(dynamic::DT_NEEDED)?;
        let directories = |tag| -> Result<Vec<String>, Malformed> {
            let list = names(tag)?;
            let parts = list.iter().flat_map(|path| path.split(':')).filter(|path| !path.is_empty());
            Ok(parts.map(str::to_owned).collect())
        };
        let kind = match header.e_type {
            header::ET_EXEC => ElfType::Program,
            // A library may have an entry too, but then it is a program as well.
            header::ET_DYN if interpreter.is_some() || header.e_entry != 0 => ElfType::Program,
            header::ET_DYN => ElfType::Library,
            header::ET_REL => ElfType::Object,
            other => ElfType::Other(other),
        };
        let sections = self.sections(header);
        let arm = if header.e_machine == EM_ARM { self.arm(header, &sections) } else { ArmAttributes::default() };
        let go = self.go_build();
        let mut facts = ElfFacts {
            machine: header.e_machine,
            is_64: self.ctx.is_big(),
            little_endian: self.ctx.is_little_endian(),
            flags: header.e_flags,
            kind,
            float: arm.float,
            arm_arch: arm.architecture,
            x86_level: if matches!(header.e_machine, 3 | 62) { self.x86_level() } else { None },
            rpath: directories(dynamic::DT_RPATH)?,
            runpath: directories(dynamic::DT_RUNPATH)?,
            soname: names(dynamic::DT_SONAME)?.into_iter().next(),
            versions: versions::wanted(self, &dynamic)?,
            defined: versions::defined(self, &dynamic)?,
            executable_stack: self
                .segments
                .iter()
                .any(|segment| segment.p_type == PT_GNU_STACK && segment.p_flags & PF_X != 0),
            text_relocations: dynamic.value(dynamic::DT_TEXTREL).is_some()
                || dynamic.value(dynamic::DT_FLAGS).is_some_and(|flags| flags & DF_TEXTREL != 0),
            go,
            interpreter,
            needed,
            static_nss: None,
            relocations: None,
            directories: Vec::new(),
        };
        let without_c = facts.go.as_ref().is_some_and(|go| !go.cgo);
        if facts.kind == ElfType::Program && facts.is_static() && !without_c {
            facts.static_nss = words::static_nss(self.source).map_err(Malformed::Io)?;
        }
        if facts.kind == ElfType::Program && facts.is_static() && facts.soname.is_none() {
            facts.relocations = self.relocations(facts.machine, &dynamic);
        }
        if facts.soname.as_deref().is_some_and(words::is_loader) {
            facts.directories = words::loader_directories(self.source).map_err(Malformed::Io)?;
        }
        Ok(facts)
    }

    /// The section headers, where they can be read: nothing that is run needs them.
    fn sections(&self, header: &header::Header) -> Vec<SectionHeader> {
        let (count, size) = (usize::from(header.e_shnum), SectionHeader::size(self.ctx));
        if header.e_machine != EM_ARM || count == 0 || count > HEADERS || usize::from(header.e_shentsize) != size {
            return Vec::new();
        }
        let Ok(bytes) = self.exact(header.e_shoff, count * size, "the section headers") else { return Vec::new() };
        SectionHeader::parse_from(&bytes, 0, count, self.ctx).unwrap_or_default()
    }

    /// "ELF for the Arm Architecture", 5.2: the float ABI is set by linkers for programs of EABI
    /// version 5. Go leaves it out; then the attributes that C compilers write may tell.
    fn arm(&self, header: &header::Header, sections: &[SectionHeader]) -> ArmAttributes {
        const EABI5: u32 = 0x0500_0000;
        const HARD: u32 = 0x400;
        const SOFT: u32 = 0x200;
        let section = sections.iter().find(|section| section.sh_type == SHT_ARM_ATTRIBUTES);
        let mut attributes = match section.filter(|section| section.sh_size <= ATTRIBUTES) {
            Some(section) => self
                .exact(section.sh_offset, section.sh_size as usize, "the ARM attributes")
                .map(|bytes| arm_attributes::read(&bytes, self.ctx.is_little_endian()))
                .unwrap_or_default(),
            None => ArmAttributes::default(),
        };
        if header.e_flags & 0xff00_0000 == EABI5 {
            match (header.e_flags & HARD != 0, header.e_flags & SOFT != 0) {
                (true, false) => attributes.float = Some(crate::target::FloatAbi::Hard),
                (false, true) => attributes.float = Some(crate::target::FloatAbi::Soft),
                _ => {}
            }
        }
        attributes
    }

    fn x86_level(&self) -> Option<X86Level> {
        let notes = self.segments.iter().filter(|segment| matches!(segment.p_type, PT_NOTE | PT_GNU_PROPERTY));
        let levels = notes.filter(|segment| segment.p_filesz <= ATTRIBUTES).filter_map(|segment| {
            let bytes = self.exact(segment.p_offset, segment.p_filesz as usize, "the notes").ok()?;
            notes::x86_level(&bytes, segment.p_align, self.ctx.is_big())
        });
        levels.max()
    }

    fn go_build(&self) -> Option<super::GoBuild> {
        let data = self.segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_flags & PF_W != 0);
        data.take(4).find_map(|segment| go_build::find(self.source, segment.p_offset, segment.p_filesz))
    }

    fn dynamic(&self) -> Result<Dynamic, Malformed> {
        let mut dynamic = Dynamic::default();
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type == PT_DYNAMIC) else {
            return Ok(dynamic);
        };
        let word = self.word();
        let size = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX).min(DYNAMIC_ENTRIES * 2 * word);
        let bytes = self.exact(segment.p_offset, size, "the dynamic section")?;
        for entry in bytes.chunks_exact(2 * word) {
            let (tag, value) = (self.number(&entry[..word]), self.number(&entry[word..]));
            if tag == dynamic::DT_NULL {
                break;
            }
            dynamic.entries.push((tag, value));
        }
        dynamic.strings = dynamic.value(dynamic::DT_STRTAB).and_then(|address| self.offset_of(address));
        Ok(dynamic)
    }

    /// Bytes of an address.
    pub(super) fn word(&self) -> usize {
        if self.ctx.is_big() { 8 } else { 4 }
    }

    pub(super) fn is_little_endian(&self) -> bool {
        self.ctx.is_little_endian()
    }

    /// Offset, size and alignment of the segments that hold notes.
    pub(super) fn notes(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let notes = self.segments.iter().filter(|segment| segment.p_type == PT_NOTE);
        notes.map(|segment| (segment.p_offset, segment.p_filesz, segment.p_align))
    }

    /// Where in the file an address is.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.p_type == PT_LOAD)
            .find(|segment| address.checked_sub(segment.p_vaddr).is_some_and(|within| within < segment.p_filesz))
            .and_then(|segment| segment.p_offset.checked_add(address - segment.p_vaddr))
    }

    pub(super) fn exact(&self, offset: u64, length: usize, what: &'static str) -> Result<Vec<u8>, Malformed> {
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
        for length in [64, NAME] {
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

    /// A number of as many bytes as there are.
    pub(super) fn number(&self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.ctx.le {
            Endian::Little => bytes.iter().rev().fold(0, join),
            Endian::Big => bytes.iter().fold(0, join),
        }
    }
}

/// The dynamic section.
#[derive(Default)]
pub(super) struct Dynamic {
    entries: Vec<(u64, u64)>,
    /// Where in the file its names are.
    strings: Option<u64>,
}

impl Dynamic {
    pub(super) fn value(&self, wanted: u64) -> Option<u64> {
        self.entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value)
    }

    pub(super) fn text<R: ReadAt + ?Sized>(&self, file: &File<'_, R>, name: u64) -> Result<String, Malformed> {
        let strings = self.strings.ok_or(Malformed::Invalid("the place of library names"))?;
        file.text(strings.saturating_add(name), "a library's name")
    }

    fn texts<R: ReadAt + ?Sized>(&self, file: &File<'_, R>, wanted: u64) -> Result<Vec<String>, Malformed> {
        let names = self.entries.iter().filter(|(tag, _)| *tag == wanted).take(NEEDS);
        names.map(|(_, name)| self.text(file, *name)).collect()
    }
}
