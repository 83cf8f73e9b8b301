//! The build file: from text to a [`BuildSpec`] that can only be valid.
//!
//! [`parse`] goes through four steps, each with all its mistakes: YAML to a tree of nodes with
//! places (`yaml`), the tree against the table of keys (`shape`, [`schema`]), nodes to values
//! (`decode`), values against each other (`decode::clashes`). Nothing here looks at a directory,
//! a clock or the environment; files that are named but not there are found later.

pub mod accounts;
mod advice;
pub mod annotation;
pub mod container;
mod decode;
pub mod diagnostic;
mod exec_risk;
pub mod infer;
pub mod inherit;
pub mod model;
mod nearest;
pub mod place;
pub mod problem;
mod render;
pub mod schema;
mod set;
mod shape;
pub mod template;
pub mod variable;
mod yaml;

use std::path::Path;

use registry_client::{Repository, Tag};

use self::diagnostic::Sink;
use self::place::Source;
use crate::target::TargetPlatform;

pub use self::diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use self::model::BuildSpec;
pub use self::place::{Place, Placed, Sources};
pub use self::problem::Problem;
pub use self::render::{Destination, render, render_date, render_destination, render_file, render_source, render_tag};
pub use self::template::Template;
pub use self::variable::{Facts, Variable, Variables};
pub use self::yaml::{MAX_BYTES, MAX_DEPTH, MAX_NODES};

/// The candidate that `text` is most likely meant to be, if there is one.
pub(crate) fn nearest_name<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest::nearest(text, candidates).first().copied()
}

/// What the command line says in place of the build file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--set PATH=VALUE`, in order, as if the file said so.
    pub set: Vec<String>,
    /// `--platform`: these platforms rather than those of the file.
    pub platforms: Vec<TargetPlatform>,
    /// `--tag`: these tags rather than those of the file.
    pub tags: Vec<Tag>,
    /// The repository rather than that of the file.
    pub image: Option<Repository>,
    /// `--allow-exec`: settings that run programs are let through.
    pub allow_exec: bool,
}

/// Reads the build file `text`. `file` is what it is called in messages, and where relative paths
/// start from. All that is wrong is told at once.
pub fn parse(file: &Path, text: &str, overrides: &Overrides) -> Result<BuildSpec, Diagnostics> {
    let mut sources = vec![Source { name: file.display().to_string(), text: text.into() }];
    let mut sink = Sink::default();
    let root = yaml::parse(text, yaml::Origin::default(), &mut sink)
        .map(|root| set::apply(root, &overrides.set, &mut sources, &mut sink));
    if root.is_none() && sink.list.is_empty() {
        sink.problem(Problem::Empty, None);
    }
    let sources = Sources::new(sources);
    let spec = root.and_then(|root| decode::build_file(&root, file, sources.clone(), overrides, &mut sink));
    match (spec, Diagnostics::new(sources.clone(), sink.list)) {
        (Some(spec), None) => Ok(spec),
        (_, Some(diagnostics)) => Err(diagnostics),
        (None, None) => {
            let message = "mab does not understand this build file, and cannot say why; please report it";
            Err(Diagnostics::one(sources, Diagnostic::error("internal", message, None)))
        }
    }
}

/// The same for the file's bytes, which may not be text at all.
pub fn parse_bytes(file: &Path, bytes: &[u8], overrides: &Overrides) -> Result<BuildSpec, Diagnostics> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text, overrides),
        Err(error) => {
            // The text up to the bad byte is shown; what follows has no meaning.
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to().min(bytes.len())]).into_owned();
            let line = good.matches('\n').count() as u32 + 1;
            let column = good.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
            let place = Place { source: 0, line, column, start: good.len(), end: good.len() };
            let source = Source { name: file.display().to_string(), text: good.into() };
            Err(Diagnostics::one(Sources::new(vec![source]), Problem::NotUtf8.at(Some(place))))
        }
    }
}

#[cfg(test)]
mod tests;
