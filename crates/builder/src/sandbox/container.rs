//! What of an image runs, and how: its config with what the user says otherwise. As Docker does it.

use oci_layout::document::ContainerConfig;
use serde::{Deserialize, Serialize};

use super::SandboxError;

/// Where programs are looked for, in images that do not say it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with what it is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The program and its arguments; at least one.
    pub command: Vec<String>,
    /// All of its environment, but for `HOME`, which the image's `/etc/passwd` says where nobody else does.
    pub environment: Vec<(String, String)>,
    /// The directory that it starts in; made where it is not there.
    pub directory: String,
    /// Its user, `user[:group]`, names or numbers; root where it is empty.
    pub user: String,
    /// Whether it gets a terminal.
    pub terminal: bool,
}

/// What the user says otherwise than the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The program; none where it is empty. The image's own arguments are then left out.
    pub entrypoint: Option<String>,
    /// Arguments, in place of the image's own ones.
    pub arguments: Vec<String>,
    /// Variables, `NAME=value`.
    pub environment: Vec<(String, String)>,
    /// The directory that the program starts in.
    pub directory: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// The kind of terminal that it gets, as `TERM` has it, if it gets one.
    pub terminal: Option<String>,
}

impl Container {
    /// What the image's config says, with what the user says otherwise.
    pub fn of_image(config: &ContainerConfig, overrides: Overrides) -> Result<Self, SandboxError> {
        let mut command = match &overrides.entrypoint {
            Some(program) if program.is_empty() => Vec::new(),
            Some(program) => vec![program.clone()],
            None => config.entrypoint.clone().unwrap_or_default(),
        };
        if overrides.arguments.is_empty() && overrides.entrypoint.is_none() {
            command.extend(config.cmd.clone().unwrap_or_default());
        }
        command.extend(overrides.arguments);
        if command.first().is_none_or(String::is_empty) {
            return Err(SandboxError::NoCommand);
        }
        let mut environment = Vec::new();
        let own = config.env.iter().filter_map(|variable| variable.split_once('='));
        own.for_each(|(name, value)| set(&mut environment, name, value));
        if !environment.iter().any(|(name, _)| name == "PATH") {
            set(&mut environment, "PATH", DEFAULT_PATH);
        }
        if let Some(kind) = &overrides.terminal {
            set(&mut environment, "TERM", kind);
        }
        overrides.environment.iter().for_each(|(name, value)| set(&mut environment, name, value));
        let directory = overrides.directory.or_else(|| config.working_dir.clone()).unwrap_or_default();
        let container = Self {
            command,
            environment,
            directory: if directory.starts_with('/') { directory } else { format!("/{directory}") },
            user: overrides.user.or_else(|| config.user.clone()).unwrap_or_default(),
            terminal: overrides.terminal.is_some(),
        };
        let words = container.command.iter().chain([&container.directory]);
        let variables = container.environment.iter().flat_map(|(name, value)| [name, value]);
        if let Some(text) = words.chain(variables).find(|text| text.contains('\0')) {
            return Err(SandboxError::Unfit { what: format!("`{}`, with a NUL character", text.escape_debug()) });
        }
        Ok(container)
    }
}

/// A variable that is there already keeps its place.
fn set(environment: &mut Vec<(String, String)>, name: &str, value: &str) {
    if name.is_empty() {
        return;
    }
    match environment.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => value.clone_into(known),
        None => environment.push((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn config(entrypoint: &[&str], cmd: &[&str]) -> ContainerConfig {
        ContainerConfig {
            entrypoint: Some(words(entrypoint)),
            cmd: Some(words(cmd)),
            env: words(&["A=1", "B=x=y", "broken", "=", "A=2"]),
            working_dir: Some("data".to_owned()),
            user: Some("app".to_owned()),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn entrypoint_and_arguments_are_put_together_as_in_docker() {
        let check = |entrypoint: &[&str], cmd: &[&str], own: Option<&str>, arguments: &[&str], expected: &[&str]| {
            let overrides =
                Overrides { entrypoint: own.map(str::to_owned), arguments: words(arguments), ..Overrides::default() };
            match Container::of_image(&config(entrypoint, cmd), overrides) {
                Ok(container) => assert_eq!(container.command, expected),
                Err(SandboxError::NoCommand) => assert!(expected.is_empty()),
                Err(error) => panic!("{error}"),
            }
        };
        check(&["/app"], &["serve"], None, &[], &["/app", "serve"]);
        check(&["/app"], &["serve"], None, &["help"], &["/app", "help"]);
        check(&["/app"], &["serve"], Some("/bin/sh"), &[], &["/bin/sh"]);
        check(&["/app"], &["serve"], Some("/bin/sh"), &["-c", "id"], &["/bin/sh", "-c", "id"]);
        check(&["/app"], &["serve"], Some(""), &["id"], &["id"]);
        check(&[], &["/bin/sh"], None, &[], &["/bin/sh"]);
        check(&[], &[], None, &[], &[]);
        check(&["/app"], &[], Some(""), &[], &[]);
    }

    #[test]
    fn the_environment_is_the_images_with_what_the_user_sets() {
        let overrides = Overrides {
            environment: vec![("B".to_owned(), "mine".to_owned()), ("C".to_owned(), String::new())],
            terminal: Some("xterm".to_owned()),
            ..Overrides::default()
        };
        let container = Container::of_image(&config(&["/app"], &[]), overrides).unwrap();
        let shown: Vec<String> = container.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["A=2", "B=mine", &format!("PATH={DEFAULT_PATH}"), "TERM=xterm", "C="]);
        assert_eq!((container.directory.as_str(), container.user.as_str()), ("/data", "app"));
        assert!(container.terminal);
    }

    #[test]
    fn what_no_program_can_be_given_is_refused() {
        let overrides = Overrides { arguments: words(&["a\0b"]), ..Overrides::default() };
        let error = Container::of_image(&config(&["/app"], &[]), overrides).unwrap_err();
        assert!(error.to_string().contains(r"`a\0b`"), "{error}");
    }
}
