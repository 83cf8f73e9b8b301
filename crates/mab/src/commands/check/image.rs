//! `mab check IMAGE`: the gate over an image that exists already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use builder::base::BaseError;
use builder::build::BuildError;
use builder::check::finished::{Checked, Request, check_image};
use builder::check::{Answer, CheckId, Detail, Finding, Report};
use builder::transfer::{Location, Source, TransferError, read_root};
use oci_layout::Cache;
use registry_client::tree::Node;
use serde_json::{Value, json};

use crate::cli::{Check, Progress, Registries};
use crate::commands::session::{self, Session};
use crate::{environment, exit, findings, progress, text};

/// Warnings of one platform that are shown without being asked for.
const WARNINGS: usize = 10;

pub(super) fn run(image: &Location, arguments: &Check) -> u8 {
    let session = Session::new();
    session.block_on(go(image, arguments, &session))
}

async fn go(image: &Location, arguments: &Check, session: &Session) -> u8 {
    let (source, root) = match open(image, session, &arguments.registries).await {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    // A cache that cannot be had costs time.
    let cache = environment::cache_directory(&session.env).and_then(|root| Cache::open(&root).ok());
    let allow: BTreeSet<CheckId> = arguments.images.allow.iter().copied().collect();
    let shown = image.to_string();
    let request = Request {
        source,
        root: root.descriptor,
        bytes: &root.bytes,
        shown: &shown,
        platforms: &arguments.images.build_files.platforms,
        allow: &allow,
        detail: if arguments.image.all { Detail::All } else { Detail::Findings },
        jobs: session::processors(),
        cache: cache.as_ref(),
    };
    let checked = match check_image(&request).await {
        Ok(checked) => checked,
        Err(error) => return fail(session, shown, error),
    };
    let errors = checked.platforms.iter().any(|(_, report)| report.has_errors());
    if arguments.image.json {
        text::result_line(&serde_json::to_string_pretty(&as_json(&shown, &checked)).unwrap_or_default());
    } else {
        tell(&checked, arguments.image.all, session);
    }
    if checked.platforms.is_empty() {
        text::error_line("error: the image has no platform that can be checked");
        return exit::CHECK;
    }
    if errors { exit::CHECK } else { exit::SUCCESS }
}

fn fail(session: &Session, shown: String, source: BaseError) -> u8 {
    let error = BuildError::Base { base: shown, source };
    session.fail(&error, &error.hints(), exit::of_class(error.class()))
}

async fn open(location: &Location, session: &Session, registries: &Registries) -> Result<(Arc<Source>, Node), u8> {
    let reporter = progress::reporter(Progress::Plain, false);
    let client = session.client(&reporter, registries)?;
    let fail = |error: TransferError| session.fail(&error, &error.hints(), exit::of_class(error.class()));
    let source = Source::open(location, &client).await.map_err(|error| fail(error.into()))?;
    let source = Arc::new(source);
    let root = read_root(&source, location).await.map_err(fail)?;
    Ok((source, root))
}

/// Findings go to standard error, a line for each platform to standard output.
fn tell(checked: &Checked, all: bool, session: &Session) {
    let room = environment::output_look().width;
    let heads = heads(checked, room);
    for ((_, report), head) in checked.platforms.iter().zip(heads) {
        let mut lines = Vec::new();
        let mut warnings = 0;
        for finding in &report.findings {
            match finding.answer {
                Answer::Unfit if finding.is_error() => {
                    text::error_line(&format!("{}\n", findings::draw(finding, session.look)));
                }
                Answer::Unfit => {
                    warnings += 1;
                    if all || warnings <= WARNINGS {
                        text::error_line(&findings::line(finding, session.look));
                    }
                }
                answer => lines.push(format!("{} {}: {}", finding.check, answer.name(), text::tame(&finding.message))),
            }
        }
        if warnings > WARNINGS && !all {
            let more = text::count(warnings - WARNINGS, "more warning");
            text::error_line(&format!("{more} for {}: --all shows them", report.platform));
        }
        let lines = if all { lines } else { reasons(&report.findings) };
        let below = lines.iter().flat_map(|line| {
            let parts = text::broken(line, room.saturating_sub(4)).into_iter().enumerate();
            parts.map(|(number, part)| format!("{}{part}", if number == 0 { "  " } else { "    " }))
        });
        if !std::iter::once(head).chain(below).all(|line| text::result_line(&line)) {
            return;
        }
    }
    for platform in &checked.unknown {
        text::result_line(&format!("{} unknown: not checked", text::tame(platform)));
    }
}

/// A line for each platform, in columns; the digests go where there is no room for them.
fn heads(checked: &Checked, room: usize) -> Vec<String> {
    let row = |(digest, report): &(oci_layout::Digest, Report)| {
        let verdict = if report.has_errors() { "cannot start" } else { "fits" };
        [report.platform.clone(), verdict.to_owned(), counts(report), digest.short()]
    };
    let mut rows: Vec<[String; 4]> = checked.platforms.iter().map(row).collect();
    let lines = text::columns(&rows);
    if lines.iter().all(|line| line.chars().count() <= room) {
        return lines;
    }
    rows.iter_mut().for_each(|row| row[3].clear());
    text::columns(&rows)
}

/// `84 ELF files: 902 checks fit, 1 error, 2 unknown`.
fn counts(report: &Report) -> String {
    let errors = report.findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = report.count(Answer::Unfit).saturating_sub(errors);
    let fits = report.count(Answer::Fits);
    let files = text::count(report.files, "ELF file");
    let mut text = format!("{files}: {fits} {}", if fits == 1 { "check fits" } else { "checks fit" });
    for (number, what) in [(errors, "error"), (warnings, "warning")] {
        if number > 0 {
            text.push_str(&format!(", {}", text::count(number, what)));
        }
    }
    text.push_str(&format!(", {} unknown", report.count(Answer::Unknown)));
    text
}

/// Unknown answers by check, where they are many.
fn reasons(findings: &[Finding]) -> Vec<String> {
    let mut counts: BTreeMap<CheckId, (usize, &str)> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.answer == Answer::Unknown) {
        counts.entry(finding.check).or_insert((0, finding.message.as_str())).0 += 1;
    }
    let line = |(check, (count, example)): (CheckId, (usize, &str))| {
        let such = if count == 1 { "" } else { "such as " };
        format!("{check} unknown: {count}, {such}{}", text::tame(example))
    };
    counts.into_iter().map(line).collect()
}

fn as_json(shown: &str, checked: &Checked) -> Value {
    let platforms: Vec<Value> = checked
        .platforms
        .iter()
        .map(|(digest, report)| {
            json!({
                "platform": report.platform,
                "digest": digest.to_string(),
                "errors": report.findings.iter().filter(|finding| finding.is_error()).count(),
                "files": report.files,
                "answers": answers(report),
                "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"image": shown, "platforms": platforms, "notChecked": checked.unknown})
}

fn answers(report: &Report) -> Value {
    let mut checks: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for ((check, answer), count) in &report.counts {
        checks.entry(check.name()).or_default().insert(answer.name(), *count);
    }
    json!({
        "fits": report.count(Answer::Fits),
        "does not fit": report.count(Answer::Unfit),
        "unknown": report.count(Answer::Unknown),
        "checks": checks,
    })
}

fn finding(finding: &Finding) -> Value {
    let mut value = json!({
        "check": finding.check.name(),
        "answer": finding.answer.name(),
        "subject": finding.subject,
        "message": finding.message,
    });
    if finding.answer == Answer::Unfit {
        value["severity"] = json!(finding.severity.to_string());
        value["allowed"] = json!(finding.allowed);
        value["notes"] = json!(finding.notes);
        value["hints"] = json!(finding.hints);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_stand_in_columns_and_digests_give_way() {
        let report = |platform: &str, answers: &[(CheckId, Answer, usize)]| Report {
            platform: platform.to_owned(),
            counts: answers.iter().map(|(check, answer, count)| ((*check, *answer), *count)).collect(),
            files: 84,
            findings: Vec::new(),
        };
        let mut wrong =
            report("linux/arm/v7", &[(CheckId::Library, Answer::Unfit, 3), (CheckId::Libc, Answer::Fits, 1)]);
        wrong.findings.push(Finding::unfit(CheckId::Library, "/app", "it is not there"));
        wrong.files = 1;
        let digest = oci_layout::Digest::of(b"");
        let good =
            report("linux/amd64", &[(CheckId::Libc, Answer::Fits, 902), (CheckId::IsaLevel, Answer::Unknown, 2)]);
        let checked = Checked { platforms: vec![(digest, good), (digest, wrong)], unknown: Vec::new() };
        let narrow = [
            "linux/amd64   fits          84 ELF files: 902 checks fit, 2 unknown",
            "linux/arm/v7  cannot start  1 ELF file: 1 check fits, 1 error, 2 warnings, 0 unknown",
        ];
        assert_eq!(heads(&checked, 60), narrow);
        let wide = heads(&checked, 200);
        assert!(wide[0].starts_with(narrow[0]) && wide[0].ends_with(&digest.short()), "{wide:?}");
    }
}
