//! `base`: one for all platforms, or a map.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::values::with_text;
use super::{Decoder, entries, scalar};
use crate::spec::model::{BaseSource, BaseSpec, LayoutSelect};
use crate::spec::place::Placed;
use crate::spec::problem::Problem;
use crate::spec::shape::clip;
use crate::spec::yaml::{Node, Value};
use crate::target::TargetPlatform;

impl Decoder<'_> {
    /// The base of every platform. None where something was reported.
    pub(super) fn base(&mut self, node: Option<&Node>, wanted: &[Placed<TargetPlatform>]) -> Option<BaseSpec> {
        let Some(node) = node else {
            return Some(BaseSpec { default: Placed::implied(BaseSource::Static), platforms: BTreeMap::new() });
        };
        if !matches!(node.value, Value::Map(_)) {
            let default = Placed::at(self.base_source(node)?, node.place);
            return Some(BaseSpec { default, platforms: BTreeMap::new() });
        }
        let mut default = None;
        let mut platforms = BTreeMap::new();
        let mut complete = true;
        for entry in entries(node) {
            let source = self.base_source(&entry.node).map(|source| Placed::at(source, entry.node.place));
            if &*entry.key == "default" {
                complete &= source.is_some();
                default = source;
                continue;
            }
            match (self.platform(&entry.key, entry.key_place), source) {
                (Some(platform), Some(source)) => {
                    platforms.insert(platform, source);
                }
                _ => complete = false,
            }
        }
        if complete && default.is_none() {
            for platform in wanted.iter().filter(|platform| !platforms.contains_key(&platform.value)) {
                self.problem(Problem::BaseMissing { platform: platform.value.to_string() }, node.place);
                complete = false;
            }
        }
        let default = default.unwrap_or(Placed::implied(BaseSource::Static));
        complete.then_some(BaseSpec { default, platforms })
    }

    fn base_source(&mut self, node: &Node) -> Option<BaseSource> {
        let text = &scalar(node)?.text;
        self.no_variables(text, node, "write a map from platforms to bases, or let `--set base=…` set it")?;
        match base_source(text) {
            Ok(source) => Some(source),
            Err((reason, hint)) => {
                self.problem(Problem::Base { reason, hint: hint.map(str::to_owned) }, node.place);
                None
            }
        }
    }
}

/// Reads a base as it is written: `scratch`, `static`, `oci:…` or a reference.
fn base_source(text: &str) -> Result<BaseSource, (String, Option<&'static str>)> {
    const LAYOUT: &str = "a layout is `oci:DIRECTORY`, `oci:DIRECTORY:TAG` or `oci:DIRECTORY@DIGEST`";
    match text {
        "" => return Err(("`base` is empty".to_owned(), Some("`scratch` is the base with nothing in it"))),
        "scratch" => return Ok(BaseSource::Scratch),
        "static" => return Ok(BaseSource::Static),
        _ => {}
    }
    if let Some(rest) = text.strip_prefix("oci:") {
        let (directory, select) = match rest.rsplit_once('@') {
            Some((directory, digest)) => match digest.parse() {
                Ok(digest) => (directory, Some(LayoutSelect::Digest(digest))),
                Err(error) => return Err((error.to_string(), Some(LAYOUT))),
            },
            None => match rest.rsplit_once(':') {
                Some((directory, tag)) if !tag.contains('/') => (directory, Some(LayoutSelect::Tag(tag.to_owned()))),
                _ => (rest, None),
            },
        };
        if directory.is_empty() || select == Some(LayoutSelect::Tag(String::new())) {
            return Err((format!("`{}` names no image of a layout", clip(text)), Some(LAYOUT)));
        }
        return Ok(BaseSource::Layout { directory: PathBuf::from(directory), select });
    }
    if let Some((scheme, _)) = text.split_once("://") {
        let hint = match scheme {
            "oci-layout" => LAYOUT,
            _ => "write the reference without `://`, such as `docker.io/library/debian:bookworm-slim`",
        };
        return Err((format!("`{}` is no base: it has a scheme", clip(text)), Some(hint)));
    }
    match text.parse() {
        Ok(reference) => Ok(BaseSource::Registry(reference)),
        Err(error) => Err((
            with_text(text, "base", &error),
            Some(
                "write `scratch`, `static`, `oci:DIRECTORY` or a reference such as `docker.io/library/debian:bookworm-slim`",
            ),
        )),
    }
}
