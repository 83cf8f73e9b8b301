//! Layouts, archives and bundles to registries: all their tags, or the tags that are given.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_layout::document::ImageIndex;
use oci_layout::layout::{REF_NAME, is_fallback_tag};
use oci_layout::{Digest, LayoutError};
use registry_client::{Client, Reference, Repository, Tag};

use super::sink::own_tag;
use super::{Arrived, Location, Select, Sink, Source, SourceError, TransferError, Tree, deliver};
use crate::event::Reporter;

/// Pushes what `from` names to each of `targets`.
///
/// A target with a tag gets the image that is named, or the only one. A target without a tag gets all
/// images under the tags that they have in the layout (the one that is named, where one is). Of a
/// bundle these are the images that it was told to take along, not the bases.
///
/// What has arrived is in `arrived`, also where this fails.
pub async fn push(
    from: &Location,
    targets: &[Reference],
    with_referrers: bool,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
    arrived: &mut Vec<Arrived>,
) -> Result<(), TransferError> {
    let mut from = from.clone();
    let mut source = Arc::new(Source::open(&from, client).await?);
    let mut index = index(&source)?;
    if let Some(bundle) = as_bundle(&from, &index) {
        source = Arc::new(Source::open(&bundle, client).await?);
        index = self::index(&source)?;
        from = bundle;
    }
    let from = &from;
    let mut trees: BTreeMap<Digest, Tree> = BTreeMap::new();
    for (place, repository, tags) in plan(from, &index, targets)? {
        let read = Tree::read(&source, &place).await?;
        let tree = trees.entry(read.root.digest()).or_insert(read);
        let what = format!("push {place} to {repository}");
        let sink = Sink::Registry { client: client.clone(), repository, tags };
        arrived.push(deliver(tree, with_referrers, &sink, (place.to_string(), what), reporter).await?);
    }
    Ok(())
}

/// What a layout, an archive or a bundle lists: of a bundle, what it was told to take along.
pub(super) fn index(source: &Source) -> Result<ImageIndex, TransferError> {
    match source {
        Source::Layout(layout) => Ok(layout.index().map_err(SourceError::from)?),
        Source::Archive { archive, .. } => Ok(archive.index().clone()),
        Source::Kept { bundles, .. } => {
            let extras = bundles.images().filter(|image| image.extra);
            let entries = extras.map(|image| {
                let mut entry = image.root.clone();
                entry.annotations.insert(REF_NAME.to_owned(), image.name.clone());
                entry
            });
            Ok(ImageIndex::new(entries.collect(), BTreeMap::new()))
        }
        Source::Registry { .. } | Source::Embedded(_) => {
            Err(TransferError::Internal("a registry was asked as a file".to_owned()))
        }
    }
}

/// A path that turns out to be a bundle's: that it is a layout, too, is for other tools.
fn as_bundle(from: &Location, index: &ImageIndex) -> Option<Location> {
    let (path, select) = match from {
        Location::Layout { directory: path, select } | Location::Archive { file: path, select, .. } => (path, select),
        Location::Registry(_) | Location::Bundle { .. } => return None,
    };
    let first = index.manifests.first()?;
    crate::bundle::is_bundle(first).then(|| Location::Bundle { path: path.clone(), select: select.clone() })
}

/// Which image goes to which repository under which tags.
fn plan(
    from: &Location,
    index: &ImageIndex,
    targets: &[Reference],
) -> Result<Vec<(Location, Repository, Vec<Tag>)>, TransferError> {
    let select = match from {
        Location::Layout { select, .. } | Location::Archive { select, .. } | Location::Bundle { select, .. } => select,
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
                    let tag = own_tag(name).parse().map_err(registry_client::Error::from)?;
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
    if let Some(error) = same_tag(&plan) {
        return Err(error);
    }
    if plan.is_empty() {
        let known = all.iter().map(|(name, _)| name.to_string()).collect();
        let error = LayoutError::UnknownName { path: from.to_string().into(), name: String::new(), known };
        return Err(SourceError::Layout(error).into());
    }
    Ok(plan)
}

/// One of two images would take the tag away from the other.
fn same_tag(plan: &[(Location, Repository, Vec<Tag>)]) -> Option<TransferError> {
    let mut taken: BTreeMap<String, &Location> = BTreeMap::new();
    for (place, repository, tags) in plan {
        for tag in tags {
            let target = format!("{repository}:{tag}");
            if let Some(first) = taken.insert(target.clone(), place)
                && first != place
            {
                return Some(TransferError::SameTag { target, first: first.to_string(), second: place.to_string() });
            }
        }
    }
    None
}

/// The names of a layout that can be tags, with what they name.
pub(super) fn names(index: &ImageIndex) -> Vec<(Tag, Digest)> {
    let named = index.manifests.iter().filter_map(|entry| {
        let name = entry.annotations.get(REF_NAME).filter(|name| !is_fallback_tag(name))?;
        // containers/image writes full names there, too.
        Some((own_tag(name).parse().ok()?, entry.digest))
    });
    named.collect()
}

pub(super) fn with(from: &Location, select: Select) -> Location {
    match from {
        Location::Bundle { path, .. } => Location::Bundle { path: path.clone(), select },
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

    #[test]
    fn two_images_do_not_take_one_tag() {
        let index = index(&[("r.io/a:12", b"one"), ("r.io/b:12", b"two")]);
        let error = plan(&"oci:d".parse().unwrap(), &index, &["r.io/all".parse().unwrap()]).unwrap_err();
        assert!(error.to_string().starts_with("two images would be r.io/all:12: oci:d@sha256:"), "{error}");
    }
}
