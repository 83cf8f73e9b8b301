//! The build file's keys: one table.
//!
//! The check of a file's shape, the nearest valid key, the JSON Schema and the reference page all
//! come out of it. What a value means beyond its shape is `decode`'s.

mod json;
mod reference;
pub mod table;

pub use json::json_schema;
pub use reference::{SECTIONS, reference};
pub use table::ROOT;

/// A map with a fixed set of keys.
#[derive(Debug)]
pub struct Section {
    /// Title in the reference, such as `files`.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
    /// Keys of which exactly one must be there.
    pub one_of: &'static [&'static str],
}

impl Section {
    /// The key called `name`.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names that a file can use.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it says, in sentences for the reference.
    pub doc: &'static str,
    /// It must be there.
    pub required: bool,
    /// What holds where it is not there, in words.
    pub default: &'static str,
}

/// The shape of a value.
#[derive(Debug)]
pub enum Kind {
    /// A text. A number or truth value must be quoted to be one.
    Text(Format),
    /// A text that may be written as a number or truth value; it is taken as it is written.
    Literal(Format),
    /// A whole number from the first to the second.
    Integer(u64, u64),
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list.
    List(&'static Kind),
    /// A list with at least one item.
    NonEmpty(&'static Kind),
    /// A map whose keys are free.
    Table(TableKeys, &'static Kind),
    /// A map whose keys are not.
    Section(&'static Section),
    /// One of several, told apart by whether it is a list, a map or neither.
    Either(&'static [Kind]),
}

/// What a text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Anything, with `${…}` in it.
    Template,
    /// Absolute path in the image, with `${…}` in it; a slash at its end makes it a directory.
    ImagePath,
    /// The same for what is no directory.
    ImageFile,
    /// What a symbolic link points at, with `${…}` in it.
    LinkTarget,
    /// Absolute path of a program, as passwd has it.
    Shell,
    /// A field of passwd.
    PasswdField,
    /// Path below the build file's directory, with `${…}` in it.
    SourcePath,
    /// Directory, relative to the build file's.
    Directory,
    /// Octal permission bits.
    Mode,
    /// `user`, `user:group`, by name or number.
    Owner,
    /// Name of a user or group.
    UserName,
    /// os/architecture[/variant].
    Platform,
    /// Where a base comes from.
    Base,
    /// Repository of a registry.
    Repository,
    /// Tag of an image, with `${…}` in it.
    Tag,
    /// `80`, `80/tcp`, `8000-8010/udp`.
    Port,
    /// Name or number of a signal.
    Signal,
    /// Pattern of paths.
    Glob,
    /// `2.31`.
    GlibcVersion,
    /// A word without blanks, such as the name of a feature.
    Word,
    /// Name of a variable of the environment.
    EnvName,
    /// `90s`, `1m30s`, `500ms`.
    Duration,
    /// Name of a Linux capability.
    Capability,
    /// RFC 3339 date or seconds since 1970, with `${…}` in it.
    Date,
    /// Identifier of a check.
    Check,
    /// Regular expression.
    Pattern,
    /// Anything, as it is.
    Words,
}

/// What the keys of a free map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKeys {
    /// Names of variables of the environment.
    Env,
    /// Names of labels.
    Labels,
    /// Names of annotations, with `index:`, `manifest:` or `descriptor:` before them or not.
    Annotations,
    /// Platforms.
    Platforms,
    /// Platforms, and `default`.
    PlatformsAndDefault,
}

impl Kind {
    /// What the value must be, in words: "a list".
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Text(_) | Self::Literal(_) => "a text".to_owned(),
            Self::Integer(..) => "a whole number".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
            Self::List(_) | Self::NonEmpty(_) => "a list".to_owned(),
            Self::Table(..) | Self::Section(_) => "a map".to_owned(),
            Self::Either(kinds) => kinds.iter().map(Self::expected).collect::<Vec<_>>().join(" or "),
        }
    }
}
