//! What an image takes over from its base's config: one table, one pure function.
//!
//! | of the base | taken over |
//! | --- | --- |
//! | Env, WorkingDir, User, StopSignal, ExposedPorts, Volumes | unless switched off |
//! | Entrypoint | where `inherit.entrypoint` says so and the file sets none |
//! | Cmd, Healthcheck | with the entrypoint, or where asked for |
//! | Labels | those that are not about the base itself, all, or none |
//! | Shell | always: the base's shell forms stay what they were |
//! | OnBuild, ArgsEscaped and whatever else | never |

use oci_layout::document::ContainerConfig;

use super::model::{ConfigSpec, InheritSpec};

/// Whether a label of a base is about the base itself, so that an image on top of it would lie.
pub fn is_about_the_base(label: &str) -> bool {
    label.starts_with("org.opencontainers.") || matches!(label, "version" | "maintainer")
}

/// The base's config as far as an image with `config` takes it over. What `config` says is put
/// over it by the plan.
pub fn inherited(base: &ContainerConfig, config: &ConfigSpec, switches: &InheritSpec) -> ContainerConfig {
    let keeps_entrypoint = switches.entrypoint && config.entrypoint.is_none();
    let cmd = config.cmd.is_none() && switches.cmd.unwrap_or(keeps_entrypoint);
    let healthcheck = config.healthcheck.is_none() && switches.healthcheck.unwrap_or(keeps_entrypoint);
    let labels = base.labels.iter().filter(|(name, _)| switches.labels.unwrap_or(!is_about_the_base(name)));
    ContainerConfig {
        user: base.user.clone().filter(|_| switches.user),
        exposed_ports: if switches.expose { base.exposed_ports.clone() } else { Default::default() },
        env: if switches.env { base.env.clone() } else { Vec::new() },
        entrypoint: base.entrypoint.clone().filter(|_| keeps_entrypoint),
        cmd: base.cmd.clone().filter(|_| cmd),
        volumes: if switches.volumes { base.volumes.clone() } else { Default::default() },
        working_dir: base.working_dir.clone().filter(|_| switches.workdir),
        labels: labels.map(|(name, value)| (name.clone(), value.clone())).collect(),
        stop_signal: base.stop_signal.clone().filter(|_| switches.stop_signal),
        healthcheck: base.healthcheck.clone().filter(|_| healthcheck),
        shell: base.shell.clone(),
        extra: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use oci_layout::document::{Empty, Healthcheck};

    use super::*;

    fn base() -> ContainerConfig {
        let texts = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let labels = [("org.opencontainers.image.title", "base"), ("maintainer", "x"), ("vendor", "y")];
        ContainerConfig {
            user: Some("app".to_owned()),
            exposed_ports: [("80/tcp".to_owned(), Empty {})].into(),
            env: texts(&["PATH=/bin"]),
            entrypoint: Some(texts(&["/entry"])),
            cmd: Some(texts(&["arg"])),
            volumes: [("/data".to_owned(), Empty {})].into(),
            working_dir: Some("/work".to_owned()),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            stop_signal: Some("SIGINT".to_owned()),
            healthcheck: Some(Healthcheck::default()),
            shell: texts(&["/bin/sh", "-c"]),
            extra: [("OnBuild".to_owned(), serde_json::json!(["RUN x"]))].into(),
        }
    }

    #[test]
    fn by_default_all_but_what_belongs_to_the_entrypoint() {
        let got = inherited(&base(), &ConfigSpec::default(), &InheritSpec::default());
        let labels = [("vendor".to_owned(), "y".to_owned())].into();
        let expect = ContainerConfig {
            entrypoint: None,
            cmd: None,
            healthcheck: None,
            labels,
            extra: Default::default(),
            ..base()
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn the_entrypoint_brings_its_arguments_unless_the_file_sets_one() {
        let switches = InheritSpec { entrypoint: true, labels: Some(true), ..InheritSpec::default() };
        let got = inherited(&base(), &ConfigSpec::default(), &switches);
        assert_eq!(got, ContainerConfig { extra: Default::default(), ..base() });
        let config = ConfigSpec { entrypoint: Some(vec![]), ..ConfigSpec::default() };
        let got = inherited(&base(), &config, &switches);
        assert_eq!((got.entrypoint, got.cmd, got.healthcheck), (None, None, None));
        let switches = InheritSpec { cmd: Some(true), healthcheck: Some(true), ..switches };
        let got = inherited(&base(), &config, &switches);
        assert!(got.entrypoint.is_none() && got.cmd.is_some() && got.healthcheck.is_some());
        let config = ConfigSpec { cmd: Some(vec![]), ..ConfigSpec::default() };
        assert_eq!(inherited(&base(), &config, &switches).cmd, None);
    }

    #[test]
    fn each_can_be_switched_off() {
        let off = InheritSpec {
            env: false,
            workdir: false,
            user: false,
            stop_signal: false,
            expose: false,
            volumes: false,
            labels: Some(false),
            ..InheritSpec::default()
        };
        let got = inherited(&base(), &ConfigSpec::default(), &off);
        assert_eq!(got, ContainerConfig { shell: base().shell, ..ContainerConfig::default() });
    }
}
