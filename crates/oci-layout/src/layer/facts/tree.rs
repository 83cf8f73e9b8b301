//! The files of a stack of layers, as a container would see them.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::sorted::Sorted;
use super::{FactKind, LayerFacts};
use crate::layer::entry::{Content, Entry, EntryKind};
use crate::path::{ImagePath, ParsePathError};

/// Most symbolic links on one path, as in Linux.
const MAX_LINKS: usize = 40;

/// A file, directory or link of a [`Tree`].
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission and set-id bits.
    pub mode: u32,
    /// Owner. Numbers beyond 32 bits are in no real image; what has one becomes the overflow user's.
    pub uid: u32,
    /// Group, the same.
    pub gid: u32,
    /// Number of the layer that it comes from, lowest is 0; `None` for what was inserted later.
    pub layer: Option<u32>,
    /// Few have any; there can be millions of nodes.
    noted: Option<Arc<Noted>>,
}

/// What is known of the content of a file.
#[derive(Clone, Debug, Default, PartialEq)]
struct Noted {
    text: Option<Arc<str>>,
    inspected: Option<Value>,
}

/// What a [`Node`] is. Hard links are the file that they name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Its size in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Its text.
        target: String,
    },
    /// A device or fifo.
    Other,
}

impl Node {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == NodeKind::Directory
    }

    /// User and group.
    pub fn owner(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// Content of the text files that facts keep.
    pub fn text(&self) -> Option<&str> {
        self.noted.as_ref()?.text.as_deref()
    }

    /// What an inspector noted.
    pub fn inspected(&self) -> Option<&Value> {
        self.noted.as_ref()?.inspected.as_ref()
    }

    fn note(&mut self, change: impl FnOnce(&mut Noted)) {
        change(Arc::make_mut(self.noted.get_or_insert_default()));
    }

    /// A directory that no layer mentions, though something is in it.
    fn implied(layer: Option<u32>) -> Self {
        Self { kind: NodeKind::Directory, mode: 0o755, uid: 0, gid: 0, layer, noted: None }
    }
}

/// See [`Node::uid`].
pub(in crate::layer) fn in_32_bits(id: u64) -> u32 {
    u32::try_from(id).unwrap_or(65534)
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// More than 40 links on the way, as in a loop.
    #[error("{path} goes through too many symbolic links; {link} is one of them")]
    Loop {
        /// What was looked up.
        path: ImagePath,
        /// A link on the way.
        link: ImagePath,
    },
    /// Something below a file.
    #[error("{path} cannot be reached: {file} is not a directory")]
    NotDirectory {
        /// What was looked up.
        path: ImagePath,
        /// The file in its way.
        file: ImagePath,
    },
    /// A link whose text leads to an impossible path.
    #[error("{path} cannot be reached: link {link} leads to an impossible path")]
    BadTarget {
        /// What was looked up.
        path: ImagePath,
        /// The link.
        link: ImagePath,
        /// What is wrong with its target.
        source: ParsePathError,
    },
}

/// Why something cannot be put into a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// A parent is a file or link.
    #[error("{path} cannot be below {file}, which is not a directory")]
    NotDirectory {
        /// What was to be inserted.
        path: ImagePath,
        /// The file in its way.
        file: ImagePath,
    },
    /// A file or link where a directory with content is.
    #[error("{path} is a directory that is not empty")]
    NotEmpty {
        /// The directory.
        path: ImagePath,
    },
    /// A hard link to what is not a file.
    #[error("hard link {path} to {to}, which is not a file")]
    HardLink {
        /// The link.
        path: ImagePath,
        /// Its target.
        to: ImagePath,
    },
}

/// The merged files of a stack of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    nodes: Sorted<ImagePath, Node>,
}

impl Default for Tree {
    /// Only a root directory.
    fn default() -> Self {
        let mut nodes = Sorted::new();
        nodes.insert(ImagePath::root(), Node::implied(None));
        Self { nodes }
    }
}

impl Tree {
    /// Merges layers, lowest first.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a LayerFacts>) -> Self {
        let mut tree = Self::default();
        for (number, facts) in (0..).zip(layers) {
            tree.lay_over(facts, number);
        }
        tree
    }

    /// Gives everything that was inserted so far to layer `number`.
    pub fn seal(&mut self, number: u32) {
        for node in self.nodes.values_mut() {
            node.layer.get_or_insert(number);
        }
    }

    /// Lays layer `number` over the tree, the way engines do that unpack each layer by itself: what it
    /// removes goes first, and a directory of its own replaces a link or file below.
    pub fn lay_over(&mut self, facts: &LayerFacts, number: u32) {
        for fact in &facts.entries {
            match fact.kind {
                FactKind::Whiteout => {
                    self.remove_below(&fact.path);
                    self.nodes.remove(&fact.path);
                }
                FactKind::Opaque => self.remove_below(&fact.path),
                _ => {}
            }
        }
        for fact in &facts.entries {
            let kind = match &fact.kind {
                FactKind::File { size } => NodeKind::File { size: *size },
                FactKind::Directory => NodeKind::Directory,
                FactKind::Symlink { target } => NodeKind::Symlink { target: target.clone() },
                FactKind::Other => NodeKind::Other,
                FactKind::HardLink { to } => {
                    if let Some(mut node) = self.nodes.get(to).cloned() {
                        node.layer = Some(number);
                        self.place(&fact.path, node, number);
                    }
                    continue;
                }
                FactKind::Whiteout | FactKind::Opaque => continue,
            };
            let text = facts.texts.get(&fact.path).map(|text| Arc::from(text.as_str()));
            let inspected = facts.inspected.get(&fact.path).cloned();
            let is_noted = text.is_some() || inspected.is_some();
            let node = Node {
                kind,
                mode: fact.mode,
                uid: in_32_bits(fact.uid),
                gid: in_32_bits(fact.gid),
                layer: Some(number),
                noted: is_noted.then(|| Arc::new(Noted { text, inspected })),
            };
            self.place(&fact.path, node, number);
        }
    }

    /// Puts a node of layer `number` where unpacking would put it.
    fn place(&mut self, path: &ImagePath, node: Node, number: u32) {
        let Some(parent) = path.parent() else {
            if node.is_directory() {
                self.nodes.insert(path.clone(), node);
            }
            return;
        };
        let path = if self.nodes.get(&parent).is_some_and(Node::is_directory) {
            path.clone()
        } else {
            match self.make_parents(&parent, number) {
                Some(parent) => match path.file_name().map(|name| parent.join(name)) {
                    Some(Ok(path)) => path,
                    _ => return,
                },
                None => return,
            }
        };
        if !node.is_directory() {
            self.remove_below(&path);
        }
        self.nodes.insert(path, node);
    }

    /// Makes `directory` and all above it directories; follows links only of layer `number` itself.
    fn make_parents(&mut self, directory: &ImagePath, number: u32) -> Option<ImagePath> {
        let mut all = directory.ancestors();
        all.push(directory.clone());
        for ancestor in all {
            match self.nodes.get(&ancestor) {
                Some(node) if node.is_directory() => {}
                Some(node) if node.layer == Some(number) && matches!(node.kind, NodeKind::Symlink { .. }) => {
                    let resolved = self.resolve(directory, true).ok()?;
                    // A link that leads to nothing, or to links below: unpacking fails or differs.
                    return self.nodes.get(&resolved).is_some_and(Node::is_directory).then_some(resolved);
                }
                _ => {
                    self.remove_below(&ancestor);
                    self.nodes.insert(ancestor, Node::implied(Some(number)));
                }
            }
        }
        Some(directory.clone())
    }

    fn remove_below(&mut self, top: &ImagePath) {
        let inside = self.below(top);
        for path in inside {
            self.nodes.remove(&path);
        }
    }

    fn below(&self, top: &ImagePath) -> Vec<ImagePath> {
        self.nodes.after(top).take_while(|(path, _)| path.starts_with(top)).map(|(path, _)| path.clone()).collect()
    }

    /// The node at exactly `path`, no link followed.
    pub fn get(&self, path: &ImagePath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All nodes, parents before their children.
    pub fn iter(&self) -> impl Iterator<Item = (&ImagePath, &Node)> {
        self.nodes.iter()
    }

    /// How many nodes there are, the root among them.
    #[allow(clippy::len_without_is_empty, reason = "there is always a root")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What is directly in `directory`, sorted. No link is followed.
    pub fn children(&self, directory: &ImagePath) -> impl Iterator<Item = (&ImagePath, &Node)> {
        let depth = directory.components().count() + 1;
        self.nodes
            .after(directory)
            .take_while(move |(path, _)| path.starts_with(directory))
            .filter(move |(path, _)| path.components().count() == depth)
    }

    /// The text of the file that `path` leads to, links followed, where facts keep it.
    pub fn text(&self, path: &ImagePath) -> Option<&str> {
        self.get(&self.resolve(path, true).ok()?)?.text()
    }

    /// Where `path` leads when the links of the tree are followed: those of its parents always,
    /// the last component's only with `follow_last`. Absolute links and `..` stay inside the root.
    /// Components that do not exist are kept as they are.
    pub fn resolve(&self, path: &ImagePath, follow_last: bool) -> Result<ImagePath, ResolveError> {
        let mut rest: VecDeque<String> = path.components().map(str::to_owned).collect();
        let mut current = ImagePath::root();
        let mut links = 0;
        while let Some(component) = rest.pop_front() {
            match component.as_str() {
                "" | "." => continue,
                ".." => {
                    current = current.parent().unwrap_or(current);
                    continue;
                }
                _ => {}
            }
            // Only the target of a link can hold a component that is not valid.
            let next = current.join(&component).map_err(|source| ResolveError::BadTarget {
                path: path.clone(),
                link: current.clone(),
                source,
            })?;
            match self.nodes.get(&next).map(|node| &node.kind) {
                Some(NodeKind::Symlink { target }) if follow_last || !rest.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ResolveError::Loop { path: path.clone(), link: next });
                    }
                    if target.starts_with('/') {
                        current = ImagePath::root();
                    }
                    for component in target.split('/').rev() {
                        rest.push_front(component.to_owned());
                    }
                }
                Some(NodeKind::File { .. } | NodeKind::Other)
                    if rest.iter().any(|c| !matches!(c.as_str(), "" | ".")) =>
                {
                    return Err(ResolveError::NotDirectory { path: path.clone(), file: next });
                }
                _ => current = next,
            }
        }
        Ok(current)
    }

    /// Notes something about the file at exactly `path`, as an inspector would have.
    pub fn note(&mut self, path: &ImagePath, value: Value) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.note(|noted| noted.inspected = Some(value));
        }
    }

    /// Keeps the text of the file at exactly `path`, as facts would have.
    pub fn note_text(&mut self, path: &ImagePath, text: &str) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.note(|noted| noted.text = Some(Arc::from(text)));
        }
    }

    /// Removes what a whiteout or opaque directory hides.
    fn remove(&mut self, entry: &Entry) -> Option<Node> {
        match entry.kind {
            EntryKind::Opaque => {
                self.remove_below(&entry.path);
                None
            }
            EntryKind::Whiteout if !entry.path.is_root() => {
                self.remove_below(&entry.path);
                self.nodes.remove(&entry.path)
            }
            _ => None,
        }
    }

    /// Adds what a later layer has, and returns what it replaces. Missing parents become
    /// directories of root's with mode 0755; no link is followed, so resolve the path before.
    pub fn insert(&mut self, entry: &Entry) -> Result<Option<Node>, InsertError> {
        let path = &entry.path;
        if let EntryKind::Whiteout | EntryKind::Opaque = entry.kind {
            return Ok(self.remove(entry));
        }
        let missing = self.missing_above(path)?;
        let mut node = Node {
            kind: NodeKind::Directory,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            layer: None,
            noted: None,
        };
        match &entry.kind {
            EntryKind::Directory => {}
            EntryKind::Symlink { target } => node.kind = NodeKind::Symlink { target: target.clone() },
            EntryKind::File(content) => {
                node.kind = NodeKind::File { size: content.size() };
                if let Content::Bytes(bytes) = content {
                    let text = std::str::from_utf8(bytes).ok().map(Arc::from);
                    node.note(|noted| noted.text = text);
                }
            }
            EntryKind::HardLink { to } => match self.nodes.get(to) {
                Some(target) if matches!(target.kind, NodeKind::File { .. }) => {
                    node = Node { layer: None, ..target.clone() };
                }
                _ => return Err(InsertError::HardLink { path: path.clone(), to: to.clone() }),
            },
            EntryKind::Fifo | EntryKind::Device { .. } => node.kind = NodeKind::Other,
            // Done with above.
            EntryKind::Whiteout | EntryKind::Opaque => return Ok(None),
        }
        for ancestor in missing {
            self.nodes.insert(ancestor, Node::implied(None));
        }
        let is_directory = node.is_directory();
        let replaced = self.nodes.insert(path.clone(), node);
        // Only a directory that is there has something below it.
        match replaced {
            Some(old) if !is_directory && old.is_directory() && (path.is_root() || self.inside(path).is_some()) => {
                self.nodes.insert(path.clone(), old);
                Err(InsertError::NotEmpty { path: path.clone() })
            }
            replaced => Ok(replaced),
        }
    }

    /// The directories above `path` that are not there. What is above one that is there, is there.
    fn missing_above(&self, path: &ImagePath) -> Result<Vec<ImagePath>, InsertError> {
        let mut missing = Vec::new();
        for ancestor in std::iter::successors(path.parent(), ImagePath::parent) {
            match self.nodes.get(&ancestor) {
                Some(node) if node.is_directory() => break,
                Some(_) => return Err(InsertError::NotDirectory { path: path.clone(), file: ancestor }),
                None => missing.push(ancestor),
            }
        }
        Ok(missing)
    }

    /// Something below `top`.
    fn inside(&self, top: &ImagePath) -> Option<&ImagePath> {
        let (next, _) = self.nodes.after(top).next()?;
        next.starts_with(top).then_some(next)
    }
}
