//! The files of an image as checks see them: nodes of its tree, with the facts that were noted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use oci_layout::ImagePath;
use oci_layout::layer::Tree;
use oci_layout::layer::facts::{Node, NodeKind};

use super::elf::{ElfFacts, FileFacts};

/// [`FileFacts`] that several hold.
#[derive(Clone, Debug)]
pub(super) enum Noted {
    Elf(Rc<ElfFacts>),
    Script(Rc<str>),
    Damaged(Rc<str>),
}

/// Places that are looked at for libraries, in all of an image. A desktop system takes a tenth; an
/// image that is made to take for ever ends with answers that are unknown.
const PLACES: usize = 50_000_000;

/// A tree whose facts are read once each.
pub(super) struct Files<'a> {
    pub(super) tree: &'a Tree,
    known: RefCell<HashMap<ImagePath, Option<Noted>>>,
    places: Cell<usize>,
}

impl<'a> Files<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self::with_places(tree, PLACES)
    }

    pub(super) fn with_places(tree: &'a Tree, places: usize) -> Self {
        Self { tree, known: RefCell::new(HashMap::new()), places: Cell::new(places) }
    }

    /// Counts places that are looked at; false when there have been too many.
    pub(super) fn may_look(&self, places: usize) -> bool {
        let left = self.places.get().checked_sub(places);
        self.places.set(left.unwrap_or(0));
        left.is_some()
    }

    /// The regular file that a path leads to, links followed, with its real path. The path is a
    /// text that may be none.
    pub(super) fn file(&self, path: &str) -> Option<(ImagePath, &'a Node)> {
        let real = self.tree.resolve(&normal(path)?, true).ok()?;
        let node = self.tree.get(&real)?;
        matches!(node.kind, NodeKind::File { .. }).then_some((real, node))
    }

    /// What was noted about the file at exactly `path`.
    pub(super) fn facts(&self, path: &ImagePath) -> Option<Noted> {
        // Of most files nothing was noted, and there can be millions.
        let value = self.tree.get(path)?.inspected()?;
        if let Some(known) = self.known.borrow().get(path) {
            return known.clone();
        }
        let facts = FileFacts::of(value).map(|facts| match facts {
            FileFacts::Elf(elf) => Noted::Elf(Rc::from(elf)),
            FileFacts::Script(line) => Noted::Script(line.into()),
            FileFacts::Damaged(why) => Noted::Damaged(why.into()),
        });
        self.known.borrow_mut().insert(path.clone(), facts.clone());
        facts
    }

    /// The same, where it is ELF.
    pub(super) fn elf(&self, path: &ImagePath) -> Option<Rc<ElfFacts>> {
        match self.facts(path)? {
            Noted::Elf(elf) => Some(elf),
            _ => None,
        }
    }
}

/// An absolute path without `.`, `..` and double slashes; these go by their letters alone, which
/// differs from what a kernel does only behind links. None for what is not absolute.
pub(super) fn normal(path: &str) -> Option<ImagePath> {
    if !path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/")).parse().ok()
}
