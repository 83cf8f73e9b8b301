//! Takes the facts of ELF files and scripts out of a layer while it is read.

use std::io::{self, Read};

use oci_layout::ImagePath;
use oci_layout::layer::facts::{Inspector, Seen};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::held::Held;
use super::{ElfFacts, Malformed};

/// What is noted about a file of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileFacts {
    /// An ELF file.
    #[serde(rename = "e")]
    Elf(Box<ElfFacts>),
    /// An executable script: its first line without the `#!`.
    #[serde(rename = "s")]
    Script(String),
    /// A file that begins like ELF, but that cannot be understood.
    #[serde(rename = "b")]
    Damaged(String),
}

impl FileFacts {
    /// What an [`ElfInspector`] noted. None for what it did not, or what is not understood.
    pub fn of(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// The same for a file that can be read at any place.
    pub fn of_file(start: &[u8], size: u64, mode: u32, file: &std::fs::File) -> io::Result<Option<Self>> {
        if !start.starts_with(b"\x7fELF") {
            return Self::read(start, size, mode, &mut io::empty());
        }
        Ok(Some(match ElfFacts::read(file) {
            Ok(facts) => Self::Elf(Box::new(facts)),
            Err(Malformed::Io(error)) => return Err(error),
            Err(error) => Self::Damaged(error.to_string()),
        }))
    }

    /// What there is to note of a file of which the beginning and then the rest are given.
    pub fn read(start: &[u8], size: u64, mode: u32, rest: &mut dyn Read) -> io::Result<Option<Self>> {
        if start.starts_with(b"\x7fELF") {
            let held = Held::read(size, &mut start.chain(rest))?;
            return Ok(Some(match ElfFacts::read(&held) {
                Ok(facts) => Self::Elf(Box::new(facts)),
                Err(Malformed::Io(error)) => return Err(error),
                Err(error) => Self::Damaged(error.to_string()),
            }));
        }
        Ok(if mode & 0o111 != 0 { script(start).map(Self::Script) } else { None })
    }
}

/// The first line of a script, as far as the kernel looks at it (256 bytes), without the `#!`.
fn script(start: &[u8]) -> Option<String> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(&line[..line.len().min(254)]).into_owned())
}

/// Notes [`FileFacts`].
pub struct ElfInspector;

impl ElfInspector {
    /// Grows with each change of what is noted.
    pub const VERSION: u32 = 1;
}

impl Inspector for ElfInspector {
    fn version(&self) -> u32 {
        Self::VERSION
    }

    fn inspect(&mut self, file: Seen<'_>, start: &[u8], rest: &mut dyn Read) -> io::Result<Option<Value>> {
        if is_debug(file.path) {
            return Ok(None);
        }
        let facts = FileFacts::read(start, file.size, file.mode, rest)?;
        facts.map(|facts| serde_json::to_value(facts).map_err(io::Error::other)).transpose()
    }
}

/// Split-off debug symbols: ELF, but nothing that is ever loaded.
fn is_debug(path: &ImagePath) -> bool {
    path.as_str().starts_with("/usr/lib/debug/")
}
