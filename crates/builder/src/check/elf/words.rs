//! What is told by nothing but the texts in a file: how a static program looks names up, and
//! where glibc's loader looks for libraries.

use std::io;

use super::facts::StaticNss;
use super::read::{ReadAt, read_up_to};

/// How much of a file is searched, in bytes.
const MOST: u64 = 256 << 20;
const CHUNK: usize = 128 << 10;
/// Largest loader whose texts are read; glibc's has 200 KiB.
const LOADER: usize = 4 << 20;

/// Whether the name is that of a loader of glibc.
pub(super) fn is_loader(soname: &str) -> bool {
    soname.starts_with("ld-linux") || soname.starts_with("ld64.so") || soname.starts_with("ld.so.")
}

/// How a static program of glibc looks names up, if it does. `libnss_` is in each that may load
/// such a library; since glibc 2.34 `files` is in the program as well, with the table of the
/// files that it reads.
pub(super) fn static_nss<R: ReadAt + ?Sized>(source: &R) -> io::Result<Option<StaticNss>> {
    if !contains(source, b"libnss_")? {
        return Ok(None);
    }
    Ok(Some(if contains(source, b"/etc/rpc\0")? { StaticNss::BuiltIn } else { StaticNss::Loads }))
}

fn contains<R: ReadAt + ?Sized>(source: &R, needle: &[u8]) -> io::Result<bool> {
    let finder = memchr::memmem::Finder::new(needle);
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < MOST {
        let filled = source.read_at_most(at, &mut chunk)?;
        if finder.find(&chunk[..filled]).is_some() {
            return Ok(true);
        }
        if filled < chunk.len() {
            break;
        }
        // What straddles two chunks.
        at += (filled - needle.len()) as u64;
    }
    Ok(false)
}

/// `SYSTEM_DIRS` of glibc's loader: texts that follow each other, each a directory.
pub(super) fn loader_directories<R: ReadAt + ?Sized>(source: &R) -> io::Result<Vec<String>> {
    let bytes = read_up_to(source, 0, LOADER)?;
    let is_directory = |text: &[u8]| {
        (5..256).contains(&text.len())
            && text.starts_with(b"/")
            && text.ends_with(b"/")
            && memchr::memmem::find(text, b"lib").is_some()
            && text.iter().all(|byte| byte.is_ascii_graphic())
    };
    let mut found = Vec::new();
    let mut before: &[u8] = &[];
    for text in bytes.split(|byte| *byte == 0) {
        if is_directory(text) {
            // The list may follow other data that has no zero at its end.
            if found.is_empty()
                && let Some(first) = ending(before).filter(|first| is_directory(first))
            {
                found.push(String::from_utf8_lossy(first).trim_end_matches('/').to_owned());
            }
            found.push(String::from_utf8_lossy(text).trim_end_matches('/').to_owned());
        } else if !found.is_empty() {
            break;
        }
        if found.len() >= 16 {
            break;
        }
        before = text;
    }
    Ok(found)
}

/// The directory of libraries that other bytes end with.
fn ending(text: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::rfind(text, b"/usr/lib").or_else(|| memchr::memmem::rfind(text, b"/lib"))?;
    text.get(start..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_across_chunks() {
        let mut bytes = vec![b'x'; 2 * CHUNK];
        assert_eq!(static_nss(&bytes[..]).unwrap(), None);
        bytes[CHUNK - 3..CHUNK + 4].copy_from_slice(b"libnss_");
        assert_eq!(static_nss(&bytes[..]).unwrap(), Some(StaticNss::Loads));
        bytes[CHUNK + 100..CHUNK + 109].copy_from_slice(b"/etc/rpc\0");
        assert_eq!(static_nss(&bytes[..]).unwrap(), Some(StaticNss::BuiltIn));
    }

    #[test]
    fn a_loader_names_its_directories() {
        let text =
            b"\x7fELF\0/x\0lib/\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0\0/usr/lib/z/\0";
        let expect = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        assert_eq!(loader_directories(&text[..]).unwrap(), expect);
        // As in Debian's for armhf: right behind other data.
        let text = b"\x7fELF\0\x01\xffz/lib/arm-linux-gnueabihf/\0/usr/lib/arm-linux-gnueabihf/\0/lib/\0/usr/lib/\0\0";
        let expect = ["/lib/arm-linux-gnueabihf", "/usr/lib/arm-linux-gnueabihf", "/lib", "/usr/lib"];
        assert_eq!(loader_directories(&text[..]).unwrap(), expect);
        assert!(loader_directories(&b""[..]).unwrap().is_empty());
    }
}
