//! What a build would do, without doing it; and what its layers would hold, before compilers run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::assembly::Assembly;
use super::programs::{Awaited, survey, wanted};
use super::*;
use crate::image::{ContentError, Ground, check_entrypoint, container};
use crate::plan::{CompilePlan, Known, LayerOutline, Outline};

/// What would be done, by image.
pub(super) async fn plans(shared: &Arc<Shared>, assemblies: &[Arc<Assembly>]) -> Result<Vec<ImagePlan>, BuildError> {
    steps::check(shared, assemblies).await?;
    let mut wanted = wanted(shared, assemblies)?;
    // Sources and paths first: they are more often wrong, and are looked at faster.
    let mut outlines = drafts(shared, assemblies, &wanted.awaited).await?;
    let units = survey(shared, assemblies, &mut wanted).await?;
    let tools = shared.tools();
    let compile: Vec<CompilePlan> = units
        .iter()
        .map(|unit| CompilePlan {
            command: unit.command(&tools).to_string(),
            directory: unit.directory().display().to_string(),
            platforms: unit.platforms().iter().map(ToString::to_string).collect(),
            environment: unit.tools(),
        })
        .collect();
    let each = assemblies.iter().enumerate().map(|(image, assembly)| {
        let platforms = assembly.spec.platforms.iter().map(|platform| platform.value);
        let bases = platforms.clone().filter_map(|platform| Some((platform, assembly.base_plan(platform)?))).collect();
        let outlines =
            platforms.filter_map(|platform| Some((platform, outlines.remove(&(image, platform))?))).collect();
        crate::plan::of_image(Known {
            spec: &assembly.spec,
            facts: &assembly.facts,
            tags: assembly.tags.iter().map(ToString::to_string).collect(),
            created: &assembly.created.text,
            inferred: &assembly.inferred,
            added: &assembly.added(),
            bases,
            outlines,
            compile: compile.clone(),
        })
        .map_err(|list| at_fault(&assembly.spec, list))
    });
    each.collect()
}

/// What each platform's layers would hold, by image; all that does not fit is an error.
pub(super) async fn drafts(
    shared: &Arc<Shared>,
    assemblies: &[Arc<Assembly>],
    awaited: &Awaited,
) -> Result<BTreeMap<(usize, TargetPlatform), Outline>, BuildError> {
    let mut grounds = Grounds::default();
    let wanted: Vec<Drawing> = awaited
        .iter()
        .filter_map(|(&(image, platform), programs)| {
            let assembly = assemblies.get(image)?;
            let allow = gate::allowed(shared, assembly.spec.of(platform));
            let base = assembly.bases.tree(&assembly.spec, platform).cloned().unwrap_or_default();
            let ground = grounds.of(image, assembly.spec.of(platform), &base);
            let (assembly, programs) = (Arc::clone(assembly), programs.clone());
            Some(Drawing { image, platform, assembly, base, ground, programs, allow })
        })
        .collect();
    // As many at a time as there are cores: they do nothing but compute.
    let share = wanted.len().div_ceil(shared.jobs.get()).max(1);
    let drawn = wanted.chunks(share).map(|chunk| {
        let chunk = chunk.to_vec();
        let draw = |drawing: &Drawing| ((drawing.image, drawing.platform), drawing.outline());
        blocking(move || Ok(chunk.iter().map(draw).collect::<Vec<_>>()))
    });
    let mut outlines = BTreeMap::new();
    let mut problems: BTreeMap<usize, Vec<Diagnostic>> = BTreeMap::new();
    for ((image, platform), drawn) in try_join_all(drawn).await?.into_iter().flatten() {
        match drawn {
            Ok(outline) => {
                outlines.insert((image, platform), outline);
            }
            Err(ContentError::Spec(list)) => problems.entry(image).or_default().extend(list),
            Err(ContentError::Layer(source)) => return Err(BuildError::Layer { platform, source }),
        }
    }
    for (image, list) in problems {
        let sources = assemblies.get(image).map(|assembly| assembly.spec.sources.clone());
        if let Some(diagnostics) = sources.and_then(|sources| Diagnostics::new(sources, list)) {
            return Err(BuildError::Check(Box::new(diagnostics)));
        }
    }
    Ok(outlines)
}

/// One platform of one image, to be drafted.
#[derive(Clone)]
struct Drawing {
    image: usize,
    platform: TargetPlatform,
    assembly: Arc<Assembly>,
    base: Arc<Tree>,
    /// Laid by whichever platform comes first.
    ground: Arc<OnceLock<Ground>>,
    programs: Vec<Option<PathBuf>>,
    allow: BTreeSet<CheckId>,
}

impl Drawing {
    fn outline(&self) -> Result<Outline, ContentError> {
        let Self { assembly, platform, allow, .. } = self;
        let spec = assembly.spec.of(*platform);
        let values = Variables { platform: Some(*platform), facts: &assembly.facts };
        let hide = allow.contains(&CheckId::HiddenFile);
        let lay = || Ground::lay(spec, &assembly.context, &values, Tree::clone(&self.base), hide);
        let draft = self.ground.get_or_init(lay).clone().draft(spec, &assembly.context, &values, &self.programs)?;
        let around = assembly.around(*platform);
        // Users and programs may be what a command makes.
        let any_user = draft.open || allow.contains(&CheckId::User);
        let config = container(spec, &values, &around, &draft.accounts, any_user)?;
        if !draft.open && !allow.contains(&CheckId::Entrypoint) {
            check_entrypoint(spec, &config, &draft.tree, *platform)?;
        }
        Ok(Outline { layers: draft.groups.iter().map(LayerOutline::of).collect(), config })
    }
}

/// What programs are put on, for each of the platforms that can share it: those with the same
/// settings (what is allowed is one of them) on the same files.
#[derive(Default)]
struct Grounds<'a>(Vec<Shareable<'a>>);

struct Shareable<'a> {
    image: usize,
    spec: &'a BuildSpec,
    base: Arc<Tree>,
    ground: Arc<OnceLock<Ground>>,
}

impl<'a> Grounds<'a> {
    fn of(&mut self, image: usize, spec: &'a BuildSpec, base: &Arc<Tree>) -> Arc<OnceLock<Ground>> {
        let fits = |other: &&Shareable<'_>| {
            other.image == image
                && std::ptr::eq(other.spec, spec)
                && (Arc::ptr_eq(&other.base, base) || other.base == *base)
        };
        if let Some(same) = self.0.iter().find(fits).filter(|_| !spec.content_varies()) {
            return Arc::clone(&same.ground);
        }
        let ground = Arc::default();
        self.0.push(Shareable { image, spec, base: Arc::clone(base), ground: Arc::clone(&ground) });
        ground
    }
}
