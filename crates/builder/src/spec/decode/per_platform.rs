//! `per-platform`: the file as it is for one platform.
//!
//! Done on the tree, before decoding: what a platform says is put over what the file says, and
//! the result is decoded like any other file.

use crate::spec::yaml::{Entry, Node, Value};

/// The file with what `over` says in place of its own: maps are joined, the rest is replaced.
pub(super) fn merged(root: &Node, over: &Node) -> Node {
    let (Value::Map(below), Value::Map(above)) = (&root.value, &over.value) else { return over.clone() };
    let mut entries: Vec<Entry> = below.iter().filter(|entry| &*entry.key != "per-platform").cloned().collect();
    for entry in above {
        match entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => {
                known.node = merged(&known.node, &entry.node);
                known.key_place = entry.key_place;
            }
            None => entries.push(entry.clone()),
        }
    }
    Node { place: root.place, value: Value::Map(entries) }
}
