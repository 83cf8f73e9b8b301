//! `annotations`, sorted by what they are written to.

use std::collections::BTreeMap;

use super::{Decoder, entries};
use crate::spec::model::AnnotationsSpec;
use crate::spec::nearest::nearest;
use crate::spec::place::Placed;
use crate::spec::problem::Problem;
use crate::spec::shape::clip;
use crate::spec::template::Template;
use crate::spec::yaml::{Entry, Node};

/// What can stand before an annotation's name.
const TARGETS: [&str; 3] = ["index", "manifest", "descriptor"];

impl Decoder<'_> {
    pub(super) fn annotations(&mut self, node: Option<&Node>) -> AnnotationsSpec {
        let mut annotations = AnnotationsSpec::default();
        for entry in node.map_or(&[][..], entries) {
            let (target, name) = match entry.key.split_once(':') {
                Some((target, name)) => (Some(target), name),
                None => (None, &*entry.key),
            };
            self.annotation_name(entry, target, name);
            let Some(value) = self.template(&entry.node) else { continue };
            let put = |map: &mut BTreeMap<String, Placed<Template>>| map.insert(name.to_owned(), value.clone());
            let by_platform = first_platform(&value.value);
            match (target, by_platform) {
                (Some("index"), Some((name, range))) => {
                    let place = entry.node.place.within(value.value.text(), range);
                    let hint = "an index is the same for all its platforms";
                    self.problem(Problem::VariableNotHere { name, hint }, place);
                }
                (Some("index"), None) => drop(put(&mut annotations.index)),
                (Some("manifest"), _) => drop(put(&mut annotations.manifest)),
                (Some("descriptor"), _) => drop(put(&mut annotations.descriptor)),
                // A name with its target goes before the same name without, wherever it stands.
                (_, by_platform) => {
                    annotations.manifest.entry(name.to_owned()).or_insert_with(|| value.clone());
                    if by_platform.is_none() {
                        annotations.index.entry(name.to_owned()).or_insert(value);
                    }
                }
            }
        }
        annotations
    }

    fn annotation_name(&mut self, entry: &Entry, target: Option<&str>, name: &str) {
        let reason = match name {
            "" => "it is empty",
            name if name.chars().any(|c| c.is_control() || c.is_whitespace()) => "it holds a blank",
            _ => "",
        };
        if !reason.is_empty() {
            self.problem(Problem::LabelName { name: clip(&entry.key), reason }, entry.key_place);
        }
        if let Some(target) = target.filter(|target| !TARGETS.contains(target)) {
            let nearest = nearest(target, TARGETS).into_iter().map(str::to_owned).collect();
            let place = entry.key_place.within(&entry.key, 0..target.len());
            self.problem(Problem::AnnotationTarget { target: clip(target), nearest }, place);
        }
    }
}

/// The first variable that differs from platform to platform.
pub(super) fn first_platform(template: &Template) -> Option<(String, std::ops::Range<usize>)> {
    let named = |(variable, range): (&crate::spec::variable::Variable, _)| (variable.to_string(), range);
    template.variables().map(named).find(|(name, _)| name.starts_with("platform"))
}
