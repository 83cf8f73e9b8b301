//! How a container of the image runs, and what of that comes from the base.

use std::collections::{BTreeMap, BTreeSet};

use super::Owner;
use crate::spec::place::Placed;
use crate::spec::template::Template;

/// The `config` section. `None` is "not said", which inherits.
#[derive(Clone, Debug, Default)]
pub struct ConfigSpec {
    /// User and group that the program runs as.
    pub user: Option<Placed<Owner>>,
    /// The program.
    pub entrypoint: Option<Vec<Placed<Template>>>,
    /// Its arguments.
    pub cmd: Option<Vec<Placed<Template>>>,
    /// Environment, added to the base's.
    pub env: BTreeMap<String, Placed<Template>>,
    /// Working directory.
    pub workdir: Option<Placed<Template>>,
    /// Ports, each as `80/tcp`, added to the base's. Ranges are written out.
    pub expose: BTreeSet<String>,
    /// Volumes, added to the base's.
    pub volumes: Vec<Placed<Template>>,
    /// Signal that stops the program.
    pub stop_signal: Option<String>,
    /// Docker's health check.
    pub healthcheck: Option<HealthcheckSpec>,
}

/// Docker's health check.
#[derive(Clone, Debug)]
pub enum HealthcheckSpec {
    /// None, whatever the base has.
    Off,
    /// A program that ends with 0 while the container is well.
    Check {
        /// What is run.
        test: HealthTest,
        /// Between two checks, in nanoseconds.
        interval: Option<i64>,
        /// For one check.
        timeout: Option<i64>,
        /// Before failures count.
        start_period: Option<i64>,
        /// Between two checks during the start period.
        start_interval: Option<i64>,
        /// Failures in a row that make a container unhealthy.
        retries: Option<u32>,
    },
}

/// What a health check runs.
#[derive(Clone, Debug)]
pub enum HealthTest {
    /// A program with its arguments.
    Program(Vec<Placed<Template>>),
    /// A command for the image's shell.
    Shell(Placed<Template>),
}

/// What is taken over from the base's config. [`crate::spec::inherit`] does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InheritSpec {
    /// Environment.
    pub env: bool,
    /// Working directory.
    pub workdir: bool,
    /// User.
    pub user: bool,
    /// Signal that stops the program.
    pub stop_signal: bool,
    /// Ports.
    pub expose: bool,
    /// Volumes.
    pub volumes: bool,
    /// The entrypoint rather than the first binary, where the file sets none.
    pub entrypoint: bool,
    /// The arguments; by default only with the entrypoint.
    pub cmd: Option<bool>,
    /// The health check; by default only with the entrypoint.
    pub healthcheck: Option<bool>,
    /// All labels, none, or by default those that are not about the base itself.
    pub labels: Option<bool>,
    /// Annotations of the base's manifest.
    pub annotations: bool,
}

impl Default for InheritSpec {
    fn default() -> Self {
        Self {
            env: true,
            workdir: true,
            user: true,
            stop_signal: true,
            expose: true,
            volumes: true,
            entrypoint: false,
            cmd: None,
            healthcheck: None,
            labels: None,
            annotations: false,
        }
    }
}
