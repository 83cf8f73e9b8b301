//! Do the ELF files of a base fit the platform that its manifest claims?

use std::collections::{BTreeMap, BTreeSet};

use oci_layout::ImagePath;

use super::level::{Level, level};
use super::{Image, Origin, Recorder};
use crate::check::elf::{ElfFacts, ElfType, machine_name, unfit_float, unfit_machine};
use crate::check::files::{Files, Noted};
use crate::check::{CheckId, Finding};
use crate::target::TargetPlatform;

/// Whether the base as a whole is another platform's: most of its files are. A few that are not
/// its own (firmware, emulators, test data) say nothing.
pub(super) fn check(
    image: &Image<'_>,
    files: &Files<'_>,
    started: &BTreeSet<ImagePath>,
    recorder: &mut Recorder<'_>,
) -> bool {
    let mut fit = 0_usize;
    let mut others: BTreeMap<String, (usize, &ImagePath)> = BTreeMap::new();
    for (path, node) in image.tree.iter() {
        if node.inspected().is_none() || node.layer.is_none() || (image.base_layers.is_some() && !image.is_base(node)) {
            continue;
        }
        let Some(Noted::Elf(elf)) = files.facts(path) else { continue };
        if matches!(elf.kind, ElfType::Object | ElfType::Other(_)) {
            continue;
        }
        match foreign(&elf, image.platform) {
            None => fit += 1,
            // That what is started does not fit is told of itself.
            Some(_) if image.base_layers.is_none() && started.contains(path) => {}
            Some(what) => {
                let (count, _) = others.entry(what).or_insert((0, path));
                *count += 1;
            }
        }
    }
    let unfit: usize = others.values().map(|(count, _)| count).sum();
    if fit + unfit == 0 {
        return false;
    }
    let subject = image.base.clone().unwrap_or_else(|| "files".to_owned());
    if unfit <= fit {
        recorder.fits(CheckId::BasePlatform, &subject, || format!("{fit} of {} ELF files fit", fit + unfit));
        return false;
    }
    let Some((what, (count, example))) = others.iter().max_by_key(|(_, (count, _))| *count) else { return false };
    let what_is_it = if image.base.is_some() { "the base" } else { "the image" };
    let message = format!(
        "{what_is_it} says that it is for {}, but {count} of its {} ELF files are for {what}",
        image.platform,
        fit + unfit
    );
    let mut finding = Finding::unfit(CheckId::BasePlatform, subject, message).note(format!("for example: {example}"));
    if let Some(base) = &image.base {
        finding = finding.note(format!("base: {base}"));
    }
    recorder.unfit(finding.hint(
        "name the right image for this platform (`base: {default: …, PLATFORM: …}`), tell whoever publishes it, or \
         leave the platform out",
    ));
    true
}

/// What else a file is for.
fn foreign(elf: &ElfFacts, platform: TargetPlatform) -> Option<String> {
    let wanted = platform.target().elf;
    if unfit_machine(elf, wanted).is_some() {
        return Some(machine_name(elf.machine));
    }
    if let Some((found, _)) = unfit_float(elf, wanted) {
        return Some(found);
    }
    match level(elf, &Origin::default(), platform) {
        Level::Beyond { found, .. } => Some(found),
        _ => None,
    }
}
