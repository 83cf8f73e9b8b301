//! The reference page of the build file, made from the table.

use std::fmt::Write as _;

use super::table::{
    BINARY, CONFIG, DIRECTORY, FILE, GO, HEALTHCHECK, INHERIT, LAYERS, LINK, MOUNT, PLATFORM, RUN, RUST, SMOKE, STEP,
    USER,
};
use super::{Format, Key, Kind, ROOT, Section};
use crate::spec::variable::VARIABLES;

/// Every section, in the order of the page.
pub static SECTIONS: [&Section; 17] = [
    &ROOT,
    &BINARY,
    &RUST,
    &GO,
    &FILE,
    &LINK,
    &DIRECTORY,
    &USER,
    &RUN,
    &MOUNT,
    &STEP,
    &SMOKE,
    &CONFIG,
    &HEALTHCHECK,
    &INHERIT,
    &LAYERS,
    &PLATFORM,
];

/// `docs/build-file.md`.
pub fn reference() -> String {
    let mut page = include_str!("reference-head.md").to_owned();
    for section in SECTIONS {
        let title = if section.name == ROOT.name { "Top of the file" } else { section.name };
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n| key | value | meaning |\n| --- | --- | --- |\n",
            heading(title),
            section.doc
        );
        for key in section.keys {
            let _ = writeln!(page, "| `{}` | {} | {} |", key.name, value(&key.kind), meaning(key));
        }
        if !section.one_of.is_empty() {
            let names: Vec<String> = section.one_of.iter().map(|name| format!("`{name}`")).collect();
            let _ = write!(page, "\nExactly one of {} is needed.\n", names.join(", "));
        }
    }
    let _ =
        write!(page, "\n## Variables\n\n{}\n| name | value |\n| --- | --- |\n", include_str!("reference-variables.md"));
    for (name, doc) in VARIABLES {
        let _ = writeln!(page, "| `${{{name}}}` | {doc} |");
    }
    page.push_str("| `${env.NAME}` | The variable NAME of the environment, if the file lists it under `env`. |\n");
    page.push_str(include_str!("reference-tail.md"));
    page
}

fn heading(name: &str) -> String {
    match name.split_once(": ") {
        Some((above, below)) => format!("`{above}` · `{below}`"),
        None if name.contains(' ') => name.to_owned(),
        None => format!("`{name}`"),
    }
}

fn meaning(key: &Key) -> String {
    let mut text = key.doc.replace('|', "\\|");
    if key.required {
        text.push_str(" **Required.**");
    }
    if !key.default.is_empty() {
        let _ = write!(text, " Default: {}.", key.default);
    }
    text
}

/// The kind in words, with its section's place on the page.
fn value(kind: &Kind) -> String {
    match kind {
        Kind::Text(format) | Kind::Literal(format) => format.words().to_owned(),
        Kind::Integer(least, most) if least == most => format!("`{least}`"),
        Kind::Integer(0, most) if *most > 255 => "number".to_owned(),
        Kind::Integer(least, most) => format!("number from {least} to {most}"),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::List(inner) | Kind::NonEmpty(inner) => format!("list of {}", plural(&value(inner))),
        Kind::Table(_, inner) => format!("map to {}", value(inner)),
        Kind::Section(section) => format!("[map](#{})", anchor(section.name)),
        Kind::Either(kinds) => kinds.iter().map(value).collect::<Vec<_>>().join(" or "),
    }
}

fn plural(word: &str) -> String {
    match word.strip_prefix("[map]") {
        Some(rest) => format!("[maps]{rest}"),
        None if word.contains(" in ") => word.replacen(" in ", "s in ", 1),
        None => format!("{word}s"),
    }
}

/// The fragment that a heading gets where Markdown is shown.
fn anchor(name: &str) -> String {
    let keep = |c: &char| c.is_alphanumeric() || matches!(c, '-' | ' ');
    heading(name).to_lowercase().chars().filter(keep).collect::<String>().replace(' ', "-")
}

impl Format {
    /// What a text of this format is called.
    fn words(self) -> &'static str {
        match self {
            Self::Template | Self::LinkTarget | Self::PasswdField => "text",
            Self::ImagePath | Self::ImageFile => "path in the image",
            Self::Shell => "program",
            Self::SourcePath => "source path",
            Self::Directory => "directory",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::UserName => "user name",
            Self::Platform => "platform",
            Self::Base => "base",
            Self::Repository => "repository",
            Self::Tag => "tag",
            Self::Port => "port",
            Self::Signal => "signal",
            Self::Glob => "pattern",
            Self::GlibcVersion => "version",
            Self::Word => "word",
            Self::EnvName => "variable name",
            Self::Duration => "duration",
            Self::Capability => "capability name",
            Self::Date => "date",
            Self::Check => "check identifier",
            Self::Pattern => "regular expression",
            Self::Words => "text",
        }
    }
}
