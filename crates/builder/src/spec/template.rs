//! Texts with `${…}` in them.
//!
//! `${name}` is a variable's value; `${name:-text}` is `text` where the variable has no value or
//! an empty one; `$$` is a dollar sign. Any other `$` is an error, because it is nearly always a
//! shell's variable that would not be expanded.

use std::fmt;
use std::ops::Range;

use super::variable::{Variable, Variables};

/// A text that is rendered once for each platform.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Piece {
    Text(String),
    Variable { variable: Variable, fallback: Option<String>, start: usize, end: usize },
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TemplateError {
    /// What is wrong.
    pub problem: TemplateProblem,
    /// Which bytes of the text.
    pub range: Range<usize>,
}

/// What can be wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// `${` without `}`.
    #[error("`${{` without a `}}`")]
    Open,
    /// `$` before something else than `{` or `$`.
    #[error("`$` begins no `${{name}}`")]
    Dollar,
    /// Not a known name.
    #[error("unknown name `{name}` in `${{…}}`")]
    Unknown {
        /// The name.
        name: String,
        /// Known names that are like it.
        nearest: Vec<&'static str>,
    },
}

/// A variable that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`${{{variable}}}` has no value{}", reason(.variable))]
pub struct RenderError {
    /// The variable.
    pub variable: Variable,
    /// Which bytes of the template's text.
    pub range: Range<usize>,
}

fn reason(variable: &Variable) -> &'static str {
    let name = variable.to_string();
    match variable {
        Variable::GitTag => ": the commit has no tag",
        Variable::GitBranch => ": no branch is checked out",
        _ if name.starts_with("platform") => ": this text is the same for all platforms",
        _ if name.starts_with("git.") => ": this is no git repository with a commit",
        _ if name.starts_with("env.") => ": the environment does not set it",
        _ if name.starts_with("cargo.") => ": Cargo.toml does not say it",
        _ => ": go.mod does not say it",
    }
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('$') {
            let dollar = at + found;
            literal.push_str(&text[at..dollar]);
            let rest = &text[dollar + 1..];
            if rest.starts_with('$') {
                literal.push('$');
                at = dollar + 2;
                continue;
            }
            let error = |problem, range| Err(TemplateError { problem, range });
            let Some(inner) = rest.strip_prefix('{') else {
                return error(TemplateProblem::Dollar, dollar..dollar + 1);
            };
            let Some(length) = inner.find('}') else {
                return error(TemplateProblem::Open, dollar..dollar + 2);
            };
            let begin = dollar + 2;
            let end = begin + length + 1;
            let (name, fallback) = match inner[..length].split_once(":-") {
                Some((name, fallback)) => (name, Some(fallback.to_owned())),
                None => (&inner[..length], None),
            };
            let variable = match Variable::parse(name) {
                Ok(variable) => variable,
                Err(nearest) => {
                    let problem = TemplateProblem::Unknown { name: name.to_owned(), nearest };
                    return error(problem, begin..begin + name.len());
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Variable { variable, fallback, start: dollar, end });
            at = end;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// A template that is `text` as it stands, whatever signs it holds.
    pub fn literal(text: &str) -> Self {
        Self { text: text.replace('$', "$$"), pieces: vec![Piece::Text(text.to_owned())] }
    }

    /// The text with the variables' values in it.
    pub fn render(&self, values: &Variables<'_>) -> Result<String, RenderError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Variable { variable, fallback, start, end } => match (values.get(variable), fallback) {
                    (Some(value), None) => text.push_str(&value),
                    (Some(value), Some(_)) if !value.is_empty() => text.push_str(&value),
                    (_, Some(fallback)) => text.push_str(fallback),
                    (None, None) => {
                        return Err(RenderError { variable: variable.clone(), range: *start..*end });
                    }
                },
            }
        }
        Ok(text)
    }

    /// As it is written in the build file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, if it is the same for every platform and every source.
    pub fn constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in it, each with the bytes where it stands.
    pub fn variables(&self) -> impl Iterator<Item = (&Variable, Range<usize>)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable { variable, start, end, .. } => Some((variable, *start..*end)),
        })
    }

    /// The text with `value` for each variable: what is wrong with that is wrong with any value.
    pub(crate) fn sample(&self, value: &str) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable { .. } => value.to_owned(),
        };
        self.pieces.iter().map(text).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::variable::{Facts, GitFacts};
    use super::*;

    fn check(text: &str, platform: &str, expect: &str) {
        let git = GitFacts { commit: "0123456789abcdef".to_owned(), ..GitFacts::default() };
        let env = [("SET".to_owned(), "yes".to_owned()), ("EMPTY".to_owned(), String::new())].into();
        let facts = Facts { git: Some(git), env, ..Facts::default() };
        let values = Variables { platform: platform.parse().ok(), facts: &facts };
        let shown = match Template::parse(text) {
            Err(error) => format!("{}: {error}", text[..error.range.start].chars().count()),
            Ok(template) => template.render(&values).unwrap_or_else(|error| error.to_string()),
        };
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn variables_get_their_values() {
        check("", "linux/arm/v7", "");
        check("plain", "linux/arm/v7", "plain");
        check("a/${platform.arch}${platform.variant}/b", "linux/arm/v7", "a/armv7/b");
        check("a/${platform.arch}${platform.variant}/b", "linux/arm64", "a/arm64/b");
        check("${platform}", "linux/amd64/v3", "linux/amd64/v3");
        check("${platform.os}-${git.short}", "linux/386", "linux-0123456789ab");
        check("${env.SET}", "linux/386", "yes");
        check("${env.UNSET:-no}${env.EMPTY:-empty}${env.SET:-no}", "linux/386", "noemptyyes");
        check("${git.tag:-}", "linux/386", "");
    }

    #[test]
    fn dollars_are_doubled() {
        check("$$HOME $$${platform.os}$$", "linux/386", "$HOME $linux$");
        assert_eq!(Template::literal("$HOME ${x}").sample(""), "$HOME ${x}");
        assert_eq!(Template::parse(Template::literal("a$").text()).unwrap().sample(""), "a$");
    }

    #[test]
    fn mistakes_have_a_place() {
        check("ä $HOME", "linux/386", "2: `$` begins no `${name}`");
        check("cost: 5$", "linux/386", "7: `$` begins no `${name}`");
        check("x${platform.os", "linux/386", "1: `${` without a `}`");
        check("${}", "linux/386", "2: unknown name `` in `${…}`");
        check("${platform.architecture}", "linux/386", "2: unknown name `platform.architecture` in `${…}`");
        check("${env.1X}", "linux/386", "2: unknown name `env.1X` in `${…}`");
        let Err(TemplateError { problem: TemplateProblem::Unknown { nearest, .. }, .. }) =
            Template::parse("${platform.architecture}")
        else {
            panic!("accepted")
        };
        assert!(nearest.contains(&"platform.arch"), "{nearest:?}");
    }

    #[test]
    fn what_has_no_value_says_why() {
        check("${git.tag}", "linux/386", "`${git.tag}` has no value: the commit has no tag");
        check("${env.UNSET}", "linux/386", "`${env.UNSET}` has no value: the environment does not set it");
        check("${platform}", "", "`${platform}` has no value: this text is the same for all platforms");
        check("${go.module}", "", "`${go.module}` has no value: go.mod does not say it");
    }
}
