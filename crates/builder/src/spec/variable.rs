//! The closed set of names that `${…}` knows, and where their values come from.
//!
//! Values come in as [`Facts`]; nothing here runs git or reads the environment.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::nearest::nearest;
use crate::target::TargetPlatform;

macro_rules! variables {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// A name that `${…}` knows.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Variable {
            $(#[doc = $doc] $variant,)*
            /// A variable of the environment, by name.
            Env(String),
        }

        /// Name and meaning of every variable but those of the environment.
        pub const VARIABLES: &[(&str, &str)] = &[$(($name, $doc),)*];

        impl Variable {
            fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for Variable {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($name),)*
                    Self::Env(name) => write!(f, "env.{name}"),
                }
            }
        }
    };
}

variables! {
    Platform = "platform", "The platform, such as `linux/arm/v7`.";
    PlatformOs = "platform.os", "Its operating system, such as `linux`.";
    PlatformArch = "platform.arch", "Its architecture, such as `arm`.";
    PlatformVariant = "platform.variant", "Its variant, such as `v7`; empty where it has none.";
    GitCommit = "git.commit", "The commit that is checked out, all digits.";
    GitShort = "git.short", "Its first twelve digits.";
    GitTag = "git.tag", "The tag of that commit; the highest version where it has several.";
    GitDescribe = "git.describe", "What `git describe --tags --always --dirty` prints.";
    GitBranch = "git.branch", "The branch that is checked out.";
    GitDate = "git.date", "The commit's date, in RFC 3339.";
    GitDirty = "git.dirty", "`-dirty` where tracked files differ from the commit, else empty.";
    CargoName = "cargo.name", "Name of the Cargo package of the first `rust` binary.";
    CargoVersion = "cargo.version", "Its version.";
    CargoDescription = "cargo.description", "Its description.";
    CargoLicense = "cargo.license", "Its licence expression.";
    CargoRepository = "cargo.repository", "Its repository.";
    GoModule = "go.module", "Path of the Go module of the first `go` binary.";
    GoVersion = "go.version", "The Go version that its `go.mod` names.";
}

impl Variable {
    /// The variable called `name`; the nearest valid names where there is none.
    pub fn parse(name: &str) -> Result<Self, Vec<&'static str>> {
        if let Some(env) = name.strip_prefix("env.").filter(|env| is_env_name(env)) {
            return Ok(Self::Env(env.to_owned()));
        }
        Self::named(name).ok_or_else(|| {
            let all = || VARIABLES.iter().map(|(name, _)| *name);
            let group = name.split_once('.').map_or("", |(group, _)| group);
            let mut near = nearest(name, all());
            if near.is_empty() && !group.is_empty() {
                near = all().filter(|name| name.split_once('.').is_some_and(|(of, _)| of == group)).collect();
            }
            near
        })
    }
}

/// Whether `name` can be a variable of the environment that a shell could set.
pub(crate) fn is_env_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What is known about the sources before a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Of the repository that holds the build file.
    pub git: Option<GitFacts>,
    /// The variables of the environment that the build file lists, as far as they are set.
    pub env: BTreeMap<String, String>,
    /// Of the Cargo package of the first `rust` binary.
    pub cargo: Option<CargoFacts>,
    /// Of the Go module of the first `go` binary.
    pub go: Option<GoFacts>,
}

/// What git says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitFacts {
    /// The commit, all digits.
    pub commit: String,
    /// The tag of the commit.
    pub tag: Option<String>,
    /// `git describe --tags --always --dirty`.
    pub describe: String,
    /// The branch; none where no branch is checked out.
    pub branch: Option<String>,
    /// The commit's date in RFC 3339, UTC.
    pub date: String,
    /// Tracked files differ from the commit.
    pub dirty: bool,
    /// The URL of the remote `origin`, without credentials.
    pub remote: Option<String>,
}

/// What Cargo.toml says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CargoFacts {
    /// `package.name`.
    pub name: String,
    /// `package.version`.
    pub version: String,
    /// `package.description`.
    pub description: Option<String>,
    /// `package.license`.
    pub license: Option<String>,
    /// `package.repository`.
    pub repository: Option<String>,
    /// `package.homepage`.
    pub homepage: Option<String>,
    /// `package.documentation`.
    pub documentation: Option<String>,
    /// `package.authors`.
    pub authors: Vec<String>,
}

/// What go.mod says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoFacts {
    /// `module`.
    pub module: String,
    /// `go`.
    pub version: Option<String>,
}

/// The values that a template is rendered with.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// The platform, where the text belongs to one.
    pub platform: Option<TargetPlatform>,
    /// Everything else.
    pub facts: &'a Facts,
}

impl<'a> Variables<'a> {
    /// The value of `variable`, where it has one.
    pub fn get(&self, variable: &Variable) -> Option<Cow<'a, str>> {
        let facts = self.facts;
        let (git, cargo, go) = (facts.git.as_ref(), facts.cargo.as_ref(), facts.go.as_ref());
        let part = |index: usize| {
            self.platform.map(|it| Cow::Borrowed(it.target().platform.split('/').nth(index).unwrap_or_default()))
        };
        match variable {
            Variable::Platform => self.platform.map(|it| Cow::Borrowed(it.target().platform)),
            Variable::PlatformOs => part(0),
            Variable::PlatformArch => part(1),
            Variable::PlatformVariant => part(2),
            Variable::GitCommit => git.map(|git| git.commit.as_str().into()),
            Variable::GitShort => git.map(|git| git.commit.get(..12).unwrap_or(&git.commit).into()),
            Variable::GitTag => git.and_then(|git| git.tag.as_deref()).map(Cow::from),
            Variable::GitDescribe => git.map(|git| git.describe.as_str().into()),
            Variable::GitBranch => git.and_then(|git| git.branch.as_deref()).map(Cow::from),
            Variable::GitDate => git.map(|git| git.date.as_str().into()),
            Variable::GitDirty => git.map(|git| if git.dirty { "-dirty" } else { "" }.into()),
            Variable::CargoName => cargo.map(|cargo| cargo.name.as_str().into()),
            Variable::CargoVersion => cargo.map(|cargo| cargo.version.as_str().into()),
            Variable::CargoDescription => cargo.and_then(|cargo| cargo.description.as_deref()).map(Cow::from),
            Variable::CargoLicense => cargo.and_then(|cargo| cargo.license.as_deref()).map(Cow::from),
            Variable::CargoRepository => cargo.and_then(|cargo| cargo.repository.as_deref()).map(Cow::from),
            Variable::GoModule => go.map(|go| go.module.as_str().into()),
            Variable::GoVersion => go.and_then(|go| go.version.as_deref()).map(Cow::from),
            Variable::Env(name) => facts.env.get(name).map(|value| value.as_str().into()),
        }
    }
}
