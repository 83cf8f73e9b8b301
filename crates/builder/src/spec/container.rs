//! The container's part of an image's config: what the file says, over what the base gives.
//!
//! A pure function, the same for every front end. It does not know passwd: who asks has turned
//! the user into numbers already.

use std::collections::BTreeMap;

use oci_layout::document::{ContainerConfig, Empty, Healthcheck};

use super::annotation::put_over;
use super::diagnostic::Diagnostic;
use super::inherit::inherited;
use super::model::{BuildSpec, HealthTest, HealthcheckSpec, Infer};
use super::place::Placed;
use super::render::{render, render_destination};
use super::template::Template;
use super::variable::Variables;

/// What the config needs to know beyond the file.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The base's config; empty for `scratch`.
    pub base: &'a ContainerConfig,
    /// The user as it is written, in numbers; none where neither file nor base has one.
    pub user: Option<String>,
    /// Path of the first binary, the entrypoint where nothing else is.
    pub first_binary: Option<String>,
    /// What is known by itself, see [`super::infer::annotations`].
    pub inferred: &'a BTreeMap<String, String>,
}

/// The container's config of one platform. `spec` is that of the platform ([`BuildSpec::of`]).
/// All that cannot be rendered is told at once.
pub fn container_config(
    spec: &BuildSpec,
    around: &Surroundings<'_>,
    values: &Variables<'_>,
) -> Result<ContainerConfig, Vec<Diagnostic>> {
    let said = &spec.config;
    let mut renderer = Renderer { values, problems: Vec::new() };
    let mut config = inherited(around.base, said, &spec.inherit);
    config.user.clone_from(&around.user);
    for (name, value) in &said.env {
        if let Some(value) = renderer.text(value) {
            set_env(&mut config.env, name, &value);
        }
    }
    match &said.entrypoint {
        Some(words) => config.entrypoint = Some(renderer.texts(words)).filter(|words| !words.is_empty()),
        None if config.entrypoint.is_none() => config.entrypoint = around.first_binary.clone().map(|path| vec![path]),
        None => {}
    }
    if let Some(words) = &said.cmd {
        config.cmd = Some(renderer.texts(words)).filter(|words| !words.is_empty());
    }
    if let Some(path) = said.workdir.as_ref().and_then(|path| renderer.path(path)) {
        config.working_dir = Some(path);
    }
    config.exposed_ports.extend(said.expose.iter().map(|port| (port.clone(), Empty {})));
    for volume in &said.volumes {
        config.volumes.extend(renderer.path(volume).map(|path| (path, Empty {})));
    }
    if let Some(signal) = &said.stop_signal {
        config.stop_signal = Some(signal.clone());
    }
    if let Some(check) = &said.healthcheck {
        config.healthcheck = Some(renderer.healthcheck(check));
    }
    if spec.infer == Infer::Both {
        config.labels.extend(around.inferred.clone());
    }
    let labels = renderer.table(&spec.labels);
    put_over(&mut config.labels, labels);
    if renderer.problems.is_empty() { Ok(config) } else { Err(renderer.problems) }
}

/// Sets a variable where it stands already, else at the end.
fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
        Some(known) => *known = line,
        None => env.push(line),
    }
}

/// Renders, and keeps what goes wrong.
pub(super) struct Renderer<'a> {
    pub(super) values: &'a Variables<'a>,
    pub(super) problems: Vec<Diagnostic>,
}

impl Renderer<'_> {
    fn keep<T>(&mut self, result: Result<T, Box<Diagnostic>>) -> Option<T> {
        result.map_err(|problem| self.problems.push(*problem)).ok()
    }

    pub(super) fn text(&mut self, template: &Placed<Template>) -> Option<String> {
        self.keep(render(template, self.values))
    }

    fn texts(&mut self, templates: &[Placed<Template>]) -> Vec<String> {
        templates.iter().filter_map(|template| self.text(template)).collect()
    }

    fn path(&mut self, template: &Placed<Template>) -> Option<String> {
        self.keep(render_destination(template, self.values)).map(|destination| destination.path.to_string())
    }

    pub(super) fn table(&mut self, table: &BTreeMap<String, Placed<Template>>) -> BTreeMap<String, String> {
        table.iter().filter_map(|(name, value)| Some((name.clone(), self.text(value)?))).collect()
    }

    fn healthcheck(&mut self, check: &HealthcheckSpec) -> Healthcheck {
        let HealthcheckSpec::Check { test, interval, timeout, start_period, start_interval, retries } = check else {
            return Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() };
        };
        let (kind, words) = match test {
            HealthTest::Program(words) => ("CMD", self.texts(words)),
            HealthTest::Shell(command) => ("CMD-SHELL", self.text(command).into_iter().collect()),
        };
        Healthcheck {
            test: std::iter::once(kind.to_owned()).chain(words).collect(),
            // Docker takes 0 for "the default", as it does what is not there.
            interval: interval.filter(|it| *it > 0),
            timeout: timeout.filter(|it| *it > 0),
            start_period: start_period.filter(|it| *it > 0),
            start_interval: start_interval.filter(|it| *it > 0),
            retries: retries.map(i64::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::{Facts, Overrides, parse};

    /// The config of `text` (without its version) on a base, as JSON.
    #[track_caller]
    fn check(text: &str, base: &str, expect: &str) {
        let spec = parse(Path::new("f"), &format!("version: 1\n{text}\n"), &Overrides::default()).unwrap();
        let base: ContainerConfig = serde_json::from_str(base).unwrap();
        let inferred = [("org.opencontainers.image.title".to_owned(), "app".to_owned())].into();
        let around = Surroundings {
            base: &base,
            user: spec.config.user.as_ref().map(|_| "2000:2000".to_owned()),
            first_binary: Some("/app".to_owned()),
            inferred: &inferred,
        };
        let facts = Facts::default();
        let values = Variables { platform: "linux/arm/v7".parse().ok(), facts: &facts };
        let config = match container_config(&spec, &around, &values) {
            Ok(config) => serde_json::to_string(&config).unwrap(),
            Err(problems) => problems.iter().map(|it| format!("{} ", it.message)).collect(),
        };
        assert_eq!(config, expect, "{text}");
    }

    #[test]
    fn what_the_file_says_goes_over_the_base() {
        check("", "{}", r#"{"Entrypoint":["/app"]}"#);
        check("config: {user: app, entrypoint: [], cmd: [a, b]}", "{}", r#"{"User":"2000:2000","Cmd":["a","b"]}"#);
        check(
            "config: {env: {B: '2', PATH: /x, C: '${platform.arch}'}}",
            r#"{"Env":["PATH=/bin","A=1"]}"#,
            r#"{"Env":["PATH=/x","A=1","B=2","C=arm"],"Entrypoint":["/app"]}"#,
        );
        check(
            "config: {workdir: /w/, expose: [80, 80/udp], volumes: [/v/], stop-signal: SIGINT}",
            r#"{"WorkingDir":"/","ExposedPorts":{"1/tcp":{}},"StopSignal":"SIGTERM"}"#,
            r#"{"ExposedPorts":{"1/tcp":{},"80/tcp":{},"80/udp":{}},"Entrypoint":["/app"],"Volumes":{"/v":{}},"WorkingDir":"/w","StopSignal":"SIGINT"}"#,
        );
        check(
            "config: {healthcheck: {test: [/app, ok], interval: 5s, timeout: 0s, retries: 2}}",
            "{}",
            r#"{"Entrypoint":["/app"],"Healthcheck":{"Test":["CMD","/app","ok"],"Interval":5000000000,"Retries":2}}"#,
        );
        check(
            "config: {healthcheck: none}\ninherit: {entrypoint: true}",
            r#"{"Entrypoint":["/base"],"Cmd":["x"],"Healthcheck":{"Test":["CMD","y"]}}"#,
            r#"{"Entrypoint":["/base"],"Cmd":["x"],"Healthcheck":{"Test":["NONE"]}}"#,
        );
    }

    #[test]
    fn labels_that_are_known_can_be_set_and_left_out() {
        let name = "org.opencontainers.image.title";
        check("", r#"{"Labels":{"a":"b","version":"1"}}"#, r#"{"Entrypoint":["/app"],"Labels":{"a":"b"}}"#);
        check("infer: both", "{}", &format!(r#"{{"Entrypoint":["/app"],"Labels":{{"{name}":"app"}}}}"#));
        check(
            &format!("infer: both\nlabels: {{{name}: mine, empty: ''}}"),
            "{}",
            &format!(r#"{{"Entrypoint":["/app"],"Labels":{{"empty":"","{name}":"mine"}}}}"#),
        );
        check(&format!("infer: both\nlabels: {{{name}: ''}}"), "{}", r#"{"Entrypoint":["/app"]}"#);
    }

    #[test]
    fn all_that_has_no_value_is_told() {
        check(
            "config: {env: {A: '${git.tag}'}, cmd: ['${cargo.name}']}",
            "{}",
            "`${git.tag}` has no value: the commit has no tag `${cargo.name}` has no value: Cargo.toml does not say it ",
        );
    }
}
