//! `mab platforms`: what this machine can build, and what would mend the rest.

use std::path::Path;

use builder::bundle::Vendored;
use builder::process::Children;
use builder::toolchain::{Ability, Mend, Missing, MissingReport, Overview, PlatformOverview, ToolContext, overview};
use serde_json::{Value, json};

use super::session::Session;
use crate::cli::{Platforms, Progress};
use crate::{environment, exit, progress, signals, text};

/// The columns of abilities: heading and key.
const ABILITIES: [(&str, &str); 5] = [
    ("RUST STATIC", "rustStatic"),
    ("RUST GLIBC", "rustGlibc"),
    ("RUST MUSL", "rustMusl"),
    ("GO", "go"),
    ("GO WITH C", "cgo"),
];

fn abilities(row: &PlatformOverview) -> [&Ability; 5] {
    [&row.rust_static, &row.rust_glibc, &row.rust_musl, &row.go, &row.cgo]
}

pub(crate) fn run(arguments: &Platforms) -> u8 {
    let session = Session::new();
    session.block_on(async { look(arguments, &session) })
}

fn look(arguments: &Platforms, session: &Session) -> u8 {
    let children = std::sync::Arc::new(Children::new());
    let interrupted = match signals::listen(std::sync::Arc::clone(&children)) {
        Ok(interrupted) => interrupted,
        Err(error) => return session.fail(&error, &[], exit::OTHER),
    };
    let wrapper = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => return session.fail(&error, &[], exit::OTHER),
    };
    let reporter = progress::reporter(Progress::Quiet, false);
    let work_dir = environment::cache_directory(&session.env).unwrap_or_else(std::env::temp_dir);
    let context = ToolContext {
        env: &session.env,
        children: &children,
        reporter: reporter.as_ref(),
        jobs: std::num::NonZeroUsize::MIN,
        locked: false,
        offline: true,
        vendored: Vendored::NONE,
        color: false,
        work_dir: &work_dir,
        rustc_wrapper: &wrapper,
        source_date_epoch: None,
    };
    let found = match overview(Path::new("."), &context) {
        Ok(found) => found,
        Err(error) => {
            return interrupted.code().unwrap_or_else(|| session.fail(&error, &[], exit::TOOLCHAIN));
        }
    };
    let lines = match (arguments.json, arguments.verbose) {
        (true, _) => vec![serde_json::to_string_pretty(&as_json(&found)).unwrap_or_default()],
        (false, true) => in_full(&found),
        (false, false) => table(&found),
    };
    for line in lines {
        if !text::result_line(&line) {
            break;
        }
    }
    exit::SUCCESS
}

fn head(found: &Overview) -> Vec<String> {
    let version = |name: &str, version: &Option<String>| match version {
        Some(version) => format!("{name} {}", text::tame(version)),
        None => format!("no {name}"),
    };
    vec![format!("{}, {}", version("Rust", &found.rust), version("Go", &found.go)), String::new()]
}

fn table(found: &Overview) -> Vec<String> {
    let heading = |column: usize| ABILITIES.get(column).map_or("PLATFORM", |(heading, _)| heading).to_owned();
    let mut rows: Vec<[String; 6]> = vec![std::array::from_fn(|column| heading(column.wrapping_sub(1)))];
    for row in &found.platforms {
        let abilities = abilities(row);
        let word = |ability: &Ability| if ability.is_yes() { "yes" } else { "-" }.to_owned();
        rows.push(std::array::from_fn(|column| match column.checked_sub(1) {
            None => row.platform.to_string(),
            Some(column) => word(abilities[column]),
        }));
    }
    let mut lines = head(found);
    lines.extend(text::columns(&rows));
    let commands = commands(found);
    if !commands.is_empty() {
        lines.push(String::new());
        lines.push("What is missing comes with (not all of it is needed):".to_owned());
        lines.extend(commands.into_iter().map(|command| format!("  {command}")));
    }
    lines
}

/// What mends everything that a command mends.
fn commands(found: &Overview) -> Vec<String> {
    let mut items: Vec<Missing> = Vec::new();
    for row in &found.platforms {
        for ability in abilities(row) {
            if let Ability::No(missing) = ability {
                items.extend(missing.iter().cloned());
            }
        }
    }
    MissingReport { items }.commands()
}

fn in_full(found: &Overview) -> Vec<String> {
    let mut lines = head(found);
    for row in &found.platforms {
        lines.push(row.platform.to_string());
        for ((heading, _), ability) in ABILITIES.iter().zip(abilities(row)) {
            let heading = heading.to_lowercase();
            match ability {
                Ability::Yes { target, linker } => {
                    let linker = linker.as_ref().map(|linker| format!(", linked by {linker}")).unwrap_or_default();
                    lines.push(text::tame(&format!("  {heading:<12} {target}{linker}")));
                }
                Ability::No(missing) => {
                    for missing in missing {
                        lines.push(text::tame(&format!("  {heading:<12} no: {}", missing.what)));
                        lines.push(text::tame(&format!("  {:<12}     {}", "", missing.mend)));
                    }
                }
            }
        }
    }
    lines
}

fn as_json(found: &Overview) -> Value {
    let mend = |mend: &Mend| match mend {
        Mend::Advice(words) => json!({ "advice": words }),
        command => json!({ "command": command.to_string() }),
    };
    let ability = |ability: &Ability| match ability {
        Ability::Yes { target, linker } => json!({ "available": true, "target": target, "linker": linker }),
        Ability::No(missing) => {
            let missing: Vec<Value> =
                missing.iter().map(|missing| json!({ "what": missing.what, "mend": mend(&missing.mend) })).collect();
            json!({ "available": false, "missing": missing })
        }
    };
    let platforms: Vec<Value> = found
        .platforms
        .iter()
        .map(|row| {
            let targets: Vec<Value> = row
                .rust_targets
                .iter()
                .map(|(triple, rustup)| json!({ "target": triple, "rustupHasStd": rustup }))
                .collect();
            let mut object = json!({ "platform": row.platform.to_string(), "rustTargets": targets });
            for ((_, key), found) in ABILITIES.iter().zip(abilities(row)) {
                object[*key] = ability(found);
            }
            object
        })
        .collect();
    json!({ "rust": found.rust, "go": found.go, "platforms": platforms })
}
