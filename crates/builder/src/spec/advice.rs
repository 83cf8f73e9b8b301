//! The words beside the mark, and what to do about each problem.

use super::diagnostic::Diagnostic;
use super::place::Place;
use super::problem::{Problem, list};

impl Problem {
    /// The problem as an error at `place`, with its advice.
    pub fn at(self, place: Option<Place>) -> Diagnostic {
        let diagnostic = Diagnostic::error(self.code(), self.to_string(), place);
        match self {
            Self::UnknownKey { nearest, valid, hint, .. } => {
                let diagnostic = meant(diagnostic, &nearest);
                match hint {
                    Some(hint) => diagnostic.hint(hint),
                    None if nearest.is_empty() => diagnostic.hint(format!("valid here: {}", list(&valid, "and"))),
                    None => diagnostic,
                }
            }
            Self::VariableUnknown { nearest, .. } if nearest.is_empty() => diagnostic
                .hint("valid are `platform`, `platform.…`, `git.…`, `cargo.…`, `go.…` and `env.NAME`")
                .hint("write `$$` for a dollar sign"),
            Self::VariableUnknown { nearest, .. } => meant(diagnostic, &nearest),
            Self::Choice { valid, nearest, .. } => {
                meant(diagnostic, &nearest).hint(format!("valid are {}", list(valid, "and")))
            }
            Self::Platform { nearest, valid, .. } => {
                let diagnostic = meant(diagnostic, &nearest);
                if valid.is_empty() || !nearest.is_empty() {
                    diagnostic
                } else {
                    diagnostic.hint(format!("mab builds for {}", valid.join(", ")))
                }
            }
            Self::Check { nearest, .. } => meant(diagnostic, &nearest).hint("docs/checks.md has all of them"),
            Self::Signal { nearest, .. } => {
                meant(diagnostic, &nearest).hint("write a name such as `SIGTERM`, or a number from 1 to 64")
            }
            Self::Capability { nearest, .. } => meant(diagnostic, &nearest).hint("write it as `net_bind_service`"),
            Self::AnnotationTarget { nearest, .. } => meant(diagnostic, &nearest)
                .hint("valid are `index:NAME`, `manifest:NAME`, `descriptor:NAME` and `NAME` alone"),
            Self::PlatformNotBuilt { .. } => diagnostic.hint("add it to `platforms`, or remove it here"),
            Self::Carried { .. } => diagnostic.hint("`mab:ca-certificates` is the only one"),
            Self::Duration { .. } => diagnostic.hint("write a number with its unit, such as `30s`, `1m30s` or `500ms`"),
            Self::Date { .. } => {
                diagnostic.hint("write a date as `2026-01-31T12:00:00Z`, seconds since 1970, or `${git.date}`")
            }
            Self::TooManyChoices { second, .. } => diagnostic.related(Some(second), "the other one"),
            Self::DuplicateKey { first, .. } => diagnostic.label("here again").related(Some(first), "first here"),
            Self::PlatformTwice { first, .. }
            | Self::PathTwice { first, .. }
            | Self::UserTwice { first, .. }
            | Self::UidTwice { first, .. } => diagnostic.label("here again").related(first, "first here"),
            Self::PathBelowFile { first, kind, .. } => diagnostic.related(first, format!("{kind} is put here")),
            Self::Type { expected, hint, .. } => {
                let diagnostic = diagnostic.label(format!("expected {expected}"));
                match hint {
                    Some(hint) => diagnostic.hint(hint),
                    None => diagnostic,
                }
            }
            Self::Repository { hint: Some(hint), .. }
            | Self::ImageTag { hint: Some(hint), .. }
            | Self::Base { hint: Some(hint), .. }
            | Self::TemplateSyntax { hint, .. } => diagnostic.hint(hint),
            Self::VariableNotHere { hint, .. } => diagnostic.hint(hint),
            Self::NoValue { .. } => diagnostic.hint("write `${name:-text}` to have a text where there is no value"),
            Self::EnvNotListed { name } => {
                diagnostic.hint(format!("add `{name}` to the list `env` at the top of the build file"))
            }
            Self::BaseMissing { platform } => diagnostic.hint(format!("add `{platform}` or `default` to `base`")),
            Self::MissingKey { key, .. } if key == "version" => diagnostic.hint("begin the file with `version: 1`"),
            Self::MissingKey { key, section } if key == "to" && !section.contains("links") => {
                diagnostic.hint("say where it goes in the image, such as `to: /usr/bin/app`")
            }
            Self::Empty => diagnostic.hint("write `version: 1` and `binaries`"),
            Self::Tab => diagnostic.hint("indent with blanks"),
            Self::Tag => diagnostic.hint("write a value in quotes to make it a text"),
            Self::MergeKey => diagnostic.hint("write the keys out, or use an alias as a whole value"),
            Self::Directive => diagnostic.hint("remove the line"),
            Self::KeyNotText => diagnostic.hint("put it in quotes"),
            Self::EmptyList { .. } => diagnostic.hint("write at least one item, or remove the key"),
            Self::ImagePath { reason } if reason.contains("absolute") || reason.contains("component `") => {
                diagnostic.hint("write an absolute path without `.` and `..`, such as `/usr/bin/app`")
            }
            Self::SourcePath { .. } => {
                diagnostic.hint("sources are below the directory of the build file; move the file or the build file")
            }
            Self::Directory { .. } => diagnostic.hint("write it relative to the directory of the build file"),
            Self::Mode { .. } => diagnostic.hint("write octal digits in quotes, such as `\"0644\"`"),
            Self::Owner { .. } => diagnostic.hint("write `user` or `user:group`, each by name or number"),
            Self::Glibc { .. } => diagnostic.hint("write two numbers in quotes, such as `\"2.31\"`"),
            Self::Port { .. } => diagnostic.hint("write `8000`, `8000/tcp`, `8000/udp` or `8000-8010/tcp`"),
            Self::ExecSetting { .. } => diagnostic
                .hint("a build file runs nothing that `cargo build` or `go build` would not; `--allow-exec` allows it"),
            Self::BesideSteps { key } => diagnostic.hint(format!("write it as one of the steps: `- {key}: …`")),
            Self::Override { .. } => {
                diagnostic.hint("write `--set KEY=VALUE`, such as `--set config.env.RUST_LOG=debug`")
            }
            Self::TooLarge | Self::TooMuchText | Self::TooDeep | Self::TooLong { .. } => diagnostic
                .hint("a build file of this size is most likely a mistake; several files can be built in one call"),
            _ => diagnostic,
        }
    }
}

fn meant<T: AsRef<str>>(diagnostic: Diagnostic, nearest: &[T]) -> Diagnostic {
    match nearest.is_empty() {
        true => diagnostic,
        false => diagnostic.label(format!("did you mean {}?", list(nearest, "or"))),
    }
}
