//! Answers of checks, counted, and the ones that somebody should read.

use std::collections::{BTreeMap, BTreeSet};

use super::CheckId;
use crate::spec::Severity;

/// What a check has come to for one file or setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// It was checked, and it fits.
    Fits,
    /// It does not fit.
    Unfit,
    /// It cannot be told. Never counted as checked.
    Unknown,
}

impl Answer {
    /// A word for people and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Unfit => "does not fit",
            Self::Unknown => "unknown",
        }
    }
}

/// One answer with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: CheckId,
    /// The answer.
    pub answer: Answer,
    /// How bad it is, where it does not fit.
    pub severity: Severity,
    /// It was let through.
    pub allowed: bool,
    /// The file, or the setting of the config.
    pub subject: String,
    /// A sentence without a full stop: what was found. For [`Answer::Unknown`], why it cannot be told.
    pub message: String,
    /// What belongs to it, such as the base: a line each.
    pub notes: Vec<String>,
    /// The ways out.
    pub hints: Vec<String>,
}

impl Finding {
    /// Something that does not fit, as bad as the check's table says.
    pub fn unfit(check: CheckId, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            check,
            answer: Answer::Unfit,
            severity: check.severity(),
            allowed: false,
            subject: subject.into(),
            message: message.into(),
            notes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// With one more way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With one more line of evidence.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// At most a warning.
    #[must_use]
    pub fn at_most(mut self, severity: Severity) -> Self {
        self.severity = self.severity.max(severity);
        self
    }

    /// It stops a build, or makes `mab check` fail.
    pub fn is_error(&self) -> bool {
        self.answer == Answer::Unfit && self.severity == Severity::Error && !self.allowed
    }

    /// Somebody should read it, though nothing stops.
    pub fn is_warning(&self) -> bool {
        self.answer == Answer::Unfit && !self.is_error()
    }
}

/// What the gate found in one platform's image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The platform.
    pub platform: String,
    /// How often each check gave each answer.
    pub counts: BTreeMap<(CheckId, Answer), usize>,
    /// ELF files that were looked at.
    pub files: usize,
    /// What does not fit or is unknown; with [`Detail::All`] what fits, too.
    pub findings: Vec<Finding>,
}

/// What a report holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What does not fit, and what is unknown.
    #[default]
    Findings,
    /// Every answer.
    All,
}

impl Report {
    /// How many times `answer` was given.
    pub fn count(&self, answer: Answer) -> usize {
        self.counts.iter().filter(|((_, given), _)| *given == answer).map(|(_, count)| count).sum()
    }

    /// Something stops.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }
}

/// Takes answers down.
pub(super) struct Recorder<'a> {
    pub(super) report: Report,
    allow: &'a BTreeSet<CheckId>,
    detail: Detail,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(platform: String, allow: &'a BTreeSet<CheckId>, detail: Detail) -> Self {
        Self { report: Report { platform, ..Report::default() }, allow, detail }
    }

    pub(super) fn fits(&mut self, check: CheckId, subject: &str, evidence: impl FnOnce() -> String) {
        *self.report.counts.entry((check, Answer::Fits)).or_default() += 1;
        if self.detail == Detail::All {
            let finding = Finding::unfit(check, subject, evidence());
            self.report.findings.push(Finding { answer: Answer::Fits, ..finding });
        }
    }

    pub(super) fn unknown(&mut self, check: CheckId, subject: &str, why: impl Into<String>) {
        *self.report.counts.entry((check, Answer::Unknown)).or_default() += 1;
        let finding = Finding::unfit(check, subject, why);
        self.report.findings.push(Finding { answer: Answer::Unknown, ..finding });
    }

    pub(super) fn unfit(&mut self, mut finding: Finding) {
        *self.report.counts.entry((finding.check, Answer::Unfit)).or_default() += 1;
        finding.allowed = self.allow.contains(&finding.check);
        self.report.findings.push(finding);
    }
}
