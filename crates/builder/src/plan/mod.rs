//! What a build would do: for each platform its base, its programs, its layers and its config,
//! and the calls of the compilers. A value that `mab build --dry-run` shows and `mab check`
//! throws away.
//!
//! [`of_image`] is a pure function of what was found out; nothing here looks at a file, a
//! registry or a compiler.

use std::collections::BTreeMap;

use oci_layout::Digest;
use oci_layout::document::ContainerConfig;
use oci_layout::layer::EntryKind;
use serde::Serialize;

use crate::image::{FORMAT, Group};
use crate::sandbox::Network;
use crate::spec::annotation::index_annotations;
use crate::spec::model::{BinarySource, BuildSpec, RunSpec, SmokeCommand};
use crate::spec::{Diagnostic, Facts, Placed, Template, Variables, render, render_file};
use crate::target::TargetPlatform;

/// Version of the plan's JSON. It grows by new keys; another number means another shape.
pub const VERSION: u32 = 1;

/// What would become of one build file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImagePlan {
    /// [`VERSION`].
    pub version: u32,
    /// The build file, as it was named.
    pub file: String,
    /// The repository, where there is one.
    pub image: Option<String>,
    /// The tags, in order.
    pub tags: Vec<String>,
    /// The image's date.
    pub created: String,
    /// What layers and documents depend on beside their content.
    pub format: u32,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// Each platform, in the index's order.
    pub platforms: Vec<PlatformPlan>,
    /// The calls of the compilers, for all images that are built together.
    pub compile: Vec<CompilePlan>,
}

impl ImagePlan {
    /// How many programs an image has: the fewest and the most of any platform.
    pub fn programs(&self) -> (usize, usize) {
        let counts = || self.platforms.iter().map(|platform| platform.programs.len());
        (counts().min().unwrap_or(0), counts().max().unwrap_or(0))
    }
}

/// What would become of one platform.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformPlan {
    /// The platform.
    pub platform: String,
    /// What it stands on; nothing for `scratch`.
    pub base: Option<BasePlan>,
    /// Its programs, in order.
    pub programs: Vec<ProgramPlan>,
    /// The commands that are run on it, in order; what layers they make shows when they have run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<RunPlan>,
    /// The trial runs of what comes of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub smoke: Vec<Vec<String>>,
    /// The layers above the base, lowest first, up to the first command. Nothing where the base was not looked at.
    pub layers: Option<Vec<LayerOutline>>,
    /// How a container would run. Nothing where the base was not looked at.
    pub config: Option<ContainerConfig>,
}

/// The base of a platform.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BasePlan {
    /// As the build file names it.
    pub reference: String,
    /// What that resolved to; nothing where it was not looked at.
    pub digest: Option<Digest>,
    /// The platform's own manifest.
    pub manifest: Option<Digest>,
    /// How many layers it has.
    pub layers: usize,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramPlan {
    /// Path in the image.
    pub path: String,
    /// `rust`, `go` or `file`.
    pub kind: &'static str,
    /// Directory or file, relative to the build file.
    pub from: String,
}

/// A command that is run on a platform's image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunPlan {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// It can reach what this machine reaches.
    pub network: bool,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerOutline {
    /// What its history says.
    pub created_by: String,
    /// How many entries it has, with directories and links.
    pub entries: usize,
    /// Bytes of its files before compression; nothing where a program is not compiled yet.
    pub bytes: Option<u64>,
}

impl LayerOutline {
    pub(crate) fn of(group: &Group) -> Self {
        let bytes = group.entries.iter().map(|entry| match &entry.kind {
            EntryKind::File(content) => content.size(),
            _ => 0,
        });
        Self {
            created_by: group.created_by.clone(),
            entries: group.entries.len(),
            bytes: (!group.awaits).then(|| bytes.sum()),
        }
    }
}

/// A platform's part that depends on its base's files.
pub(crate) struct Outline {
    pub(crate) layers: Vec<LayerOutline>,
    pub(crate) config: ContainerConfig,
}

/// One call of a compiler.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CompilePlan {
    /// The command, as it could be typed.
    pub command: String,
    /// Where it runs.
    pub directory: String,
    /// What it builds for.
    pub platforms: Vec<String>,
    /// Variables that point it to linkers and C compilers.
    pub environment: BTreeMap<String, String>,
}

/// Everything that a plan is made from.
pub(crate) struct Known<'a> {
    pub(crate) spec: &'a BuildSpec,
    pub(crate) facts: &'a Facts,
    pub(crate) tags: Vec<String>,
    pub(crate) created: &'a str,
    pub(crate) inferred: &'a BTreeMap<String, String>,
    /// What is said of the base in the index's annotations.
    pub(crate) added: &'a BTreeMap<String, String>,
    pub(crate) bases: BTreeMap<TargetPlatform, BasePlan>,
    pub(crate) outlines: BTreeMap<TargetPlatform, Outline>,
    pub(crate) compile: Vec<CompilePlan>,
}

/// The plan of one image.
pub(crate) fn of_image(known: Known<'_>) -> Result<ImagePlan, Vec<Diagnostic>> {
    let Known { spec, facts, tags, created, inferred, added, mut bases, mut outlines, compile } = known;
    let general = Variables { platform: None, facts };
    let annotations = index_annotations(spec, inferred, added, &general)?;
    let mut platforms = Vec::new();
    for platform in spec.platforms.iter().map(|platform| platform.value) {
        let outline = outlines.remove(&platform);
        let (layers, config) = outline.map_or((None, None), |it| (Some(it.layers), Some(it.config)));
        platforms.push(PlatformPlan {
            platform: platform.to_string(),
            base: bases.remove(&platform),
            programs: programs(spec.of(platform), &Variables { platform: Some(platform), facts })
                .map_err(|problem| vec![*problem])?,
            run: spec.of(platform).runs.iter().map(|run| RunPlan::of(&run.value)).collect(),
            smoke: smoke(spec.of(platform), &Variables { platform: Some(platform), facts }, config.as_ref())
                .map_err(|problem| vec![*problem])?,
            layers,
            config,
        });
    }
    Ok(ImagePlan {
        version: VERSION,
        file: spec.file.display().to_string(),
        image: spec.image.as_ref().map(|image| image.value.to_string()),
        tags,
        created: created.to_owned(),
        format: FORMAT,
        annotations,
        platforms,
        compile,
    })
}

fn programs(spec: &BuildSpec, values: &Variables<'_>) -> Result<Vec<ProgramPlan>, Box<Diagnostic>> {
    let each = spec.binaries.iter().map(|binary| {
        let (kind, from) = match &binary.value.source {
            BinarySource::Rust(rust) => ("rust", rust.path.value.display().to_string()),
            BinarySource::Go(go) => ("go", go.path.value.display().to_string()),
            BinarySource::File(file) => ("file", render(file, values)?),
        };
        Ok(ProgramPlan { path: render_file(&binary.value.to, values)?.to_string(), kind, from })
    });
    each.collect()
}

impl RunPlan {
    fn of(run: &RunSpec) -> Self {
        Self { command: run.command.clone(), network: run.network == Network::Host }
    }
}

/// What the trial runs would start, as far as the config is known.
fn smoke(
    spec: &BuildSpec,
    values: &Variables<'_>,
    config: Option<&ContainerConfig>,
) -> Result<Vec<Vec<String>>, Box<Diagnostic>> {
    let entrypoint = || config.and_then(|config| config.entrypoint.clone()).unwrap_or_default();
    let words =
        |words: &[Placed<Template>]| words.iter().map(|word| render(word, values)).collect::<Result<Vec<_>, _>>();
    let each = spec.smoke.iter().map(|smoke| {
        Ok(match &smoke.value.command {
            SmokeCommand::Image => entrypoint()
                .into_iter()
                .chain(config.and_then(|config| config.cmd.clone()).unwrap_or_default())
                .collect(),
            SmokeCommand::Arguments(arguments) => entrypoint().into_iter().chain(words(arguments)?).collect(),
            SmokeCommand::Program(program) => words(program)?,
        })
    });
    each.collect()
}
