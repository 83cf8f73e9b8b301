//! What can go wrong on the way from a source to a sink.

use std::path::PathBuf;

use oci_layout::archive::ArchiveError;
use oci_layout::document::DocumentError;
use oci_layout::{Digest, LayoutError, Platform, StoreError};

use crate::bundle::BundleError;
use crate::error::{ErrorClass, of_registry, registry_hints};

/// Why something cannot be read from a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry_client::Error),
    /// The layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A blob.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An archive.
    #[error("{}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// A bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// An image of a bundle that is not there, or one of several that is not named.
    #[error("{} has {}; it holds {}", path.display(),
        wanted.as_ref().map_or_else(|| "not one image beside the bases".to_owned(), |wanted| format!("no image {wanted}")),
        if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    Pick {
        /// The bundle.
        path: PathBuf,
        /// What was asked for.
        wanted: Option<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// What mab carries itself.
    #[error("the built-in base cannot be made: {0}")]
    Embedded(String),
    /// A defect of mab's own.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

/// Why an image did not get where it was to go.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Reading.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target registry.
    #[error(transparent)]
    Registry(#[from] registry_client::Error),
    /// The target layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A blob of the target.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target archive.
    #[error("cannot write {}", path.display())]
    WriteArchive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// A file or directory of the target. The message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A document that is not what it should be.
    #[error("{digest} is not a usable document")]
    Document {
        /// The document.
        digest: Digest,
        /// Why.
        source: DocumentError,
    },
    /// Indexes in indexes without end.
    #[error("{digest} is nested too deep")]
    Depth {
        /// The document.
        digest: Digest,
    },
    /// Something that was asked for is not in the image.
    #[error("{image} has nothing for {wanted}; it has {}", if available.is_empty() { "nothing that says its platform".to_owned() } else { available.join(", ") })]
    NoPlatform {
        /// The image.
        image: String,
        /// What was asked for: a platform or a digest.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// Two images for one platform.
    #[error("two images for {platform}: {first} and {second}")]
    SamePlatform {
        /// The platform.
        platform: Platform,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// An image that is announced for another platform than its config is for.
    #[error("{image} is announced for {announced}, but its config says {config}")]
    Contradiction {
        /// The image.
        image: String,
        /// The platform of its descriptor.
        announced: Platform,
        /// The platform of its config.
        config: Platform,
    },
    /// An image was needed, and this is another thing.
    #[error("{image} is {found}, not an image for a platform")]
    NotImage {
        /// What was given.
        image: String,
        /// What it is.
        found: String,
    },
    /// An index was needed.
    #[error("{image} is a single image, not an index")]
    NotIndex {
        /// What was given.
        image: String,
    },
    /// The target names a digest that is not the image's.
    #[error("{target} names another digest than the image has, {digest}")]
    OtherDigest {
        /// The target.
        target: String,
        /// The image's own.
        digest: Digest,
    },
    /// A bundle that was made for a few platforms.
    #[error("{image} is there for {} alone, and its index names {lacking}, too", platforms.join(", "))]
    Partial {
        /// The image.
        image: String,
        /// What there is of it.
        platforms: Vec<String>,
        /// The first that is not there.
        lacking: Digest,
    },
    /// Two images would get one tag.
    #[error("two images would be {target}: {first} and {second}")]
    SameTag {
        /// Repository and tag.
        target: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// All tags were asked for, of something that has none or for something that takes one image.
    #[error("{place} {reason}")]
    AllTags {
        /// The source or target.
        place: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// A line of a list that is none of `SRC DST`.
    #[error("line {line} of the list: {reason}")]
    List {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The target cannot be written as it is named.
    #[error("{target} cannot be written: {reason}")]
    Target {
        /// The target.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// More referrers than anyone needs.
    #[error("{image} has more than {limit} referrers")]
    Referrers {
        /// The image.
        image: String,
        /// The limit.
        limit: usize,
    },
    /// A defect of mab's own.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl TransferError {
    /// The family that it belongs to.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Source(error) => of_source(error),
            Self::Registry(error) => of_registry(error),
            Self::Layout(LayoutError::NotLayout { .. }) => ErrorClass::Usage,
            Self::Layout(_) | Self::Store(_) | Self::WriteArchive { .. } | Self::Io(_) => ErrorClass::Output,
            Self::Document { .. } | Self::Depth { .. } | Self::Contradiction { .. } | Self::Referrers { .. } => {
                ErrorClass::Check
            }
            Self::SamePlatform { .. } | Self::NotImage { .. } => ErrorClass::Check,
            Self::Partial { .. } => ErrorClass::Locked,
            Self::SameTag { .. } | Self::AllTags { .. } | Self::List { .. } => ErrorClass::Usage,
            Self::NoPlatform { .. } | Self::NotIndex { .. } | Self::OtherDigest { .. } | Self::Target { .. } => {
                ErrorClass::Usage
            }
            Self::Internal(_) => ErrorClass::Other,
        }
    }

    /// What the user could do about it, each a sentence.
    pub fn hints(&self) -> Vec<String> {
        let text = match self {
            Self::Source(SourceError::Registry(error)) | Self::Registry(error) => return registry_hints(error),
            Self::Source(SourceError::Layout(LayoutError::NotLayout { .. })) => "`mab build` writes one",
            Self::Source(SourceError::Layout(LayoutError::Ambiguous { .. })) => {
                "name one with :TAG or @DIGEST behind the path"
            }
            Self::Source(SourceError::Bundle(error)) => return error.hints(),
            Self::Source(SourceError::Pick { .. }) => "name one: bundle:PATH:NAME or bundle:PATH@DIGEST",
            Self::Partial { .. } => {
                "`mab copy --platform` takes out what is there, as another index; `mab vendor --image` without --platform takes all of it along"
            }
            Self::SameTag { .. } => "name one with :TAG or @DIGEST behind the path, and give its target a tag",
            Self::List { .. } => "write the source and the target on each line, with a space between them",
            Self::SamePlatform { .. } => "an index has one image for a platform: leave one of them out",
            Self::Contradiction { .. } => {
                "the image is mislabelled: build it anew, or put it into an index by its manifest's own digest"
            }
            Self::NotIndex { .. } => "make one with `mab index create`",
            _ => return Vec::new(),
        };
        vec![text.to_owned()]
    }
}

fn of_source(error: &SourceError) -> ErrorClass {
    match error {
        SourceError::Registry(error) => of_registry(error),
        SourceError::Layout(LayoutError::NotLayout { .. } | LayoutError::Ambiguous { .. }) => ErrorClass::Usage,
        SourceError::Pick { .. } => ErrorClass::Usage,
        SourceError::Layout(_) | SourceError::Store(_) | SourceError::Archive { .. } => ErrorClass::Output,
        SourceError::Bundle(error) => error.class(),
        SourceError::Embedded(_) | SourceError::Internal(_) => ErrorClass::Other,
    }
}
