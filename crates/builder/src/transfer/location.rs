//! Where images are, as people write it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_layout::{Digest, Selector};
use registry_client::Reference;
use registry_client::reference::ParseReferenceError;

use crate::build::ArchiveKind;

/// A place that images come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `registry/repository[:tag][@digest]`.
    Registry(Reference),
    /// `oci:DIR[:TAG|@DIGEST]`.
    Layout {
        /// The layout's directory.
        directory: PathBuf,
        /// Which image.
        select: Select,
    },
    /// `oci-archive:FILE[:TAG|@DIGEST]`, or `docker-archive:…`. Reading takes either for either.
    Archive {
        /// What is written.
        kind: ArchiveKind,
        /// The archive.
        file: PathBuf,
        /// Which image.
        select: Select,
    },
    /// `bundle:PATH[:NAME|@DIGEST]`, to read from: what `mab vendor` has written.
    Bundle {
        /// The bundle's file or directory.
        path: PathBuf,
        /// Which of its images.
        select: Select,
    },
}

/// Picks an image of a layout or archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// The only one.
    Only,
    /// By name, as a rule a tag.
    Name(String),
    /// By digest.
    Digest(Digest),
}

impl Select {
    /// As the layout is asked for it.
    pub fn selector(&self) -> Selector<'_> {
        match self {
            Self::Only => Selector::Only,
            Self::Name(name) => Selector::Name(name),
            Self::Digest(digest) => Selector::Digest(*digest),
        }
    }
}

/// Why a text is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLocationError {
    /// Nothing behind the colon.
    #[error("the path is missing: write {0}PATH, {0}PATH:TAG or {0}PATH@DIGEST")]
    NoPath(&'static str),
    /// Not a reference.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
}

impl Location {
    /// A layout where `path` is a directory, else an archive: what `mab push` is given.
    pub fn of_path(path: &str) -> Result<Self, ParseLocationError> {
        if ["oci:", "oci-archive:", "docker-archive:", "bundle:"].iter().any(|prefix| path.starts_with(prefix)) {
            return path.parse();
        }
        if path.is_empty() {
            return Err(ParseLocationError::NoPath(""));
        }
        let (path, select) = split(path);
        Ok(if path.is_dir() {
            Self::Layout { directory: path, select }
        } else {
            Self::Archive { kind: ArchiveKind::Oci, file: path, select }
        })
    }
}

impl FromStr for Location {
    type Err = ParseLocationError;

    /// Looks at the disk for one thing: whether a path with a colon in it is there as a whole.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for (prefix, kind) in [("oci-archive:", ArchiveKind::Oci), ("docker-archive:", ArchiveKind::Docker)] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (file, select) = located(rest, prefix)?;
                return Ok(Self::Archive { kind, file, select });
            }
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (directory, select) = located(rest, "oci:")?;
            return Ok(Self::Layout { directory, select });
        }
        if let Some(rest) = text.strip_prefix("bundle:") {
            let (path, select) = in_bundle(rest);
            return match path.as_os_str().is_empty() {
                true => Err(ParseLocationError::NoPath("bundle:")),
                false => Ok(Self::Bundle { path, select }),
            };
        }
        Ok(Self::Registry(text.parse()?))
    }
}

/// A bundle, and what is picked of it: the names in it have colons and slashes themselves, so that the
/// shortest path that is there counts.
fn in_bundle(text: &str) -> (PathBuf, Select) {
    let ends = text.char_indices().filter(|(_, c)| *c == ':').map(|(at, _)| text.split_at(at));
    for (path, name) in ends {
        let name = name.trim_start_matches(':');
        if !name.is_empty() && Path::new(path).exists() {
            return (PathBuf::from(path), Select::Name(name.to_owned()));
        }
    }
    split(text)
}

fn located(text: &str, prefix: &'static str) -> Result<(PathBuf, Select), ParseLocationError> {
    let (path, select) = split(text);
    if path.as_os_str().is_empty() { Err(ParseLocationError::NoPath(prefix)) } else { Ok((path, select)) }
}

/// Path, and what is picked of it. Something of that very name goes before a tag.
fn split(text: &str) -> (PathBuf, Select) {
    if let Some((path, digest)) = text.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return (PathBuf::from(path), Select::Digest(digest));
    }
    match text.rsplit_once(':') {
        Some((path, name)) if !name.is_empty() && !name.contains('/') && !Path::new(text).exists() => {
            (PathBuf::from(path), Select::Name(name.to_owned()))
        }
        _ => (PathBuf::from(text), Select::Only),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, select) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { directory, select } => ("oci", directory, select),
            Self::Archive { kind, file, select } => (kind.name(), file, select),
            Self::Bundle { path, select } => ("bundle", path, select),
        };
        write!(f, "{prefix}:{}", path.display())?;
        match select {
            Select::Only => Ok(()),
            Select::Name(name) => write!(f, ":{name}"),
            Select::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_alike() {
        let digest = Digest::of(b"x");
        for text in [
            "localhost:5000/a/b:1",
            "oci:dir",
            "oci:/a/b:v1",
            "oci-archive:x.tar:v1",
            "docker-archive:x.tar",
            "bundle:x.tar:debian",
            &format!("oci:dir@{digest}"),
            &format!("localhost/a@{digest}"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        for bad in ["", "oci:", "oci-archive:", "oci::v1", "UPPER/x", &format!("oci:@{digest}")] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_with_a_colon_goes_before_a_tag() {
        let root = tempfile::tempdir().unwrap();
        let text = root.path().join("a:b").display().to_string();
        let tagged = Location::of_path(&text).unwrap();
        assert!(matches!(tagged, Location::Archive { select: Select::Name(name), .. } if name == "b"));
        std::fs::create_dir(&text).unwrap();
        let whole = Location::of_path(&text).unwrap();
        assert_eq!(whole, Location::Layout { directory: text.clone().into(), select: Select::Only });
        let named: Location = format!("bundle:{text}:localhost:5000/team/app:v1").parse().unwrap();
        assert_eq!(
            named,
            Location::Bundle { path: text.into(), select: Select::Name("localhost:5000/team/app:v1".into()) }
        );
    }
}
