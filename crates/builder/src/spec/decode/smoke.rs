//! `smoke`: trial runs of the finished image.

use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::content::number;
use super::{Decoder, Fields, entries, items, scalar};
use crate::sandbox::Network;
use crate::spec::model::{SmokeCommand, SmokeSpec};
use crate::spec::place::{Place, Placed};
use crate::spec::problem::Problem;
use crate::spec::schema::table;
use crate::spec::shape::clip;
use crate::spec::yaml::{Node, Value};

/// Long enough for a program that QEMU runs on a busy machine, short enough to notice one that hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Most bytes of a compiled pattern.
const MAX_PATTERN: usize = 1 << 20;

impl Decoder<'_> {
    /// A list, or one alone.
    pub(super) fn smoke(&mut self, node: Option<&Node>) -> Vec<Placed<SmokeSpec>> {
        match node {
            Some(node) if matches!(node.value, Value::Map(_)) => self.each(std::slice::from_ref(node), Self::trial),
            Some(node) => self.each(items(node), Self::trial),
            None => Vec::new(),
        }
    }

    fn trial(&mut self, node: &Node) -> Option<SmokeSpec> {
        let fields = Fields::of(node, &table::SMOKE)?;
        let command = self.arguments(fields.get("command"));
        let arguments = self.arguments(fields.get("args"));
        let env = self.table(fields.get("env"), Self::env_name);
        let exit_code = fields.get("exit-code").and_then(number).and_then(|code| u8::try_from(code).ok());
        let output = fields.get("output").and_then(|node| self.template(node));
        let pattern = fields.get("pattern").and_then(|node| self.pattern(node));
        let time_limit = self.time_limit(fields.get("timeout"));
        let network = network(fields.get("network"));
        let command = match (command, arguments) {
            (Some(_), Some(_)) => {
                let keys = ["command", "args"];
                let places: Vec<Place> = entries(node)
                    .iter()
                    .filter(|entry| keys.contains(&&*entry.key))
                    .map(|entry| entry.key_place)
                    .collect();
                if let [first, second] = places[..] {
                    let (section, keys) = ("an entry of `smoke`".to_owned(), keys.map(str::to_owned).to_vec());
                    self.problem(Problem::TooManyChoices { section, keys, second }, first);
                }
                return None;
            }
            (Some(words), None) => SmokeCommand::Program(words),
            (None, Some(words)) => SmokeCommand::Arguments(words),
            (None, None) => SmokeCommand::Image,
        };
        Some(SmokeSpec {
            command,
            env,
            exit_code: exit_code.unwrap_or(0),
            output,
            pattern,
            time_limit: time_limit.unwrap_or(TIME_LIMIT),
            network,
        })
    }

    fn pattern(&mut self, node: &Node) -> Option<Placed<Regex>> {
        let text = &scalar(node)?.text;
        match RegexBuilder::new(text).size_limit(MAX_PATTERN).build() {
            Ok(pattern) => Some(Placed::at(pattern, node.place)),
            Err(error) => {
                let reason = match error {
                    regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                    // The last line says what it is, those above draw it.
                    error => {
                        error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
                    }
                };
                self.problem(Problem::Pattern { found: clip(text), reason }, node.place);
                None
            }
        }
    }

    /// How long a program may run: at least a millisecond.
    pub(super) fn time_limit(&mut self, node: Option<&Node>) -> Option<Duration> {
        let nanoseconds = u64::try_from(self.duration(node)?).ok()?;
        Some(Duration::from_nanos(nanoseconds)).filter(|limit| !limit.is_zero())
    }
}

pub(super) fn network(node: Option<&Node>) -> Network {
    match node.and_then(scalar).map(|scalar| &*scalar.text) {
        Some("host") => Network::Host,
        _ => Network::None,
    }
}
