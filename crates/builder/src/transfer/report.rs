//! What moved, for programs: `--report`.

use oci_layout::Digest;
use serde::Serialize;

use super::{Arrived, Moved};

/// Version of the document. Keys may be added; none is taken away or changes its meaning.
pub const VERSION: u32 = 1;

/// All of a transfer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// What has arrived, in order.
    pub images: Vec<ImageReport>,
    /// Why it ended before everything had arrived.
    pub error: Option<String>,
}

/// An image that has arrived.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageReport {
    /// Where it was read from.
    pub from: String,
    /// Where it is, by digest.
    pub reference: String,
    /// Its digest.
    pub digest: Digest,
    /// The tags or names that it was given.
    pub tags: Vec<String>,
    /// What that took.
    #[serde(flatten)]
    pub moved: Moved,
}

impl Report {
    /// Of what has arrived, and the error that ended it.
    pub fn of(arrived: &[Arrived], error: Option<String>) -> Self {
        let image = |own: &Arrived| ImageReport {
            from: own.from.clone(),
            reference: own.reference.clone(),
            digest: own.digest,
            tags: own.names.clone(),
            moved: own.moved,
        };
        Self { version: VERSION, images: arrived.iter().map(image).collect(), error }
    }
}
