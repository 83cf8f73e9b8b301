//! What has to be known of an image before anything is compiled: facts of its sources, its
//! bases, its tags and its date.

use super::compile::{Assembly, Date};
use super::*;

/// Prepares all images of a build, side by side; in the same order.
pub(super) async fn all(
    shared: &Arc<Shared>,
    specs: &[Arc<BuildSpec>],
    outputs: &[Output],
    offline: Offline,
) -> Result<Vec<Arc<Assembly>>, BuildError> {
    try_join_all(specs.iter().map(|spec| one(shared, spec, outputs, offline))).await
}

async fn one(
    shared: &Arc<Shared>,
    spec: &Arc<BuildSpec>,
    outputs: &[Output],
    offline: Offline,
) -> Result<Arc<Assembly>, BuildError> {
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
    let bases = Arc::new(bases(shared, spec, offline).await?);
    // Layers go straight into the output where it is a layout.
    let layout = match outputs.iter().find_map(|output| if let Output::Layout(at) = output { Some(at) } else { None }) {
        Some(at) => {
            let at = at.clone().unwrap_or_else(|| beside(spec, "oci"));
            Some(blocking(move || Ok(Layout::create_or_open(at)?)).await?)
        }
        None => None,
    };
    let store = layout.as_ref().map_or_else(|| shared.store.clone(), |layout| layout.store().clone());
    Ok(Arc::new(Assembly {
        spec: Arc::clone(spec),
        context: std::path::absolute(crate::image_context(spec))?,
        facts: Arc::new(facts),
        bases,
        inferred,
        tags,
        created,
        store,
        layout,
    }))
}
