//! Symbol versions: those that a file wants of libraries, and those that it defines.
//!
//! "Linux Standard Base Core Specification, Generic", 10.7: two linked lists of lists, by
//! relative offsets.

use std::collections::BTreeMap;

use goblin::elf::dynamic;

use super::facts::{Malformed, VersionNeeds};
use super::parse::{Dynamic, File, NEEDS};
use super::read::ReadAt;

/// `DT_VERNEED`: a list of libraries, each with a list of versions.
pub(super) fn wanted<R: ReadAt + ?Sized>(
    file: &File<'_, R>,
    dynamic: &Dynamic,
) -> Result<Vec<VersionNeeds>, Malformed> {
    const WEAK: u64 = 2;
    let mut needs: BTreeMap<String, VersionNeeds> = BTreeMap::new();
    let Some(start) = dynamic.value(dynamic::DT_VERNEED) else { return Ok(Vec::new()) };
    let Some(mut library_at) = file.offset_of(start) else {
        return Err(Malformed::Invalid("the place of symbol versions"));
    };
    let count = dynamic.value(dynamic::DT_VERNEEDNUM).unwrap_or(0);
    let mut seen = 0;
    for _ in 0..count.min(NEEDS as u64) {
        let entry = file.exact(library_at, 16, "the symbol versions")?;
        let field = |range: std::ops::Range<usize>| file.number(&entry[range]);
        let (versions, name, first, next) = (field(2..4), field(4..8), field(8..12), field(12..16));
        let library = dynamic.text(file, name)?;
        let list = needs.entry(library.clone()).or_insert_with(|| VersionNeeds {
            library,
            versions: Vec::new(),
            weak: Vec::new(),
        });
        let mut version_at = library_at.saturating_add(first);
        for _ in 0..versions {
            seen += 1;
            if seen > NEEDS {
                return Err(Malformed::Invalid("the number of symbol versions"));
            }
            let entry = file.exact(version_at, 16, "the symbol versions")?;
            let field = |range: std::ops::Range<usize>| file.number(&entry[range]);
            let version = dynamic.text(file, field(8..12))?;
            if field(4..6) & WEAK != 0 {
                list.weak.push(version)
            } else {
                list.versions.push(version)
            }
            match field(12..16) {
                0 => break,
                next => version_at = version_at.saturating_add(next),
            }
        }
        if next == 0 {
            break;
        }
        library_at = library_at.saturating_add(next);
    }
    let mut needs: Vec<VersionNeeds> = needs.into_values().collect();
    for need in &mut needs {
        for list in [&mut need.versions, &mut need.weak] {
            list.sort();
            list.dedup();
        }
    }
    Ok(needs)
}

/// `DT_VERDEF`: a list of versions, each with its name first and then those that it follows.
pub(super) fn defined<R: ReadAt + ?Sized>(file: &File<'_, R>, dynamic: &Dynamic) -> Result<Vec<String>, Malformed> {
    /// The file itself: its name is no version.
    const BASE: u64 = 1;
    let Some(start) = dynamic.value(dynamic::DT_VERDEF) else { return Ok(Vec::new()) };
    let Some(mut at) = file.offset_of(start) else {
        return Err(Malformed::Invalid("the place of symbol versions"));
    };
    let mut list = Vec::new();
    for _ in 0..dynamic.value(dynamic::DT_VERDEFNUM).unwrap_or(0).min(NEEDS as u64) {
        let entry = file.exact(at, 20, "the symbol versions")?;
        let field = |range: std::ops::Range<usize>| file.number(&entry[range]);
        if field(2..4) & BASE == 0 && field(6..8) > 0 {
            let name = file.exact(at.saturating_add(field(12..16)), 4, "the symbol versions")?;
            list.push(dynamic.text(file, file.number(&name))?);
        }
        match field(16..20) {
            0 => break,
            next => at = at.saturating_add(next),
        }
    }
    list.sort();
    list.dedup();
    Ok(list)
}
