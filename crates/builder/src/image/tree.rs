//! The image's files as they grow: where a destination really lands, and with which parents.
//!
//! Engines apply each layer by itself. A layer that says `/bin/x` where `/bin` is a link would
//! replace the link by a directory, and one that says `/tmp/x` alone would give `/tmp` another
//! mode. So destinations are resolved through the links below them, and every parent is written
//! with the mode and owner that it already has.

use std::collections::HashSet;

use oci_layout::ImagePath;
use oci_layout::layer::facts::NodeKind;
use oci_layout::layer::{Entry, EntryKind, LayerFacts, Tree, Xattrs};

use crate::check::CheckId;
use crate::spec::accounts::Numbers;
use crate::spec::{Diagnostic, Place};

/// The numbers that layers of the image's own have while it grows: above those of any base.
pub(super) const OWN_LAYERS: u32 = u32::MAX / 2;

/// Something that is put into the image.
pub(super) struct Item {
    /// Where the build file wants it.
    pub path: ImagePath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: Numbers,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// What is there already may be replaced.
    pub replace: bool,
    /// Where the build file says so.
    pub place: Option<Place>,
}

/// The tree of base and finished layers, and the entries of the layer that is being made.
#[derive(Clone)]
pub(super) struct Growing {
    tree: Tree,
    /// In the order they were put; of several for one path the last one counts.
    entries: Vec<Entry>,
    /// The directories among them. With each entry, all that are above it.
    directories: HashSet<ImagePath>,
    hide: bool,
    /// The directory that something was put into last, and where that really is: most files have
    /// many others beside them.
    last: Option<(ImagePath, ImagePath)>,
}

impl Growing {
    /// With `hide`, everything may replace a file of the base.
    pub(super) fn new(tree: Tree, hide: bool) -> Self {
        Self { tree, entries: Vec::new(), directories: HashSet::new(), hide, last: None }
    }

    /// What was put in so far is below the rest from now on, in layers from this number on.
    pub(super) fn seal(&mut self, number: u32) {
        self.tree.seal(number);
    }

    /// Lays a layer over all, of this number.
    pub(super) fn lay_over(&mut self, facts: &LayerFacts, number: u32) {
        self.tree.lay_over(facts, number);
    }

    pub(super) fn into_tree(self) -> Tree {
        self.tree
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Ends a layer: its entries.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        self.directories.clear();
        self.last = None;
        let mut entries = std::mem::take(&mut self.entries);
        // Sorting takes half as much memory again, whether there is something to sort or not.
        if entries.is_sorted_by(|a, b| a.path < b.path) {
            return entries;
        }
        entries.reverse();
        // Stable: the last of a path comes first, and stays.
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|earlier, last| earlier.path == last.path);
        entries
    }

    /// Puts `item` where it belongs; returns where that is.
    pub(super) fn put(&mut self, item: Item) -> Result<ImagePath, Box<Diagnostic>> {
        let Item { path: wanted, kind, mode, owner, xattrs, replace, place } = item;
        let unusable = |error: &dyn std::fmt::Display| {
            Box::new(Diagnostic::error("destination", format!("{wanted} cannot be in the image: {error}"), place))
        };
        let is_directory = matches!(kind, EntryKind::Directory);
        let beside = self.beside_the_last(&wanted).filter(|_| !is_directory);
        let parents_are_there = beside.is_some();
        let path = match beside {
            Some(path) => path,
            None => self.tree.resolve(&wanted, is_directory).map_err(|error| unusable(&error))?,
        };
        if let Some(there) = self.tree.get(&path) {
            // It may be a link on the way to that directory.
            self.last = None;
            let same_kind = is_directory && there.is_directory();
            if !is_directory && there.is_directory() {
                return Err(unusable(&format_args!("{path} is a directory")));
            }
            let (code, whose, may) = match there.layer {
                Some(layer) if layer >= OWN_LAYERS => {
                    ("occupied", "a part before it has put it there already", replace || self.hide)
                }
                Some(_) => (CheckId::HiddenFile.name(), "the base has it already", replace || self.hide),
                None => ("occupied", "the build file puts something else there already", false),
            };
            if !same_kind && !may {
                let message = format!("{wanted} cannot be in the image: {whose}");
                let hint = "choose another path, say `replace: true` where a file of the base is meant to be replaced, or \
                            leave the file out";
                return Err(Box::new(Diagnostic::error(code, message, place).hint(hint)));
            }
        }
        let mut above = Vec::new();
        if !parents_are_there {
            let parents = std::iter::successors(path.parent(), ImagePath::parent);
            above.extend(parents.take_while(|parent| !parent.is_root() && !self.directories.contains(parent)));
        }
        for parent in above.into_iter().rev() {
            let known = self.tree.get(&parent).filter(|node| node.is_directory());
            let (mode, (uid, gid)) = known.map_or((0o755, (0, 0)), |node| (node.mode, node.owner()));
            self.add(Entry::new(parent, EntryKind::Directory, mode).owned_by(uid, gid)).map_err(|e| unusable(&e))?;
        }
        let mut entry = Entry::new(path.clone(), kind, mode).owned_by(owner.uid, owner.gid);
        entry.xattrs = xattrs;
        self.add(entry).map_err(|error| unusable(&error))?;
        if !is_directory && self.last.as_ref().is_none_or(|(asked, _)| asked.as_str() != wanted.directory()) {
            self.last = wanted.parent().zip(path.parent());
        }
        Ok(path)
    }

    /// Where `wanted` is, if something was put into the same directory just before.
    fn beside_the_last(&self, wanted: &ImagePath) -> Option<ImagePath> {
        let (asked, real) = self.last.as_ref().filter(|(asked, _)| asked.as_str() == wanted.directory())?;
        if asked == real {
            return Some(wanted.clone());
        }
        real.join(wanted.file_name()?).ok()
    }

    fn add(&mut self, entry: Entry) -> Result<(), oci_layout::layer::facts::InsertError> {
        self.tree.insert(&entry)?;
        if matches!(entry.kind, EntryKind::Directory) {
            self.directories.insert(entry.path.clone());
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Mode and owner of what `path` leads to, where it is a file.
    pub(super) fn file(&self, path: &ImagePath) -> Option<(u32, Numbers)> {
        let node = self.tree.get(&self.tree.resolve(path, true).ok()?)?;
        matches!(node.kind, NodeKind::File { .. })
            .then(|| (node.mode, Numbers { uid: node.owner().0, gid: node.owner().1 }))
    }
}

#[cfg(test)]
mod tests {
    use oci_layout::layer::Content;
    use oci_layout::layer::facts::{Fact, FactKind, LayerFacts};

    use super::*;

    fn path(text: &str) -> ImagePath {
        text.parse().unwrap()
    }

    fn base() -> Tree {
        let fact = |at: &str, kind: FactKind, mode: u32| Fact { path: path(at), kind, mode, uid: 0, gid: 0 };
        let link = |target: &str| FactKind::Symlink { target: target.to_owned() };
        let mut facts: LayerFacts = serde_json::from_str(r#"{"version":2,"entries":[]}"#).unwrap();
        facts.entries = vec![
            fact("/usr", FactKind::Directory, 0o755),
            fact("/usr/bin", FactKind::Directory, 0o755),
            fact("/usr/lib", FactKind::Directory, 0o755),
            fact("/bin", link("usr/bin"), 0o777),
            fact("/lib", link("/usr/lib"), 0o777),
            fact("/tmp", FactKind::Directory, 0o1777),
            fact("/root", FactKind::Directory, 0o700),
            fact("/usr/bin/sh", FactKind::File { size: 1 }, 0o755),
        ];
        Tree::of([&facts])
    }

    fn item(at: &str, replace: bool) -> Item {
        Item {
            path: path(at),
            kind: EntryKind::File(Content::Bytes(b"x"[..].into())),
            mode: 0o755,
            owner: Numbers::default(),
            xattrs: Xattrs::default(),
            replace,
            place: None,
        }
    }

    #[test]
    fn destinations_resolve_through_links_and_parents_keep_their_modes() {
        let mut growing = Growing::new(base(), false);
        for at in ["/bin/x", "/lib/y", "/tmp/z", "/root/w", "/opt/new/v"] {
            growing.put(item(at, false)).unwrap();
        }
        let written: Vec<String> =
            growing.take().iter().map(|entry| format!("{} {:o}", entry.path, entry.mode)).collect();
        assert_eq!(
            written,
            [
                "/opt 755",
                "/opt/new 755",
                "/opt/new/v 755",
                "/root 700",
                "/root/w 755",
                "/tmp 1777",
                "/tmp/z 755",
                "/usr 755",
                "/usr/bin 755",
                "/usr/bin/x 755",
                "/usr/lib 755",
                "/usr/lib/y 755",
            ]
        );
    }

    #[test]
    fn i11_nothing_lands_on_something_else_unasked() {
        let mut growing = Growing::new(base(), false);
        let message = |result: Result<ImagePath, Box<Diagnostic>>| result.unwrap_err().message;
        assert!(message(growing.put(item("/bin/sh", false))).contains("the base has it already"));
        assert!(message(growing.put(item("/bin", false))).contains("the base has it already"));
        assert!(message(growing.put(item("/usr/bin", true))).contains("is a directory"));
        assert!(message(growing.put(item("/usr/bin/sh/x", true))).contains("cannot be in the image"));
        growing.put(item("/bin/sh", true)).unwrap();
        growing.put(item("/a", false)).unwrap();
        assert!(message(growing.put(item("/a", true))).contains("something else there already"));
    }
}
