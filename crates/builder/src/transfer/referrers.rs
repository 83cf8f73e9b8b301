//! What refers to an image travels with it: signatures, SBOMs, attestations, and what refers to those.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_layout::{Descriptor, Digest};
use registry_client::ErrorKind;

use super::{Source, SourceError, TransferError, Tree};
use crate::event::{Event, Reporter};

/// Most referrers of one image that are followed.
const MAX_REFERRERS: usize = 1000;
/// Lists that a registry is asked for at once.
const AT_ONCE: usize = 8;

/// A manifest that refers to another one.
#[derive(Clone)]
pub struct Referrer {
    /// What it refers to.
    pub subject: Digest,
    /// As lists of referrers show it.
    pub descriptor: Descriptor,
    /// The document and what is below it.
    pub tree: Tree,
}

/// Everything that refers to a document of `tree`, directly or not, subjects first.
///
/// What is listed but not there, or of a type that nobody can read, is left out with a warning.
pub(super) async fn find(tree: &Tree, shown: &str, reporter: &dyn Reporter) -> Result<Vec<Referrer>, TransferError> {
    let mut found: Vec<Referrer> = Vec::new();
    let mut seen: BTreeSet<Digest> = tree.items().map(|item| item.digest()).collect();
    let mut subjects: Vec<(Digest, Arc<Source>)> =
        tree.items().map(|item| (item.digest(), Arc::clone(&item.source))).collect();
    // By the address of the source: there are few, and reading an index once is enough.
    let mut local = BTreeMap::new();
    while !subjects.is_empty() {
        let mut lists = Vec::new();
        for (subject, source) in subjects {
            let key = Arc::as_ptr(&source).addr();
            let all = match local.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(source.listed_referrers()?),
            };
            let listed = all.get(&subject).cloned().unwrap_or_default();
            lists.push(list(source, subject, listed));
        }
        let lists: Vec<(Digest, Arc<Source>, Vec<Descriptor>)> =
            futures_util::stream::iter(lists).buffered(AT_ONCE).try_collect().await?;
        let mut next = Vec::new();
        let listed = lists.into_iter().flat_map(|(subject, source, list)| {
            list.into_iter().map(move |entry| (subject, Arc::clone(&source), entry))
        });
        for (subject, source, descriptor) in listed {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            if seen.len() > MAX_REFERRERS {
                return Err(TransferError::Referrers { image: shown.to_owned(), limit: MAX_REFERRERS });
            }
            if !descriptor.media_type.is_manifest() && !descriptor.media_type.is_index() {
                let message =
                    format!("the referrer {} of type {} is left out", descriptor.digest, descriptor.media_type);
                reporter.report(Event::Warning { message });
                continue;
            }
            let plain = Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size);
            match Tree::of_descriptor(&source, plain).await {
                Ok(tree) => {
                    next.extend(tree.items().map(|item| (item.digest(), Arc::clone(&source))));
                    found.push(Referrer { subject, descriptor, tree });
                }
                Err(error) if is_absent(&error) => {
                    let message = format!("the referrer {} is listed, but not there", descriptor.digest);
                    reporter.report(Event::Warning { message });
                }
                Err(error) => return Err(error),
            }
        }
        subjects = next;
    }
    Ok(found)
}

async fn list(
    source: Arc<Source>,
    subject: Digest,
    listed: Vec<Descriptor>,
) -> Result<(Digest, Arc<Source>, Vec<Descriptor>), TransferError> {
    let found = match source.as_ref() {
        Source::Registry { client, repository } => {
            client.referrers(repository, &subject, None).await.map_err(SourceError::from)?
        }
        _ => listed,
    };
    Ok((subject, source, found))
}

fn is_absent(error: &TransferError) -> bool {
    match error {
        TransferError::Source(SourceError::Registry(error)) => error.kind() == ErrorKind::NotFound,
        TransferError::Source(SourceError::Store(oci_layout::StoreError::Missing { .. })) => true,
        _ => false,
    }
}
