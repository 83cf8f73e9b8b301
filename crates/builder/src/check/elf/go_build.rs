//! What Go's linker writes into each program: version, architecture, settings.
//!
//! The format is that of `debug/buildinfo` in Go's library: a magic of 14 bytes at a multiple of
//! 16, sizes and flags, and since Go 1.18 two strings behind it, each with its length in front.
//! Older programs have pointers there and are not understood.

use super::facts::GoBuild;
use super::parse::GO_WINDOW;
use super::read::{ReadAt, read_up_to};

const MAGIC: &[u8] = b"\xff Go buildinf:";
const HEADER: usize = 32;
/// Flag: the strings follow.
const INLINE: u8 = 2;
/// Longest list of modules and settings, in bytes.
const MODULES: usize = 1 << 20;
/// Before and after the list.
const SENTINEL: usize = 16;

/// Looks at the beginning of the data, which is at `offset` and `length` long.
pub(super) fn find<R: ReadAt + ?Sized>(source: &R, offset: u64, length: u64) -> Option<GoBuild> {
    let mut window = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(GO_WINDOW)];
    let filled = source.read_at_most(offset, &mut window).ok()?;
    let at = memchr::memmem::find_iter(&window[..filled], MAGIC).find(|at| at % 16 == 0)?;
    let start = offset.checked_add(at as u64)?;
    let bytes = window.get(at..filled)?;
    if bytes.get(15)? & INLINE == 0 {
        return None;
    }
    if let Some(found) = strings(bytes) {
        return Some(found);
    }
    strings(&read_up_to(source, start, MODULES).ok()?)
}

fn strings(bytes: &[u8]) -> Option<GoBuild> {
    let mut rest = bytes.get(HEADER..)?;
    let version = text(&mut rest)?;
    let modules = text(&mut rest)?;
    let mut found = GoBuild { version: String::from_utf8_lossy(version).into_owned(), ..GoBuild::default() };
    let modules = modules.get(SENTINEL..modules.len().saturating_sub(SENTINEL)).unwrap_or_default();
    for line in String::from_utf8_lossy(modules).lines() {
        let Some((name, value)) = line.strip_prefix("build\t").and_then(|setting| setting.split_once('=')) else {
            continue;
        };
        match name {
            "GOARCH" => found.arch = Some(value.to_owned()),
            "GOAMD64" | "GO386" | "GOARM" | "GOARM64" | "GOPPC64" | "GORISCV64" | "GOMIPS64" => {
                found.level = Some(value.to_owned());
            }
            "CGO_ENABLED" => found.cgo = value == "1",
            _ => {}
        }
    }
    Some(found)
}

/// A length and as many bytes.
fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            *bytes = rest;
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(settings: &str) -> Vec<u8> {
        let modules = [&[7; 16][..], settings.as_bytes(), &[8; 16]].concat();
        let mut bytes = vec![0; 48];
        bytes.extend(MAGIC);
        bytes.extend([8, 2]);
        bytes.resize(48 + HEADER, 0);
        bytes.push(8);
        bytes.extend(b"go1.26.0");
        bytes.extend([(modules.len() & 0x7f) as u8 | 0x80, (modules.len() >> 7) as u8]);
        bytes.extend(modules);
        bytes
    }

    #[test]
    fn settings_are_found() {
        let settings =
            "path\tx\nmod\tx\t(devel)\t\nbuild\tCGO_ENABLED=1\nbuild\tGOARCH=arm\nbuild\tGOARM=7,hardfloat\n";
        let bytes = program(&settings.repeat(2));
        let found = find(&bytes[..], 0, bytes.len() as u64).unwrap();
        let expect = GoBuild {
            version: "go1.26.0".into(),
            arch: Some("arm".into()),
            level: Some("7,hardfloat".into()),
            cgo: true,
        };
        assert_eq!(found, expect);
        assert_eq!(find(&bytes[..], 1, bytes.len() as u64), None, "it is at a multiple of 16");
    }

    #[test]
    fn cut_or_bent_it_ends() {
        let whole = program(&"build\tGOARCH=arm\n".repeat(10));
        for length in 0..whole.len() {
            let _ = find(&whole[..length], 0, length as u64);
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bent = whole.clone();
                bent[length] = value;
                let _ = find(&bent[..], 0, u64::MAX);
            }
        }
    }
}
