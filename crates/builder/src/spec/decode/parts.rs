//! What is put into the image, in which order: the sections at the top, or `steps`; and `run`.

use std::time::Duration;

use super::binaries::boolean;
use super::path::PathUse;
use super::smoke::network;
use super::{Decoder, Fields, entries, items, scalar};
use crate::spec::model::{
    BinarySpec, ContentRange, DirectorySpec, FileSpec, LinkSpec, MountKind, MountSpec, Part, RunSpec, UserSpec,
};
use crate::spec::place::Placed;
use crate::spec::problem::Problem;
use crate::spec::schema::table;
use crate::spec::yaml::{Node, Value};

/// Packages may be installed from slow mirrors by an emulated program; what hangs ends some day.
const TIME_LIMIT: Duration = Duration::from_secs(3600);
/// The sections that `steps` takes the place of.
const SECTIONS: [&str; 6] = ["directories", "links", "users", "files", "run", "binaries"];

/// All parts of an image.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) order: Vec<Part>,
    pub(super) binaries: Vec<Placed<BinarySpec>>,
    pub(super) files: Vec<Placed<FileSpec>>,
    pub(super) links: Vec<Placed<LinkSpec>>,
    pub(super) directories: Vec<Placed<DirectorySpec>>,
    pub(super) users: Vec<Placed<UserSpec>>,
    pub(super) runs: Vec<Placed<RunSpec>>,
}

impl Decoder<'_> {
    pub(super) fn parts(&mut self, root: &Node, fields: &Fields<'_>) -> Parts {
        let mut parts = Parts::default();
        let steps = fields.get("steps");
        if let Some(steps) = steps {
            for entry in entries(root).iter().filter(|entry| SECTIONS.contains(&&*entry.key)) {
                self.problem(Problem::BesideSteps { key: entry.key.to_string() }, entry.key_place);
            }
            // All are read all the same: what else is wrong in them is told.
            for step in items(steps) {
                if let Some(fields) = Fields::of(step, &table::STEP) {
                    self.part(&fields, &mut parts);
                }
            }
            let _ = SECTIONS.map(|name| fields.get(name));
            return parts;
        }
        self.part(fields, &mut parts);
        parts
    }

    /// The lists of one section, in the usual order.
    fn part(&mut self, fields: &Fields<'_>, parts: &mut Parts) {
        let binaries = self.each(fields.items("binaries"), Self::binary);
        let files = self.each(fields.items("files"), Self::file);
        let links = self.each(fields.items("links"), Self::link);
        let directories = self.each(fields.items("directories"), Self::directory);
        let users = self.users(fields.items("users"));
        let runs = self.each(fields.items("run"), Self::run);
        let content = ContentRange {
            directories: append(&mut parts.directories, directories),
            links: append(&mut parts.links, links),
            users: append(&mut parts.users, users),
            files: append(&mut parts.files, files),
        };
        if !content.is_empty() {
            parts.order.push(Part::Content(content));
        }
        let runs = append(&mut parts.runs, runs);
        if !runs.is_empty() {
            parts.order.push(Part::Runs(runs));
        }
        let binaries = append(&mut parts.binaries, binaries);
        if !binaries.is_empty() {
            parts.order.push(Part::Binaries(binaries));
        }
    }

    fn run(&mut self, node: &Node) -> Option<RunSpec> {
        let fields = match &node.value {
            Value::Map(_) => Some(Fields::of(node, &table::RUN)?),
            _ => None,
        };
        let command = match &fields {
            Some(fields) => fields.get("command")?,
            None => node,
        };
        let (command, shell) = match scalar(command) {
            Some(text) => (vec!["/bin/sh".to_owned(), "-c".to_owned(), text.text.to_string()], true),
            None => (items(command).iter().filter_map(|word| Some(scalar(word)?.text.to_string())).collect(), false),
        };
        let mut run = RunSpec {
            command,
            shell,
            env: Default::default(),
            workdir: None,
            user: self.owner_or_root(None),
            network: Default::default(),
            time_limit: TIME_LIMIT,
            mounts: Vec::new(),
        };
        if let Some(fields) = fields {
            run.env = self.table(fields.get("env"), Self::env_name);
            run.workdir = fields.get("workdir").and_then(|node| self.image_path(node, "workdir", PathUse::Directory));
            run.user = self.owner_or_root(fields.get("user"));
            run.network = network(fields.get("network"));
            run.time_limit = self.time_limit(fields.get("timeout")).unwrap_or(TIME_LIMIT);
            run.mounts = self.each(fields.items("mounts"), Self::mount);
        }
        Some(run)
    }

    fn mount(&mut self, node: &Node) -> Option<MountSpec> {
        let fields = Fields::of(node, &table::MOUNT)?;
        let to = fields.get("to").and_then(|node| self.image_path(node, "to", PathUse::Target));
        let cache = fields.get("cache").and_then(|node| self.word(node, "cache"));
        let bind = fields.get("bind").and_then(|node| self.source_path(node));
        let tmpfs = boolean(fields.get("tmpfs")).filter(|wanted| *wanted);
        let secret = fields.get("secret").and_then(|node| self.source_path(node));
        let variable = fields.get("secret-env").and_then(|node| self.listed_variable(node));
        let kind = cache
            .map(|name| MountKind::Cache(name.value))
            .or(bind.map(MountKind::Bind))
            .or(tmpfs.map(|_| MountKind::Tmpfs))
            .or(secret.map(MountKind::Secret))
            .or(variable.map(MountKind::SecretEnv));
        Some(MountSpec { to: to?, kind: kind? })
    }

    /// A variable of the environment that `env` lists.
    fn listed_variable(&mut self, node: &Node) -> Option<Placed<String>> {
        let name = scalar(node)?.text.to_string();
        if !self.env.iter().any(|listed| listed.value == name) {
            self.problem(Problem::EnvNotListed { name }, node.place);
            return None;
        }
        Some(Placed::at(name, node.place))
    }
}

fn append<T>(list: &mut Vec<T>, more: Vec<T>) -> std::ops::Range<usize> {
    let start = list.len();
    list.extend(more);
    start..list.len()
}
