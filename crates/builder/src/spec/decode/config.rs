//! `config`: how a container of the image runs.

use std::collections::BTreeSet;

use super::binaries::boolean;
use super::path::PathUse;
use super::{Decoder, Fields, items, scalar};
use crate::spec::model::{Compression, ConfigSpec, Grouping, Infer, InheritSpec, LayersSpec};
use crate::spec::place::Placed;
use crate::spec::problem::Problem;
use crate::spec::schema::table;
use crate::spec::shape::clip;
use crate::spec::template::Template;
use crate::spec::yaml::{Entry, Node};

/// Most ports of one range: each is a line of the image's config.
const MAX_PORTS: u16 = 1000;

impl Decoder<'_> {
    pub(super) fn config(&mut self, node: &Node) -> ConfigSpec {
        let Some(fields) = Fields::of(node, &table::CONFIG) else { return ConfigSpec::default() };
        ConfigSpec {
            user: fields.get("user").and_then(|node| self.owner(node)),
            entrypoint: self.arguments(fields.get("entrypoint")),
            cmd: self.arguments(fields.get("cmd")),
            env: self.table(fields.get("env"), Self::env_name),
            workdir: fields.get("workdir").and_then(|node| self.image_path(node, "workdir", PathUse::Directory)),
            expose: self.ports(fields.items("expose")),
            volumes: fields
                .items("volumes")
                .iter()
                .filter_map(|node| self.image_path(node, "volumes", PathUse::Directory))
                .collect(),
            stop_signal: fields.get("stop-signal").and_then(|node| self.signal(node)),
            healthcheck: fields.get("healthcheck").and_then(|node| self.healthcheck(node)),
        }
    }

    /// An empty list says something: no arguments, whatever the base has.
    pub(super) fn arguments(&mut self, node: Option<&Node>) -> Option<Vec<Placed<Template>>> {
        Some(items(node?).iter().filter_map(|node| self.template(node)).collect())
    }

    /// Any name that `NAME=value` can carry; more than a shell would take.
    pub(super) fn env_name(&mut self, entry: &Entry) {
        let reason = match &*entry.key {
            "" => "it is empty",
            key if key.contains('=') => "it holds a `=`",
            key if key.chars().any(|c| c.is_control() || c.is_whitespace()) => "it holds a blank",
            _ => return,
        };
        self.problem(Problem::EnvName { name: clip(&entry.key), reason }, entry.key_place);
    }

    fn ports(&mut self, nodes: &[Node]) -> BTreeSet<String> {
        let mut ports = BTreeSet::new();
        for node in nodes {
            let Some(text) = scalar(node).map(|scalar| &scalar.text) else { continue };
            match port_range(text) {
                Ok((first, last, protocol)) => ports.extend((first..=last).map(|port| format!("{port}/{protocol}"))),
                Err(reason) => self.problem(Problem::Port { found: clip(text), reason }, node.place),
            }
        }
        ports
    }
}

pub(super) fn inherit(node: &Node) -> InheritSpec {
    let defaults = InheritSpec::default();
    let Some(fields) = Fields::of(node, &table::INHERIT) else { return defaults };
    let switch = |name, default| boolean(fields.get(name)).unwrap_or(default);
    InheritSpec {
        env: switch("env", defaults.env),
        workdir: switch("workdir", defaults.workdir),
        user: switch("user", defaults.user),
        stop_signal: switch("stop-signal", defaults.stop_signal),
        expose: switch("expose", defaults.expose),
        volumes: switch("volumes", defaults.volumes),
        entrypoint: switch("entrypoint", defaults.entrypoint),
        cmd: boolean(fields.get("cmd")),
        healthcheck: boolean(fields.get("healthcheck")),
        labels: boolean(fields.get("labels")),
        annotations: switch("annotations", defaults.annotations),
    }
}

pub(super) fn layers(node: &Node) -> LayersSpec {
    let Some(fields) = Fields::of(node, &table::LAYERS) else { return LayersSpec::default() };
    LayersSpec {
        compression: match word(fields.get("compression")) {
            Some("zstd") => Compression::Zstd,
            Some("none") => Compression::Off,
            _ => Compression::Gzip,
        },
        grouping: match word(fields.get("grouping")) {
            Some("kind") => Grouping::Kind,
            Some("single") => Grouping::Single,
            _ => Grouping::Binary,
        },
    }
}

pub(super) fn infer(node: Option<&Node>) -> Infer {
    match word(node) {
        Some("both") => Infer::Both,
        Some("none") => Infer::Off,
        _ => Infer::Annotations,
    }
}

/// One of the words of a choice; which ones there are is the table's.
fn word(node: Option<&Node>) -> Option<&str> {
    scalar(node?).map(|scalar| &*scalar.text)
}

/// `PORT[-PORT][/PROTOCOL]`.
fn port_range(text: &str) -> Result<(u16, u16, String), &'static str> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err("its protocol is not tcp, udp or sctp");
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| match text.parse::<u16>() {
        Ok(0) => Err("0 is no port"),
        Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => Err("it is over 65535"),
        _ if text.contains(':') => Err("ports of the host are chosen when a container is run"),
        _ => Err("it is not a number"),
    };
    let (first, last) = (number(first)?, number(last)?);
    match last.checked_sub(first) {
        None => Err("the range ends before it begins"),
        Some(more) if more >= MAX_PORTS => Err("the range has more than 1000 ports"),
        Some(_) => Ok((first, last, protocol)),
    }
}

#[cfg(test)]
mod tests {
    use super::port_range;

    #[test]
    fn ports() {
        for (text, expect) in [
            ("80", "80-80/tcp"),
            ("80/udp", "80-80/udp"),
            ("80/TCP", "80-80/tcp"),
            ("8000-8002/sctp", "8000-8002/sctp"),
            ("http", "it is not a number"),
            ("", "it is not a number"),
            ("+80", "it is not a number"),
            ("70000", "it is over 65535"),
            ("0", "0 is no port"),
            ("80/icmp", "its protocol is not tcp, udp or sctp"),
            ("9-8", "the range ends before it begins"),
            ("1-1001", "the range has more than 1000 ports"),
            ("8080:80", "ports of the host are chosen when a container is run"),
        ] {
            let shown = match port_range(text) {
                Ok((first, last, protocol)) => format!("{first}-{last}/{protocol}"),
                Err(reason) => reason.to_owned(),
            };
            assert_eq!(shown, expect, "{text}");
        }
    }
}
