//! What an entry of a layout leads to.

use std::collections::BTreeSet;

use super::{Layout, LayoutError};
use crate::descriptor::Descriptor;
use crate::document::Document;
use crate::store::StoreError;

/// Most levels of indexes in indexes (rows R42, I18).
pub const MAX_DEPTH: usize = 8;

/// A blob that is reached from an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// The blob.
    pub descriptor: Descriptor,
    /// What is inside, for indexes and manifests.
    pub document: Option<Document>,
}

impl Layout {
    /// Everything that `top` leads to, itself first: indexes, manifests, configs, layers. Each
    /// blob once. Fails where one is missing; only documents are read and verified.
    pub fn reach(&self, top: &Descriptor) -> Result<Vec<Reached>, LayoutError> {
        self.walk(top, false)
    }

    /// The same, passing over what is missing or unreadable.
    pub(super) fn reach_leniently(&self, top: &Descriptor) -> Result<Vec<Reached>, LayoutError> {
        self.walk(top, true)
    }

    /// The indexes and manifests under `top`; absent ones are passed over, as in a layout that
    /// holds only some platforms of an index.
    pub(super) fn reach_documents(&self, top: &Descriptor) -> Result<Vec<Descriptor>, LayoutError> {
        let all = self.walk(top, true)?;
        Ok(all.into_iter().filter(|reached| reached.document.is_some()).map(|reached| reached.descriptor).collect())
    }

    fn walk(&self, top: &Descriptor, lenient: bool) -> Result<Vec<Reached>, LayoutError> {
        let mut seen = BTreeSet::new();
        let mut reached = Vec::new();
        let mut waiting = vec![(top.clone(), 0)];
        while let Some((descriptor, depth)) = waiting.pop() {
            if depth > MAX_DEPTH {
                return Err(LayoutError::Depth { digest: descriptor.digest });
            }
            if !seen.insert(descriptor.digest) {
                continue;
            }
            if !descriptor.media_type.is_index() && !descriptor.media_type.is_manifest() {
                match self.store.blob(&descriptor) {
                    Err(StoreError::Missing { .. }) if descriptor.stays_elsewhere() => continue,
                    Err(error) if !lenient => return Err(error.into()),
                    _ => {}
                }
                reached.push(Reached { descriptor, document: None });
                continue;
            }
            let document = match self.document(&descriptor) {
                Ok((_, document)) => document,
                Err(error) if lenient && is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let children = match &document {
                Document::Index(index) => index.manifests.iter().collect(),
                Document::Manifest(manifest) => {
                    std::iter::once(&manifest.config).chain(&manifest.layers).collect::<Vec<_>>()
                }
            };
            waiting.extend(children.into_iter().rev().map(|child| (child.clone(), depth + 1)));
            reached.push(Reached { descriptor, document: Some(document) });
        }
        Ok(reached)
    }
}

fn is_absent(error: &LayoutError) -> bool {
    matches!(error, LayoutError::Store(StoreError::Missing { .. }))
}
