//! Pages of the documentation that are made from the code: docs/commands.md from the command
//! line's definition and the exit codes, docs/results.md's table of events from the reporter's.
//!
//! `MAB_UPDATE=1 cargo test -p mab pages` writes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::cli::Arguments;
use crate::exit;
use crate::progress::json::EVENTS;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The file holds `content`, or is made to with MAB_UPDATE.
#[track_caller]
pub(crate) fn is_current(path: &str, content: &str) {
    let file = repository(path);
    if std::env::var_os("MAB_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == content, "{path} is stale: MAB_UPDATE=1 cargo test -p mab");
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn option(arg: &Arg) -> String {
    let mut text = String::new();
    if let Some(short) = arg.get_short() {
        let _ = write!(text, "-{short}, ");
    }
    if let Some(long) = arg.get_long() {
        let _ = write!(text, "--{long}");
    }
    let names: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    if arg.get_action().takes_values() {
        let between = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{between}{}", names.join(" "));
    }
    format!("`{}`", cell(&text))
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    text.push('.');
    let values = arg.get_possible_values();
    if !values.is_empty() && arg.get_action().takes_values() {
        let each = values.iter().map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        });
        let _ = write!(text, " One of {}.", each.collect::<Vec<_>>().join(", "));
    }
    if let (Some(default), true) = (arg.get_default_values().first(), arg.get_action().takes_values()) {
        let _ = write!(text, " Default: `{}`.", default.to_string_lossy());
    }
    let several = matches!(arg.get_action(), ArgAction::Append);
    if several {
        text.push_str(" May be given several times.");
    }
    cell(&text)
}

fn section(page: &mut String, name: &str, command: &Command) {
    let _ = writeln!(page, "## `{name}`\n");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, "{about}.\n");
    let mut command = command.clone().bin_name(name);
    command.build();
    let usage = command.render_usage().to_string();
    let _ = writeln!(page, "```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim());
    let standard = ["help", "version"];
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !standard.contains(&arg.get_id().as_str()))
        .collect();
    if !arguments.is_empty() {
        page.push_str("| option | meaning |\n| --- | --- |\n");
        for arg in arguments {
            let _ = writeln!(page, "| {} | {} |", option(arg), meaning(arg));
        }
        page.push('\n');
    }
    if let Some(after) = command.get_after_help() {
        let after = after.to_string();
        let (examples, rest) = after.split_once("\n\n").unwrap_or((&after, ""));
        let lines: Vec<&str> = examples.lines().skip(1).map(|line| line.trim_start_matches("  ")).collect();
        let _ = writeln!(page, "```text\n{}\n```\n", lines.join("\n"));
        if !rest.is_empty() {
            let _ = writeln!(page, "{rest}\n");
        }
    }
    let below: Vec<Command> = command.get_subcommands().filter(|it| it.get_name() != "help").cloned().collect();
    for inner in below {
        section(page, &format!("{name} {}", inner.get_name()), &inner);
    }
}

fn commands() -> String {
    let mut page = "# Commands

<!-- Made from the command line's definition; `MAB_UPDATE=1 cargo test -p mab pages` writes it anew. -->

Standard output has results alone; everything else goes to standard error. Every command has
`--help`, and `mab --version` says which mab it is.

"
    .to_owned();
    for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        section(&mut page, &format!("mab {}", command.get_name()), command);
    }
    page.push_str("## Exit codes\n\nThe same for every command.\n\n| exit code | means |\n| --- | --- |\n");
    for (codes, means) in exit::TABLE {
        let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
        let _ = writeln!(page, "| {} | {means} |", codes.join(", "));
    }
    page
}

#[test]
fn the_page_of_commands_is_current() {
    is_current("docs/commands.md", &commands());
}

#[test]
fn the_readme_has_the_same_exit_codes() {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    assert!(readme.contains("docs/commands.md#exit-codes"));
    // One table: the README points to it.
    assert!(!readme.contains("| exit code |"));
}

#[test]
fn the_table_of_events_is_current() {
    let mut table = "| event | key | value |\n| --- | --- | --- |\n".to_owned();
    for (event, keys) in EVENTS {
        for (index, (key, value)) in keys.iter().enumerate() {
            let name = if index == 0 { format!("`{event}`") } else { String::new() };
            let _ = writeln!(table, "| {name} | `{key}` | {value} |");
        }
    }
    let path = "docs/results.md";
    let page = std::fs::read_to_string(repository(path)).unwrap();
    let (before, rest) = page.split_once("<!-- events: made from the code -->\n\n").unwrap();
    let (_, after) = rest.split_once("\n<!-- end -->").unwrap();
    is_current(path, &format!("{before}<!-- events: made from the code -->\n\n{table}\n<!-- end -->{after}"));
}

/// Every source file, page and message of the project.
fn told() -> Vec<PathBuf> {
    let mut waiting = ["crates", "docs", "examples", "testdata/bad"].map(repository).to_vec();
    let mut files = vec![repository("README.md"), repository("CONTRIBUTING.md"), repository("CHANGELOG.md")];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !name.starts_with("target") {
                waiting.push(path);
            } else if [".rs", ".md", ".txt"].iter().any(|end| name.ends_with(end)) {
                files.push(path);
            }
        }
    }
    files
}

/// What hints and pages call a command is one.
#[test]
fn every_command_that_is_named_is_there() {
    let command = Arguments::command();
    let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let mut named = 0;
    for file in told() {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("`mab ") {
            let word: String = text[at + 5..].chars().take_while(|it| it.is_ascii_lowercase()).collect();
            // Options, arguments in capitals, and this test's own search.
            if word.is_empty() {
                continue;
            }
            named += 1;
            // Cargo starts mab so: no user does.
            let within = word == "rustc" || word == "help";
            assert!(within || known.contains(&word.as_str()), "{}: there is no `mab {word}`", file.display());
        }
    }
    assert!(named > 100, "only {named} places are looked at");
}
