//! The documents of an image: index, manifest and config.
//!
//! What was fetched keeps its own bytes; these types are for reading, and for writing new ones.
//! Maps are sorted and unknown fields are kept, so that one document has one digest and a base's
//! Healthcheck, Shell or OnBuild is not lost.

mod config;
mod manifest;

pub use config::{ContainerConfig, Empty, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{ImageIndex, ImageManifest};

use serde_json::Value;

use crate::json;
use crate::media_type::MediaType;

/// Largest index or manifest that is read, in bytes: the limit registries have (row R41).
pub const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;
/// Most entries in one index, and most layers in one manifest (row R42).
pub const MAX_ENTRIES: usize = 10_000;

/// An index or a manifest.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one is held at a time, never a list of them")]
pub enum Document {
    /// A list of manifests.
    Index(ImageIndex),
    /// One image or artifact.
    Manifest(ImageManifest),
}

/// Why bytes are not an index or a manifest.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, a duplicate key, a missing or mistyped field.
    #[error("not a valid {expected}")]
    Json {
        /// What it was read as.
        expected: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Both `manifests` and `config` or `layers`: two readers would see two images (row R43).
    #[error("the document is an index and a manifest at once")]
    Ambiguous,
    /// `mediaType` inside differs from how the document was announced (row R44).
    #[error("the document says that it is {inside}, but was announced as {announced}")]
    MediaType {
        /// The descriptor's or the header's type.
        announced: MediaType,
        /// The document's own.
        inside: MediaType,
    },
    /// A type that is neither index nor manifest.
    #[error("media type {0} is neither an image index nor an image manifest")]
    Unsupported(MediaType),
    /// `schemaVersion` is not 2.
    #[error("schema version {0} is not supported")]
    SchemaVersion(u64),
    /// More entries than anyone needs (row R42).
    #[error("the document lists {0} entries, more than {MAX_ENTRIES}")]
    TooMany(usize),
    /// More bytes than [`MAX_DOCUMENT`].
    #[error("the document has {0} bytes, more than {MAX_DOCUMENT}")]
    TooLarge(usize),
}

impl Document {
    /// Reads `bytes`, which were announced as `announced`.
    pub fn parse(bytes: &[u8], announced: &MediaType) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let value: Value =
            json::parse(bytes).map_err(|source| DocumentError::Json { expected: "JSON document", source })?;
        let has = |key: &str| value.get(key).is_some_and(|v| !v.is_null());
        if has("manifests") && (has("config") || has("layers") || has("fsLayers")) {
            return Err(DocumentError::Ambiguous);
        }
        if let Some(inside) = value.get("mediaType").and_then(Value::as_str)
            && inside != announced.as_str()
        {
            return Err(DocumentError::MediaType { announced: announced.clone(), inside: inside.into() });
        }
        if let Some(version) = value.get("schemaVersion").and_then(Value::as_u64)
            && version != 2
        {
            return Err(DocumentError::SchemaVersion(version));
        }
        if announced.is_index() {
            let index: ImageIndex =
                serde_json::from_value(value).map_err(|source| DocumentError::Json { expected: "index", source })?;
            limit(index.manifests.len())?;
            Ok(Self::Index(index))
        } else if announced.is_manifest() {
            let manifest: ImageManifest =
                serde_json::from_value(value).map_err(|source| DocumentError::Json { expected: "manifest", source })?;
            limit(manifest.layers.len())?;
            Ok(Self::Manifest(manifest))
        } else {
            Err(DocumentError::Unsupported(announced.clone()))
        }
    }
}

fn limit(entries: usize) -> Result<(), DocumentError> {
    if entries > MAX_ENTRIES { Err(DocumentError::TooMany(entries)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

    #[track_caller]
    fn fails(text: &str, announced: &str, expect: &str) {
        let error = Document::parse(text.as_bytes(), &announced.into()).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
    }

    #[test]
    fn r43_r44_ambiguous_and_mislabelled_documents_fail() {
        let config = format!(r#"{{"mediaType":"x","digest":"{}","size":0}}"#, Digest::of(b""));
        let both = format!(r#"{{"schemaVersion":2,"manifests":[],"config":{config},"layers":[]}}"#);
        fails(&both, OCI_INDEX, "at once");
        fails(&both, OCI_MANIFEST, "at once");
        fails(
            &format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#),
            OCI_MANIFEST,
            "announced as",
        );
        fails(r#"{"schemaVersion":1,"manifests":[]}"#, OCI_INDEX, "schema version 1");
        fails("{}", "text/html", "neither");
        fails("{}", OCI_INDEX, "not a valid index");
    }

    #[test]
    fn r41_r42_documents_have_limits() {
        let entry = format!(r#"{{"mediaType":"x","digest":"{}","size":0}}"#, Digest::of(b""));
        let many = vec![entry; MAX_ENTRIES + 1].join(",");
        fails(&format!(r#"{{"schemaVersion":2,"manifests":[{many}]}}"#), OCI_INDEX, "more than 10000");
        fails(&" ".repeat(5 << 20), OCI_INDEX, "more than 4194304");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(
            bytes: Vec<u8>,
            text in r#"\{("(schemaVersion|mediaType|manifests|config|layers|subject|urls|size|digest)":(2|-1|9e99|""|"sha256:x"|\[\{\}\]|\{"size":0\}),?){0,6}\}"#
        ) {
            for content in [bytes.as_slice(), text.as_bytes()] {
                for announced in [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST] {
                    let _ = Document::parse(content, &announced.into());
                }
            }
        }
    }
}
