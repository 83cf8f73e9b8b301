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
    for (digest, report) in &checked.platforms {
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
                answer => {
                    lines.push(format!("  {} {}: {}", finding.check, answer.name(), text::tame(&finding.message)))
                }
            }
        }
        if warnings > WARNINGS && !all {
            text::error_line(&format!(
                "{} warnings more for {}: --all shows them",
                warnings - WARNINGS,
                report.platform
            ));
        }
        let count = |answer| report.count(answer);
        let verdict = if report.has_errors() { "cannot start" } else { "fits" };
        let line = format!(
            "{} {verdict}: {} ELF files, {} answers fit, {} do not, {} unknown  {}",
            report.platform,
            report.files,
            count(Answer::Fits),
            count(Answer::Unfit),
            count(Answer::Unknown),
            digest.short()
        );
        if !text::result_line(&line) {
            return;
        }
        let lines = if all { lines } else { reasons(&report.findings) };
        for line in lines {
            if !text::result_line(&line) {
                return;
            }
        }
    }
    for platform in &checked.unknown {
        text::result_line(&format!("{} unknown: not checked", text::tame(platform)));
    }
}

/// Unknown answers by check, where they are many.
fn reasons(findings: &[Finding]) -> Vec<String> {
    let mut counts: BTreeMap<CheckId, (usize, &str)> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.answer == Answer::Unknown) {
        counts.entry(finding.check).or_insert((0, finding.message.as_str())).0 += 1;
    }
    let line = |(check, (count, example)): (CheckId, (usize, &str))| {
        format!("  {check} unknown: {count}, such as {}", text::tame(example))
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
