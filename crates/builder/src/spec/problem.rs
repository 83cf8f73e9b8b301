//! Everything that can be wrong with a build file by itself, and the words for it.

use std::fmt::Write as _;

use super::place::Place;
use super::yaml::{MAX_BYTES, MAX_DEPTH, MAX_NODES};

macro_rules! problems {
    ($($code:literal ($($message:tt)*) $variant:ident $({ $($field:ident: $type:ty),* $(,)? })? $(($inner:ty))?,)*) => {
        /// One mistake in a build file.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[allow(missing_docs, reason = "the messages say it")]
        pub enum Problem {
            $(#[error($($message)*)] $variant $({ $($field: $type),* })? $(($inner))?,)*
        }

        impl Problem {
            /// The code of every problem, for tests that each is reached.
            pub const CODES: &'static [&'static str] = &[$($code),*];

            /// A word that stays the same from version to version.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }
        }
    };
}

problems! {
    // The file as such, and its YAML.
    "not-utf8" ("the build file is not UTF-8 text") NotUtf8,
    "too-long" ("the build file has {bytes} bytes, more than {MAX_BYTES}") TooLong { bytes: usize },
    "too-large" ("the build file has more than {MAX_NODES} values once its aliases are expanded") TooLarge,
    "too-much-text" ("the build file has more than {} bytes of text once its aliases are expanded", 4 * MAX_BYTES) TooMuchText,
    "too-deep" ("lists and maps are nested more than {MAX_DEPTH} deep") TooDeep,
    "empty" ("the build file is empty: the required key `version` is missing") Empty,
    "yaml" ("not valid YAML: {reason}") Syntax { reason: String },
    "tab" ("not valid YAML: a tab in the indentation") Tab,
    "directive" ("YAML directives are not used in build files") Directive,
    "second-document" ("a second YAML document begins here; a build file is one") SecondDocument,
    "yaml-tag" ("YAML tags are not used in build files") Tag,
    "alias-within" ("the alias stands within the value that it names") AliasWithin,
    "alias-unknown" ("there is no anchor `&{name}` before this alias") UnknownAlias { name: String },
    "key-not-text" ("a key must be a text") KeyNotText,
    "merge-key" ("merge keys (`<<`) are not used in build files") MergeKey,
    "duplicate-key" ("the key `{key}` is there twice") DuplicateKey { key: String, first: Place },

    // Keys and shapes.
    "unknown-key" ("unknown key `{key}` in {section}") UnknownKey {
        key: String, section: String, nearest: Vec<String>, valid: Vec<String>, hint: Option<&'static str>
    },
    "missing-key" ("{section} lacks the required key `{key}`") MissingKey { key: String, section: String },
    "missing-choice" ("{section} needs one of {}", list(keys, "or")) MissingChoice { section: String, keys: Vec<String> },
    "too-many-choices" ("{section} can have only one of {}", list(keys, "and")) TooManyChoices {
        section: String, keys: Vec<String>, second: Place
    },
    "type" ("{what} must be {expected}, but is {found}") Type {
        what: String, expected: String, found: &'static str, hint: Option<String>
    },
    "version" ("version `{version}` of the build file is not known; this mab knows `1`") Version { version: String },
    "range" ("`{what}` must be from {least} to {most}, but is {found}") Range {
        what: String, least: u64, most: u64, found: i128
    },
    "choice" ("`{found}` is no valid value of `{what}`") Choice {
        what: String, found: String, valid: &'static [&'static str], nearest: Vec<String>
    },
    "empty-list" ("`{what}` is empty") EmptyList { what: String },
    "empty-text" ("`{what}` is empty") EmptyText { what: String },
    "control-character" ("`{what}` holds {character}") Control { what: String, character: String },

    // Values.
    "variable-syntax" ("{reason}") TemplateSyntax { reason: String, hint: String },
    "variable-unknown" ("unknown name `{name}` in `${{…}}`") VariableUnknown { name: String, nearest: Vec<&'static str> },
    "variable-not-here" ("`${{{name}}}` cannot be used here") VariableNotHere { name: String, hint: &'static str },
    "env-not-listed" ("`${{env.{name}}}` is not listed under `env`") EnvNotListed { name: String },
    "variable-empty" ("{reason}") NoValue { reason: String },
    "repository" ("{reason}") Repository { reason: String, hint: Option<String> },
    "tag" ("{reason}") ImageTag { reason: String, hint: Option<String> },
    "base" ("{reason}") Base { reason: String, hint: Option<String> },
    "base-missing" ("`base` names none for {platform}") BaseMissing { platform: String },
    "platform" ("{reason}") Platform { reason: String, nearest: Vec<String>, valid: Vec<String> },
    "platform-twice" ("the platform {platform} is there twice") PlatformTwice { platform: String, first: Option<Place> },
    "image-path" ("{reason}") ImagePath { reason: String },
    "image-root" ("`{path}` is the image's root directory, no file") ImageRoot { path: String },
    "path-twice" ("two sources for `{path}` in the image") PathTwice { path: String, first: Option<Place> },
    "path-below-file" ("`{path}` lies below `{file}`, which is {kind}") PathBelowFile {
        path: String, file: String, kind: &'static str, first: Option<Place>
    },
    "source-path" ("`{path}` {reason}") SourcePath { path: String, reason: &'static str },
    "directory" ("`{path}` is an absolute path") Directory { path: String },
    "glob" ("`{pattern}` is no pattern: {reason}") Glob { pattern: String, reason: String },
    "mode" ("`{mode}` is no mode: {reason}") Mode { mode: String, reason: &'static str },
    "owner" ("`{owner}` is no owner: {reason}") Owner { owner: String, reason: String },
    "user-name" ("`{name}` is no name of a user: {reason}") UserName { name: String, reason: &'static str },
    "user-twice" ("the user `{name}` is there twice") UserTwice { name: String, first: Option<Place> },
    "uid-twice" ("`{name}` has the user id {uid}, as `{other}` has") UidTwice {
        name: String, uid: u32, other: String, first: Option<Place>
    },
    "shell" ("`{shell}` is no login shell: {reason}") Shell { shell: String, reason: &'static str },
    "env-name" ("`{name}` is no name of a variable: {reason}") EnvName { name: String, reason: &'static str },
    "label-name" ("`{name}` is no name of a label: {reason}") LabelName { name: String, reason: &'static str },
    "word" ("`{what}` must be one word that does not begin with a dash, but is `{found}`") Word { what: String, found: String },
    "glibc" ("`{found}` is no version of glibc") Glibc { found: String },
    "check" ("there is no check `{found}`") Check { found: String, nearest: Vec<String> },
    "port" ("`{found}` is no port: {reason}") Port { found: String, reason: &'static str },
    "signal" ("`{found}` is no signal") Signal { found: String, nearest: Vec<String> },
    "annotation-target" ("`{target}` is no target of an annotation") AnnotationTarget {
        target: String, nearest: Vec<String>
    },
    "platform-not-built" ("`{platform}` is not among the platforms of this image") PlatformNotBuilt { platform: String },
    "pattern-target" ("`{from}` can match several files, so `to` must end in `/`") PatternTarget { from: String },
    "carried" ("mab carries nothing called `{name}`") Carried { name: String },
    "capability" ("`{found}` is no capability") Capability { found: String, nearest: Vec<String> },
    "beside-steps" ("`{key}` cannot stand beside `steps`, which has all parts of the image") BesideSteps { key: String },
    "pattern" ("`{found}` is no regular expression: {reason}") Pattern { found: String, reason: String },
    "duration" ("`{found}` is no duration: {reason}") Duration { found: String, reason: &'static str },
    "date" ("`{found}` is no date") Date { found: String },
    "passwd-field" ("`{what}` cannot hold {sign}") PasswdField { what: String, sign: &'static str },
    "exec-setting" ("`{name}` runs a program of its own{with}") ExecSetting { name: String, with: String },
    "override" ("`{text}` sets nothing: {reason}") Override { text: String, reason: String },
}

/// Names as they stand in a sentence: "`a`, `b` and `c`".
pub(crate) fn list<T: AsRef<str>>(names: &[T], last: &str) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let between = match index {
            0 => String::new(),
            _ if index + 1 == names.len() => format!(" {last} "),
            _ => ", ".to_owned(),
        };
        let _ = write!(text, "{between}`{}`", name.as_ref());
    }
    text
}
