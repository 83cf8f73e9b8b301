//! One index of what several machines have built.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_layout::media_type::OCI_INDEX;
use oci_layout::{Descriptor, Digest};

use super::{ImageResult, VERSION, index_bytes};
use crate::target::TargetPlatform;

/// An index that was joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The index.
    pub index: Descriptor,
    /// Its bytes: the same as those of one machine that builds all platforms.
    pub bytes: Bytes,
    /// The repository, where there is one.
    pub image: Option<String>,
    /// The tags that it is to have.
    pub tags: Vec<String>,
}

/// Why results do not make one index.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JoinError {
    /// There is nothing to join.
    #[error("there are no results to join")]
    Nothing,
    /// A document of another version.
    #[error("a result is of version {found}; this mab knows {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// They were not made from the same.
    #[error("the results of {first} and {other} cannot be joined: {what} differs ({ours} and {theirs})")]
    Differ {
        /// Platforms of the first.
        first: String,
        /// Platforms of the one that differs.
        other: String,
        /// What differs.
        what: &'static str,
        /// What the first has.
        ours: String,
        /// What the other has.
        theirs: String,
    },
    /// Two machines have built the same platform, but not the same image.
    #[error("{platform} was built twice, and not the same: {first} and {other}")]
    Twice {
        /// The platform.
        platform: TargetPlatform,
        /// One manifest.
        first: Digest,
        /// The other.
        other: Digest,
    },
    /// Nobody has built a platform.
    #[error("nobody has built {}", list(platforms))]
    Missing {
        /// The platforms.
        platforms: Vec<TargetPlatform>,
    },
    /// A platform that the image does not have.
    #[error("{platform} is no platform of the image")]
    Foreign {
        /// The platform.
        platform: TargetPlatform,
    },
    /// The index cannot be written.
    #[error("the index cannot be written: {0}")]
    Document(String),
}

fn list(platforms: &[TargetPlatform]) -> String {
    platforms.iter().map(TargetPlatform::to_string).collect::<Vec<_>>().join(", ")
}

/// Joins what several machines have built of one image into its index. Their inputs have to
/// agree, and together they have to have built every platform.
pub fn join(results: &[ImageResult]) -> Result<Joined, JoinError> {
    let Some(first) = results.first() else { return Err(JoinError::Nothing) };
    if let Some(other) = results.iter().find(|result| result.version != VERSION) {
        return Err(JoinError::Version { found: other.version });
    }
    for other in results {
        agree(first, other)?;
    }
    let mut made: BTreeMap<TargetPlatform, &Descriptor> = BTreeMap::new();
    for manifest in results.iter().flat_map(|result| &result.manifests) {
        let platform = manifest.platform;
        if !first.platforms.contains(&platform) {
            return Err(JoinError::Foreign { platform });
        }
        match made.insert(platform, &manifest.descriptor) {
            Some(known) if *known != manifest.descriptor => {
                return Err(JoinError::Twice { platform, first: known.digest, other: manifest.descriptor.digest });
            }
            _ => {}
        }
    }
    let missing: Vec<TargetPlatform> =
        first.platforms.iter().copied().filter(|platform| !made.contains_key(platform)).collect();
    if !missing.is_empty() {
        return Err(JoinError::Missing { platforms: missing });
    }
    // A map by platform is in the index's order.
    let manifests = made.into_values().cloned().collect();
    let bytes = index_bytes(manifests, first.annotations.clone()).map_err(|it| JoinError::Document(it.to_string()))?;
    let index = Descriptor::of(OCI_INDEX, &bytes);
    Ok(Joined { index, bytes, image: first.image.clone(), tags: first.tags.clone() })
}

fn agree(first: &ImageResult, other: &ImageResult) -> Result<(), JoinError> {
    let made =
        |result: &ImageResult| list(&result.manifests.iter().map(|manifest| manifest.platform).collect::<Vec<_>>());
    let pairs = [
        ("the image", format!("{:?}", first.image), format!("{:?}", other.image)),
        ("the list of tags", first.tags.join(" "), other.tags.join(" ")),
        ("the list of platforms", list(&first.platforms), list(&other.platforms)),
        ("the build file", first.inputs.build_file.to_string(), other.inputs.build_file.to_string()),
        ("the lock", format!("{:?}", first.inputs.lock), format!("{:?}", other.inputs.lock)),
        ("the format", first.inputs.format.to_string(), other.inputs.format.to_string()),
        ("the date", first.inputs.created.clone(), other.inputs.created.clone()),
        ("what is checked out", format!("{:?}", first.inputs.git), format!("{:?}", other.inputs.git)),
        ("an input", first.inputs.digest.to_string(), other.inputs.digest.to_string()),
        ("the list of annotations", format!("{:?}", first.annotations), format!("{:?}", other.annotations)),
    ];
    match pairs.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        None => Ok(()),
        Some((what, ours, theirs)) => {
            Err(JoinError::Differ { first: made(first), other: made(other), what, ours, theirs })
        }
    }
}

#[cfg(test)]
mod tests;
