//! Layouts and archives to registries: all their tags, or the tags that are given.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_layout::document::ImageIndex;
use oci_layout::layout::{REF_NAME, is_fallback_tag};
use oci_layout::{Digest, LayoutError};
use registry_client::{Client, Reference, Repository, Tag};

use super::{Arrived, Location, Select, Sink, Source, SourceError, TransferError, Tree, deliver};
use crate::event::Reporter;

/// Pushes what `from` names to each of `targets`.
///
/// A target with a tag gets the image that is named, or the only one. A target without a tag gets all
/// images under the tags that they have in the layout (the one that is named, where one is).
pub async fn push(
    from: &Location,
    targets: &[Reference],
    with_referrers: bool,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
) -> Result<Vec<Arrived>, TransferError> {
    let source = Arc::new(Source::open(from, client).await?);
    let index = match source.as_ref() {
        Source::Layout(layout) => layout.index().map_err(SourceError::from)?,
        Source::Archive { archive, .. } => archive.index().clone(),
        Source::Registry { .. } | Source::Embedded(_) | Source::Kept { .. } => {
            return Err(TransferError::Target {
                target: from.to_string(),
                reason: "it is neither a layout nor an archive",
            });
        }
    };
    let mut trees: BTreeMap<Digest, Tree> = BTreeMap::new();
    let mut arrived = Vec::new();
    for (place, repository, tags) in plan(from, &index, targets)? {
        let read = Tree::read(&source, &place).await?;
        let tree = trees.entry(read.root.digest()).or_insert(read);
        let what = format!("push {place} to {repository}");
        let sink = Sink::Registry { client: client.clone(), repository, tags };
        arrived.push(deliver(tree, with_referrers, &sink, what, reporter).await?);
    }
    Ok(arrived)
}

/// Which image goes to which repository under which tags.
fn plan(
    from: &Location,
    index: &ImageIndex,
    targets: &[Reference],
) -> Result<Vec<(Location, Repository, Vec<Tag>)>, TransferError> {
    let select = match from {
        Location::Layout { select, .. } | Location::Archive { select, .. } => select,
        Location::Registry(_) => return Err(TransferError::Internal("a registry is no file".to_owned())),
    };
    let all = names(index);
    let mut plan: Vec<(Location, Repository, Vec<Tag>)> = Vec::new();
    let mut add = |place: Location, repository: &Repository, tag: Option<Tag>| {
        let known = plan.iter_mut().find(|(known, at, _)| *known == place && at == repository);
        match (known, tag) {
            (Some((_, _, tags)), Some(tag)) if !tags.contains(&tag) => tags.push(tag),
            (Some(_), _) => {}
            (None, tag) => plan.push((place, repository.clone(), tag.into_iter().collect())),
        }
    };
    for target in targets {
        if let Some(digest) = target.digest {
            add(with(from, Select::Digest(digest)), &target.repository, target.tag.clone());
        } else if let Some(tag) = &target.tag {
            add(from.clone(), &target.repository, Some(tag.clone()));
        } else {
            match (select, all.is_empty()) {
                (Select::Name(name), _) => {
                    let tag = name.parse().map_err(registry_client::Error::from)?;
                    add(from.clone(), &target.repository, Some(tag));
                }
                (Select::Digest(_), _) | (Select::Only, true) => {
                    add(from.clone(), &target.repository, Some(Tag::latest()));
                }
                (Select::Only, false) => {
                    for (name, digest) in &all {
                        add(with(from, Select::Digest(*digest)), &target.repository, Some(name.clone()));
                    }
                }
            }
        }
    }
    if plan.is_empty() {
        let known = all.iter().map(|(name, _)| name.to_string()).collect();
        let error = LayoutError::UnknownName { path: from.to_string().into(), name: String::new(), known };
        return Err(SourceError::Layout(error).into());
    }
    Ok(plan)
}

/// The names of a layout that can be tags, with what they name.
fn names(index: &ImageIndex) -> Vec<(Tag, Digest)> {
    let named = index.manifests.iter().filter_map(|entry| {
        let name = entry.annotations.get(REF_NAME).filter(|name| !is_fallback_tag(name))?;
        // containers/image writes full names there, too.
        let tag = name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag);
        Some((tag.parse().ok()?, entry.digest))
    });
    named.collect()
}

fn with(from: &Location, select: Select) -> Location {
    match from {
        Location::Layout { directory, .. } => Location::Layout { directory: directory.clone(), select },
        Location::Archive { kind, file, .. } => Location::Archive { kind: *kind, file: file.clone(), select },
        Location::Registry(_) => from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use oci_layout::Descriptor;
    use oci_layout::media_type::OCI_INDEX;

    use super::*;

    fn index(names: &[(&str, &[u8])]) -> ImageIndex {
        let entry = |(name, content): &(&str, &[u8])| {
            let mut entry = Descriptor::of(OCI_INDEX, content);
            entry.annotations.insert(REF_NAME.to_owned(), (*name).to_owned());
            entry
        };
        ImageIndex::new(names.iter().map(entry).collect(), BTreeMap::new())
    }

    #[track_caller]
    fn check(from: &str, targets: &[&str], expect: &[(&str, &str)]) {
        let subject = Digest::of(b"x").to_string().replace(':', "-");
        let index = index(&[("v1", b"one"), ("latest", b"two"), ("new", b"two"), (&subject, b"list")]);
        let targets: Vec<Reference> = targets.iter().map(|target| target.parse().unwrap()).collect();
        let plan = plan(&from.parse().unwrap(), &index, &targets).unwrap();
        let found: Vec<(String, String)> = plan
            .into_iter()
            .map(|(place, repository, tags)| {
                let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
                (place.to_string(), format!("{repository} {}", tags.join(" ")))
            })
            .collect();
        let expect: Vec<(String, String)> = expect.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn targets_with_a_tag_get_the_image_and_those_without_all_tags() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        check(
            "oci:d:v1",
            &["r.io/a:x", "r.io/a:y", "r.io/b:x"],
            &[("oci:d:v1", "r.io/a x y"), ("oci:d:v1", "r.io/b x")],
        );
        check("oci:d:v1", &["r.io/a"], &[("oci:d:v1", "r.io/a v1")]);
        check(
            "oci:d",
            &["r.io/a"],
            &[(&format!("oci:d@{one}"), "r.io/a v1"), (&format!("oci:d@{two}"), "r.io/a latest new")],
        );
        check(&format!("oci:d@{two}"), &["r.io/a"], &[(&format!("oci:d@{two}"), "r.io/a latest")]);
        check("oci:d", &[&format!("r.io/a@{one}")], &[(&format!("oci:d@{one}"), "r.io/a ")]);
    }
}
