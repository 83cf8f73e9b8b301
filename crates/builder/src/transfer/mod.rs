//! Moving images between registries, layouts and archives, byte for byte.
//!
//! [`Source`] and [`Sink`] are closed sets: whatever moves images (pushing, copying, joining them
//! into an index) reads a [`Tree`] from the one and writes it to the other. Documents are never
//! written anew: what arrives has the digest of what was read. A transfer that broke off goes on
//! where it stopped, because the target is asked what it has.

mod error;
mod location;
mod progress;
mod push;
mod referrers;
pub mod report;
mod several;
mod sink;
mod source;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_layout::{Digest, Platform};
use registry_client::Client;

pub use error::{SourceError, TransferError};
pub use location::{Location, ParseLocationError, Select};
pub use push::push;
pub use referrers::Referrer;
pub use several::{List, all_tags, copy_list};
pub use sink::{Moved, Sink};
pub use source::Source;
pub use tree::read_root;
pub use tree::{Item, Tree};
pub(crate) use tree::{REFERENCE_DIGEST, config, index_node};

pub(crate) use self::progress::Meter;
use crate::event::{Outcome, Phase, Reporter};
use crate::work::Work;

/// What is to be copied.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// From where.
    pub from: Location,
    /// To where.
    pub to: Location,
    /// These platforms alone; all where there are none.
    pub platforms: Vec<Platform>,
    /// What refers to the image goes along.
    pub referrers: bool,
}

/// An image that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Where it was read from.
    pub from: String,
    /// The tags or names that it was given.
    pub names: Vec<String>,
    /// Its digest.
    pub digest: Digest,
    /// Where it is, by digest.
    pub reference: String,
    /// What that took.
    pub moved: Moved,
}

/// Copies an image.
pub async fn copy(
    request: &CopyRequest,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
) -> Result<Arrived, TransferError> {
    let source = Arc::new(Source::open(&request.from, client).await?);
    let shown = request.from.to_string();
    let mut tree = Tree::read(&source, &request.from).await?;
    if !request.platforms.is_empty() {
        tree = tree.choose(&request.platforms, &shown).await?;
    }
    check_digest(&request.to, &tree)?;
    let sink = Sink::open(&request.to, &request.from, client)?;
    let what = format!("copy {shown} to {}", request.to);
    deliver(&tree, request.referrers, &sink, (shown, what), reporter).await
}

/// Writes `tree` to `sink`, with what refers to it, and tells of it: where it is from, and what is
/// done with it.
pub async fn deliver(
    tree: &Tree,
    with_referrers: bool,
    sink: &Sink,
    (from, what): (String, String),
    reporter: &Arc<dyn Reporter>,
) -> Result<Arrived, TransferError> {
    let digest = tree.root.digest();
    if let Some(lacking) = tree.lacking() {
        return Err(TransferError::Partial { image: from, platforms: tree.platforms(), lacking });
    }
    let referrers = match with_referrers {
        true => referrers::find(tree, &digest.to_string(), reporter.as_ref()).await?,
        false => Vec::new(),
    };
    let total = total(tree, &referrers);
    let piece = Work::new(Arc::clone(reporter)).start(Phase::Deliver, None, what, Some(total));
    let meter = Meter::new(piece);
    let moved = sink.write(tree, &referrers, &meter).await?;
    let outcome = outcome(&moved, &meter, digest);
    meter.end(outcome);
    Ok(Arrived { from, names: sink.names(), digest, reference: sink.reference(digest), moved })
}

/// A target that names a digest can only be this image.
fn check_digest(to: &Location, tree: &Tree) -> Result<(), TransferError> {
    let named = match to {
        Location::Registry(reference) => reference.digest,
        Location::Layout { select: Select::Digest(digest), .. }
        | Location::Archive { select: Select::Digest(digest), .. } => Some(*digest),
        _ => None,
    };
    match named {
        Some(named) if named != tree.root.digest() => {
            Err(TransferError::OtherDigest { target: to.to_string(), digest: tree.root.digest() })
        }
        _ => Ok(()),
    }
}

/// Bytes of all blobs, each once.
fn total(tree: &Tree, referrers: &[Referrer]) -> u64 {
    let items = tree.items().chain(referrers.iter().flat_map(|referrer| referrer.tree.items()));
    let blobs: BTreeMap<Digest, u64> =
        items.flat_map(|item| item.node.blobs()).map(|blob| (blob.digest, blob.size)).collect();
    blobs.values().fold(0, |sum, size| sum.saturating_add(*size))
}

fn outcome(moved: &Moved, meter: &Meter, digest: Digest) -> Outcome {
    if *moved == Moved::default() {
        return Outcome::Cached(format!("{} is there already", digest.short()));
    }
    let mut parts = Vec::new();
    if moved.blobs > 0 {
        parts.push(format!("{} blobs moved ({})", moved.blobs, meter.rate(moved.bytes)));
    }
    for (count, what) in [(moved.mounted, "mounted"), (moved.existed, "there already"), (moved.referrers, "referrers")]
    {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.push(digest.short());
    Outcome::Done(parts.join(", "))
}
