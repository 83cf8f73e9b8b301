//! What has to be known of an image before anything is compiled: facts of its sources, its
//! bases, its tags and its date.

use super::assembly::{Assembly, Date};
use super::*;
use crate::image::Context;

/// Prepares all images of a build, side by side; in the same order.
pub(super) async fn all(
    shared: &Arc<Shared>,
    specs: &[Arc<BuildSpec>],
    outputs: &[Output],
    offline: Offline,
) -> Result<Vec<Assembly>, BuildError> {
    let mut assemblies = try_join_all(specs.iter().map(|spec| one(shared, spec, offline))).await?;
    // One after the other: an image that is done lets go of the first of these layouts.
    for assembly in &mut assemblies {
        for output in outputs {
            assembly.sinks.push(Sink::open(shared, &assembly.spec, output).await?);
        }
        assembly.maker = maker(shared, &assembly.sinks);
        shared.layouts.lock().unwrap_or_else(PoisonError::into_inner).extend(assembly.layouts().cloned());
    }
    Ok(assemblies)
}

async fn one(shared: &Arc<Shared>, spec: &Arc<BuildSpec>, offline: Offline) -> Result<Assembly, BuildError> {
    let facts = {
        let (shared, spec) = (Arc::clone(shared), Arc::clone(spec));
        blocking(move || Ok(crate::facts::gather(&spec, &shared.env, &shared.children)?)).await?
    };
    let general = Variables { platform: None, facts: &facts };
    let fault = |problem: Box<Diagnostic>| at_fault(spec, vec![*problem]);
    let mut tags = Vec::new();
    for tag in &spec.tags {
        let tag = render_tag(tag, &general).map_err(fault)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let date = match (&spec.created, shared.epoch) {
        (Some(date), _) => Some(render_date(date, &general).map_err(fault)?.to_string()),
        (None, Some(epoch)) => jiff::Timestamp::from_second(epoch).ok().map(|date| date.to_string()),
        (None, None) => None,
    };
    let created = Date { said: date.is_some(), text: date.unwrap_or_else(|| CREATED.to_owned()) };
    let inferred = crate::spec::infer::annotations(spec, &facts);
    let facts = Arc::new(facts);
    let context = {
        let (spec, facts, env, jobs) = (Arc::clone(spec), Arc::clone(&facts), shared.env.clone(), shared.jobs);
        blocking(move || {
            let context = Context::of(&spec)?;
            sources::check(&spec, &context, &facts, &env, jobs)?;
            Ok(context)
        })
        .await?
    };
    let bases = Arc::new(interruptible(shared, bases(shared, spec, offline)).await??);
    Ok(Assembly {
        spec: Arc::clone(spec),
        context,
        facts,
        bases,
        inferred,
        tags,
        created,
        maker: Arc::clone(&shared.maker),
        sinks: Vec::new(),
    })
}
