//! The gate of a build: an image that cannot start gets no layer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use oci_layout::ImagePath;
use oci_layout::document::ContainerConfig;
use oci_layout::layer::facts::{MAX_TEXT, START, is_text_of_interest};
use oci_layout::layer::{Content, Entry, EntryKind};

use super::Shared;
use crate::base::Base;
use crate::build::BuildError;
use crate::check::elf::{CheckError, FileFacts, check_program};
use crate::check::image::{Image, Maker, Origin, Scope};
use crate::check::{CheckId, Detail, Finding, Report, image};
use crate::error::GateError;
use crate::event::{Event, Phase};
use crate::image::Draft;
use crate::spec::model::{BinarySource, BinarySpec};
use crate::spec::{BuildSpec, Diagnostic, Place};
use crate::target::TargetPlatform;

/// An image whose content is known.
pub(super) struct Built<'a> {
    pub(super) spec: &'a BuildSpec,
    pub(super) platform: TargetPlatform,
    pub(super) base: Option<&'a Base>,
    pub(super) draft: &'a mut Draft,
    pub(super) config: &'a ContainerConfig,
}

/// What build file and command line let through.
pub(super) fn allowed(shared: &Shared, spec: &BuildSpec) -> BTreeSet<CheckId> {
    shared.allow.iter().copied().chain(spec.allow.iter().map(|check| check.value)).collect()
}

/// What is wrong with a file that is there already, by its headers alone.
pub(super) fn prebuilt(
    name: &str,
    file: &Path,
    platform: TargetPlatform,
    place: Option<Place>,
    allow: &BTreeSet<CheckId>,
) -> Option<Diagnostic> {
    let error = check_program(name, file, platform).err()?;
    let check = error.check();
    if allow.contains(&check) {
        return None;
    }
    let message = match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let hint = match error {
        CheckError::Unfit { .. } => {
            "name each platform's own file (`prebuilt/${platform.arch}/…`), build it for the platform, or leave the \
             platform out"
        }
        _ => "name a finished Linux program, add other files under `files`, or build it again",
    };
    let allow = format!("`--allow {}` lets it through", check.name());
    Some(Diagnostic::error(check.name(), message, place).hint(hint).hint(allow))
}

/// Runs all checks over an image; warnings are told, errors end the build.
pub(super) fn check(shared: &Shared, built: Built<'_>, allow: &BTreeSet<CheckId>) -> Result<(), BuildError> {
    let Built { spec, platform, base, draft, config } = built;
    let piece = shared.work.start(Phase::Check, Some(platform), "programs".to_owned(), None).on_this_thread();
    note_facts(draft)?;
    let origins = spec.binaries.iter().map(|binary| origin(&binary.value));
    let programs: BTreeMap<ImagePath, Origin> = draft.programs.iter().cloned().zip(origins).collect();
    let own = base.and_then(|base| Some((base, base.platforms.get(&platform)?)));
    let image = Image {
        platform,
        tree: &draft.tree,
        config,
        base: own.filter(|(_, own)| !own.manifest.layers.is_empty()).map(|(base, own)| {
            let name = base.shown.split('@').next().unwrap_or_default();
            format!("{name}@{}", own.digest)
        }),
        base_layers: Some(own.map_or(0, |(_, own)| own.manifest.layers.len())),
        programs: &programs,
        scope: Scope::Added,
    };
    let report = image::check(&image, allow, Detail::Findings);
    tell(shared, &report);
    let errors: Vec<Finding> = report.findings.iter().filter(|finding| finding.is_error()).cloned().collect();
    if errors.is_empty() {
        piece.done(summary(&report));
        return Ok(());
    }
    piece.failed();
    Err(BuildError::Gate(Box::new(GateError { findings: errors })))
}

fn origin(binary: &BinarySpec) -> Origin {
    match &binary.source {
        BinarySource::Rust(rust) => Origin {
            maker: Maker::Rust,
            glibc: rust.glibc.as_ref().map(|glibc| glibc.value),
            cpu: rust.target_cpu.clone(),
        },
        BinarySource::Go(_) => Origin { maker: Maker::Go, ..Origin::default() },
        BinarySource::File(_) => Origin::default(),
    }
}

/// Notes in the tree what the new files are, as far as they can be started or loaded.
fn note_facts(draft: &mut Draft) -> Result<(), BuildError> {
    let (mut found, mut texts) = (Vec::new(), Vec::new());
    for entry in draft.entries() {
        let EntryKind::File(bytes) = &entry.kind else { continue };
        if let Content::File { path, size } = bytes
            && *size <= MAX_TEXT
            && is_text_of_interest(&entry.path)
        {
            texts.push((entry.path.clone(), String::from_utf8_lossy(&fs_err::read(path)?).into_owned()));
        }
        if !is_of_interest(entry) {
            continue;
        }
        let facts = match bytes {
            Content::Bytes(bytes) => {
                let (start, mut rest) = bytes.split_at(bytes.len().min(START as usize));
                FileFacts::read(start, bytes.len() as u64, entry.mode, &mut rest)?
            }
            Content::File { path, size } => {
                let mut file = fs_err::File::open(&**path)?;
                let mut start = Vec::new();
                std::io::Read::by_ref(&mut file).take(START).read_to_end(&mut start)?;
                FileFacts::of_file(&start, *size, entry.mode, file.file())?
            }
        };
        let value = facts.map(serde_json::to_value).transpose();
        let value = value.map_err(|error| BuildError::Internal(error.to_string()))?;
        found.extend(value.map(|value| (entry.path.clone(), value)));
    }
    for (path, value) in found {
        draft.tree.note(&path, value);
    }
    for (path, text) in texts {
        draft.tree.note_text(&path, &text);
    }
    Ok(())
}

/// Of a hundred thousand files that are copied, few are programs or libraries.
fn is_of_interest(entry: &Entry) -> bool {
    let name = entry.path.file_name().unwrap_or_default();
    entry.mode & 0o111 != 0 || name.ends_with(".so") || name.contains(".so.")
}

fn tell(shared: &Shared, report: &Report) {
    for finding in report.findings.iter().filter(|finding| finding.is_warning()) {
        let how = if finding.allowed { " (let through)" } else { "" };
        let message = format!("{}{how} [{}]", finding.message, finding.check);
        shared.reporter.report(Event::Warning { message });
    }
    for finding in report.findings.iter().filter(|finding| finding.answer == crate::check::Answer::Unknown) {
        let message = format!("not checked [{}]: {}", finding.check, finding.message);
        shared.reporter.report(Event::Note { message });
    }
}

fn summary(report: &Report) -> String {
    use crate::check::Answer;
    let mut text = format!("{} checks", report.count(Answer::Fits));
    for (answer, word) in [(Answer::Unfit, "let through or warned of"), (Answer::Unknown, "unknown")] {
        let count = report.count(answer);
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}
