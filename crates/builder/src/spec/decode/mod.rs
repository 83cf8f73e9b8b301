//! From nodes of the right shape to the values of the model. All mistakes are collected: a value
//! that is wrong is left out, and the next one is read.

mod annotations;
mod base;
mod binaries;
mod clashes;
mod config;
mod content;
mod health;
mod parts;
mod path;
mod per_platform;
mod smoke;
mod values;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::parts::Parts;
use super::diagnostic::Sink;
use super::model::BuildSpec;
use super::place::{Place, Placed, Sources};
use super::problem::Problem;
use super::schema::{self, Section};
use super::template::Template;
use super::variable::Variable;
use super::yaml::{Entry, Node, Scalar, Value};
use super::{Overrides, shape};
use crate::target::TargetPlatform;

pub(super) use path::{destination, file_fault, source_fault};
pub(super) use values::{SIGNALS, tag_of};

/// What decoding one file needs to know and to fill.
pub(super) struct Decoder<'a> {
    sink: &'a mut Sink,
    /// Names that `${env.…}` may use.
    env: Vec<Placed<String>>,
    /// What the templates ask for.
    variables: BTreeSet<Variable>,
    /// Settings that run programs are let through.
    allow_exec: bool,
}

/// A section's entries, read by key.
struct Fields<'n> {
    section: &'static Section,
    entries: &'n [Entry],
    asked: RefCell<Vec<&'static str>>,
}

impl<'n> Fields<'n> {
    fn of(node: &'n Node, section: &'static Section) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { section, entries, asked: RefCell::default() }),
            _ => None,
        }
    }

    fn get(&self, name: &'static str) -> Option<&'n Node> {
        debug_assert!(self.section.key(name).is_some(), "{name} is not in the table of {}", self.section.name);
        if cfg!(debug_assertions) {
            self.asked.borrow_mut().push(name);
        }
        self.entries.iter().find(|entry| &*entry.key == name).map(|entry| &entry.node)
    }

    fn items(&self, name: &'static str) -> &'n [Node] {
        self.get(name).map_or(&[], items)
    }
}

/// Every key of the table is read, or the table promises what nothing does.
#[cfg(debug_assertions)]
impl Drop for Fields<'_> {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        let missed = self.section.names().find(|name| !asked.contains(name));
        debug_assert!(missed.is_none() || std::thread::panicking(), "{}: {missed:?} is not decoded", self.section.name);
    }
}

fn scalar(node: &Node) -> Option<&Scalar> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar),
        _ => None,
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => &[],
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

/// The build file at `root`. None only where something was reported.
pub(super) fn build_file(
    root: &Node,
    file: &Path,
    sources: Sources,
    overrides: &Overrides,
    sink: &mut Sink,
) -> Option<BuildSpec> {
    shape::check(root, &schema::Kind::Section(&schema::ROOT), shape::Trail::Top, sink);
    let at_top = |name: &str| entries(root).iter().find(|entry| &*entry.key == name).map(|entry| &entry.node);
    let over = at_top("per-platform").map_or(&[][..], entries);
    let mut decoder = Decoder { sink, env: Vec::new(), variables: BTreeSet::new(), allow_exec: overrides.allow_exec };
    let listed = decoder.listed_platforms(at_top("platforms").map_or(&[][..], items));
    let platforms = chosen(&listed, overrides);

    let mut per_platform = BTreeMap::new();
    let mut bases = BTreeSet::new();
    for entry in over {
        let Some(platform) = decoder.platform(&entry.key, entry.key_place) else { continue };
        let known = |list: &[Placed<TargetPlatform>]| list.iter().any(|it| it.value == platform);
        if !known(&listed) && !known(&platforms) {
            let problem = Problem::PlatformNotBuilt { platform: platform.to_string() };
            decoder.problem(problem, entry.key_place);
        }
        if entries(&entry.node).iter().any(|entry| &*entry.key == "base") {
            bases.insert(platform);
        }
        let whole = per_platform::merged(root, &entry.node);
        let wanted = Placed::implied(platform);
        if let Some(spec) = decoder.spec(&whole, file, &sources, vec![wanted], &bases, overrides) {
            per_platform.insert(platform, spec);
        }
    }
    let mut spec = decoder.spec(root, file, &sources, platforms, &bases, overrides)?;
    spec.all_platforms = chosen(&listed, &Overrides::default()).iter().map(|platform| platform.value).collect();
    spec.all_platforms.extend(spec.platforms.iter().map(|platform| platform.value));
    spec.all_platforms.sort();
    spec.all_platforms.dedup();
    spec.per_platform = per_platform;
    spec.variables = decoder.variables;
    spec.canonical = root.canonical();
    Some(spec)
}

/// The platforms to build for: those of the command line, else of the file, else the usual two.
/// Sorted and without doubles.
fn chosen(listed: &[Placed<TargetPlatform>], overrides: &Overrides) -> Vec<Placed<TargetPlatform>> {
    let implied = |platform: TargetPlatform| {
        let written = listed.iter().find(|known| known.value == platform);
        written.cloned().unwrap_or(Placed::implied(platform))
    };
    let mut platforms: Vec<_> = match (overrides.platforms.as_slice(), listed) {
        ([], []) => ["linux/amd64", "linux/arm64"].iter().filter_map(|it| it.parse().ok()).map(implied).collect(),
        ([], listed) => listed.to_vec(),
        (wanted, _) => wanted.iter().copied().map(implied).collect(),
    };
    platforms.sort();
    platforms.dedup();
    platforms
}

impl Decoder<'_> {
    /// One whole spec. `bases` are the platforms whose base `per-platform` names.
    fn spec(
        &mut self,
        root: &Node,
        file: &Path,
        sources: &Sources,
        platforms: Vec<Placed<TargetPlatform>>,
        bases: &BTreeSet<TargetPlatform>,
        overrides: &Overrides,
    ) -> Option<BuildSpec> {
        let before = self.sink.list.len();
        let fields = Fields::of(root, &schema::ROOT)?;
        let _ = (fields.get("version"), fields.get("platforms"), fields.get("per-platform"));
        self.env = self.env_names(fields.items("env"));
        let mut tags = self.tags(fields.items("tags"));
        if !overrides.tags.is_empty() {
            tags = overrides.tags.iter().map(|tag| Placed::implied(Template::literal(&tag.to_string()))).collect();
        }
        let mut image = fields.get("image").and_then(|node| self.repository(node));
        if let Some(replaced) = &overrides.image {
            image = Some(Placed::implied(replaced.clone()));
        }
        let without: Vec<_> = platforms.iter().filter(|it| !bases.contains(&it.value)).cloned().collect();
        let base = self.base(fields.get("base"), &without);
        let Parts { order, binaries, files, links, directories, users, runs } = self.parts(root, &fields);
        let config = fields.get("config").map(|node| self.config(node)).unwrap_or_default();
        let inherit = fields.get("inherit").map(config::inherit).unwrap_or_default();
        let labels = self.labels(fields.get("labels"));
        let annotations = self.annotations(fields.get("annotations"));
        let infer = config::infer(fields.get("infer"));
        let created = fields.get("created").and_then(|node| self.created(node));
        let layers = fields.get("layers").map(config::layers).unwrap_or_default();
        let allow = fields.items("allow").iter().filter_map(|node| self.check(node)).collect();
        let smoke = self.smoke(fields.get("smoke"));
        let spec = BuildSpec {
            file: file.to_owned(),
            directory: file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned(),
            sources: sources.clone(),
            canonical: String::new(),
            variables: BTreeSet::new(),
            image,
            tags,
            platforms,
            all_platforms: Vec::new(),
            base: base?,
            env: self.env.iter().map(|name| name.value.clone()).collect(),
            parts: order,
            binaries,
            files,
            links,
            directories,
            users,
            runs,
            config,
            inherit,
            labels,
            annotations,
            infer,
            created,
            layers,
            allow,
            smoke,
            per_platform: BTreeMap::new(),
        };
        // Who misspelt a path should not also read that two paths clash.
        if self.sink.list.len() == before {
            clashes::check(&spec, self.sink);
        }
        Some(spec)
    }
}

impl Decoder<'_> {
    fn problem(&mut self, problem: Problem, place: impl Into<Option<Place>>) {
        self.sink.problem(problem, place);
    }

    /// Every node that can be decoded, with its place.
    fn each<T>(&mut self, nodes: &[Node], decode: fn(&mut Self, &Node) -> Option<T>) -> Vec<Placed<T>> {
        nodes.iter().filter_map(|node| Some(Placed::at(decode(self, node)?, node.place))).collect()
    }

    /// A free map from names to texts.
    fn table(&mut self, node: Option<&Node>, check_name: fn(&mut Self, &Entry)) -> BTreeMap<String, Placed<Template>> {
        let mut table = BTreeMap::new();
        for entry in node.map_or(&[][..], entries) {
            check_name(self, entry);
            if let Some(value) = self.template(&entry.node) {
                table.insert(entry.key.to_string(), value);
            }
        }
        table
    }

    fn labels(&mut self, node: Option<&Node>) -> BTreeMap<String, Placed<Template>> {
        self.table(node, |decoder, entry| {
            let reason = match &*entry.key {
                "" => "it is empty",
                key if key.chars().any(char::is_control) => "it holds a control character",
                _ => return,
            };
            decoder.problem(Problem::LabelName { name: shape::clip(&entry.key), reason }, entry.key_place);
        })
    }

    fn env_names(&mut self, nodes: &[Node]) -> Vec<Placed<String>> {
        self.each(nodes, |decoder, node| {
            let name = &scalar(node)?.text;
            if !super::variable::is_env_name(name) {
                let reason = "it has other characters than letters, digits and `_`, or begins with a digit";
                decoder.problem(Problem::EnvName { name: shape::clip(name), reason }, node.place);
                return None;
            }
            Some(name.to_string())
        })
    }

    fn listed_platforms(&mut self, nodes: &[Node]) -> Vec<Placed<TargetPlatform>> {
        let mut platforms: Vec<Placed<TargetPlatform>> = Vec::new();
        for node in nodes {
            let Some(platform) = scalar(node).and_then(|scalar| self.platform(&scalar.text, node.place)) else {
                continue;
            };
            match platforms.iter().find(|known| known.value == platform) {
                Some(first) => {
                    let problem = Problem::PlatformTwice { platform: platform.to_string(), first: first.place };
                    self.problem(problem, node.place);
                }
                None => platforms.push(Placed::at(platform, node.place)),
            }
        }
        platforms
    }
}
