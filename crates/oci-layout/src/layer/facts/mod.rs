//! The facts of a layer: all that a build wants to know of it, so that it is read only once.
//!
//! [`LayerFacts`] is a versioned document that is cached under the layer's digest. [`Tree`] merges
//! the facts of a stack of layers; nothing is unpacked for it.

mod scan;
mod sorted;
mod tree;

pub(super) use scan::Hashed;
pub use scan::{Inspector, MAX_TEXT, NoInspector, START, Seen, is_text_of_interest};
pub(in crate::layer) use tree::in_32_bits;
pub use tree::{InsertError, Node, NodeKind, ResolveError, Tree};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::path::ImagePath;

/// Version of the document. Another one is not read but computed anew.
pub const FACTS_VERSION: u32 = 2;

/// What is in a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerFacts {
    /// [`FACTS_VERSION`].
    pub version: u32,
    /// [`Inspector::version`] of who looked into the files; 0 where nobody did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inspector: u32,
    /// Entries in the tar's order.
    pub entries: Vec<Fact>,
    /// Content of the few text files that a build reads: users, groups, the system's name, where
    /// names and libraries are looked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<ImagePath, String>,
    /// What an [`Inspector`] found out about files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inspected: BTreeMap<ImagePath, Value>,
    /// Entries left out because their names are not UTF-8, or mean nothing outside aufs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl LayerFacts {
    /// Reads a document that [`crate::json::to_bytes`] wrote. `None` for another version.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes)?;
        if version == FACTS_VERSION { serde_json::from_slice(bytes).map(Some) } else { Ok(None) }
    }
}

/// One entry of a layer. Keys are short because there are thousands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Where it is. For a whiteout, what it removes; for an opaque marker, the directory.
    #[serde(rename = "p")]
    pub path: ImagePath,
    /// What it is.
    #[serde(flatten)]
    pub kind: FactKind,
    /// Permission and set-id bits.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub mode: u32,
    /// Owner.
    #[serde(rename = "u", default, skip_serializing_if = "is_zero")]
    pub uid: u64,
    /// Group.
    #[serde(rename = "g", default, skip_serializing_if = "is_zero")]
    pub gid: u64,
}

/// What an entry of a layer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t")]
pub enum FactKind {
    /// A regular file.
    #[serde(rename = "f")]
    File {
        /// Its size in bytes.
        #[serde(rename = "s", default, skip_serializing_if = "is_zero")]
        size: u64,
    },
    /// A directory.
    #[serde(rename = "d")]
    Directory,
    /// A symbolic link.
    #[serde(rename = "l")]
    Symlink {
        /// Its text.
        #[serde(rename = "to")]
        target: String,
    },
    /// Another name of a file.
    #[serde(rename = "h")]
    HardLink {
        /// That file.
        to: ImagePath,
    },
    /// A device or fifo.
    #[serde(rename = "o")]
    Other,
    /// Removes a path of the layers below.
    #[serde(rename = "w")]
    Whiteout,
    /// Hides all that the layers below have in the directory.
    #[serde(rename = "q")]
    Opaque,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
