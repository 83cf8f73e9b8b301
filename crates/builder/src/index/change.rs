//! An index becomes another one: annotated, or with fewer entries.

use std::collections::BTreeSet;

use oci_layout::document::{Document, ImageIndex};
use oci_layout::{Descriptor, Platform};

use super::{Pick, check_platform};
use crate::transfer::{REFERENCE_DIGEST, TransferError, Tree, config, index_node};

/// What is changed at an entry, or at the index itself.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Annotations to set; those without a value are taken away.
    pub annotations: Vec<(String, Option<String>)>,
    /// The entry's platform.
    pub platform: Option<Platform>,
}

/// The index of `tree` with `change` made to what `pick` names, or to the index itself.
pub async fn annotate(tree: Tree, shown: &str, pick: Option<&Pick>, change: &Change) -> Result<Tree, TransferError> {
    let mut index = index(&tree, shown)?.clone();
    match pick {
        None => set(&mut index.annotations, &change.annotations),
        Some(pick) => {
            let places = places(&index, shown, pick)?;
            for place in places {
                let entry = &mut index.manifests[place];
                set(&mut entry.annotations, &change.annotations);
                if let Some(platform) = &change.platform {
                    let item = tree.items().find(|item| item.digest() == entry.digest);
                    if let Some(item) = item
                        && let Document::Manifest(manifest) = &item.node.document
                        && let Some(config) = config(&item.source, manifest).await?
                    {
                        check_platform(&entry.digest.to_string(), platform, &config)?;
                    }
                    entry.platform = Some(platform.clone());
                }
            }
            if change.platform.is_some() {
                distinct(&index.manifests)?;
                index.manifests.sort_by(|a, b| match (&a.platform, &b.platform) {
                    (Some(a), Some(b)) => a.is_unknown().cmp(&b.is_unknown()).then_with(|| a.index_order(b)),
                    (a, b) => a.is_none().cmp(&b.is_none()),
                });
            }
        }
    }
    with_index(tree, index)
}

/// The index of `tree` without what `picks` name, and without the attestations of that.
pub fn remove(tree: Tree, shown: &str, picks: &[Pick]) -> Result<Tree, TransferError> {
    let mut index = index(&tree, shown)?.clone();
    let mut gone = BTreeSet::new();
    for pick in picks {
        gone.extend(places(&index, shown, pick)?);
    }
    let digests: BTreeSet<String> = gone.iter().map(|place| index.manifests[*place].digest.to_string()).collect();
    let mut place = 0;
    index.manifests.retain(|entry| {
        place += 1;
        let about = entry.annotations.get(REFERENCE_DIGEST);
        !gone.contains(&(place - 1)) && !about.is_some_and(|digest| digests.contains(digest))
    });
    if index.manifests.is_empty() {
        return Err(TransferError::Target { target: shown.to_owned(), reason: "nothing would be left in it" });
    }
    with_index(tree, index)
}

fn index<'a>(tree: &'a Tree, shown: &str) -> Result<&'a ImageIndex, TransferError> {
    match &tree.root.node.document {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(TransferError::NotIndex { image: shown.to_owned() }),
    }
}

/// Where the entries that are meant stand.
fn places(index: &ImageIndex, shown: &str, pick: &Pick) -> Result<Vec<usize>, TransferError> {
    let meant = |entry: &Descriptor| match pick {
        Pick::Digest(digest) => entry.digest == *digest,
        Pick::Platform(platform) => entry.platform.as_ref().is_some_and(|own| own.is_same(platform)),
    };
    let places: Vec<usize> = (0..index.manifests.len()).filter(|place| meant(&index.manifests[*place])).collect();
    if places.is_empty() {
        let available = match pick {
            Pick::Digest(_) => index.manifests.iter().map(|entry| entry.digest.to_string()).collect(),
            Pick::Platform(_) => {
                let platforms = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
                platforms.filter(|platform| !platform.is_unknown()).map(ToString::to_string).collect()
            }
        };
        return Err(TransferError::NoPlatform { image: shown.to_owned(), wanted: pick.to_string(), available });
    }
    Ok(places)
}

fn set(annotations: &mut oci_layout::descriptor::Annotations, changes: &[(String, Option<String>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => annotations.insert(key.clone(), value.clone()),
            None => annotations.remove(key),
        };
    }
}

fn distinct(entries: &[Descriptor]) -> Result<(), TransferError> {
    for (at, entry) in entries.iter().enumerate() {
        let Some(platform) = entry.platform.as_ref().filter(|platform| !platform.is_unknown()) else { continue };
        let same = |other: &&Descriptor| {
            other.platform.as_ref().is_some_and(|other| {
                other.is_same(platform)
                    && other.os_version == platform.os_version
                    && other.os_features == platform.os_features
            })
        };
        if let Some(other) = entries[..at].iter().find(same) {
            let (first, second) = (other.digest.to_string(), entry.digest.to_string());
            return Err(TransferError::SamePlatform { platform: platform.clone(), first, second });
        }
    }
    Ok(())
}

/// The tree with another index at its top; what that does not lead to is left out.
fn with_index(mut tree: Tree, index: ImageIndex) -> Result<Tree, TransferError> {
    tree.root.node = index_node(&tree.root.node.descriptor, index)?;
    let mut reached = BTreeSet::new();
    // Parents come after their children.
    for item in tree.items().collect::<Vec<_>>().into_iter().rev() {
        let is_root = item.digest() == tree.root.digest();
        if let Document::Index(index) = &item.node.document
            && (is_root || reached.contains(&item.digest()))
        {
            reached.extend(index.manifests.iter().map(|entry| entry.digest));
        }
    }
    tree.below.retain(|item| reached.contains(&item.digest()));
    Ok(tree)
}
