//! Notes: the level of x86 that a file needs, among the GNU properties, and glibc's ABI tag.
//!
//! "x86-64 psABI", "Program Property": a note of the owner `GNU` and type 5 with a list of
//! properties. Linkers write it where the compiler or `-z x86-64-v3` says so.

use super::facts::X86Level;

const NT_GNU_ABI_TAG: u32 = 1;
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
const GNU_PROPERTY_X86_ISA_1_NEEDED: u32 = 0xc000_8002;

/// The highest level that the notes ask for. All x86 is little-endian.
pub(super) fn x86_level(mut notes: &[u8], align: u64, is_64: bool) -> Option<X86Level> {
    let mut level = None;
    while let Some((note, rest)) = split_note(notes, align, true) {
        if note.owner == b"GNU\0" && note.kind == NT_GNU_PROPERTY_TYPE_0 {
            level = level.max(property(note.content, if is_64 { 8 } else { 4 }));
        }
        notes = rest;
    }
    level
}

/// Whether the notes name the system that glibc's start files are for.
pub(super) fn has_abi_tag(mut notes: &[u8], align: u64, little_endian: bool) -> bool {
    while let Some((note, rest)) = split_note(notes, align, little_endian) {
        if note.owner == b"GNU\0" && note.kind == NT_GNU_ABI_TAG {
            return true;
        }
        notes = rest;
    }
    false
}

struct Note<'a> {
    owner: &'a [u8],
    kind: u32,
    content: &'a [u8],
}

/// The first note, and what follows it.
fn split_note(notes: &[u8], align: u64, little_endian: bool) -> Option<(Note<'_>, &[u8])> {
    let align = if align == 8 { 8 } else { 4 };
    let word = |at: usize| {
        let bytes = notes.get(at..at + 4)?.try_into().ok()?;
        Some(if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let (name, size, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
    let content_at = 12_usize.checked_add(name)?.checked_next_multiple_of(align)?;
    let end = content_at.checked_add(size)?;
    let owner = notes.get(12..12 + name)?;
    let content = notes.get(content_at..end)?;
    let rest = notes.get(end.checked_next_multiple_of(align)?..).unwrap_or_default();
    Some((Note { owner, kind, content }, rest))
}

fn property(mut list: &[u8], align: usize) -> Option<X86Level> {
    loop {
        let word = |at: usize| Some(u32::from_le_bytes(list.get(at..at + 4)?.try_into().ok()?));
        let (kind, size) = (word(0)?, word(4)? as usize);
        if kind == GNU_PROPERTY_X86_ISA_1_NEEDED && size == 4 {
            // One bit for each level, the lowest for the baseline.
            return (1..=4_u8)
                .rev()
                .find(|level| word(8).is_some_and(|bits| bits & 1 << (level - 1) != 0))
                .map(X86Level);
        }
        list = list.get(8_usize.checked_add(size)?.checked_next_multiple_of(align)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note_of(properties: &[(u32, &[u8])]) -> Vec<u8> {
        let mut content = Vec::new();
        for (kind, value) in properties {
            content.extend(kind.to_le_bytes());
            content.extend((value.len() as u32).to_le_bytes());
            content.extend(*value);
            content.resize(content.len().next_multiple_of(8), 0);
        }
        let mut note = Vec::new();
        for word in [4, content.len() as u32, 5] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"GNU\0");
        note.extend(content);
        note
    }

    #[test]
    fn the_highest_level_counts() {
        let isa = 0xc000_8002;
        for (bits, expect) in [(0_u32, None), (1, Some(1)), (3, Some(2)), (7, Some(3)), (8, Some(4)), (0x30, None)] {
            let note = note_of(&[(0xc000_0002, &[3, 0, 0, 0]), (isa, &bits.to_le_bytes())]);
            assert_eq!(x86_level(&note, 8, true), expect.map(X86Level), "{bits}");
        }
        let build_id = [&[4, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0][..], b"GNU\0", b"abcdefgh"].concat();
        let both = [build_id, note_of(&[(isa, &[4, 0, 0, 0])])].concat();
        assert_eq!(x86_level(&both, 8, true), Some(X86Level(3)));
    }

    #[test]
    fn an_abi_tag_is_found_in_both_byte_orders() {
        let tag = |kind: u32, turn: fn(u32) -> [u8; 4]| {
            let numbers = [4, 16, kind].map(turn).concat();
            [numbers, b"GNU\0".to_vec(), [0, 3, 2, 0].map(turn).concat()].concat()
        };
        let build_id = tag(3, u32::to_be_bytes);
        assert!(has_abi_tag(&[build_id.clone(), tag(1, u32::to_be_bytes)].concat(), 4, false));
        assert!(has_abi_tag(&tag(1, u32::to_le_bytes), 4, true));
        assert!(!has_abi_tag(&build_id, 4, false));
        assert!(!has_abi_tag(&tag(1, u32::to_le_bytes)[..30], 4, true));
    }

    #[test]
    fn cut_or_bent_it_ends() {
        let whole = note_of(&[(0xc000_0002, &[3, 0, 0, 0]), (0xc000_8002, &[3, 0, 0, 0])]);
        for length in 0..whole.len() {
            let _ = x86_level(&whole[..length], 8, true);
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bent = whole.clone();
                bent[length] = value;
                let _ = x86_level(&bent, 4, length % 2 == 0);
            }
        }
    }
}
