//! All checks over one platform's image: its merged files and its config.

mod base;
mod level;
mod program;
mod start;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use oci_layout::ImagePath;
use oci_layout::document::ContainerConfig;
use oci_layout::layer::Tree;
use oci_layout::layer::facts::{Node, NodeKind};

use super::elf::ElfType;
use super::files::{Files, Noted};
use super::report::{Detail, Recorder, Report};
use super::{CheckId, Finding};
use crate::spec::model::GlibcVersion;
use crate::target::TargetPlatform;

/// One platform's image.
pub struct Image<'a> {
    /// The platform that it claims, or that it is built for.
    pub platform: TargetPlatform,
    /// Its files.
    pub tree: &'a Tree,
    /// How it is started.
    pub config: &'a ContainerConfig,
    /// What it stands on, as messages say it.
    pub base: Option<String>,
    /// How many of its layers are the base's, where that is known. What the tree has from no
    /// layer at all is what a build adds.
    pub base_layers: Option<usize>,
    /// Programs that a build adds, by their real path.
    pub programs: &'a BTreeMap<ImagePath, Origin>,
    /// Which files are looked at.
    pub scope: Scope,
}

/// Which ELF files are looked at one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What is started, and what a build adds. The base only as a whole.
    Added,
    /// All of them.
    All,
}

/// Where a program comes from: what can be done about it, and what its compiler was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who made it.
    pub maker: Maker,
    /// The newest glibc that it may need.
    pub glibc: Option<GlibcVersion>,
    /// The `-C target-cpu` of its own that the build file asks for.
    pub cpu: Option<String>,
}

/// Who made a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maker {
    /// cargo, told by mab.
    Rust,
    /// go, told by mab.
    Go,
    /// Something else.
    #[default]
    Elsewhere,
}

/// Whose a file is: how much it matters when it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Started by the image, or added by a build.
    Own,
    /// Any other.
    Other,
}

/// Runs all checks.
pub fn check(image: &Image<'_>, allow: &BTreeSet<CheckId>, detail: Detail) -> Report {
    let files = Files::new(image.tree);
    let mut recorder = Recorder::new(image.platform.to_string(), allow, detail);
    let started = start::check(image, &files, &mut recorder);
    let mislabelled = base::check(image, &files, &started, &mut recorder);
    let loaders = program::Loaders::new(image, &files);
    let mut set_id = Vec::new();
    for (path, node) in image.tree.iter() {
        if !matches!(node.kind, NodeKind::File { .. }) {
            continue;
        }
        if node.mode & 0o6000 != 0 && !image.is_base(node) {
            set_id.push((path, node.mode));
        }
        let added = image.is_added(path, node);
        let role = if added || started.contains(path) { Role::Own } else { Role::Other };
        if role == Role::Other && image.scope == Scope::Added {
            continue;
        }
        match files.facts(path) {
            Some(Noted::Elf(elf)) => {
                let is_program = image.programs.contains_key(path);
                if matches!(elf.kind, ElfType::Object | ElfType::Other(_)) && !is_program {
                    continue;
                }
                recorder.report.files += 1;
                // Told once, of the whole base.
                if mislabelled && role == Role::Other {
                    continue;
                }
                program::check(image, &loaders, path, &elf, role, &mut recorder);
            }
            Some(Noted::Damaged(why)) if role == Role::Own => {
                recorder.unfit(
                    Finding::unfit(
                        CheckId::Program,
                        path.as_str(),
                        format!("{path} for {} is a damaged ELF file: {why}", image.platform),
                    )
                    .hint(ways::damaged(&image.origin(path))),
                );
            }
            Some(Noted::Damaged(why)) => recorder.unknown(CheckId::Program, path.as_str(), format!("{path}: {why}")),
            Some(Noted::Script(line)) if added && !started.contains(path) => {
                start::script(image, &files, path, &line, Role::Other, &mut recorder);
            }
            _ => {}
        }
    }
    set_id_files(&set_id, image, &mut recorder);
    recorder.report
}

impl Image<'_> {
    /// A file of the base, where it is known what the base is.
    fn is_base(&self, node: &Node) -> bool {
        match (self.base_layers, node.layer) {
            (Some(layers), Some(layer)) => u64::from(layer) < layers as u64,
            _ => false,
        }
    }

    /// A file that a build adds: one that a finished image has above its base is somebody's too,
    /// but nothing is known of what it is for.
    fn is_added(&self, path: &ImagePath, node: &Node) -> bool {
        node.layer.is_none() || self.programs.contains_key(path)
    }

    fn origin(&self, path: &ImagePath) -> Origin {
        self.programs.get(path).cloned().unwrap_or_default()
    }

    /// `, but its base` or `, but the image`.
    fn where_from(&self) -> &'static str {
        if self.base.is_some() { "its base" } else { "the image" }
    }
}

/// One finding for all: a Debian system has a dozen of them.
fn set_id_files(list: &[(&ImagePath, u32)], image: &Image<'_>, recorder: &mut Recorder<'_>) {
    let Some((first, mode)) = list.first() else {
        recorder.fits(CheckId::SetId, "/", || "no file has the bits".to_owned());
        return;
    };
    let more = match list.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let message = format!("{first} for {} has mode {mode:04o}{more}: it runs as its owner or group", image.platform);
    let mut finding = Finding::unfit(CheckId::SetId, first.as_str(), message).hint(
        "take the bits away (`mode: \"0755\"`), give the program the capabilities that it needs instead (`capabilities`), \
         or let it through with `allow: [set-id]`",
    );
    for (path, mode) in list.iter().skip(1).take(20) {
        finding = finding.note(format!("{path} has mode {mode:04o}"));
    }
    recorder.unfit(finding);
}

#[cfg(test)]
mod tests;
