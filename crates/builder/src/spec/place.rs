//! Where something stands in the build file.

use std::fmt;
use std::sync::Arc;

/// A stretch of one line of a [`Source`]. What spans several lines (a block of YAML) is pointed
/// at by its first one, so that a message stays short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which of the [`Sources`]; 0 is the build file.
    pub source: u16,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Byte offset of the first byte.
    pub start: usize,
    /// Byte offset behind the last byte.
    pub end: usize,
}

impl Place {
    /// The place of a part of `text`, which is the value that stands at `self`. The whole where
    /// the file writes it in another way (escapes, several lines).
    #[must_use]
    pub fn within(self, text: &str, range: std::ops::Range<usize>) -> Self {
        let quotes = match (self.end - self.start).checked_sub(text.len()) {
            Some(0) => 0,
            Some(2) => 1,
            _ => return self,
        };
        let (Some(before), Some(part)) = (text.get(..range.start), text.get(range)) else { return self };
        let start = self.start + quotes + before.len();
        let column = self.column + (quotes + before.chars().count()) as u32;
        Self { column, start, end: start + part.len(), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands; no place where it is a default or comes from a flag of its own.
///
/// Equal and ordered by the value alone: the same thing said in two places is the same thing.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Option<Place>,
}

impl<T> Placed<T> {
    /// A value that stands nowhere in the file.
    pub fn implied(value: T) -> Self {
        Self { value, place: None }
    }

    /// A value that stands at `place`.
    pub fn at(value: T, place: Place) -> Self {
        Self { value, place: Some(place) }
    }

    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Placed<U> {
        Placed { value: f(self.value), place: self.place }
    }
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Placed<T> {}

impl<T: PartialOrd> PartialOrd for Placed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Ord> Ord for Placed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T: std::hash::Hash> std::hash::Hash for Placed<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

/// A text that values were read from: the build file, or a `--set` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What messages call it: the file as it was named, or the flag.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
}

/// The texts that one build was read from. Cheap to clone; a [`Place`] points into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Arc<[Source]>);

impl Sources {
    /// The build file and what came with it, in the order of [`Place::source`].
    pub fn new(list: Vec<Source>) -> Self {
        Self(list.into())
    }

    /// The text that `place` points into; the build file where there is no place.
    pub fn of(&self, place: Option<Place>) -> Option<&Source> {
        self.0.get(place.map_or(0, |place| usize::from(place.source)))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }
}
