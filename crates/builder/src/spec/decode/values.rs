//! Single values: templates, names, modes, owners.

use registry_client::{Reference, Repository, Tag};

use super::annotations::first_platform;
use super::{Decoder, scalar};
use crate::check::CheckId;
use crate::check::UnknownCheck;
use crate::spec::model::{GlibcVersion, Id, Owner};
use crate::spec::nearest::nearest;
use crate::spec::place::{Place, Placed};
use crate::spec::problem::Problem;
use crate::spec::render::date;
use crate::spec::shape::clip;
use crate::spec::template::{Template, TemplateProblem};
use crate::spec::variable::Variable;
use crate::spec::yaml::Node;
use crate::target::{ParseTargetError, TargetPlatform};

/// Set in a table rather than by the operating system: a build file means the same everywhere.
pub(in crate::spec) const SIGNALS: &[&str] = &[
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

impl Decoder<'_> {
    /// A text with variables, all of which may be used in this file.
    pub(super) fn template(&mut self, node: &Node) -> Option<Placed<Template>> {
        let text = &scalar(node)?.text;
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                let place = node.place.within(text, error.range);
                let problem = match error.problem {
                    TemplateProblem::Unknown { name, nearest } => {
                        Problem::VariableUnknown { name: clip(&name), nearest }
                    }
                    other => Problem::TemplateSyntax {
                        reason: other.to_string(),
                        hint: "write `${name}` for a variable's value and `$$` for a dollar sign".to_owned(),
                    },
                };
                self.problem(problem, place);
                return None;
            }
        };
        for (variable, range) in template.variables() {
            let Variable::Env(name) = variable else { continue };
            if !self.env.iter().any(|listed| listed.value == *name) {
                let place = node.place.within(text, range);
                self.problem(Problem::EnvNotListed { name: name.clone() }, place);
            }
        }
        self.variables.extend(template.variables().map(|(variable, _)| variable.clone()));
        Some(Placed::at(template, node.place))
    }

    /// The same for a text that belongs to the whole image.
    fn image_template(&mut self, node: &Node) -> Option<Placed<Template>> {
        let template = self.template(node)?;
        if let Some((name, range)) = first_platform(&template.value) {
            let place = node.place.within(template.value.text(), range);
            let hint = "tags and date of an image are the same for all its platforms";
            self.problem(Problem::VariableNotHere { name, hint }, place);
        }
        Some(template)
    }

    pub(super) fn created(&mut self, node: &Node) -> Option<Placed<Template>> {
        let template = self.image_template(node)?;
        match template.value.constant() {
            Some(text) if date(text).is_none() => {
                self.problem(Problem::Date { found: clip(text) }, node.place);
                None
            }
            _ => Some(template),
        }
    }

    pub(super) fn tags(&mut self, nodes: &[Node]) -> Vec<Placed<Template>> {
        let tags = self.each(nodes, |decoder, node| {
            let tag = decoder.image_template(node)?.value;
            if let Err(problem) = tag_of(&tag.sample("x")) {
                decoder.problem(problem, node.place);
                return None;
            }
            Some(tag)
        });
        if tags.is_empty() { vec![Placed::implied(Template::literal("latest"))] } else { tags }
    }

    pub(super) fn repository(&mut self, node: &Node) -> Option<Placed<Repository>> {
        let text = &scalar(node)?.text;
        self.no_variables(text, node, "let the command line set it: `--set image=…`")?;
        let (reason, hint) = match (text.parse::<Repository>(), text.parse::<Reference>()) {
            (_, Ok(reference)) if reference.tag.is_some() => (
                format!("`{}` has a tag", clip(text)),
                Some("`image` names the repository; write the tag under `tags`"),
            ),
            (_, Ok(reference)) if reference.digest.is_some() => {
                (format!("`{}` has a digest", clip(text)), Some("`image` names the repository alone"))
            }
            (Ok(repository), _) => return Some(Placed::at(repository, node.place)),
            (Err(error), _) => (with_text(text, "repository", &error), None),
        };
        self.problem(Problem::Repository { reason, hint: hint.map(str::to_owned) }, node.place);
        None
    }

    /// None, and a report, where `text` has `${…}` although it is the same for every build.
    pub(super) fn no_variables(&mut self, text: &str, node: &Node, hint: &'static str) -> Option<()> {
        let Some(start) = text.find("${") else { return Some(()) };
        let length = text[start..].find('}').map_or(text.len() - start, |end| end + 1);
        let name = text[start + 2..start + length].trim_end_matches('}');
        let place = node.place.within(text, start..start + length);
        self.problem(Problem::VariableNotHere { name: clip(name), hint }, place);
        None
    }

    pub(super) fn platform(&mut self, text: &str, place: Place) -> Option<TargetPlatform> {
        let error = match text.parse() {
            Ok(platform) => return Some(platform),
            Err(error) => error,
        };
        let known: Vec<String> = TargetPlatform::all().map(|it| it.to_string()).collect();
        let names = known.iter().map(String::as_str);
        let near = nearest(text, names).into_iter().map(str::to_owned).collect();
        let problem = match error {
            ParseTargetError::Syntax(error) => {
                Problem::Platform { reason: error.to_string(), nearest: near, valid: Vec::new() }
            }
            ParseTargetError::Unknown { .. } if !text.to_ascii_lowercase().starts_with("linux/") => Problem::Platform {
                reason: format!("mab does not build for `{}`, only for linux", clip(text)),
                nearest: Vec::new(),
                valid: known,
            },
            ParseTargetError::Unknown { .. } => Problem::Platform {
                reason: format!("mab does not build for `{}`", clip(text)),
                nearest: near,
                valid: known,
            },
        };
        self.problem(problem, place);
        None
    }

    pub(super) fn word(&mut self, node: &Node, what: &str) -> Option<Placed<String>> {
        let text = &scalar(node)?.text;
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == ',') || text.starts_with('-') {
            self.problem(Problem::Word { what: what.to_owned(), found: clip(text) }, node.place);
            return None;
        }
        Some(Placed::at(text.to_string(), node.place))
    }

    /// The name of a check.
    pub(super) fn check(&mut self, node: &Node) -> Option<Placed<CheckId>> {
        let word = self.word(node, "allow")?;
        match word.value.parse() {
            Ok(check) => Some(Placed::at(check, node.place)),
            Err(UnknownCheck { name, nearest }) => {
                self.problem(Problem::Check { found: name, nearest: nearest.into_iter().collect() }, node.place);
                None
            }
        }
    }

    pub(super) fn words(&mut self, nodes: &[Node], what: &str) -> Vec<String> {
        nodes.iter().filter_map(|node| self.word(node, what)).map(|word| word.value).collect()
    }

    /// Octal permission bits with the set-id bits and the sticky bit.
    pub(super) fn mode(&mut self, node: Option<&Node>) -> Option<u32> {
        let node = node?;
        let text = &scalar(node)?.text;
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let reason = if digits.is_empty() || digits.contains(|c: char| !c.is_ascii_digit()) {
            "it has other characters than digits"
        } else if digits.contains(['8', '9']) {
            "it has digits over 7"
        } else {
            match u32::from_str_radix(digits, 8) {
                Ok(mode) if digits.len() >= 3 && mode <= 0o7777 => return Some(mode),
                Ok(_) if digits.len() < 3 => "it has fewer than three digits",
                _ => "it is over 7777",
            }
        };
        self.problem(Problem::Mode { mode: clip(text), reason }, node.place);
        None
    }

    pub(super) fn owner(&mut self, node: &Node) -> Option<Placed<Owner>> {
        let text = &scalar(node)?.text;
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (&**text, None),
        };
        let parsed = id(user).and_then(|user| Ok((user, group.map(id).transpose()?)));
        match parsed {
            Ok((user, group)) => Some(Placed::at(Owner { user: Some(user), group }, node.place)),
            Err(reason) => {
                self.problem(Problem::Owner { owner: clip(text), reason }, node.place);
                None
            }
        }
    }

    /// Root where the file says nothing.
    pub(super) fn owner_or_root(&mut self, node: Option<&Node>) -> Placed<Owner> {
        node.and_then(|node| self.owner(node)).unwrap_or(Placed::implied(Owner::default()))
    }

    pub(super) fn user_name(&mut self, node: &Node) -> Option<Placed<String>> {
        let text = &scalar(node)?.text;
        if let Err(reason) = is_user_name(text) {
            self.problem(Problem::UserName { name: clip(text), reason }, node.place);
            return None;
        }
        Some(Placed::at(text.to_string(), node.place))
    }

    pub(super) fn glibc(&mut self, node: &Node) -> Option<Placed<GlibcVersion>> {
        let text = &scalar(node)?.text;
        let version = text.split_once('.').and_then(|(major, minor)| {
            let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
            Some(GlibcVersion { major: number(major)?, minor: number(minor)? })
        });
        if version.is_none() {
            self.problem(Problem::Glibc { found: clip(text) }, node.place);
        }
        Some(Placed::at(version?, node.place))
    }

    pub(super) fn signal(&mut self, node: &Node) -> Option<String> {
        let text = &scalar(node)?.text;
        let upper = text.to_ascii_uppercase();
        let name = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
        let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
        if number || SIGNALS.contains(&name.as_str()) || is_real_time(&name) {
            return Some(text.to_string());
        }
        let nearest = match text.starts_with(|c: char| c.is_ascii_digit()) {
            true => Vec::new(),
            false => nearest(&name, SIGNALS.iter().copied()).into_iter().map(str::to_owned).collect(),
        };
        self.problem(Problem::Signal { found: clip(text), nearest }, node.place);
        None
    }
}

/// The tag that a text is.
pub(in crate::spec) fn tag_of(text: &str) -> Result<Tag, Problem> {
    text.parse::<Tag>().map_err(|error| match text {
        "" => Problem::ImageTag { reason: "a tag is empty".to_owned(), hint: None },
        _ if text.contains(['@', '/']) || text.starts_with("sha256:") => Problem::ImageTag {
            reason: format!("`{}` is no tag", clip(text)),
            hint: Some("write the tag alone, without repository and digest".to_owned()),
        },
        _ => Problem::ImageTag { reason: error.to_string(), hint: None },
    })
}

/// `SIGRTMIN`, `SIGRTMIN+1` to `SIGRTMAX`.
fn is_real_time(name: &str) -> bool {
    let offset = |rest: &str, sign: char| {
        rest.is_empty()
            || rest.strip_prefix(sign).and_then(|digits| digits.parse::<u8>().ok()).is_some_and(|it| it <= 15)
    };
    name.strip_prefix("SIGRTMIN").is_some_and(|rest| offset(rest, '+'))
        || name.strip_prefix("SIGRTMAX").is_some_and(|rest| offset(rest, '-'))
}

/// An error's words, with the text in them.
pub(super) fn with_text(text: &str, what: &str, error: &dyn std::fmt::Display) -> String {
    let (text, error) = (clip(text), error.to_string());
    if error.contains(&text) { error } else { format!("`{text}` is no {what}: {error}") }
}

fn id(text: &str) -> Result<Id, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // The highest number is -1 to the system, which means "leave it".
        return match text.parse() {
            Ok(number) if number < u32::MAX => Ok(Id::Number(number)),
            _ => Err(format!("{} is over 32 bits", clip(text))),
        };
    }
    match is_user_name(text) {
        Ok(()) => Ok(Id::Name(text.to_owned())),
        Err(reason) => Err(format!("`{}` is no name: {reason}", clip(text))),
    }
}

/// What passwd and the tools around it take.
pub(super) fn is_user_name(text: &str) -> Result<(), &'static str> {
    let body = text.strip_suffix('$').unwrap_or(text);
    match text {
        "" => Err("it is empty"),
        _ if text.len() > 32 => Err("it has more than 32 characters"),
        _ if text.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '_') => {
            Err("it does not begin with a letter or `_`")
        }
        _ if body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) => Ok(()),
        _ => Err("it has other characters than letters, digits, `_`, `-` and `.`"),
    }
}
