//! `binaries`: programs of Cargo packages, Go modules, or made elsewhere.

use std::collections::BTreeMap;

use super::path::PathUse;
use super::{Decoder, Fields, scalar};
use crate::spec::exec_risk;
use crate::spec::model::{BinarySource, BinarySpec, GoSpec, Link, RustSpec};
use crate::spec::place::Placed;
use crate::spec::problem::Problem;
use crate::spec::schema::table;
use crate::spec::template::Template;
use crate::spec::yaml::{Node, ScalarKind, Value};
use crate::target::Libc;

pub(super) fn boolean(node: Option<&Node>) -> Option<bool> {
    match scalar(node?)?.kind() {
        ScalarKind::Boolean(value) => Some(value),
        _ => None,
    }
}

impl Decoder<'_> {
    pub(super) fn binary(&mut self, node: &Node) -> Option<BinarySpec> {
        let fields = Fields::of(node, &table::BINARY)?;
        let (rust, go, file) = (fields.get("rust"), fields.get("go"), fields.get("file"));
        let source = match (rust, go, file) {
            (Some(node), None, None) => self.rust(node).map(BinarySource::Rust),
            (None, Some(node), None) => self.go(node).map(BinarySource::Go),
            (None, None, Some(node)) => self.source_path(node).map(BinarySource::File),
            _ => None,
        };
        let to = fields.get("to").and_then(|node| self.image_path(node, "to", PathUse::File));
        let mode = self.mode(fields.get("mode")).unwrap_or(0o755);
        let owner = self.owner_or_root(fields.get("owner"));
        let capabilities = self.capabilities(fields.items("capabilities"));
        let replace = boolean(fields.get("replace")).unwrap_or(false);
        Some(BinarySpec { source: source?, to: to?, mode, owner, capabilities, replace })
    }

    fn rust(&mut self, node: &Node) -> Option<RustSpec> {
        if !matches!(node.value, Value::Map(_)) {
            return Some(RustSpec::new(self.source_directory(node, "rust")?));
        }
        let fields = Fields::of(node, &table::RUST)?;
        let path = fields.get("path").and_then(|node| self.source_directory(node, "path"));
        let package = fields.get("package").and_then(|node| self.word(node, "package"));
        let bin = fields.get("bin").and_then(|node| self.word(node, "bin"));
        let features = self.words(fields.items("features"), "features");
        let default_features = boolean(fields.get("default-features")).unwrap_or(true);
        let all_features = boolean(fields.get("all-features")).unwrap_or(false);
        let profile = fields.get("profile").and_then(|node| self.word(node, "profile"));
        let libc = fields.get("libc").and_then(scalar).and_then(|scalar| match &*scalar.text {
            "gnu" => Some(Libc::Gnu),
            "musl" => Some(Libc::Musl),
            _ => None,
        });
        let link = fields.get("link").and_then(scalar).and_then(|scalar| match &*scalar.text {
            "static" => Some(Link::Static),
            "dynamic" => Some(Link::Dynamic),
            _ => None,
        });
        let glibc = fields.get("glibc").and_then(|node| self.glibc(node));
        let target_cpu = fields.get("target-cpu").and_then(|node| self.word(node, "target-cpu"));
        let toolchain = fields.get("toolchain").and_then(|node| self.word(node, "toolchain"));
        let env = self.compiler_env(fields.get("env"));
        let defaults = RustSpec::new(path?);
        Some(RustSpec {
            package,
            bin,
            features,
            default_features,
            all_features,
            profile: profile.map_or(defaults.profile, |profile| profile.value),
            libc,
            link,
            glibc,
            target_cpu: target_cpu.map(|cpu| cpu.value),
            toolchain: toolchain.map(|toolchain| toolchain.value),
            env,
            path: defaults.path,
        })
    }

    fn go(&mut self, node: &Node) -> Option<GoSpec> {
        if !matches!(node.value, Value::Map(_)) {
            return Some(GoSpec::new(self.source_directory(node, "go")?));
        }
        let fields = Fields::of(node, &table::GO)?;
        let path = fields.get("path").and_then(|node| self.source_directory(node, "path"));
        let ldflags = fields.items("ldflags").iter().filter_map(|node| self.ldflag(node)).collect();
        let tags = self.words(fields.items("tags"), "tags");
        let env = self.compiler_env(fields.get("env"));
        Some(GoSpec { ldflags, tags, env, ..GoSpec::new(path?) })
    }

    fn ldflag(&mut self, node: &Node) -> Option<Placed<Template>> {
        let flag = self.template(node)?;
        if let Some(with) = exec_risk::of_ldflag(flag.value.text()).filter(|_| !self.allow_exec) {
            self.problem(Problem::ExecSetting { name: "ldflags".to_owned(), with }, node.place);
        }
        Some(flag)
    }

    /// Variables for a compiler: none that would run programs of its own (fault row I22).
    fn compiler_env(&mut self, node: Option<&Node>) -> BTreeMap<String, Placed<Template>> {
        let env = self.table(node, Self::env_name);
        for (name, value) in &env {
            let constant = value.value.constant();
            if let Some(with) = exec_risk::of(name, constant).filter(|_| !self.allow_exec) {
                self.problem(Problem::ExecSetting { name: name.clone(), with }, value.place);
            }
        }
        env
    }
}
