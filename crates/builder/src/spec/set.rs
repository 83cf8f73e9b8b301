//! `--set PATH=VALUE`: a value of the command line in place of one of the file.
//!
//! The path is read with the table of keys, so that the rest behind a free map is one key
//! (`labels.org.example.x=1` needs no quotes). A text is taken as it is; what is a list or map in
//! the table is read as YAML (`tags=[a, b]`).

use std::sync::Arc;

use super::diagnostic::Sink;
use super::nearest::nearest;
use super::place::{Place, Source};
use super::problem::{Problem, list};
use super::schema::{Kind, ROOT, Section};
use super::shape::clip;
use super::yaml::{self, Entry, Node, Origin, Scalar, Value};

/// A step of a path: its text and where it begins in the setting.
enum Step {
    Key(&'static str, usize),
    Free(String, usize),
    Item(usize),
}

/// Puts every setting into the tree; each becomes a source of its own.
pub(super) fn apply(mut root: Node, settings: &[String], sources: &mut Vec<Source>, sink: &mut Sink) -> Node {
    for text in settings {
        let source = sources.len() as u16;
        sources.push(Source { name: "--set".to_owned(), text: Arc::from(text.as_str()) });
        let place = Place { source, line: 1, column: 1, start: 0, end: text.lines().next().unwrap_or_default().len() };
        if let Err(reason) = one(&mut root, text, place, sink) {
            sink.problem(Problem::Override { text: clip(text), reason }, place);
        }
    }
    root
}

fn one(root: &mut Node, text: &str, place: Place, sink: &mut Sink) -> Result<(), String> {
    let (path, value) = split(text)?;
    let (steps, kind) = resolve(path)?;
    let start = path.len() + 1;
    let columns = text[..start].chars().count() as u32;
    let raw = |plain| {
        let place = Place { column: 1 + columns, start, ..place };
        Node { place, value: Value::Scalar(Scalar { text: Arc::from(value), plain }) }
    };
    let node = match kind {
        Kind::Text(_) | Kind::Literal(_) | Kind::Choice(_) => raw(false),
        Kind::Integer(..) | Kind::Boolean => raw(true),
        Kind::Either(_) if !value.trim_start().starts_with(['{', '[']) => raw(false),
        _ => {
            let origin = Origin { source: place.source, bytes: start, columns };
            let before = sink.list.len();
            match yaml::parse(value, origin, sink) {
                Some(node) => node,
                None if sink.list.len() > before => return Ok(()),
                None => return Err("there is no value behind the `=`".to_owned()),
            }
        }
    };
    let mut target = root;
    for step in steps {
        target = enter(target, &step, place)?;
    }
    *target = node;
    Ok(())
}

/// The path and the value: the first `=` behind the path. Keys of free maps cannot hold one.
fn split(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("there is no key before the `=`".to_owned()),
        Some(pair) => Ok(pair),
        None => Err("there is no `=`".to_owned()),
    }
}

/// The steps of `path` and the kind of what is there.
fn resolve(path: &str) -> Result<(Vec<Step>, &'static Kind), String> {
    static TOP: Kind = Kind::Section(&ROOT);
    let mut kind: &'static Kind = &TOP;
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let at = path.len() - rest.len();
        if let Kind::Either(kinds) = kind {
            kind = kinds
                .iter()
                .find(|it| matches!(it, Kind::Section(_) | Kind::Table(..) | Kind::List(_)))
                .unwrap_or(kind);
        }
        match kind {
            Kind::Section(section) => {
                let name = &rest[..rest.find(['.', '[']).unwrap_or(rest.len())];
                let key = section.key(name).ok_or_else(|| unknown(section, name))?;
                steps.push(Step::Key(key.name, at));
                kind = &key.kind;
                rest = &rest[name.len()..];
            }
            Kind::Table(_, inner) => {
                steps.push(Step::Free(rest.to_owned(), at));
                kind = inner;
                rest = "";
            }
            Kind::List(inner) | Kind::NonEmpty(inner) => {
                let (index, after) = rest
                    .strip_prefix('[')
                    .and_then(|rest| rest.split_once(']'))
                    .ok_or_else(|| format!("`{0}` is a list; write `{0}[0]`", path[..at].trim_end_matches('.')))?;
                let index = index.parse().map_err(|_| format!("`{}` is no number", clip(index)))?;
                steps.push(Step::Item(index));
                kind = inner;
                rest = after;
            }
            _ => return Err(format!("`{}` has no keys below it", path[..at].trim_end_matches('.'))),
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    Ok((steps, kind))
}

fn unknown(section: &Section, name: &str) -> String {
    let near = nearest(name, section.names());
    let advice = match near.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", list(&near, "or")),
    };
    format!("unknown key `{}`{advice}", clip(name))
}

/// The node that `step` leads to, made where it is not there yet.
fn enter<'n>(node: &'n mut Node, step: &Step, whole: Place) -> Result<&'n mut Node, String> {
    let nothing = |place| Node { place, value: Value::Scalar(Scalar { text: Arc::from("~"), plain: true }) };
    let (name, at) = match step {
        Step::Key(name, at) => (*name, *at),
        Step::Free(name, at) => (name.as_str(), *at),
        Step::Item(index) => {
            let Value::List(items) = &mut node.value else { return Err("the file has no list there".to_owned()) };
            let length = items.len();
            if *index == length {
                items.push(nothing(whole));
            }
            return items.get_mut(*index).ok_or(format!("the list has {length} items"));
        }
    };
    // A short form (`rust: .`) gives way to the long one.
    if let Value::Scalar(scalar) = &node.value {
        let path = match &*scalar.text {
            "~" => None,
            _ => Some(Entry { key: Arc::from("path"), key_place: node.place, node: node.clone() }),
        };
        node.value = Value::Map(path.into_iter().collect());
    }
    let Value::Map(entries) = &mut node.value else { return Err("the file has no map there".to_owned()) };
    let index = match entries.iter().position(|entry| &*entry.key == name) {
        Some(index) => index,
        None => {
            let key_place = Place { column: whole.column + at as u32, start: at, end: at + name.len(), ..whole };
            entries.push(Entry { key: Arc::from(name), key_place, node: nothing(whole) });
            entries.len() - 1
        }
    };
    Ok(&mut entries[index].node)
}
