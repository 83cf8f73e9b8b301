//! `mab.lock`: which content the bases of a directory's build files have.
//!
//! [`Lock`] is a plain value; [`text`] gives it the one form that it has in a file, [`book`] keeps
//! those of a build, [`update`] asks registries. Names are the upstream's, as the build file has
//! them, never a mirror's: a farm with other mirrors builds from the same file.

pub mod book;
mod compilers;
mod error;
mod facts;
mod text;
pub mod update;

use std::collections::{BTreeMap, BTreeSet};

use oci_layout::{Descriptor, Digest, MediaType};
use registry_client::{Reference, Tag, TagOrDigest};

use crate::base::Base;
use crate::image::FORMAT;
use crate::target::TargetPlatform;

pub use compilers::of_programs;
pub use error::{LockError, Wanted};
pub use facts::{FACTS_FILE, LockedFacts};

/// The file's name, in the build files' directory.
pub const FILE: &str = "mab.lock";
/// The version of the file that is written.
pub const VERSION: u32 = 1;

/// What a lock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The format that layers and documents were written in when it was made.
    pub format: u32,
    /// The base `static`, where a build file stands on it.
    pub static_base: Option<Digest>,
    /// Versions of the compilers, by name: a note, unless a build is told to insist on them.
    pub compilers: Compilers,
    /// The bases, by their names in build files.
    pub bases: BTreeMap<Name, LockedBase>,
}

/// Versions by the compiler's name (`rustc`, `go`). More than one where directories name
/// toolchains of their own.
pub type Compilers = BTreeMap<String, BTreeSet<String>>;

impl Default for Lock {
    fn default() -> Self {
        Self { format: FORMAT, static_base: None, compilers: Compilers::new(), bases: BTreeMap::new() }
    }
}

/// A base as build files name it: with a tag (`latest` where they name none), or a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Reference);

impl Name {
    /// The name in its full form.
    pub fn new(reference: &Reference) -> Self {
        let mut full = reference.clone();
        if full.tag.is_none() && full.digest.is_none() {
            full.tag = Some(Tag::latest());
        }
        Self(full)
    }

    /// As a reference.
    pub fn reference(&self) -> &Reference {
        &self.0
    }

    /// Whether the build file itself says which content it is: such a name never moves.
    pub fn is_pinned(&self) -> bool {
        self.0.digest.is_some()
    }

    /// What the registry is asked for.
    pub fn target(&self) -> TagOrDigest {
        self.0.target()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A base, as it was when it was locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedBase {
    /// Its index or, of a base for one platform, its manifest.
    pub root: Content,
    /// What each platform of the images stands on.
    pub platforms: BTreeMap<TargetPlatform, LockedPlatform>,
}

/// One platform of a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPlatform {
    /// Its manifest.
    pub manifest: Content,
    /// Digest over the facts of its layers, where they are kept beside the lock.
    pub facts: Option<Digest>,
}

/// A document of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of its bytes.
    pub size: u64,
    /// Its type.
    pub media_type: MediaType,
}

impl Content {
    /// What a descriptor says.
    pub fn of(descriptor: &Descriptor) -> Self {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        Self { digest: *digest, size: *size, media_type: media_type.clone() }
    }

    /// As a descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }
}

impl LockedBase {
    /// What was resolved.
    pub fn of(base: &Base) -> Self {
        let platforms = base
            .platforms
            .iter()
            .map(|(platform, own)| (*platform, LockedPlatform { manifest: Content::of(&own.descriptor), facts: None }));
        Self { root: Content::of(&base.root), platforms: platforms.collect() }
    }

    /// The platforms among these that it does not have.
    pub fn lacks(&self, platforms: &[TargetPlatform]) -> Vec<TargetPlatform> {
        platforms.iter().copied().filter(|platform| !self.platforms.contains_key(platform)).collect()
    }
}

impl Lock {
    /// The base that a build file names.
    pub fn base(&self, reference: &Reference) -> Option<&LockedBase> {
        self.bases.get(&Name::new(reference))
    }

    /// Adds what is not in it, and changes nothing that is. Gives what was added, for people.
    pub fn add(&mut self, reference: &Reference, found: &LockedBase) -> Vec<String> {
        let name = Name::new(reference);
        let Some(known) = self.bases.get_mut(&name) else {
            self.bases.insert(name.clone(), found.clone());
            return vec![name.to_string()];
        };
        let mut added = Vec::new();
        for (platform, content) in &found.platforms {
            if known.root == found.root && !known.platforms.contains_key(platform) {
                known.platforms.insert(*platform, content.clone());
                added.push(format!("{platform} of {name}"));
            }
        }
        added
    }

    /// The line that names a base: its moving name and its content in one text, which is what
    /// programs that update dependencies look for.
    fn image_line(name: &Name, base: &LockedBase) -> String {
        let mut shown = name.0.clone();
        shown.digest = Some(base.root.digest);
        shown.to_string()
    }
}

#[cfg(test)]
mod tests;
