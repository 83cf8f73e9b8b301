//! Facts out of a layer's bytes, in one pass.

use std::cell::RefCell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use serde_json::Value;

use super::{FACTS_VERSION, Fact, FactKind, LayerFacts};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::layer::read::{Limits, ReadError, TarEntry, TarKind, TarReader, decompress};
use crate::media_type::Compression;
use crate::path::{ImagePath, MAX_COMPONENT, ParsePathError, WHITEOUT_PREFIX};

/// Largest text file that is kept, in bytes.
pub const MAX_TEXT: u64 = 256 * 1024;

/// A regular file that goes by, before its content.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where it is.
    pub path: &'a ImagePath,
    /// Its size in bytes.
    pub size: u64,
    /// Permission and set-id bits.
    pub mode: u32,
}

/// Looks into files while a layer goes by, for facts that this crate does not know of.
pub trait Inspector {
    /// Version of what it notes; not 0. Facts with another one are computed anew.
    fn version(&self) -> u32;
    /// What is to be noted about the file. `start` is its first bytes, up to [`START`]; the rest
    /// follows from `rest`, of which as much is read as is of interest.
    fn inspect(&mut self, file: Seen<'_>, start: &[u8], rest: &mut dyn Read) -> io::Result<Option<Value>>;
}

/// How many bytes of a file an [`Inspector`] is shown before it decides to read on.
pub const START: u64 = 256;

/// Looks into nothing.
pub struct NoInspector;

impl Inspector for NoInspector {
    fn version(&self) -> u32 {
        0
    }
    fn inspect(&mut self, _: Seen<'_>, _: &[u8], _: &mut dyn Read) -> io::Result<Option<Value>> {
        Ok(None)
    }
}

impl LayerFacts {
    /// Reads a layer to its end; returns its facts and its diff ID.
    ///
    /// The blob's own digest is the caller's business: give a [`crate::digest::VerifyingReader`],
    /// and an error of its comes back as [`ReadError::Io`].
    pub fn scan(blob: impl Read, compression: Compression, limits: &Limits) -> Result<(Self, Digest), ReadError> {
        Self::scan_with(blob, compression, limits, &mut NoInspector)
    }

    /// The same, with an `inspector` that sees the files.
    pub fn scan_with(
        blob: impl Read,
        compression: Compression,
        limits: &Limits,
        inspector: &mut dyn Inspector,
    ) -> Result<(Self, Digest), ReadError> {
        let hasher = Rc::new(RefCell::new(Hasher::new(Algorithm::Sha256)));
        let tar = Hashed { inner: decompress(blob, compression, limits)?, hasher: Rc::clone(&hasher) };
        let mut reader = TarReader::new(BufReader::with_capacity(256 * 1024, tar), limits);
        let mut facts = Self {
            version: FACTS_VERSION,
            inspector: inspector.version(),
            entries: Vec::new(),
            texts: Default::default(),
            inspected: Default::default(),
            left_out: 0,
        };
        while let Some(entry) = reader.next_entry()? {
            facts.add(&entry, &mut reader, inspector)?;
        }
        drop(reader.finish()?);
        let hasher = hasher.borrow().clone();
        Ok((facts, hasher.finish()))
    }

    fn add<R: Read>(
        &mut self,
        entry: &TarEntry,
        reader: &mut TarReader<R>,
        inspector: &mut dyn Inspector,
    ) -> Result<(), ReadError> {
        let place = match place(&entry.path)? {
            Place::Path(path) => path,
            Place::Whiteout(path) => {
                self.entries.push(Fact { path, kind: FactKind::Whiteout, mode: 0, uid: 0, gid: 0 });
                return Ok(());
            }
            Place::Opaque(path) => {
                self.entries.push(Fact { path, kind: FactKind::Opaque, mode: 0, uid: 0, gid: 0 });
                return Ok(());
            }
            Place::LeftOut => {
                self.left_out += 1;
                return Ok(());
            }
        };
        let kind = match entry.kind {
            TarKind::File => FactKind::File { size: entry.size },
            TarKind::Directory => FactKind::Directory,
            TarKind::Symlink => match String::from_utf8(entry.link.clone()) {
                Ok(target) => FactKind::Symlink { target },
                Err(_) => {
                    self.left_out += 1;
                    return Ok(());
                }
            },
            TarKind::HardLink => match self::place(&entry.link)? {
                Place::Path(to) => FactKind::HardLink { to },
                _ => {
                    self.left_out += 1;
                    return Ok(());
                }
            },
            TarKind::Character | TarKind::Block | TarKind::Fifo => FactKind::Other,
            TarKind::Other(_) => {
                self.left_out += 1;
                return Ok(());
            }
        };
        if matches!(kind, FactKind::File { .. }) && !entry.sparse {
            let seen = Seen { path: &place, size: entry.size, mode: entry.mode };
            self.look_into(seen, reader, inspector)?;
        }
        let (mode, uid, gid) = (entry.mode, entry.uid, entry.gid);
        self.entries.push(Fact { path: place, kind, mode, uid, gid });
        Ok(())
    }

    fn look_into<R: Read>(
        &mut self,
        seen: Seen<'_>,
        reader: &mut TarReader<R>,
        inspector: &mut dyn Inspector,
    ) -> Result<(), ReadError> {
        // The last entry of a name counts.
        self.texts.remove(seen.path);
        self.inspected.remove(seen.path);
        let mut content = reader.read_content();
        if seen.size <= MAX_TEXT && is_text_of_interest(seen.path) {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(limit_or_io)?;
            self.texts.insert(seen.path.clone(), String::from_utf8_lossy(&bytes).into_owned());
            return Ok(());
        }
        if self.inspector == 0 {
            return Ok(());
        }
        let mut start = Vec::new();
        content.by_ref().take(START).read_to_end(&mut start).map_err(limit_or_io)?;
        if let Some(found) = inspector.inspect(seen, &start, &mut content).map_err(limit_or_io)? {
            self.inspected.insert(seen.path.clone(), found);
        }
        Ok(())
    }
}

fn limit_or_io(error: io::Error) -> ReadError {
    error.downcast::<ReadError>().unwrap_or_else(ReadError::Io)
}

/// Files whose content a build reads, up to [`MAX_TEXT`] bytes of each.
pub fn is_text_of_interest(path: &ImagePath) -> bool {
    let text = path.as_str();
    let directly_in = |directory: &str, suffix: &str| {
        text.strip_prefix(directory).is_some_and(|name| !name.contains('/') && name.ends_with(suffix))
    };
    matches!(
        text,
        "/etc/passwd"
            | "/etc/group"
            | "/etc/shadow"
            | "/etc/os-release"
            | "/usr/lib/os-release"
            | "/etc/nsswitch.conf"
            | "/etc/ld.so.conf"
    ) || directly_in("/etc/ld.so.conf.d/", ".conf")
        || (text.starts_with("/etc/ld-musl-") && text.ends_with(".path"))
}

/// What an entry's path means.
enum Place {
    Path(ImagePath),
    Whiteout(ImagePath),
    Opaque(ImagePath),
    /// Not UTF-8, or metadata of aufs.
    LeftOut,
}

/// Reads a path as it stands in a tar: relative, perhaps with `./`, a slash in front or at the end.
fn place(raw: &[u8]) -> Result<Place, ReadError> {
    let Ok(text) = std::str::from_utf8(raw) else { return Ok(Place::LeftOut) };
    let mut path = String::with_capacity(text.len() + 1);
    let mut components = text.split('/').filter(|component| !matches!(*component, "" | ".")).peekable();
    while let Some(component) = components.next() {
        if component == ".." {
            return Err(ReadError::Traversal(text.chars().take(128).flat_map(char::escape_debug).collect()));
        }
        let last = components.peek().is_none();
        match component.strip_prefix(WHITEOUT_PREFIX) {
            None => {
                path.push('/');
                path.push_str(component);
            }
            Some(".wh..opq") if last => return Ok(parse(&path, text)?.map_or(Place::LeftOut, Place::Opaque)),
            Some(name) if last && !name.is_empty() && !name.starts_with(WHITEOUT_PREFIX) => {
                path.push('/');
                path.push_str(name);
                return Ok(parse(&path, text)?.map_or(Place::LeftOut, Place::Whiteout));
            }
            Some(_) => return Ok(Place::LeftOut),
        }
    }
    Ok(parse(&path, text)?.map_or(Place::LeftOut, Place::Path))
}

fn parse(path: &str, raw: &str) -> Result<Option<ImagePath>, ReadError> {
    let path = if path.is_empty() { "/" } else { path };
    match path.parse() {
        Ok(path) => Ok(Some(path)),
        Err(ParsePathError::Long { .. } | ParsePathError::LongComponent { .. }) => {
            debug_assert!(raw.len() > MAX_COMPONENT);
            Err(ReadError::LongPath { length: raw.len() })
        }
        Err(_) => Ok(None),
    }
}

/// Hashes what is read through it.
pub(in crate::layer) struct Hashed<R> {
    pub(in crate::layer) inner: R,
    pub(in crate::layer) hasher: Rc<RefCell<Hasher>>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.borrow_mut().update(&buffer[..count]);
        Ok(count)
    }
}
