//! A reader of tar streams: ustar, PAX, GNU's long names, numbers and sparse files.
//!
//! Of its own rather than a crate's, because what a header may make the reader allocate has to be
//! limited, and because a layer's facts need no more than headers and a few small files.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{Limits, ReadError};
use crate::path::MAX_PATH;

const BLOCK: usize = 512;
/// Most bytes of one PAX header or GNU long name.
const MAX_RECORDS: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file, sparse ones too.
    File,
    /// Another name of an earlier file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A fifo.
    Fifo,
    /// Something that this reader does not know, with its type flag.
    Other(u8),
}

/// One entry's header. Paths are bytes as they stand in the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// The path.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: TarKind,
    /// Permission and set-id bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Size of the file that comes out, in bytes.
    pub size: u64,
    /// Modification time in whole seconds.
    pub mtime: i64,
    /// Target of a link; empty for others.
    pub link: Vec<u8>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Whether the content in the tar is a map of a sparse file rather than its bytes.
    pub sparse: bool,
}

/// Reads entries one after the other.
pub struct TarReader<R> {
    inner: R,
    /// Bytes of the tar that were read.
    at: u64,
    /// Content bytes of the current entry that were not read.
    left: u64,
    /// Zero bytes after them.
    padding: u64,
    entries: u64,
    max_entries: u64,
    global: BTreeMap<String, Vec<u8>>,
}

/// What PAX records and GNU's extra entries say about the next entry.
#[derive(Default)]
struct Overrides {
    records: BTreeMap<String, Vec<u8>>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// A reader of the tar in `inner`.
    pub fn new(inner: R, limits: &Limits) -> Self {
        Self { inner, at: 0, left: 0, padding: 0, entries: 0, max_entries: limits.entries, global: BTreeMap::new() }
    }

    /// The next entry, or `None` at the end of the tar. Content that was not read is passed over.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, ReadError> {
        let mut overrides = Overrides::default();
        let mut extras = 0;
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let start = self.at;
            let Some(header) = self.header()? else { return Ok(None) };
            let malformed = |what| ReadError::Malformed { what, at: start };
            let size = number(&header[124..136]).ok_or(malformed("size is not a number"))?;
            match header[156] {
                kind @ (b'x' | b'g' | b'L' | b'K') => {
                    extras += 1;
                    if size > MAX_RECORDS || extras > 16 {
                        return Err(malformed("extended header too large"));
                    }
                    self.content(size);
                    let mut bytes = Vec::new();
                    Content { reader: self }.read_to_end(&mut bytes).map_err(limit_or_io)?;
                    match kind {
                        b'x' => records(&bytes, &mut overrides.records).ok_or(malformed("bad PAX record"))?,
                        b'g' => records(&bytes, &mut self.global).ok_or(malformed("bad PAX record"))?,
                        b'L' => overrides.path = Some(until_nul(&bytes).to_owned()),
                        _ => overrides.link = Some(until_nul(&bytes).to_owned()),
                    }
                }
                _ => {
                    self.entries += 1;
                    if self.entries > self.max_entries {
                        return Err(ReadError::Entries(self.max_entries));
                    }
                    return self.entry(&header, size, overrides, start).map(Some);
                }
            }
        }
    }

    /// The content of the entry that [`TarReader::next_entry`] returned last.
    pub fn read_content(&mut self) -> impl Read + '_ {
        Content { reader: self }
    }

    /// Where the content of the current entry begins in the tar, if none of it was read.
    pub fn content_offset(&self) -> u64 {
        self.at
    }

    /// Reads all that follows the end of the tar, so that who hashes the stream has seen all of it.
    pub fn finish(mut self) -> Result<R, ReadError> {
        let mut buffer = vec![0; 64 * 1024];
        while self.read_some(&mut buffer)? != 0 {}
        Ok(self.inner)
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        mut size: u64,
        mut overrides: Overrides,
        start: u64,
    ) -> Result<TarEntry, ReadError> {
        let malformed = |what| ReadError::Malformed { what, at: start };
        for (key, value) in &self.global {
            overrides.records.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let records = &mut overrides.records;
        let decimal = |records: &BTreeMap<String, Vec<u8>>, key: &str| match records.get(key) {
            Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok()).map(Some),
            None => Some(None),
        };
        if let Some(pax) = decimal(records, "size").ok_or(malformed("bad PAX size"))? {
            size = pax;
        }
        let mut path = overrides.path.unwrap_or_else(|| ustar_path(header));
        if let Some(pax) = records.remove("path") {
            path = pax;
        }
        let mut link = overrides.link.unwrap_or_else(|| until_nul(&header[157..257]).to_owned());
        if let Some(pax) = records.remove("linkpath") {
            link = pax;
        }
        let uid = decimal(records, "uid").ok_or(malformed("bad PAX uid"))?;
        let gid = decimal(records, "gid").ok_or(malformed("bad PAX gid"))?;
        let mut kind = match header[156] {
            b'0' | 0 | b'7' | b'S' => TarKind::File,
            b'1' => TarKind::HardLink,
            b'2' => TarKind::Symlink,
            b'3' => TarKind::Character,
            b'4' => TarKind::Block,
            b'5' => TarKind::Directory,
            b'6' => TarKind::Fifo,
            other => TarKind::Other(other),
        };
        if kind == TarKind::File && path.ends_with(b"/") {
            kind = TarKind::Directory;
        }

        let mut real_size = size;
        let mut sparse = records.keys().any(|key| key.starts_with("GNU.sparse."));
        for key in ["GNU.sparse.realsize", "GNU.sparse.size"] {
            if let Some(size) = decimal(records, key).ok_or(malformed("bad size of a sparse file"))? {
                real_size = size;
            }
        }
        if let Some(name) = records.remove("GNU.sparse.name") {
            path = name;
        }
        if header[156] == b'S' {
            sparse = true;
            real_size = number(&header[483..495]).ok_or(malformed("bad size of a sparse file"))?;
            let mut more = header[482];
            while more == 1 {
                let mut block = [0; BLOCK];
                self.read_block(&mut block)?;
                more = block[504];
            }
        }
        for text in [&path, &link] {
            if text.len() > MAX_PATH + 1 {
                return Err(ReadError::LongPath { length: text.len() });
            }
        }
        // Links and the like have no content, whatever their size field says; hard links as pax
        // writes them with content are not used in layers.
        let has_content = matches!(kind, TarKind::File | TarKind::Other(_));
        self.content(if has_content { size } else { 0 });
        let bits = |field: &[u8]| number(field).ok_or(malformed("a field is not a number"));
        let xattrs = std::mem::take(records)
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("SCHILY.xattr.")?.to_owned(), value)))
            .collect();
        Ok(TarEntry {
            path,
            kind,
            mode: (bits(&header[100..108])? & 0o7777) as u32,
            uid: uid.map_or_else(|| bits(&header[108..116]), Ok)?,
            gid: gid.map_or_else(|| bits(&header[116..124]), Ok)?,
            size: if has_content { real_size } else { 0 },
            mtime: i64::try_from(number(&header[136..148]).unwrap_or(0)).unwrap_or(0),
            link,
            xattrs,
            sparse,
        })
    }

    fn content(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The next header, or `None` at the end: a block of zeros, or the end of the stream.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, ReadError> {
        let start = self.at;
        let mut block = [0; BLOCK];
        let first = self.read_some(&mut block)?;
        if first == 0 {
            return Ok(None);
        }
        self.read_exact(&mut block[first..])?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let declared = number(&block[148..156]);
        let sums = block.iter().enumerate().fold((0_u64, 0_i64), |(unsigned, signed), (at, byte)| {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            (unsigned + u64::from(byte), signed + i64::from(byte.cast_signed()))
        });
        if declared != Some(sums.0) && declared != u64::try_from(sums.1).ok() {
            return Err(ReadError::Malformed { what: "wrong checksum of a header", at: start });
        }
        Ok(Some(block))
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), ReadError> {
        self.read_exact(block)
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), ReadError> {
        while !buffer.is_empty() {
            match self.read_some(buffer)? {
                0 => return Err(ReadError::Malformed { what: "the tar ends in an entry", at: self.at }),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            match self.inner.read(buffer) {
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(limit_or_io(error)),
            }
        }
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), ReadError> {
        let mut buffer = [0; 16 * 1024];
        while bytes > 0 {
            let now = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
            self.read_exact(&mut buffer[..now])?;
            bytes -= now as u64;
        }
        Ok(())
    }
}

struct Content<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let now = usize::try_from(self.reader.left).unwrap_or(usize::MAX).min(buffer.len());
        if now == 0 {
            return Ok(0);
        }
        let count = self.reader.read_some(&mut buffer[..now]).map_err(|error| match error {
            ReadError::Io(error) => error,
            other => io::Error::other(other),
        })?;
        if count == 0 {
            let at = self.reader.at;
            return Err(io::Error::other(ReadError::Malformed { what: "the tar ends in a file", at }));
        }
        self.reader.left -= count as u64;
        Ok(count)
    }
}

/// Takes a [`ReadError`] out of an I/O error that carries one.
pub(super) fn limit_or_io(error: io::Error) -> ReadError {
    error.downcast::<ReadError>().unwrap_or_else(ReadError::Io)
}

/// Octal digits between spaces and NULs, or GNU's big-endian number behind a set first bit.
/// Negative ones and those over 63 bits are rejected.
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let start = u64::from(first & 0x7f);
        if first & 0x40 != 0 {
            return None;
        }
        let value =
            rest.iter().try_fold(start, |value, byte| (value < 1 << 55).then_some(value << 8 | u64::from(*byte)))?;
        return i64::try_from(value).ok().map(|_| value);
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    if !digits[end..].iter().all(|byte| matches!(byte, b' ' | 0)) {
        return None;
    }
    digits[..end].iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'7' if value < 1 << 60 => Some(value << 3 | u64::from(byte - b'0')),
        _ => None,
    })
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Name with ustar's prefix. GNU's own headers have other things where the prefix is.
fn ustar_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = if &header[257..263] == b"ustar\0" { until_nul(&header[345..500]) } else { &[] };
    if prefix.is_empty() { name.to_owned() } else { [prefix, b"/", name].concat() }
}

/// Parses `LENGTH KEY=VALUE\n`…; `None` where something is wrong.
fn records(mut bytes: &[u8], into: &mut BTreeMap<String, Vec<u8>>) -> Option<()> {
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        if length <= space + 1 || length > bytes.len() {
            return None;
        }
        let (record, rest) = bytes.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let key = String::from_utf8(record[..equals].to_owned()).ok()?;
        let value = &record[equals + 1..];
        if value.is_empty() {
            into.remove(&key)
        } else {
            into.insert(key, value.to_owned())
        };
        bytes = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, expect) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(0x102)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX as u64)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"00006x4\0", None),
            (b"9\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expect, "{field:?}");
        }
    }

    #[test]
    fn pax_records() {
        let parse = |bytes: &[u8]| {
            let mut map = BTreeMap::new();
            records(bytes, &mut map).map(|()| map)
        };
        let map = parse(b"9 path=v\n12 a=x=\ny\0z\n").unwrap();
        assert_eq!(map["path"], b"v");
        assert_eq!(map["a"], b"x=\ny\0z");
        for bad in [&b"9 path=v"[..], b"8 path=v\n", b"99 path=v\n", b"x path=v\n", b"0 \n", b"5 pv\n", b"-1 a=b\n"] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
