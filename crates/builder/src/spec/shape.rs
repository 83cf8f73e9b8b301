//! Checks a tree of nodes against the table of keys: which keys are there, and of what type their
//! values are. What passes here can be decoded without another look at its shape.

use std::fmt;

use super::diagnostic::Sink;
use super::nearest::nearest;
use super::problem::Problem;
use super::schema::{Kind, Section};
use super::yaml::{Entry, Node, ScalarKind, Value};

/// How a value is reached from the top, for messages: `config.env.PATH`.
#[derive(Clone, Copy)]
pub(crate) enum Trail<'a> {
    Top,
    Key(&'a Trail<'a>, &'a str),
    Item(&'a Trail<'a>),
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("the build file"),
            Self::Key(Self::Top, name) => f.write_str(name),
            Self::Key(above, name) => write!(f, "{above}.{name}"),
            Self::Item(above) => write!(f, "{above}[]"),
        }
    }
}

/// A section as the subject of a sentence.
fn subject(section: &Section, trail: Trail<'_>) -> String {
    match trail {
        Trail::Top => trail.to_string(),
        Trail::Item(_) => format!("an entry of `{}`", section.name),
        Trail::Key(_, name) => format!("`{name}`"),
    }
}

/// Reports everything in `node` that is not as `kind` says.
pub(crate) fn check(node: &Node, kind: &Kind, trail: Trail<'_>, sink: &mut Sink) {
    match (kind, &node.value) {
        (_, Value::Broken) => {}
        (Kind::Either(kinds), _) => match kinds.iter().find(|kind| same_shape(kind, &node.value)) {
            Some(kind) => check(node, kind, trail, sink),
            None => wrong_type(node, kind, trail, sink),
        },
        (Kind::Text(_), Value::Scalar(scalar)) if scalar.kind() == ScalarKind::Text => text(node, trail, sink),
        (Kind::Literal(_), Value::Scalar(scalar)) if scalar.kind() != ScalarKind::Null => text(node, trail, sink),
        (Kind::Boolean, Value::Scalar(scalar)) if matches!(scalar.kind(), ScalarKind::Boolean(_)) => {}
        (Kind::Choice(valid), Value::Scalar(scalar)) if scalar.kind() == ScalarKind::Text => {
            if !valid.contains(&&*scalar.text) {
                let nearest = nearest(&scalar.text, valid.iter().copied()).into_iter().map(str::to_owned).collect();
                let (what, found) = (trail.to_string(), clip(&scalar.text));
                sink.problem(Problem::Choice { what, found, valid, nearest }, node.place);
            }
        }
        (Kind::Integer(least, most), Value::Scalar(scalar)) => match scalar.kind() {
            ScalarKind::Integer(found) if found >= i128::from(*least) && found <= i128::from(*most) => {}
            ScalarKind::Integer(found) => {
                let what = trail.to_string();
                let problem = match what.as_str() {
                    "version" => Problem::Version { version: found.to_string() },
                    _ => Problem::Range { what, least: *least, most: *most, found },
                };
                sink.problem(problem, node.place);
            }
            _ => wrong_type(node, kind, trail, sink),
        },
        (Kind::NonEmpty(_), Value::List(items)) if items.is_empty() => {
            sink.problem(Problem::EmptyList { what: trail.to_string() }, node.place);
        }
        (Kind::List(inner) | Kind::NonEmpty(inner), Value::List(items)) => {
            for item in items {
                check(item, inner, Trail::Item(&trail), sink);
            }
        }
        (Kind::Table(_, inner), Value::Map(entries)) => {
            for entry in entries {
                check(&entry.node, inner, Trail::Key(&trail, &entry.key), sink);
            }
        }
        (Kind::Section(section), Value::Map(entries)) => keys(node, section, entries, trail, sink),
        _ => wrong_type(node, kind, trail, sink),
    }
}

fn same_shape(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::List(_) | Kind::NonEmpty(_), Value::List(_)) => true,
        (Kind::Table(..) | Kind::Section(_), Value::Map(_)) => true,
        (Kind::Integer(..), Value::Scalar(scalar)) => matches!(scalar.kind(), ScalarKind::Integer(_)),
        (Kind::Boolean, Value::Scalar(scalar)) => matches!(scalar.kind(), ScalarKind::Boolean(_)),
        (Kind::Text(_) | Kind::Choice(_), Value::Scalar(scalar)) => scalar.kind() == ScalarKind::Text,
        (Kind::Literal(_), Value::Scalar(scalar)) => scalar.kind() != ScalarKind::Null,
        _ => false,
    }
}

/// No text of a build file has a use for NUL, and line ends would break passwd, Env and others.
fn text(node: &Node, trail: Trail<'_>, sink: &mut Sink) {
    let Value::Scalar(scalar) = &node.value else { return };
    let control = scalar.text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    if let Some(control) = control {
        let character = match control {
            '\0' => "a NUL character".to_owned(),
            other => format!("the control character U+{:04X}", other as u32),
        };
        sink.problem(Problem::Control { what: trail.to_string(), character }, node.place);
    }
}

fn keys(node: &Node, section: &'static Section, entries: &[Entry], trail: Trail<'_>, sink: &mut Sink) {
    for entry in entries {
        match section.key(&entry.key) {
            None => unknown(section, entry, trail, sink),
            Some(key) => check(&entry.node, &key.kind, Trail::Key(&trail, key.name), sink),
        }
    }
    let has = |name: &str| entries.iter().any(|entry| &*entry.key == name);
    let place = match &trail {
        Trail::Top => None,
        _ => Some(node.place),
    };
    for key in section.keys.iter().filter(|key| key.required && !has(key.name)) {
        sink.problem(Problem::MissingKey { key: key.name.to_owned(), section: subject(section, trail) }, place);
    }
    let owned = || section.one_of.iter().map(|name| (*name).to_owned()).collect();
    let chosen: Vec<&Entry> = entries.iter().filter(|entry| section.one_of.contains(&&*entry.key)).collect();
    match chosen.as_slice() {
        // A misspelt one is reported as such already.
        [] if !section.one_of.is_empty() && entries.iter().all(|entry| section.key(&entry.key).is_some()) => {
            sink.problem(Problem::MissingChoice { section: subject(section, trail), keys: owned() }, place);
        }
        [first, second, ..] => {
            let (section, second) = (subject(section, trail), second.key_place);
            sink.problem(Problem::TooManyChoices { section, keys: owned(), second }, first.key_place);
        }
        _ => {}
    }
}

fn unknown(section: &Section, entry: &Entry, trail: Trail<'_>, sink: &mut Sink) {
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let near = nearest(&entry.key, section.names());
    let hint = match &*entry.key {
        _ if !near.is_empty() => None,
        "command" | "args" => Some("the program is `config.entrypoint`, its arguments are `config.cmd`"),
        "ports" => Some("ports are `config.expose`"),
        "environment" => Some("the container's environment is `config.env`"),
        "entrypoint" | "cmd" | "user" | "workdir" | "expose" | "volumes" | "stop-signal"
            if section.name == "build file" =>
        {
            Some("it belongs below `config`")
        }
        "from" if section.name == "build file" => Some("what the image stands on is `base`"),
        _ => None,
    };
    let problem = Problem::UnknownKey {
        key: clip(&entry.key),
        section: subject(section, trail),
        nearest: owned(near),
        valid: owned(section.names().collect()),
        hint,
    };
    sink.problem(problem, entry.key_place);
}

fn wrong_type(node: &Node, kind: &Kind, trail: Trail<'_>, sink: &mut Sink) {
    let name = match &trail {
        Trail::Key(_, name) => Some(*name),
        _ => None,
    };
    let (found, hint) = match &node.value {
        Value::List(_) => {
            let hint = matches!(kind, Kind::Table(..)).then(|| "write `NAME: value`, one a line".to_owned());
            ("a list", hint)
        }
        Value::Map(_) => ("a map", None),
        Value::Broken => return,
        Value::Scalar(scalar) => {
            let text = clip(&scalar.text);
            let quoted = || Some(format!("put it in quotes to make it a text: `\"{text}\"`"));
            let listed = matches!(kind, Kind::List(Kind::Text(_) | Kind::Literal(_)) | Kind::NonEmpty(_));
            let text_wanted = matches!(kind, Kind::Text(_) | Kind::Literal(_) | Kind::Choice(_));
            match (scalar.kind(), name) {
                (ScalarKind::Null, _) => ("nothing", Some("give it a value, or remove the key".to_owned())),
                (ScalarKind::Text, Some(name)) if listed => ("a text", Some(format!("write `{name}: [\"{text}\"]`"))),
                (ScalarKind::Text, _) if !scalar.plain => (
                    "a text",
                    Some("remove the quotes".to_owned()).filter(|_| matches!(kind, Kind::Integer(..) | Kind::Boolean)),
                ),
                (ScalarKind::Text, _) => ("a text", None),
                (ScalarKind::Boolean(_), _) => ("a truth value", quoted().filter(|_| text_wanted)),
                (ScalarKind::Integer(_), _) => ("a number", quoted().filter(|_| text_wanted)),
                (ScalarKind::Float, _) => ("a number with a fraction", quoted().filter(|_| text_wanted)),
            }
        }
    };
    let what = match trail {
        Trail::Top => trail.to_string(),
        _ => format!("`{trail}`"),
    };
    let problem = Problem::Type { what, expected: kind.expected(), found, hint };
    sink.problem(problem, node.place);
}

/// A text of the file for a message.
pub(crate) fn clip(text: &str) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        match c {
            _ if index == 80 => return format!("{shown}…"),
            c if c.is_control() => shown.extend(c.escape_debug()),
            c => shown.push(c),
        }
    }
    shown
}
