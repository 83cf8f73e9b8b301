//! The gate over an image that exists already, whoever made it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_layout::document::Document;
use oci_layout::{Cache, Descriptor, Digest, Platform};

use std::sync::Arc;

use super::image::{Image, Scope, check};
use super::{CheckId, Detail, Report};
use crate::base::{self, BaseError, PlatformBase, Source, select};
use crate::image::BASE_LAYERS;
use crate::target::TargetPlatform;

/// Which image is checked, and how.
pub struct Request<'a> {
    /// Where it is.
    pub source: Arc<Source>,
    /// Its index, or its only manifest.
    pub root: Descriptor,
    /// The bytes of that document.
    pub bytes: &'a [u8],
    /// As messages call it.
    pub shown: &'a str,
    /// The platforms that are checked; all where it is empty.
    pub platforms: &'a [TargetPlatform],
    /// What is let through.
    pub allow: &'a BTreeSet<CheckId>,
    /// What reports hold.
    pub detail: Detail,
    /// Platforms whose layers are read at once.
    pub jobs: usize,
    /// Keeps facts of layers.
    pub cache: Option<&'a Cache>,
}

/// What was found.
pub struct Checked {
    /// Each platform's manifest with its report, in the index's order.
    pub platforms: Vec<(Digest, Report)>,
    /// Platforms that mab does not know: not checked.
    pub unknown: Vec<String>,
}

/// Checks each platform of an image.
pub async fn check_image(request: &Request<'_>) -> Result<Checked, BaseError> {
    let parsed = Document::parse(request.bytes, &request.root.media_type)
        .map_err(|source| BaseError::Document { digest: request.root.digest, source })?;
    let mut entries: Vec<(Descriptor, Option<Platform>)> = Vec::new();
    match &parsed {
        Document::Index(index) => {
            entries.extend(
                select::runnable(index).map(|(descriptor, platform)| (descriptor.clone(), Some(platform.clone()))),
            );
            entries.extend(select::silent(index).take(64).map(|descriptor| (descriptor.clone(), None)));
        }
        Document::Manifest(_) => entries.push((request.root.clone(), None)),
    }
    if !request.platforms.is_empty() {
        entries.retain(|(_, platform)| match platform {
            Some(platform) => request.platforms.iter().any(|wanted| platform.is_same(&wanted.platform())),
            None => true,
        });
    }
    let mut unknown = Vec::new();
    let loads = entries.into_iter().map(|(descriptor, platform)| async move {
        // Of a platform that nobody can check no layer need be read.
        if let Some(platform) = platform.as_ref().filter(|platform| target(platform).is_none()) {
            return Ok((platform.clone(), None));
        }
        let loaded = base::load(&request.source, &descriptor, request.cache).await?;
        let platform = platform.unwrap_or_else(|| loaded.config.platform());
        Ok::<_, BaseError>((platform, Some(loaded)))
    });
    let loaded: Vec<(Platform, Option<PlatformBase>)> =
        futures_util::stream::iter(loads).buffered(request.jobs.max(1)).try_collect().await?;
    let mut platforms = Vec::new();
    for (platform, loaded) in &loaded {
        match (target(platform), loaded) {
            (Some(target), Some(loaded)) => {
                if request.platforms.is_empty() || request.platforms.contains(&target) {
                    platforms.push((loaded.digest, report(request, target, loaded)));
                }
            }
            _ => unknown.push(platform.to_string()),
        }
    }
    match request.platforms.iter().find(|wanted| !platforms.iter().any(|(_, it)| it.platform == wanted.to_string())) {
        Some(&platform) => {
            let available = loaded.iter().map(|(platform, _)| platform.normalized().to_string());
            let available = match &parsed {
                Document::Index(index) => select::available(index),
                Document::Manifest(_) => available.collect(),
            };
            Err(BaseError::NoPlatform { base: request.shown.to_owned(), platform, available })
        }
        None => Ok(Checked { platforms, unknown }),
    }
}

fn target(platform: &Platform) -> Option<TargetPlatform> {
    platform.normalized().to_string().parse().ok()
}

fn report(request: &Request<'_>, platform: TargetPlatform, loaded: &PlatformBase) -> Report {
    let annotation = |name: &str| loaded.manifest.annotations.get(name);
    let layers = annotation(BASE_LAYERS).and_then(|count| count.parse::<usize>().ok());
    let base_digest = annotation("org.opencontainers.image.base.digest");
    let base = base_digest.filter(|_| layers.is_some_and(|layers| layers > 0)).map(|digest| {
        let name =
            annotation("org.opencontainers.image.base.name").map_or("", |name| name.split('@').next().unwrap_or(""));
        let text = if name.is_empty() { digest.clone() } else { format!("{name}@{digest}") };
        text.chars().filter(|character| !character.is_control()).take(300).collect()
    });
    let image = Image {
        platform,
        tree: &loaded.tree,
        config: &loaded.config.config,
        base,
        base_layers: layers.filter(|layers| *layers > 0),
        programs: &BTreeMap::new(),
        scope: Scope::All,
    };
    check(&image, request.allow, request.detail)
}
