//! Relocations that nobody applies.
//!
//! A static position-independent program relocates itself. The start code of musl applies relative
//! relocations and leaves all others as they are (`ldso/dlstart.c`, which `crt/rcrt1.c` includes), as does
//! any that is small. glibc's applies all (`elf/dl-reloc-static-pie.c`), and is known by the ABI note in its
//! start files (`csu/abi-note.S`).

use goblin::elf::dynamic;

use super::facts::Relocations;
use super::notes;
use super::parse::{ATTRIBUTES, Dynamic, File};
use super::read::ReadAt;

/// `DF_1_PIE` of `DT_FLAGS_1`: a program, where a library looks the same.
const DF_1_PIE: u64 = 0x0800_0000;
/// Relocations of a table that are looked at; large programs have a hundred thousand.
const MOST: usize = 1 << 20;
/// Relocations that are read at once.
const AT_ONCE: usize = 4096;
/// Relocations whose symbol is looked at.
const SYMBOLS: usize = 4096;

/// The machine's relocation that is relative to where the program is (the processor's supplement to
/// the System V ABI, `R_*_RELATIVE`). None of them has another number than 0 for "nothing".
fn relative(machine: u16) -> Option<u64> {
    Some(match machine {
        3 | 62 => 8,    // R_386_RELATIVE, R_X86_64_RELATIVE
        40 => 23,       // R_ARM_RELATIVE
        183 => 1027,    // R_AARCH64_RELATIVE
        20 | 21 => 22,  // R_PPC_RELATIVE, R_PPC64_RELATIVE
        22 => 12,       // R_390_RELATIVE
        243 | 258 => 3, // R_RISCV_RELATIVE, R_LARCH_RELATIVE
        _ => return None,
    })
}

struct Table {
    address: u64,
    size: u64,
    /// Its entries have an addend of their own (`RELA`).
    addend: bool,
}

impl<R: ReadAt + ?Sized> File<'_, R> {
    /// What becomes of the relocations of a static program. None where it has no table of them, is
    /// not position-independent, or for a machine whose relocations are not known.
    pub(super) fn relocations(&self, machine: u16, dynamic: &Dynamic) -> Option<Relocations> {
        let relative = relative(machine)?;
        if dynamic.value(dynamic::DT_FLAGS_1).is_none_or(|flags| flags & DF_1_PIE == 0) {
            return None;
        }
        let mut tables = Vec::new();
        for (at, size, addend) in [
            (dynamic::DT_RELA, dynamic::DT_RELASZ, true),
            (dynamic::DT_REL, dynamic::DT_RELSZ, false),
            (dynamic::DT_JMPREL, dynamic::DT_PLTRELSZ, dynamic.value(dynamic::DT_PLTREL) == Some(dynamic::DT_RELA)),
        ] {
            let (Some(address), Some(size)) = (dynamic.value(at), dynamic.value(size)) else { continue };
            // Some linkers count the table of calls to the other as well.
            let is_within =
                |table: &Table| address.checked_sub(table.address).is_some_and(|within| within < table.size);
            if !tables.iter().any(is_within) {
                tables.push(Table { address, size, addend });
            }
        }
        if tables.is_empty() {
            return None;
        }
        if self.has_abi_note() {
            return Some(Relocations::Applied);
        }
        let mut count = 0_u32;
        let mut first = None;
        for table in &tables {
            for symbol in self.others(table, relative)? {
                let Some(name) = self.wanted(symbol, dynamic)? else { continue };
                count = count.saturating_add(1);
                first.get_or_insert(name);
            }
        }
        Some(match first {
            None => Relocations::Applied,
            Some(name) => Relocations::Left { count, first: name },
        })
    }

    /// The symbols of a table's relocations that are not relative.
    fn others(&self, table: &Table, relative: u64) -> Option<Vec<u64>> {
        let word = self.word();
        let entry = if table.addend { 3 * word } else { 2 * word };
        let entries = usize::try_from(table.size).unwrap_or(usize::MAX) / entry;
        let mut others = Vec::new();
        let mut at = 0;
        while at < entries.min(MOST) && others.len() < SYMBOLS {
            let some = AT_ONCE.min(entries - at);
            let offset = self.offset_of(table.address)?.checked_add((at * entry) as u64)?;
            let bytes = self.exact(offset, some * entry, "the relocations").ok()?;
            for entry in bytes.chunks_exact(entry) {
                let info = self.number(&entry[word..2 * word]);
                let (symbol, kind) =
                    if word == 8 { (info >> 32, info & 0xffff_ffff) } else { (info >> 8, info & 0xff) };
                if kind != relative && kind != 0 {
                    others.push(symbol);
                }
            }
            at += some;
        }
        others.truncate(SYMBOLS);
        Some(others)
    }

    /// The name of a symbol that a relocation is about, empty where it is about none; nothing where
    /// the program does not have it: then it is weak, and what is not relocated is 0, as it should be.
    fn wanted(&self, symbol: u64, dynamic: &Dynamic) -> Option<Option<String>> {
        if symbol == 0 {
            return Some(Some(String::new()));
        }
        let is_64 = self.word() == 8;
        let size: u64 = if is_64 { 24 } else { 16 };
        let offset = self.offset_of(dynamic.value(dynamic::DT_SYMTAB)?)?.checked_add(symbol.checked_mul(size)?)?;
        let bytes = self.exact(offset, size as usize, "a symbol").ok()?;
        let section = if is_64 { &bytes[6..8] } else { &bytes[14..16] };
        if self.number(section) == 0 {
            return Some(None);
        }
        Some(Some(dynamic.text(self, self.number(&bytes[..4])).ok()?))
    }

    fn has_abi_note(&self) -> bool {
        self.notes().any(|(offset, size, align)| {
            size <= ATTRIBUTES
                && self
                    .exact(offset, size as usize, "the notes")
                    .is_ok_and(|bytes| notes::has_abi_tag(&bytes, align, self.is_little_endian()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::elf::ElfFacts;
    use crate::target::{ElfKind, TargetPlatform};

    const ADDRESS: u64 = 0x10000;
    /// A symbol's number, and a relocation's kind.
    type Relocation = (u64, u64);

    fn number(kind: ElfKind, value: u64, size: usize) -> Vec<u8> {
        let mut bytes = value.to_le_bytes().to_vec();
        bytes.resize(size, 0);
        if !kind.little_endian {
            bytes.reverse();
        }
        bytes
    }

    /// A static program with two symbols: the first, `weak`, is nowhere, the second, `here`, is in it.
    fn program(kind: ElfKind, flags: u64, relocations: &[Relocation], note: bool) -> Vec<u8> {
        let (word, header, segment) = if kind.is_64 { (8, 64, 56) } else { (4, 52, 32) };
        let addend = kind.is_64;
        let number = |value: u64, size: usize| number(kind, value, size);
        let word_of = |value: u64| number(value, word);
        let names = b"\0weak\0here\0";
        let symbol = |name: u64, section: u64| match kind.is_64 {
            true => [number(name, 4), number(0, 2), number(section, 2), number(0, 16)].concat(),
            false => [number(name, 4), number(0, 8), number(0, 2), number(section, 2)].concat(),
        };
        let symbols = [symbol(0, 0), symbol(1, 0), symbol(6, 3)].concat();
        let table = relocations.iter().flat_map(|(symbol, of)| {
            let info = if kind.is_64 { symbol << 32 | of } else { symbol << 8 | of };
            [word_of(0x2000), word_of(info), if addend { word_of(1) } else { Vec::new() }].concat()
        });
        let table: Vec<u8> = table.collect();
        let tag = [number(4, 4), number(16, 4), number(1, 4), b"GNU\0".to_vec(), number(0, 16)].concat();

        let mut at = (header + 3 * segment) as u64;
        let mut place = |length: usize| {
            let here = at;
            at += length as u64;
            here
        };
        let dynamic_size = 8 * 2 * word;
        let dynamic_at = place(dynamic_size);
        let (tag_at, names_at) = (place(tag.len()), place(names.len()));
        let (symbols_at, table_at) = (place(symbols.len()), place(table.len()));
        let (table_tag, size_tag) = if addend { (7, 8) } else { (17, 18) };
        let entries = [
            (5, ADDRESS + names_at),
            (6, ADDRESS + symbols_at),
            (table_tag, ADDRESS + table_at),
            (size_tag, table.len() as u64),
            // Counted twice, as some linkers do.
            (23, ADDRESS + table_at),
            (2, table.len() as u64),
            (0x6fff_fffb, flags),
            (0, 0),
        ];
        let dynamic: Vec<u8> =
            entries.iter().flat_map(|(tag, value)| [word_of(*tag), word_of(*value)].concat()).collect();

        let mut file = b"\x7fELF".to_vec();
        file.extend([if kind.is_64 { 2 } else { 1 }, if kind.little_endian { 1 } else { 2 }, 1, 0]);
        file.resize(16, 0);
        file.extend([number(3, 2), number(kind.machine.into(), 2), number(1, 4)].concat());
        file.extend([word_of(ADDRESS), word_of(header as u64), word_of(0), number(0, 4)].concat());
        file.extend([header as u64, segment as u64, 3, 0, 0, 0].iter().flat_map(|value| number(*value, 2)));
        let size = at;
        let note = if note { 4 } else { 0 };
        for (of, offset, size) in [(1, 0, size), (2, dynamic_at, dynamic_size as u64), (note, tag_at, tag.len() as u64)]
        {
            let address = ADDRESS + offset;
            file.extend(match kind.is_64 {
                true => {
                    [number(of, 4), number(4, 4), number(offset, 8), number(address, 8), number(address, 8)].concat()
                }
                false => [number(of, 4), number(offset, 4), number(address, 4), number(address, 4)].concat(),
            });
            file.extend(match kind.is_64 {
                true => [number(size, 8), number(size, 8), number(4, 8)].concat(),
                false => [number(size, 4), number(size, 4), number(4, 4), number(4, 4)].concat(),
            });
        }
        file.extend([dynamic, tag, names.to_vec(), symbols, table].concat());
        assert_eq!(file.len() as u64, size);
        file
    }

    fn of(platform: &str, flags: u64, relocations: &[Relocation], note: bool) -> Option<Relocations> {
        let kind = platform.parse::<TargetPlatform>().unwrap().target().elf;
        ElfFacts::read(&program(kind, flags, relocations, note)[..]).unwrap().relocations
    }

    #[test]
    fn what_is_not_relative_is_left_by_all_but_glibc() {
        for (platform, relative, other) in [
            ("linux/amd64", 8, 6),
            ("linux/386", 8, 6),
            ("linux/arm64", 1027, 1025),
            ("linux/arm/v7", 23, 21),
            ("linux/ppc64le", 22, 38),
            ("linux/s390x", 12, 22),
            ("linux/riscv64", 3, 2),
        ] {
            let left = |count, first: &str| Some(Relocations::Left { count, first: first.to_owned() });
            let relative = (0, relative);
            let cases: [(&[Relocation], _); 4] = [
                (&[relative, (0, 0), relative], Some(Relocations::Applied)),
                (&[relative, (2, other), relative, (2, other)], left(2, "here")),
                // What is weak and nowhere stays 0; what is about no symbol wants something all the same.
                (&[(1, other), relative], Some(Relocations::Applied)),
                (&[(1, other), (0, other)], left(1, "")),
            ];
            for (relocations, expect) in cases {
                assert_eq!(of(platform, DF_1_PIE, relocations, false), expect, "{platform} {relocations:?}");
                assert_eq!(of(platform, DF_1_PIE, relocations, true), Some(Relocations::Applied), "{platform}: glibc");
                // A library's are the business of what loads it.
                assert_eq!(of(platform, 0, relocations, false), None, "{platform}: no program");
            }
        }
    }

    #[test]
    fn many_are_looked_at() {
        let kind = "linux/s390x".parse::<TargetPlatform>().unwrap().target().elf;
        let mut relocations = vec![(0, 12); 3 * AT_ONCE];
        relocations.push((2, 22));
        let file = program(kind, DF_1_PIE, &relocations, false);
        let facts = ElfFacts::read(&file[..]).unwrap();
        assert_eq!(facts.relocations, Some(Relocations::Left { count: 1, first: "here".to_owned() }));
        // A table that is not there is none that could be judged.
        let cut = &file[..file.len() - 1];
        assert_eq!(ElfFacts::read(cut).unwrap().relocations, None);
    }
}
