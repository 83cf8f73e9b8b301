//! Paths in the image and paths of sources.

use std::path::PathBuf;

use oci_layout::ImagePath;
use oci_layout::path::ParsePathError;

use super::{Decoder, scalar};
use crate::spec::place::Placed;
use crate::spec::problem::Problem;
use crate::spec::shape::clip;
use crate::spec::template::Template;
use crate::spec::yaml::Node;

/// What a path in the image is for, as far as it matters to what it may look like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PathUse {
    /// A file or link: not the root, no slash at its end.
    File,
    /// A directory: a slash at its end means nothing.
    Directory,
    /// Where files go: a slash at its end says that they go below it.
    Target,
}

/// Reads a destination as it is written: a path in the image, and whether a slash at its end says
/// that the source goes below it.
pub(crate) fn destination(text: &str) -> Result<(ImagePath, bool), ParsePathError> {
    match text.strip_suffix('/') {
        Some("") => Ok((ImagePath::root(), true)),
        Some(directory) => Ok((directory.parse()?, true)),
        None => Ok((text.parse()?, false)),
    }
}

/// Why a path in the image is none of a file.
pub(in crate::spec) fn file_fault(written: &Template, (path, below): &(ImagePath, bool)) -> Option<Problem> {
    let written = clip(written.text());
    match () {
        () if path.is_root() => Some(Problem::ImageRoot { path: written }),
        () if *below => {
            let reason = format!("`{written}` ends in a slash, but this names a file");
            Some(Problem::ImagePath { reason })
        }
        () => None,
    }
}

/// Why a text is no path below the build file's directory. Links are looked at when it is read.
pub(in crate::spec) fn source_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.contains('\0') {
        Some("holds a NUL character")
    } else if text.starts_with('/') {
        Some("is an absolute path")
    } else if text.split('/').any(|component| component == "..") {
        Some("leaves the directory of the build file")
    } else {
        None
    }
}

impl Decoder<'_> {
    /// A path in the image. Checked with `x` for each variable here, and again once rendered.
    pub(super) fn image_path(&mut self, node: &Node, what: &'static str, r#use: PathUse) -> Option<Placed<Template>> {
        let template = self.template(node)?;
        let sample = template.value.sample("x");
        let problem = match (r#use, destination(&sample)) {
            _ if sample.is_empty() => Problem::EmptyText { what: what.to_owned() },
            (_, Err(error)) => Problem::ImagePath { reason: error.to_string() },
            (PathUse::File, Ok(found)) => match file_fault(&template.value, &found) {
                Some(problem) => problem,
                None => return Some(template),
            },
            _ => return Some(template),
        };
        self.problem(problem, node.place);
        None
    }

    /// A path below the build file's directory.
    pub(super) fn source_path(&mut self, node: &Node) -> Option<Placed<Template>> {
        let template = self.template(node)?;
        let sample = template.value.sample("x");
        let Some(reason) = source_fault(&sample) else { return Some(template) };
        self.problem(Problem::SourcePath { path: clip(template.value.text()), reason }, node.place);
        None
    }

    /// A directory of sources for a compiler, which may stand beside the build file's.
    pub(super) fn source_directory(&mut self, node: &Node, what: &'static str) -> Option<Placed<PathBuf>> {
        let text = &scalar(node)?.text;
        self.no_variables(text, node, "the same sources are compiled for all platforms")?;
        let problem = match &**text {
            "" => Problem::EmptyText { what: what.to_owned() },
            _ if text.starts_with('/') => Problem::Directory { path: clip(text) },
            _ => return Some(Placed::at(PathBuf::from(&**text), node.place)),
        };
        self.problem(problem, node.place);
        None
    }
}
