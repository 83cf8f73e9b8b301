//! `mab check --sandbox`: what this system lets `mab run` do.

use std::path::Path;

use builder::process::Children;
use builder::sandbox::{Ability, Execution, Gap, HostReport, survey};
use oci_layout::Cache;
use serde_json::{Value, json};

use crate::commands::session::Session;
use crate::{environment, exit, text};

/// What is tried, in words, and the key for programs; and what is lost without it.
const ABILITIES: [(Ability, &str, &str, &str); 8] = [
    (Ability::Namespaces, "namespaces", "namespaces", "nothing runs"),
    (Ability::Proc, "/proc of its own", "proc", "nothing runs"),
    (Ability::Devices, "/dev of its own", "devices", "nothing runs"),
    (Ability::Confinement, "confinement of programs", "confinement", "nothing runs"),
    (Ability::Owners, "owners recorded", "owners", "commands of build files do not run"),
    (Ability::Overlay, "overlay file systems", "overlay", "an image's files are copied for each run"),
    (Ability::Terminals, "terminals of its own", "terminals", "programs get no terminal"),
    (Ability::Binfmt, "binfmt_misc of its own", "binfmt", "foreign platforms need a registration of the host's"),
];

pub(super) fn run(as_json: bool) -> u8 {
    let session = Session::new();
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => return session.fail(&error, &[], exit::OUTPUT),
    };
    // Where `mab run` mounts things; any other empty directory will do to see what works.
    let cache = environment::cache_directory(&session.env).and_then(|root| Cache::open(root).ok());
    let mount_point = cache.and_then(|cache| cache.mount_point().ok()).unwrap_or_else(|| directory.path().to_owned());
    let found = survey(Path::new("/proc/self/exe"), mount_point, &session.env, &Children::new());
    let lines = match as_json {
        true => vec![serde_json::to_string_pretty(&document(&found)).unwrap_or_default()],
        false => lines(&found),
    };
    for line in lines {
        if !text::result_line(&line) {
            break;
        }
    }
    if found.can_run() { exit::SUCCESS } else { exit::CHECK }
}

fn gap(found: &HostReport, ability: Ability) -> Option<Option<&Gap>> {
    found.abilities.iter().find(|(tried, _)| *tried == ability).map(|(_, gap)| gap.as_ref())
}

fn lines(found: &HostReport) -> Vec<String> {
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for (ability, words, _, without) in ABILITIES {
        let answer = match gap(found, ability) {
            Some(None) => "yes",
            Some(Some(gap)) => {
                notes.push((format!("{words}: {} ({without})", gap.what), gap.remedies.clone()));
                "no"
            }
            None => "not tried",
        };
        rows.push([words.to_owned(), answer.to_owned()]);
    }
    rows.push(["users and groups".to_owned(), "one of each, which all of an image's files belong to".to_owned()]);
    rows.push([String::new(), String::new()]);
    for (platform, execution) in &found.platforms {
        let answer = match execution {
            Ok(execution) if !found.can_run_for(execution) => "no: see above".to_owned(),
            Ok(Execution::Native) => "natively".to_owned(),
            Ok(Execution::Emulated(emulator)) => format!("by {}", emulator.path().display()),
            Ok(Execution::Host { interpreter }) => format!("by {interpreter}, which the host has registered"),
            Err(gap) => {
                notes.push((gap.what.clone(), gap.remedies.clone()));
                "no".to_owned()
            }
        };
        rows.push([platform.to_string(), answer]);
    }
    let mut lines = text::columns(&rows);
    let mut remedies: Vec<String> = Vec::new();
    if !notes.is_empty() {
        lines.push(String::new());
    }
    for (note, of_note) in notes {
        lines.push(text::tame(&note));
        for remedy in of_note {
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
    }
    if !remedies.is_empty() {
        lines.push(String::new());
        lines.push("What would mend that:".to_owned());
        lines.extend(remedies.iter().map(|remedy| format!("  {}", text::tame(remedy))));
    }
    lines
}

fn document(found: &HostReport) -> Value {
    let of_gap = |gap: &Gap| json!({ "works": false, "why": gap.what, "remedies": gap.remedies });
    let mut abilities = serde_json::Map::new();
    for (ability, _, key, _) in ABILITIES {
        let value = match gap(found, ability) {
            Some(None) => json!({ "works": true }),
            Some(Some(gap)) => of_gap(gap),
            None => json!({ "works": null }),
        };
        abilities.insert(key.to_owned(), value);
    }
    let mut platforms = serde_json::Map::new();
    for (platform, execution) in &found.platforms {
        let value = match execution {
            Ok(execution) => {
                let (by, program) = match execution {
                    Execution::Native => ("processor", None),
                    Execution::Emulated(emulator) => ("emulator", Some(emulator.path().display().to_string())),
                    Execution::Host { interpreter } => ("host's registration", Some(interpreter.clone())),
                };
                json!({ "works": found.can_run_for(execution), "by": by, "program": program })
            }
            Err(gap) => of_gap(gap),
        };
        platforms.insert(platform.to_string(), value);
    }
    json!({ "works": found.can_run(), "abilities": abilities, "subordinateIds": false, "platforms": platforms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_with_what_mends_them() {
        let gap = |what: &str, remedy: &str| Gap { what: what.to_owned(), remedies: vec![remedy.to_owned()] };
        let found = HostReport {
            abilities: vec![(Ability::Namespaces, Some(gap("this system refuses them", "sudo sysctl x=1")))],
            platforms: vec![
                ("linux/amd64".parse().unwrap(), Ok(Execution::Native)),
                ("linux/arm64".parse().unwrap(), Err(gap("no qemu", "apt-get install qemu-user-static"))),
                ("linux/s390x".parse().unwrap(), Err(gap("no qemu", "apt-get install qemu-user-static"))),
            ],
        };
        let text = lines(&found).join("\n");
        assert!(text.contains("namespaces               no"), "{text}");
        assert!(text.contains("/proc of its own         not tried"), "{text}");
        assert!(text.contains("linux/amd64              no: see above"), "{text}");
        assert_eq!(text.matches("apt-get install").count(), 1, "{text}");
        let document = document(&found);
        assert_eq!(document["works"], false);
        assert_eq!(document["abilities"]["namespaces"]["remedies"][0], "sudo sysctl x=1");
        assert_eq!(document["platforms"]["linux/amd64"]["works"], false);
    }
}
