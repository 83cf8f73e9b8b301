//! Several images in one go: all tags of a repository, or a list. They are moved one after the
//! other, so that what has arrived is known where one of them fails.

use std::str::FromStr;
use std::sync::Arc;

use oci_layout::layout::is_fallback_tag;
use registry_client::{Client, Reference, Tag};

use super::{Arrived, CopyRequest, Location, Select, Source, TransferError, copy, push};
use crate::event::Reporter;

/// From where to where, for each image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(pub Vec<(Location, Location)>);

impl FromStr for List {
    type Err = TransferError;

    /// Source and target on each line; empty lines, and those that begin with `#`, say nothing.
    fn from_str(text: &str) -> Result<Self, TransferError> {
        let mut pairs = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let fail = |reason: String| TransferError::List { line: number + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [from, to] = words[..] else {
                return Err(fail(format!("{} words are no source and target", words.len())));
            };
            let place = |text: &str| text.parse::<Location>().map_err(|error| fail(format!("{text}: {error}")));
            pairs.push((place(from)?, place(to)?));
        }
        Ok(Self(pairs))
    }
}

/// All that is called by a tag in `from`, to be called the same in `to`.
pub async fn all_tags(from: &Location, to: &Location, client: &Client) -> Result<List, TransferError> {
    let refuse = |place: &Location, reason| TransferError::AllTags { place: place.to_string(), reason };
    let named: Vec<(Location, Tag)> = match from {
        Location::Registry(Reference { repository, tag: None, digest: None }) => {
            let tags = client.tags(repository).await?;
            let tags = tags.into_iter().filter(|tag| !is_fallback_tag(&tag.to_string()));
            let at = |tag: &Tag| Reference { repository: repository.clone(), tag: Some(tag.clone()), digest: None };
            tags.map(|tag| (Location::Registry(at(&tag)), tag)).collect()
        }
        Location::Layout { select: Select::Only, .. }
        | Location::Archive { select: Select::Only, .. }
        | Location::Bundle { select: Select::Only, .. } => {
            let source = Arc::new(Source::open(from, client).await?);
            let names = push::names(&push::index(&source)?);
            names.into_iter().map(|(tag, digest)| (push::with(from, Select::Digest(digest)), tag)).collect()
        }
        _ => return Err(refuse(from, "names one image: leave out its tag or digest")),
    };
    if named.is_empty() {
        return Err(refuse(from, "has no tags"));
    }
    let target = |tag: Tag| match to {
        Location::Registry(Reference { repository, tag: None, digest: None }) => {
            Ok(Location::Registry(Reference { repository: repository.clone(), tag: Some(tag), digest: None }))
        }
        Location::Layout { directory, select: Select::Only } => {
            Ok(Location::Layout { directory: directory.clone(), select: Select::Name(tag.to_string()) })
        }
        _ => Err(refuse(to, "takes one image: name a repository or a layout without a tag")),
    };
    named.into_iter().map(|(place, tag)| Ok((place, target(tag)?))).collect::<Result<_, _>>().map(List)
}

/// Copies each of a list; what has arrived is in `arrived`, also where this fails.
pub async fn copy_list(
    list: List,
    request: impl Fn(Location, Location) -> CopyRequest,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
    arrived: &mut Vec<Arrived>,
) -> Result<(), TransferError> {
    for (from, to) in list.0 {
        arrived.push(copy(&request(from, to), client, reporter).await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_source_and_a_target_on_each_line() {
        let list: List = "# mirrors\n\ndebian:12 r.io/debian:12\n  oci:a:v1\toci:b  \n".parse().unwrap();
        let shown: Vec<_> = list.0.iter().map(|(from, to)| format!("{from} {to}")).collect();
        assert_eq!(shown, ["docker.io/library/debian:12 r.io/debian:12", "oci:a:v1 oci:b"]);
        for (text, says) in [
            ("debian:12", "line 1 of the list: 1 words are no source and target"),
            ("a b\na b c", "line 2 of the list: 3 words"),
            ("UPPER/x b", "line 1 of the list: UPPER/x: "),
        ] {
            let error = text.parse::<List>().unwrap_err();
            assert!(error.to_string().starts_with(says), "{error}");
            assert!(!error.hints().is_empty());
        }
    }
}
