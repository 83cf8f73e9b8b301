//! Headers of tar entries: ustar, with PAX records only for what ustar has no room for.
//!
//! Format: POSIX.1-2024, pax, "pax Interchange Format" and "ustar Interchange Format"; extended
//! attributes under star's `SCHILY.xattr.`, as image-spec's layer.md asks. Owners are numbers:
//! names would be looked up on the machine that unpacks. Names outside ASCII go into PAX records,
//! which are UTF-8 by definition.

use super::entry::{Entry, EntryKind};
use crate::path::WHITEOUT_PREFIX;

/// Tar's unit.
pub(crate) const BLOCK: usize = 512;
const NAME: usize = 100;
/// The mark of a directory that hides what the layers below have in it.
const OPAQUE: &str = ".wh..wh..opq";
const PREFIX: usize = 155;
/// Largest number in a field of eight bytes: seven octal digits and a NUL.
const SHORT_MAX: u64 = 0o7_777_777;
/// Largest number of a device.
pub(super) const DEVICE_MAX: u32 = 0o7_777_777;
/// Largest number in a field of twelve bytes.
const LONG_MAX: u64 = 0o77_777_777_777;

/// Appends all header blocks of `entry`, which has `size` bytes of content.
pub(super) fn append(out: &mut Vec<u8>, entry: &Entry, size: u64, mtime: i64) {
    let (kind, link, mode) = match &entry.kind {
        EntryKind::File(_) => (b'0', "", entry.mode),
        EntryKind::HardLink { to } => (b'1', to.relative(), entry.mode),
        EntryKind::Symlink { target } => (b'2', target.as_str(), 0o777),
        EntryKind::Device { block: false, .. } => (b'3', "", entry.mode),
        EntryKind::Device { block: true, .. } => (b'4', "", entry.mode),
        EntryKind::Directory => (b'5', "", entry.mode),
        EntryKind::Fifo => (b'6', "", entry.mode),
        EntryKind::Whiteout | EntryKind::Opaque => (b'0', "", 0),
    };
    let in_directory = |directory: &str, name: &str| match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    };
    let name = match (&entry.kind, entry.path.is_root()) {
        // image-spec, layer.md, "Whiteouts".
        (EntryKind::Opaque, _) => in_directory(entry.path.relative(), OPAQUE),
        (EntryKind::Whiteout, _) => {
            let above = entry.path.directory().trim_start_matches('/');
            in_directory(above, &format!("{WHITEOUT_PREFIX}{}", entry.path.file_name().unwrap_or_default()))
        }
        (_, true) => "./".to_owned(),
        (EntryKind::Directory, _) => format!("{}/", entry.path.relative()),
        _ => entry.path.relative().to_owned(),
    };
    let device = match &entry.kind {
        EntryKind::Device { major, minor, .. } => (*major, *minor),
        _ => (0, 0),
    };

    let mut records = Vec::new();
    let place = split(&name);
    if place.is_none() {
        record(&mut records, "path", name.as_bytes());
    }
    let long_link = !link.is_ascii() || link.len() > NAME;
    if long_link {
        record(&mut records, "linkpath", link.as_bytes());
    }
    for (key, value) in [("uid", u64::from(entry.uid)), ("gid", u64::from(entry.gid))] {
        if value > SHORT_MAX {
            record(&mut records, key, value.to_string().as_bytes());
        }
    }
    if size > LONG_MAX {
        record(&mut records, "size", size.to_string().as_bytes());
    }
    let short_mtime = u64::try_from(mtime).ok().filter(|mtime| *mtime <= LONG_MAX);
    if short_mtime.is_none() {
        record(&mut records, "mtime", mtime.to_string().as_bytes());
    }
    for (key, value) in entry.xattrs.iter() {
        record(&mut records, &format!("SCHILY.xattr.{key}"), value);
    }

    if !records.is_empty() {
        let length = records.len();
        // The name is for readers that know no PAX; it is the same for all, as nothing reads it.
        out.extend(block(("", "PaxHeaders.0/records"), "", b'x', 0o644, (0, 0), length as u64, 0));
        out.append(&mut records);
        out.resize(out.len() + padding(length as u64), 0);
    }
    let place = place.unwrap_or_else(|| ("", ascii_tail(&name)));
    let link = if long_link { "" } else { link };
    let fits = |value: u64, max: u64| if value > max { 0 } else { value };
    let owner = (fits(entry.uid.into(), SHORT_MAX), fits(entry.gid.into(), SHORT_MAX));
    let mut header = block(place, link, kind, mode, owner, fits(size, LONG_MAX), short_mtime.unwrap_or(0));
    if device != (0, 0) {
        header[329..336].copy_from_slice(format!("{:07o}", device.0.min(DEVICE_MAX)).as_bytes());
        header[337..344].copy_from_slice(format!("{:07o}", device.1.min(DEVICE_MAX)).as_bytes());
        seal(&mut header);
    }
    out.extend(header);
}

/// The header of a file or directory of root's with a short ASCII name. Sizes over 8 GiB are
/// written the way GNU tar does, in binary.
pub(crate) fn plain(name: &str, kind: u8, mode: u32, size: u64) -> [u8; BLOCK] {
    let mut header = block(("", name), "", kind, mode, (0, 0), size.min(LONG_MAX), 1);
    if size > LONG_MAX {
        header[124..136].copy_from_slice(&[0; 12]);
        header[124] = 0x80;
        header[128..136].copy_from_slice(&size.to_be_bytes());
        seal(&mut header);
    }
    header
}

/// Zero bytes after `size` bytes of content.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Prefix and name of ustar, or `None` where the whole does not fit.
fn split(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME {
        return Some(("", name));
    }
    // The first slash that leaves a name that fits; a directory's last slash is part of its name.
    let from = name.len() - NAME - 1;
    let at = from + name[from..name.len() - 1].find('/')?;
    (at <= PREFIX && at > 0).then(|| (&name[..at], &name[at + 1..]))
}

/// What stands in the name field beside a PAX path: the end of it, for readers that know no PAX.
fn ascii_tail(name: &str) -> &str {
    let from = name.len().saturating_sub(NAME);
    let tail = name.get(from..).unwrap_or_default();
    if tail.is_ascii() { tail } else { "non-ascii-name" }
}

/// One PAX record: its length counts itself.
fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = 1 + key.len() + 1 + value.len() + 1;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn block(
    (prefix, name): (&str, &str),
    link: &str,
    kind: u8,
    mode: u32,
    (uid, gid): (u64, u64),
    size: u64,
    mtime: u64,
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, format!("{uid:07o}").as_bytes());
    put(116, format!("{gid:07o}").as_bytes());
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{mtime:011o}").as_bytes());
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    put(345, prefix.as_bytes());
    seal(&mut block);
    block
}

/// Puts the checksum in.
fn seal(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_where_ustar_has_room() {
        let deep = |parts: usize| ["abcdefghi"; 40][..parts].join("/");
        for (name, expect) in [
            (deep(10), Some((0, 99))),
            (deep(11), Some((9, 99))),
            (deep(25), Some((149, 99))),
            (deep(26), None),
            ("x".repeat(101), None),
            (format!("d/{}/", "x".repeat(99)), Some((1, 100))),
            (format!("d/{}/", "x".repeat(100)), None),
            ("é".to_owned(), None),
        ] {
            assert_eq!(split(&name).map(|(prefix, rest)| (prefix.len(), rest.len())), expect, "{name}");
        }
    }

    #[test]
    fn i07_sizes_over_8_gib_are_read_back() {
        use crate::layer::read::{Limits, TarReader};
        use crate::layer::{Content, Entry, EntryKind};
        let content = |size| EntryKind::File(Content::File { path: std::path::Path::new("/none").into(), size });
        for size in [LONG_MAX, LONG_MAX + 1, 9 << 30, 1 << 40] {
            let mut tar = Vec::new();
            append(&mut tar, &Entry::new("/big".parse().unwrap(), content(size), 0o644), size, 1);
            assert_eq!(tar.len() > BLOCK, size > LONG_MAX, "PAX only where needed");
            for tar in [&tar[..], &plain("big", b'0', 0o644, size)] {
                let entry = TarReader::new(tar, &Limits::default()).next_entry().unwrap().unwrap();
                assert_eq!((entry.size, &entry.path[..]), (size, &b"big"[..]));
                let other = tar::Archive::new(tar).entries().unwrap().next().unwrap().unwrap().size();
                assert_eq!(other, size);
            }
        }
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for (value, expect) in [(1, "9 path="), (2, "11 path="), (90, "99 path="), (91, "101 path=")] {
            let mut out = Vec::new();
            record(&mut out, "path", &vec![b'v'; value]);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(expect), "{text}");
            assert_eq!(text.len().to_string(), expect.split(' ').next().unwrap());
        }
    }
}
