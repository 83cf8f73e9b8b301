//! What the image starts: is it there, may its user execute it, can its scripts be run?

use std::collections::BTreeSet;

use oci_layout::ImagePath;
use oci_layout::layer::facts::{Node, NodeKind};

use super::{Image, Recorder, Role};
use crate::check::files::{Files, Noted, normal};
use crate::check::{CheckId, Finding};
use crate::spec::Severity;
use crate::spec::accounts::Accounts;

/// What engines search where the config sets no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Scripts whose interpreter is a script: as deep as Linux goes.
const SCRIPTS: usize = 5;

/// User and groups of the first process.
struct Identity {
    uid: u64,
    gids: Vec<u64>,
}

/// Checks user, working directory and entrypoint. The programs that are started by it, by their
/// real paths.
pub(super) fn check(image: &Image<'_>, files: &Files<'_>, recorder: &mut Recorder<'_>) -> BTreeSet<ImagePath> {
    let identity = user(image, files, recorder);
    workdir(image, files, recorder);
    let mut started = BTreeSet::new();
    let words = [&image.config.entrypoint, &image.config.cmd].into_iter().flatten().find(|words| !words.is_empty());
    let Some(program) = words.and_then(|words| words.first()) else {
        if image.scope == super::Scope::All {
            recorder.unknown(CheckId::Entrypoint, "config", "the image names nothing to start");
        }
        return started;
    };
    let shown = clip(program);
    let fail = |why: String| {
        Finding::unfit(
            CheckId::Entrypoint,
            shown.as_str(),
            format!("{shown}, which {} is to start, {why}", image.platform),
        )
        .hint(
            "name a program that the image has (`config: {entrypoint: […]}`), add it under `binaries` or `files`, or \
             take a base that has it",
        )
    };
    let (path, node) = match locate(image, files, program) {
        Ok(found) => found,
        Err(why) => {
            recorder.unfit(fail(why));
            return started;
        }
    };
    if node.mode & 0o111 == 0 {
        recorder.unfit(fail("may not be executed by anyone".to_owned()));
        return started;
    }
    if let Some(identity) = &identity
        && let Some(why) = forbidden(files, &path, node, identity)
    {
        recorder.unfit(fail(why));
        return started;
    }
    started.insert(path.clone());
    match files.facts(&path) {
        Some(Noted::Script(line)) => {
            recorder.fits(CheckId::Entrypoint, &shown, || format!("it is the script {path}"));
            started.extend(script(image, files, &path, &line, Role::Own, recorder));
        }
        Some(Noted::Elf(_) | Noted::Damaged(_)) => {
            recorder.fits(CheckId::Entrypoint, &shown, || format!("it is {path}"));
        }
        None => recorder.unfit(fail("is neither an ELF program nor a script with `#!` in its first line".to_owned())),
    }
    started
}

/// Checks the interpreter that a script names; the programs on the way, by their real paths.
pub(super) fn script(
    image: &Image<'_>,
    files: &Files<'_>,
    path: &ImagePath,
    line: &str,
    role: Role,
    recorder: &mut Recorder<'_>,
) -> BTreeSet<ImagePath> {
    let mut started = BTreeSet::new();
    let mut script = path.clone();
    let mut line = line.to_owned();
    for _ in 0..SCRIPTS {
        let fail = |why: String| {
            let finding = Finding::unfit(
                CheckId::Script,
                script.as_str(),
                format!("{script} for {} is a script of `{}`, {why}", image.platform, clip(line.trim_end())),
            );
            let finding = finding
                .hint("take a base that has the interpreter, add it under `files`, or start a program that needs none");
            if role == Role::Own { finding } else { finding.at_most(Severity::Warning) }
        };
        let mut words = line.split_ascii_whitespace();
        let Some(interpreter) = words.next() else {
            recorder.unfit(fail("which names no interpreter".to_owned()));
            return started;
        };
        if line.ends_with('\r') {
            let finding = fail("whose line ends in a carriage return, which becomes part of the name".to_owned());
            let hint = "write the file with line ends of Unix (`dos2unix`), tell git to (`*.sh text eol=lf` in .gitattributes), \
                        or start another program";
            recorder.unfit(Finding { hints: vec![hint.to_owned()], ..finding });
            return started;
        }
        let mut found = match locate(image, files, interpreter) {
            Ok(found) if found.1.mode & 0o111 != 0 => found,
            Ok(_) => {
                recorder.unfit(fail("which may not be executed".to_owned()));
                return started;
            }
            Err(why) => {
                recorder.unfit(fail(format!("which {why}")));
                return started;
            }
        };
        if found.0.file_name() == Some("env") || interpreter.ends_with("/env") {
            started.insert(found.0.clone());
            let command = words.find(|word| !word.starts_with('-') && !word.contains('='));
            let Some(command) = command else {
                recorder.unfit(fail("which names no interpreter".to_owned()));
                return started;
            };
            found = match locate(image, files, command) {
                Ok(found) => found,
                Err(why) => {
                    recorder.unfit(fail(format!("and `{}` {why}", clip(command))));
                    return started;
                }
            };
        }
        started.insert(found.0.clone());
        match files.facts(&found.0) {
            Some(Noted::Script(next)) => {
                script = found.0;
                line = next.to_string();
            }
            _ => {
                recorder.fits(CheckId::Script, path.as_str(), || format!("its interpreter is {}", found.0));
                return started;
            }
        }
    }
    recorder.unfit(
        Finding::unfit(
            CheckId::Script,
            path.as_str(),
            format!("{path} is a script of a script of a script, and so on"),
        )
        .hint("name a program as the interpreter"),
    );
    started
}

/// The file that a word names: a path, one below the working directory, or a name in PATH.
fn locate<'a>(image: &Image<'_>, files: &Files<'a>, word: &str) -> Result<(ImagePath, &'a Node), String> {
    if word.contains('/') {
        let text = if word.starts_with('/') { word.to_owned() } else { format!("{}/{word}", directory(image)) };
        let path = normal(&text).ok_or("is no path of an image")?;
        let real = files.tree.resolve(&path, true).map_err(|error| format!("cannot be reached: {error}"))?;
        return match files.tree.get(&real) {
            None if real != path && files.tree.get(&path).is_some() => {
                Err(format!("is a link to {real}, which is not in the image"))
            }
            None => Err("is not in the image".to_owned()),
            Some(node) if !matches!(node.kind, NodeKind::File { .. }) => Err("is not a file".to_owned()),
            Some(node) => Ok((real, node)),
        };
    }
    let path = variable(image, "PATH").filter(|path| !path.is_empty()).unwrap_or(PATH);
    path.split(':')
        .filter(|directory| directory.starts_with('/'))
        .filter_map(|directory| files.file(&format!("{directory}/{word}")))
        .find(|(_, node)| node.mode & 0o111 != 0)
        .ok_or_else(|| format!("is not in PATH ({})", clip(path)))
}

/// A variable of the config.
pub(super) fn variable<'a>(image: &Image<'a>, name: &str) -> Option<&'a str> {
    let lines = image.config.env.iter().rev();
    lines.filter_map(|line| line.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn directory<'a>(image: &Image<'a>) -> &'a str {
    image.config.working_dir.as_deref().filter(|path| !path.is_empty()).unwrap_or("/")
}

fn user(image: &Image<'_>, files: &Files<'_>, recorder: &mut Recorder<'_>) -> Option<Identity> {
    let text = image.config.user.as_deref().unwrap_or_default();
    let read = |path: &str| path.parse().ok().and_then(|path: ImagePath| files.tree.text(&path));
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    let accounts = Accounts::of_base(passwd, group, None);
    match accounts.identity(text) {
        Ok(numbers) => {
            if !text.is_empty() {
                recorder.fits(CheckId::User, "config.User", || format!("`{}` is {numbers}", clip(text)));
            }
            let mut gids = vec![u64::from(numbers.gid)];
            gids.extend(accounts.memberships(numbers.uid).into_iter().map(u64::from));
            Some(Identity { uid: numbers.uid.into(), gids })
        }
        Err(why) => {
            recorder.unfit(
                Finding::unfit(
                    CheckId::User,
                    "config.User",
                    format!("the image for {} starts as `{}`, but {why}", image.platform, clip(text)),
                )
                .hint(
                    "add the user under `users`, write numbers (`user: \"2000:2000\"`), or name one that the base has",
                ),
            );
            None
        }
    }
}

fn workdir(image: &Image<'_>, files: &Files<'_>, recorder: &mut Recorder<'_>) {
    let text = directory(image);
    let fail = |why: String| {
        Finding::unfit(
            CheckId::Workdir,
            "config.WorkingDir",
            format!("the working directory {} of {} {why}", clip(text), image.platform),
        )
        .hint("name a directory (`config: {workdir: …}`), make one under `directories`, or move what is in its way")
    };
    let Some(path) = normal(text) else {
        recorder.unfit(fail("is not absolute".to_owned()));
        return;
    };
    match files.tree.resolve(&path, true) {
        Err(error) => recorder.unfit(fail(format!("cannot be reached: {error}"))),
        Ok(real) => match files.tree.get(&real) {
            Some(node) if !node.is_directory() => recorder.unfit(fail("is not a directory".to_owned())),
            Some(_) => recorder.fits(CheckId::Workdir, "config.WorkingDir", || format!("{real} is a directory")),
            None => {
                let made = || format!("{real} is not there: runtimes make it");
                recorder.fits(CheckId::Workdir, "config.WorkingDir", made);
            }
        },
    }
}

/// Why the user may not execute the file, if so.
fn forbidden(files: &Files<'_>, path: &ImagePath, node: &Node, identity: &Identity) -> Option<String> {
    let may = |node: &Node| {
        if identity.uid == 0 {
            return node.mode & 0o111 != 0 || node.is_directory();
        }
        let bit = if u64::from(node.uid) == identity.uid {
            0o100
        } else if identity.gids.contains(&u64::from(node.gid)) {
            0o010
        } else {
            0o001
        };
        node.mode & bit != 0
    };
    let who = identity.uid;
    if !may(node) {
        let mode = node.mode & 0o7777;
        return Some(format!(
            "may not be executed by user {who}: its mode is {mode:04o}, its owner {}:{}",
            node.uid, node.gid
        ));
    }
    path.ancestors().into_iter().find_map(|parent| {
        let node = files.tree.get(&parent)?;
        (!may(node)).then(|| {
            let mode = node.mode & 0o7777;
            format!("cannot be reached by user {who}: {parent} has mode {mode:04o} and owner {}:{}", node.uid, node.gid)
        })
    })
}

fn clip(text: &str) -> String {
    text.chars()
        .take(200)
        .flat_map(|character| {
            // Names with control characters would draw on the terminal.
            let escaped: Vec<char> =
                if character.is_control() { character.escape_default().collect() } else { vec![character] };
            escaped
        })
        .collect()
}
