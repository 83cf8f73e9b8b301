//! The lock's one form as a file: TOML, sorted, a platform a line, so that a diff shows what moved.
//!
//! A checksum stands over the entries: it is made from their normalized form, so that comments and
//! line ends do not matter, and every changed, removed, doubled or merged entry does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use oci_layout::Digest;
use registry_client::Reference;
use serde::Deserialize;

use super::{Content, Lock, LockError, LockedBase, LockedPlatform, Name, VERSION};
use crate::toml_text::quoted;

/// Most bytes that are read.
pub(super) const MAX_BYTES: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    #[serde(rename = "version")]
    _version: u32,
    format: u32,
    checksum: Digest,
    #[serde(rename = "static")]
    static_base: Option<RawStatic>,
    #[serde(default)]
    compilers: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    base: Vec<RawBase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStatic {
    digest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBase {
    image: String,
    #[serde(default)]
    pinned: bool,
    size: u64,
    #[serde(rename = "type")]
    media_type: String,
    platforms: Vec<RawPlatform>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlatform {
    platform: String,
    digest: Digest,
    size: u64,
    #[serde(rename = "type")]
    media_type: String,
    facts: Option<Digest>,
}

impl Lock {
    /// Reads the text of `path`, which is named in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockError> {
        let syntax = |reason: String| LockError::Syntax { path: path.to_owned(), reason };
        let is_marker = |line: &str| ["<<<<<<<", ">>>>>>>", "=======", "|||||||"].iter().any(|it| line.starts_with(it));
        if let Some(at) = text.lines().position(is_marker) {
            return Err(LockError::Conflict { path: path.to_owned(), line: at + 1 });
        }
        // A newer version is named as such, whatever else is new in it.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| syntax(shown(&error)))?;
        match table.get("version").and_then(toml::Value::as_integer).map(u32::try_from) {
            Some(Ok(VERSION)) => {}
            Some(Ok(version)) => return Err(LockError::Version { path: path.to_owned(), version }),
            _ => return Err(syntax("it does not say its version".to_owned())),
        }
        let raw: RawLock = toml::from_str(text).map_err(|error| syntax(shown(&error)))?;
        let mut bases = BTreeMap::new();
        for base in raw.base {
            let (name, base) = base.check().map_err(&syntax)?;
            let shown = name.to_string();
            if bases.insert(name, base).is_some() {
                return Err(syntax(format!("{shown} is there twice")));
            }
        }
        let lock = Self {
            format: raw.format,
            static_base: raw.static_base.map(|it| it.digest),
            compilers: raw.compilers,
            bases,
        };
        let found = lock.checksum();
        if found != raw.checksum {
            return Err(LockError::Edited { path: path.to_owned(), written: raw.checksum, found });
        }
        Ok(lock)
    }

    /// The file's text.
    pub fn render(&self) -> String {
        self.render_with(Some(self.checksum()))
    }

    /// Digest over everything but itself.
    pub fn checksum(&self) -> Digest {
        Digest::of(self.render_with(None).as_bytes())
    }

    fn render_with(&self, checksum: Option<Digest>) -> String {
        let mut text = String::from(
            "# Which content the bases have. Written by mab, not by hand: `mab lock` adds what is\n\
             # missing, `mab lock --update` moves what is here.\n",
        );
        let out = &mut text;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "version = {VERSION}\nformat = {}", self.format);
        if let Some(checksum) = checksum {
            let _ = writeln!(out, "checksum = \"{checksum}\"");
        }
        if !self.compilers.is_empty() {
            let _ = writeln!(out, "\n[compilers]");
            for (name, versions) in &self.compilers {
                let versions: Vec<String> = versions.iter().map(|version| quoted(version)).collect();
                let _ = writeln!(out, "{} = [{}]", quoted(name), versions.join(", "));
            }
        }
        if let Some(digest) = &self.static_base {
            let _ = writeln!(out, "\n[static]\ndigest = \"{digest}\"");
        }
        for (name, base) in &self.bases {
            let image = quoted(&Self::image_line(name, base));
            let _ = writeln!(out, "\n[[base]]\nimage = {image}");
            if name.is_pinned() {
                let _ = writeln!(out, "pinned = true");
            }
            let _ = writeln!(out, "size = {}\ntype = {}", base.root.size, quoted(base.root.media_type.as_str()));
            let _ = writeln!(out, "platforms = [");
            for (platform, own) in &base.platforms {
                let Content { digest, size, media_type } = &own.manifest;
                let facts = own.facts.map(|facts| format!(", facts = \"{facts}\"")).unwrap_or_default();
                let kind = quoted(media_type.as_str());
                let _ = writeln!(
                    out,
                    "  {{ platform = \"{platform}\", digest = \"{digest}\", size = {size}, type = {kind}{facts} }},"
                );
            }
            let _ = writeln!(out, "]");
        }
        text
    }
}

impl RawBase {
    fn check(self) -> Result<(Name, LockedBase), String> {
        let mut reference: Reference = self.image.parse().map_err(|error| format!("{}: {error}", self.image))?;
        let Some(digest) = reference.digest else { return Err(format!("{} has no digest", self.image)) };
        if !self.pinned {
            reference.digest = None;
        }
        let name = Name::new(&reference);
        let mut platforms = BTreeMap::new();
        for raw in self.platforms {
            let platform = raw.platform.parse().map_err(|error| format!("{name}: {error}"))?;
            let manifest = Content { digest: raw.digest, size: raw.size, media_type: raw.media_type.as_str().into() };
            if platforms.insert(platform, LockedPlatform { manifest, facts: raw.facts }).is_some() {
                return Err(format!("{name} has {platform} twice"));
            }
        }
        let root = Content { digest, size: self.size, media_type: self.media_type.as_str().into() };
        Ok((name, LockedBase { root, platforms }))
    }
}

/// The first line of a parser's complaint, with its place.
fn shown(error: &toml::de::Error) -> String {
    error.to_string().trim_end().replace('\n', "; ")
}
