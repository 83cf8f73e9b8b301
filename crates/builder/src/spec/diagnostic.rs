//! What is wrong with a build file, and where: data that a front end draws with an excerpt.

use std::fmt;

use super::place::{Place, Sources};
use super::problem::Problem;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The build cannot go on.
    Error,
    /// The build goes on, though it may not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A stretch of text and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// A few words; may be empty.
    pub text: String,
}

/// One thing to tell about a build file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A word that stays the same from version to version, such as `unknown-key`.
    pub code: &'static str,
    /// A sentence without a full stop that is understood without the excerpt.
    pub message: String,
    /// Where, unless it is nowhere in particular. Its words stand beside the mark.
    pub label: Option<Label>,
    /// Other places that belong to it, such as the first of two.
    pub related: Vec<Label>,
    /// What belongs to it, such as what a program has written: a line each.
    pub notes: Vec<String>,
    /// What to do about it, each a sentence.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// An error that stands at `place`, or nowhere in particular.
    pub fn error(code: &'static str, message: impl Into<String>, place: Option<Place>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            label: place.map(|place| Label { place, text: String::new() }),
            related: Vec::new(),
            notes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// With words beside the mark.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = &mut self.label {
            label.text = text.into();
        }
        self
    }

    /// With the nearest of `known` to a name that is none of them beside the mark, if one is near.
    #[must_use]
    pub fn nearest(self, wrong: &str, known: &[String]) -> Self {
        let near = super::nearest::nearest(wrong, known.iter().map(String::as_str));
        if near.is_empty() { self } else { self.label(format!("did you mean {}?", super::problem::list(&near, "or"))) }
    }

    /// With another place, if there is one.
    #[must_use]
    pub fn related(mut self, place: Option<Place>, text: impl Into<String>) -> Self {
        self.related.extend(place.map(|place| Label { place, text: text.into() }));
        self
    }

    /// With one more line that belongs to it.
    #[must_use]
    pub fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }

    /// With one more hint.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Where it stands.
    pub fn place(&self) -> Option<Place> {
        self.label.as_ref().map(|label| label.place)
    }
}

/// Everything that is wrong with a build file: at least one thing, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    sources: Sources,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// One thing.
    pub fn one(sources: Sources, diagnostic: Diagnostic) -> Self {
        Self { sources, list: vec![diagnostic] }
    }

    /// All things of `list`, sorted by place and without doubles. None where there are none.
    pub fn new(sources: Sources, mut list: Vec<Diagnostic>) -> Option<Self> {
        list.sort_by_key(Diagnostic::place);
        list.dedup();
        (!list.is_empty()).then_some(Self { sources, list })
    }

    /// The texts that the places point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Plain lines `FILE:LINE:COLUMN: error: message`, each with its notes and hints below.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let place = diagnostic.place();
            let name = self.sources.of(place).map_or("", |source| source.name.as_str());
            match place {
                Some(place) => write!(f, "{name}:{place}: ")?,
                None => write!(f, "{name}: ")?,
            }
            write!(f, "{}: {}", diagnostic.severity, diagnostic.message)?;
            if let Some(label) = diagnostic.label.as_ref().filter(|label| !label.text.is_empty()) {
                write!(f, " ({})", label.text)?;
            }
            for related in &diagnostic.related {
                write!(f, "\n  {}: {}", related.place, related.text)?;
            }
            for note in &diagnostic.notes {
                write!(f, "\n  {note}")?;
            }
            for hint in &diagnostic.hints {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Collects what is wrong while a file is read to its end.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) list: Vec<Diagnostic>,
}

impl Sink {
    /// Takes a problem that stands at `place`.
    pub(crate) fn problem(&mut self, problem: Problem, place: impl Into<Option<Place>>) {
        self.list.push(problem.at(place.into()));
    }
}
