//! Trial runs of the finished image.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use crate::sandbox::Network;
use crate::spec::place::Placed;
use crate::spec::template::Template;

/// One trial run, and what must come of it.
#[derive(Clone, Debug)]
pub struct SmokeSpec {
    /// What is run.
    pub command: SmokeCommand,
    /// Environment, added to the image's.
    pub env: BTreeMap<String, Placed<Template>>,
    /// What it must end with.
    pub exit_code: u8,
    /// Text that its output must have.
    pub output: Option<Placed<Template>>,
    /// What its output must match.
    pub pattern: Option<Placed<Regex>>,
    /// How long it may take.
    pub time_limit: Duration,
    /// What it can reach.
    pub network: Network,
}

/// What a trial run runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmokeCommand {
    /// What the image starts by itself.
    Image,
    /// The image's entrypoint, with these arguments in place of its own.
    Arguments(Vec<Placed<Template>>),
    /// A program with its arguments, in place of entrypoint and arguments.
    Program(Vec<Placed<Template>>),
}
