//! From YAML text to a tree of nodes that know where they stand.
//!
//! A tree of our own rather than serde: serde stops at the first error and forgets places. The
//! parser below gives events with places; this module builds the tree within fixed limits, so
//! that no input costs more than a few megabytes (fault row I01). YAML that a build file has no
//! use for (tags, several documents, keys that are no texts, merge keys) is refused here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::diagnostic::Sink;
use super::place::Place;
use super::problem::Problem;

/// Longest build file in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most values of a build file, once its aliases stand for what they name.
pub const MAX_NODES: usize = 100_000;
/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 32;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What YAML has.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was reported already: takes part in nothing.
    Broken,
}

/// A text, number, truth value or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: Arc<str>,
    /// Not quoted, so that it may be something else than a text.
    pub(crate) plain: bool,
}

/// One key of a map and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Arc<str>,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

/// What a scalar is in YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ScalarKind {
    Null,
    Boolean(bool),
    Integer(i128),
    Float,
    Text,
}

impl Scalar {
    pub(crate) fn kind(&self) -> ScalarKind {
        if !self.plain {
            return ScalarKind::Text;
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => ScalarKind::Null,
            "true" | "True" | "TRUE" => ScalarKind::Boolean(true),
            "false" | "False" | "FALSE" => ScalarKind::Boolean(false),
            text => number(text),
        }
    }
}

fn number(text: &str) -> ScalarKind {
    let radix = |digits: &str, radix| i128::from_str_radix(digits, radix).map_or(ScalarKind::Text, ScalarKind::Integer);
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return ScalarKind::Text;
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_or(ScalarKind::Float, ScalarKind::Integer);
    }
    let special = matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN");
    if special || (unsigned != "." && text.parse::<f64>().is_ok()) { ScalarKind::Float } else { ScalarKind::Text }
}

impl Node {
    /// What the tree says in one spelling, for a hash: JSON with its keys sorted and every scalar its text.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::new();
        self.write_canonical(&mut text);
        text
    }

    fn write_canonical(&self, text: &mut String) {
        match &self.value {
            Value::Scalar(scalar) => quote(&scalar.text, text),
            Value::List(items) => {
                text.push('[');
                for (number, item) in items.iter().enumerate() {
                    text.push_str(if number == 0 { "" } else { "," });
                    item.write_canonical(text);
                }
                text.push(']');
            }
            Value::Map(entries) => {
                let sorted: BTreeMap<&str, &Self> = entries.iter().map(|entry| (&*entry.key, &entry.node)).collect();
                text.push('{');
                for (number, (key, node)) in sorted.into_iter().enumerate() {
                    text.push_str(if number == 0 { "" } else { "," });
                    quote(key, text);
                    text.push(':');
                    node.write_canonical(text);
                }
                text.push('}');
            }
            Value::Broken => text.push_str("null"),
        }
    }
}

/// A text as JSON has it.
fn quote(said: &str, text: &mut String) {
    text.push_str(&serde_json::Value::from(said).to_string());
}

/// Where a text stands in its source: a build file from its beginning, a `--set` behind its `=`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) source: u16,
    pub(crate) bytes: usize,
    pub(crate) columns: u32,
}

/// Reads one document. What is wrong goes to `sink`; the tree is there as far as it makes sense
/// to look for more mistakes in it, and is not where there is nothing at all.
pub(crate) fn parse(text: &str, origin: Origin, sink: &mut Sink) -> Option<Node> {
    if text.len() > MAX_BYTES {
        sink.problem(Problem::TooLong { bytes: text.len() }, None);
        return None;
    }
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
        emit_comments: false,
    };
    let mut builder = Builder {
        text,
        origin,
        sink,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
        nodes: 0,
        text_bytes: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                builder.syntax(&error);
                return None;
            }
        }
    }
    builder.root.filter(|root| !matches!(&root.value, Value::Scalar(scalar) if scalar.kind() == ScalarKind::Null))
}

/// A list or map that has been begun.
struct Frame {
    start: Place,
    /// Byte offset of its beginning, if written in brackets.
    flow: bool,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(Arc<str>, Place, bool)>, skipped: Option<Place> },
}

struct Anchored {
    node: Node,
    nodes: usize,
    text_bytes: usize,
    depth: usize,
}

struct Builder<'a> {
    text: &'a str,
    origin: Origin,
    sink: &'a mut Sink,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    text_bytes: usize,
}

impl Builder<'_> {
    /// Takes one event; none where reading on makes no sense.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        if event.tag().is_some() {
            let place = self.place(span.tag_start.unwrap_or(span.start), span.end);
            self.sink.problem(Problem::Tag, place);
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let place = self.place(span.start, span.end);
                    self.sink.problem(Problem::SecondDocument, place);
                    return None;
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let place = self.place(span.start, span.end);
                let scalar = Scalar { text: Arc::from(&*text), plain: matches!(style, ScalarStyle::Plain) };
                self.spend(1, scalar.text.len(), place)?;
                self.finished(Node { place, value: Value::Scalar(scalar) }, anchor)?;
            }
            Event::SequenceStart(style, anchor, _) => {
                self.open(span, style == granit_parser::StructureStyle::Flow, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(style, anchor, _) => {
                let content = Content::Map { entries: Vec::new(), key: None, skipped: None };
                self.open(span, style == granit_parser::StructureStyle::Flow, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(id) => {
                let place = self.place(span.start, span.end);
                let known = self.anchors.get(&id).map(|it| (it.node.clone(), it.nodes, it.text_bytes, it.depth));
                let Some((mut node, nodes, text_bytes, depth)) = known else {
                    self.sink.problem(Problem::AliasWithin, place);
                    return None;
                };
                if self.stack.len() + depth > MAX_DEPTH {
                    self.sink.problem(Problem::TooDeep, place);
                    return None;
                }
                self.spend(nodes, text_bytes, place)?;
                if matches!(node.value, Value::Scalar(_)) {
                    node.place = place;
                }
                self.finished(node, 0)?;
            }
            Event::UnresolvedAlias(name) => {
                let place = self.place(span.start, span.end);
                self.sink.problem(Problem::UnknownAlias { name: name.into_owned() }, place);
                self.finished(Node { place, value: Value::Broken }, 0)?;
            }
            _ => {}
        }
        Some(())
    }

    fn spend(&mut self, nodes: usize, text_bytes: usize, place: Place) -> Option<()> {
        self.nodes += nodes;
        self.text_bytes += text_bytes;
        let problem = match () {
            () if self.nodes > MAX_NODES => Problem::TooLarge,
            () if self.text_bytes > 4 * MAX_BYTES => Problem::TooMuchText,
            () => return Some(()),
        };
        self.sink.problem(problem, place);
        None
    }

    fn open(&mut self, span: Span, flow: bool, anchor: usize, content: Content) -> Option<()> {
        let start = self.place(span.start, span.end);
        if self.stack.len() >= MAX_DEPTH {
            self.sink.problem(Problem::TooDeep, start);
            return None;
        }
        self.spend(1, 0, start)?;
        self.stack.push(Frame { start, flow, anchor, content });
        Some(())
    }

    fn close(&mut self, span: Span) -> Option<()> {
        let frame = self.stack.pop()?;
        let (value, last) = match frame.content {
            Content::List(items) => {
                let last = items.last().map(|node| node.place);
                (Value::List(items), last)
            }
            Content::Map { entries, skipped, .. } => {
                let last = entries.last().map(|entry| entry.node.place).max(skipped);
                (Value::Map(entries), last)
            }
        };
        // The end event of a block stands at the next token, often lines away.
        let end = match last {
            _ if frame.flow => self.origin.bytes + span.end.byte_offset().unwrap_or_default(),
            Some(last) => last.end,
            None => frame.start.end,
        };
        let place = self.first_line(Place { end: end.max(frame.start.end), ..frame.start });
        self.finished(Node { place, value }, frame.anchor)
    }

    /// Puts a finished node where it belongs.
    fn finished(&mut self, node: Node, anchor: usize) -> Option<()> {
        if anchor > 0 {
            let (nodes, text_bytes, depth) = weigh(&node);
            self.spend(nodes, text_bytes, node.place)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, text_bytes, depth });
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key, skipped }) => match key.take() {
                Some((_, _, false)) => *skipped = Some(node.place),
                Some((key, key_place, true)) => entries.push(Entry { key, key_place, node }),
                None => {
                    let text = match &node.value {
                        Value::Scalar(scalar) if scalar.kind() != ScalarKind::Null => Some(scalar.text.clone()),
                        _ => None,
                    };
                    let first = entries.iter().find(|entry| text.as_ref() == Some(&entry.key));
                    let problem = match (&text, first) {
                        (None, _) => Some(Problem::KeyNotText),
                        (Some(key), _) if &**key == "<<" => Some(Problem::MergeKey),
                        (Some(key), Some(first)) => {
                            Some(Problem::DuplicateKey { key: key.to_string(), first: first.key_place })
                        }
                        _ => None,
                    };
                    let good = problem.is_none();
                    if let Some(problem) = problem {
                        self.sink.problem(problem, node.place);
                    }
                    *key = Some((text.unwrap_or_default(), node.place, good));
                }
            },
        }
        Some(())
    }

    fn syntax(&mut self, error: &ScanError) {
        use granit_parser::ErrorKind;
        let place = self.place(*error.marker(), *error.marker());
        let problem = match error.kind() {
            ErrorKind::RecursionLimitExceeded => Problem::TooDeep,
            ErrorKind::TabInIndentation | ErrorKind::TabInBlockIndentation | ErrorKind::TabNotAllowed => Problem::Tab,
            ErrorKind::DirectiveDisallowed => Problem::Directive,
            kind => Problem::Syntax { reason: kind.to_string() },
        };
        self.sink.problem(problem, place);
    }

    fn place(&self, start: Marker, end: Marker) -> Place {
        let line = start.line().max(1) as u32;
        let column = start.col() as u32 + 1 + if line == 1 { self.origin.columns } else { 0 };
        let offset = |marker: Marker| self.origin.bytes + marker.byte_offset().unwrap_or(self.text.len());
        let (start, end) = (offset(start), offset(end));
        self.first_line(Place { source: self.origin.source, line, column, start, end: end.max(start) })
    }

    /// The place up to the end of its first line.
    fn first_line(&self, place: Place) -> Place {
        let text = self.text.get(place.start - self.origin.bytes..place.end - self.origin.bytes).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default().trim_end();
        Place { end: place.start + line.len(), ..place }
    }
}

/// Nodes, bytes of text and depth of a tree. Trees are at most [`MAX_DEPTH`] deep.
fn weigh(node: &Node) -> (usize, usize, usize) {
    let sum = |children: &mut dyn Iterator<Item = &Node>| {
        children.map(weigh).fold((1, 0, 1), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2.max(one.2 + 1)))
    };
    match &node.value {
        Value::Scalar(scalar) => (1, scalar.text.len(), 0),
        Value::Broken => (1, 0, 0),
        Value::List(items) => sum(&mut items.iter()),
        Value::Map(entries) => sum(&mut entries.iter().map(|entry| &entry.node)),
    }
}
