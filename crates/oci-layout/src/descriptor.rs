//! Descriptors: how one document points at another (image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::platform::Platform;

/// Sorted key-value pairs of a document.
pub type Annotations = BTreeMap<String, String>;

/// The pointer to some content: its type, digest and size, and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: MediaType,
    /// Digest of the content's raw bytes.
    pub digest: Digest,
    /// Length of the raw bytes. Never trusted for allocating (row R46).
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Other places that are said to hold the content. Carried, never fetched from (row I21).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::json::null_is_empty")]
    pub urls: Vec<String>,
    /// Remarks about the content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::json::null_is_empty")]
    pub annotations: Annotations,
    /// The content itself, in base64, where it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Type of the artifact, where the content is a manifest of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The platform that the content is for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What else the document says.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Descriptor {
    /// A bare descriptor.
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            artifact_type: None,
            platform: None,
            extra: BTreeMap::new(),
        }
    }

    /// The descriptor of `content`.
    pub fn of(media_type: impl Into<MediaType>, content: &[u8]) -> Self {
        Self::new(media_type, Digest::of(content), content.len() as u64)
    }

    /// Whether the content may stay where its `urls` say: a layer that may not be distributed
    /// (image-spec, layer.md, "Non-Distributable Layers"). It need not be there, and nobody here
    /// fetches it from elsewhere (row I21).
    pub fn stays_elsewhere(&self) -> bool {
        let kind = self.media_type.as_str();
        !self.urls.is_empty() && (kind.contains(".nondistributable.") || kind.contains(".foreign."))
    }

    /// The same with `platform`.
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }
}

/// A size is an int64 in the spec: negative ones and 2^63 and more are rejected.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if i64::try_from(size).is_err() {
        return Err(serde::de::Error::custom(format_args!("size {size} is out of range")));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_and_keys_keep_their_order() {
        let text = format!(
            r#"{{"mediaType":"application/x","digest":"{}","size":3,"annotations":{{"a":"1","b":"2"}},"platform":{{"architecture":"arm","os":"linux","variant":"v7","x":1}},"future":[1]}}"#,
            Digest::of(b"abc")
        );
        let descriptor: Descriptor = crate::json::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(crate::json::to_bytes(&descriptor).unwrap()).unwrap(), text);
    }

    #[test]
    fn r46_sizes_out_of_range_are_rejected() {
        for size in ["-1", "9223372036854775808", "1e3", "\"3\""] {
            let text = format!(r#"{{"mediaType":"x","digest":"{}","size":{size}}}"#, Digest::of(b""));
            assert!(crate::json::parse::<Descriptor>(text.as_bytes()).is_err(), "{size}");
        }
    }
}
