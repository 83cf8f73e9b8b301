//! Paths inside an image.
//!
//! An [`ImagePath`] is absolute, normalized UTF-8 text: no `.`, `..`, empty component, NUL or
//! trailing slash, and no component that a layer would read as a whiteout (`.wh.`). What is an
//! `ImagePath` needs no second look before it goes into a tar header (rows I03, I08, I10).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest component in bytes: `NAME_MAX` of Linux.
pub const MAX_COMPONENT: usize = 255;
/// Longest path in bytes: `PATH_MAX` of Linux.
pub const MAX_PATH: usize = 4096;
/// What whiteouts start with (image-spec, layer.md, "Whiteouts").
pub const WHITEOUT_PREFIX: &str = ".wh.";

/// An absolute, normalized path in an image.
///
/// Sorted by components, so that a parent comes before its children and a directory's whole
/// subtree stays together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImagePath(Arc<str>);

/// Why a text is not a path in an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePathError {
    /// It does not start with a slash.
    #[error("path `{}` in the image is not absolute", clip(.0))]
    Relative(String),
    /// A component that is empty (two slashes, or one at the end), `.` or `..`.
    #[error("path `{}` in the image has the component `{component}`", clip(.path))]
    Component {
        /// The whole text.
        path: String,
        /// The component.
        component: String,
    },
    /// A NUL byte.
    #[error("path `{}` in the image holds a NUL character", clip(.0))]
    Nul(String),
    /// A component over [`MAX_COMPONENT`].
    #[error("path `{}` in the image has a component of {length} bytes, more than {MAX_COMPONENT}", clip(.path))]
    LongComponent {
        /// The whole text.
        path: String,
        /// Bytes of the component.
        length: usize,
    },
    /// The whole is over [`MAX_PATH`].
    #[error("path `{}` in the image has {length} bytes, more than {MAX_PATH}", clip(.path))]
    Long {
        /// The whole text.
        path: String,
        /// Its bytes.
        length: usize,
    },
    /// A component that starts with `.wh.`: engines would delete a file rather than create one.
    #[error("path `{}` in the image has a component that starts with `.wh.`, which engines take for a deletion", clip(.0))]
    Whiteout(String),
}

/// A text for a message: escaped, and cut where it is too long to read.
fn clip(text: &str) -> String {
    let shown: String = text.chars().take(96).flat_map(char::escape_debug).collect();
    if text.chars().nth(96).is_some() { format!("{shown}…") } else { shown }
}

impl ImagePath {
    /// `/`.
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// The text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without its leading slash, as it stands in a tar. Empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The components, from the top. None for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.relative().split('/').filter(|component| !component.is_empty())
    }

    /// The last component. None for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// The directory that it is in. None for the root.
    pub fn parent(&self) -> Option<Self> {
        Some(self.directory()).filter(|directory| !directory.is_empty()).map(|directory| Self(Arc::from(directory)))
    }

    /// The text of the directory that it is in. Empty for the root.
    pub fn directory(&self) -> &str {
        match self.0.rfind('/') {
            _ if self.is_root() => "",
            Some(0) | None => "/",
            Some(slash) => &self.0[..slash],
        }
    }

    /// All directories above it, the root first.
    pub fn ancestors(&self) -> Vec<Self> {
        let mut list: Vec<Self> = std::iter::successors(self.parent(), Self::parent).collect();
        list.reverse();
        list
    }

    /// The path `below` under this one; `below` is one component or several, without a leading slash.
    pub fn join(&self, below: &str) -> Result<Self, ParsePathError> {
        if below.starts_with('/') {
            return Err(ParsePathError::Component { path: below.to_owned(), component: String::new() });
        }
        let top = if self.is_root() { "" } else { self.as_str() };
        format!("{top}/{below}").parse()
    }

    /// Whether `self` is `top` or below it.
    pub fn starts_with(&self, top: &Self) -> bool {
        top.is_root() || self.0.strip_prefix(top.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for ImagePath {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, ParsePathError> {
        let whole = || text.to_owned();
        let relative = text.strip_prefix('/').ok_or_else(|| ParsePathError::Relative(whole()))?;
        if text.contains('\0') {
            return Err(ParsePathError::Nul(whole()));
        }
        if text.len() > MAX_PATH {
            return Err(ParsePathError::Long { path: whole(), length: text.len() });
        }
        if !relative.is_empty() {
            for component in relative.split('/') {
                match component {
                    "" | "." | ".." => {
                        return Err(ParsePathError::Component { path: whole(), component: component.to_owned() });
                    }
                    _ if component.len() > MAX_COMPONENT => {
                        return Err(ParsePathError::LongComponent { path: whole(), length: component.len() });
                    }
                    _ if component.starts_with(WHITEOUT_PREFIX) => return Err(ParsePathError::Whiteout(whole())),
                    _ => {}
                }
            }
        }
        Ok(Self(Arc::from(text)))
    }
}

impl Ord for ImagePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash counts as lower than anything that a component can hold.
        let key = |path: &Self, at: usize| match path.0.as_bytes()[at] {
            b'/' => 0,
            byte => byte,
        };
        let (ours, theirs) = (self.0.as_bytes(), other.0.as_bytes());
        // Neighbours in a tree begin alike: eight bytes at a time.
        let eights = ours.as_chunks::<8>().0.iter().zip(theirs.as_chunks::<8>().0);
        let alike = eights.take_while(|(a, b)| a == b).count() * 8;
        match ours[alike..].iter().zip(&theirs[alike..]).position(|(a, b)| a != b) {
            Some(at) => key(self, alike + at).cmp(&key(other, alike + at)),
            None => ours.len().cmp(&theirs.len()),
        }
    }
}

impl PartialOrd for ImagePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for ImagePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImagePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> ImagePath {
        text.parse().unwrap()
    }

    #[track_caller]
    fn rejects(text: &str, expect: &str) {
        let error = text.parse::<ImagePath>().unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn i03_destinations_outside_or_unclear_are_rejected() {
        rejects("", "not absolute");
        rejects("a/b", "not absolute");
        rejects("../x", "not absolute");
        rejects("/../x", "component `..`");
        rejects("/a/..", "component `..`");
        rejects("/./a", "component `.`");
        rejects("//a", "component ``");
        rejects("/a/", "component ``");
        rejects("/a\0b", "NUL");
    }

    #[test]
    fn i08_long_names_are_rejected() {
        assert!(format!("/{}", "x".repeat(255)).parse::<ImagePath>().is_ok());
        rejects(&format!("/{}", "x".repeat(256)), "256 bytes");
        rejects(&format!("/{}", "ä".repeat(128)), "256 bytes");
        let deep = "/abc".repeat(1024);
        assert!(deep.parse::<ImagePath>().is_ok());
        rejects(&format!("{deep}/d"), "4098 bytes");
    }

    #[test]
    fn i10_names_of_whiteouts_are_rejected() {
        rejects("/.wh.", "deletion");
        rejects("/a/.wh.b/c", "deletion");
        assert!("/a/x.wh.b".parse::<ImagePath>().is_ok());
        assert!(path("/a").join(".wh.x").is_err());
    }

    #[test]
    fn parts_of_paths() {
        let deep = path("/a/b.c/d");
        assert_eq!(deep.components().collect::<Vec<_>>(), ["a", "b.c", "d"]);
        assert_eq!(deep.file_name(), Some("d"));
        assert_eq!(deep.parent(), Some(path("/a/b.c")));
        assert_eq!(path("/a").parent(), Some(ImagePath::root()));
        assert_eq!(path("/").parent(), None);
        assert_eq!(path("/").file_name(), None);
        assert_eq!(deep.ancestors(), [path("/"), path("/a"), path("/a/b.c")]);
        assert_eq!(path("/").join("a/b").unwrap(), path("/a/b"));
        assert_eq!(path("/x").join("a").unwrap(), path("/x/a"));
        assert!(path("/x").join("/a").is_err());
        assert!(path("/x").join("../a").is_err());
        assert!(path("/ab/c").starts_with(&path("/ab")));
        assert!(!path("/abc").starts_with(&path("/ab")));
    }

    #[test]
    fn parents_come_first_and_subtrees_stay_together() {
        let mut list = ["/a.b", "/a/z", "/a", "/", "/a/b/c", "/b", "/a/b", "/a-b"].map(path);
        list.sort();
        assert_eq!(list, ["/", "/a", "/a/b", "/a/b/c", "/a/z", "/a-b", "/a.b", "/b"].map(path));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_and_round_trips(text in "(/[a-c.]{0,3}){0,5}|\\PC{0,40}") {
            if let Ok(parsed) = text.parse::<ImagePath>() {
                prop_assert_eq!(parsed.as_str(), &text);
                let rebuilt = parsed.components().try_fold(ImagePath::root(), |path, part| path.join(part)).unwrap();
                prop_assert_eq!(rebuilt, parsed);
            }
        }

        #[test]
        fn order_is_that_of_components(a in "(/[a-b.-]{1,3}){1,4}", b in "(/[a-b.-]{1,3}){1,4}") {
            if let (Ok(a), Ok(b)) = (a.parse::<ImagePath>(), b.parse::<ImagePath>()) {
                prop_assert_eq!(a.cmp(&b), a.components().cmp(b.components()));
            }
        }
    }
}
