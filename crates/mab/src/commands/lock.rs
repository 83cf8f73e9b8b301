//! `mab lock`: which content the bases have; making, moving and checking it.

use std::collections::BTreeSet;

use builder::lock::book::{self, Wants};
use builder::lock::update::{Change, Checked, LockRequest, Locked, Moves, Version, check, lock};
use builder::lock::{LockError, Wanted, of_programs};
use builder::spec::BuildSpec;
use registry_client::Client;

use super::build_files;
use super::session::{self, Session, Tools};
use crate::cli::{self, Progress};
use crate::{environment, exit, progress, text};

pub(crate) fn run(arguments: &cli::Lock) -> u8 {
    let session = Session::new();
    let specs = match build_files::specs(&arguments.build_files, &cli::Naming::default(), &session) {
        Ok(specs) => specs,
        Err(code) => return code,
    };
    session.block_on(go(arguments, &session, specs))
}

async fn go(arguments: &cli::Lock, session: &Session, specs: Vec<BuildSpec>) -> u8 {
    let reporter = progress::reporter(Progress::Quiet, false);
    let Tools { client, children, interrupted } = match session.tools(&reporter, &arguments.registries) {
        Ok(tools) => tools,
        Err(code) => return code,
    };
    if arguments.check {
        return interrupted.or(check_all(session, &specs, &client)).await;
    }
    let compilers = match of_programs(&specs, &session.env, &children) {
        Ok(compilers) => compilers,
        Err(error) => return session.fail(&error, &[], exit::TOOLCHAIN),
    };
    let scratch = match tempfile::Builder::new().prefix("mab-lock-").tempdir() {
        Ok(scratch) => scratch,
        Err(error) => return session.fail(&error, &[], exit::OUTPUT),
    };
    let moves = match &arguments.update {
        None => Moves::Nothing,
        Some(names) if names.is_empty() => Moves::All,
        Some(names) => Moves::Only(names.iter().cloned().collect::<BTreeSet<_>>()),
    };
    let request = LockRequest {
        specs,
        moves,
        facts: arguments.facts,
        compilers,
        cache: environment::cache_directory(&session.env),
        scratch: scratch.path().to_owned(),
        jobs: session::processors(),
    };
    let work = async {
        match lock(request, &client).await {
            Ok(locked) => {
                tell(&locked);
                exit::SUCCESS
            }
            Err(error) => session.ended(&interrupted, &error),
        }
    };
    interrupted.or(work).await
}

fn tell(all: &[Locked]) {
    for Locked { path, lock, changes } in all {
        for change in changes {
            match change {
                Change::Added(what) => say(format!("added {what}")),
                Change::Dropped { base, platform } => {
                    say(format!("dropped {platform} of {base}: the base has it no longer, and no build file wants it"));
                }
                Change::Replaced(why) => text::error_line(&format!("warning: written anew: {}", text::tame(why))),
                Change::Moved { base, from, to } => moved(base, from, to),
            }
        }
        let count = lock.bases.len() + usize::from(lock.static_base.is_some());
        let bases = if count == 1 { "base" } else { "bases" };
        let state = if changes.is_empty() { "unchanged" } else { "written" };
        text::error_line(&format!("{}: {state}, {count} {bases}", path.display()));
    }
}

fn say(line: String) {
    text::result_line(&text::tame(&line));
}

/// What moved, with dates and the labels that differ.
fn moved(base: &str, from: &Version, to: &Version) {
    say(format!("moved {base}"));
    for (word, version) in [("from", from), ("to  ", to)] {
        let created = version.created.as_ref().map(|date| format!(" of {date}")).unwrap_or_default();
        say(format!("  {word} {}{created}", version.digest));
    }
    let names: BTreeSet<&String> = from.labels.keys().chain(to.labels.keys()).collect();
    for name in names {
        let value = |version: &Version| version.labels.get(name).cloned().unwrap_or_else(|| "(none)".to_owned());
        if from.labels.get(name) != to.labels.get(name) {
            say(format!("  {name}: {} -> {}", value(from), value(to)));
        }
    }
}

async fn check_all(session: &Session, specs: &[BuildSpec], client: &Client) -> u8 {
    let (mut moved, mut unknown, mut failed) = (false, false, None);
    for (directory, wants) in Wants::by_directory(specs) {
        let path = book::path_in(&directory);
        let lock = match book::read(&path) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                let bases = wants.bases.keys().map(|name| Wanted { base: name.to_string(), platforms: Vec::new() });
                let error = LockError::Missing { path, wanted: bases.collect() };
                return session.fail(&error, &error.hints(), exit::LOCKED);
            }
            Err(error) => return session.fail(&error, &error.hints(), exit::LOCKED),
        };
        for checked in check(&lock, client).await {
            let Checked { name, locked, now } = &checked;
            match now {
                Ok(Some(now)) if checked.has_moved() => {
                    moved = true;
                    say(format!("moved {name}\n  from {locked}\n  to   {now}"));
                }
                Ok(Some(_)) => say(format!("same {name}")),
                Ok(None) => {
                    moved = true;
                    say(format!("gone {name}\n  from {locked}"));
                }
                Err(error) => {
                    unknown = true;
                    failed = failed.or(Some(exit::of_registry(error)));
                    say(format!("unknown {name}"));
                    session.fail(error, &[], exit::REGISTRY);
                }
            }
        }
    }
    match (moved, unknown) {
        (true, _) => {
            text::error_line("hint: `mab lock --update` takes what the tags name now");
            exit::LOCKED
        }
        (false, true) => failed.unwrap_or(exit::REGISTRY),
        (false, false) => exit::SUCCESS,
    }
}
