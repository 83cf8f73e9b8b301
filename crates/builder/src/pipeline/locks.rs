//! What the locks have to do with a build: bases by digest, and what is new goes into them.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_layout::document::ImageManifest;
use oci_layout::{Cache, Descriptor};
use registry_client::Reference;

use super::{Shared, blocking};
use crate::base::{self, Base, BaseError, Source};
use crate::error::BuildError;
use crate::event::Event;
use crate::image::FORMAT;
use crate::lock::book::Book;
use crate::lock::{FACTS_FILE, LockError, LockedFacts, Name, Wanted, of_programs};
use crate::spec::BuildSpec;
use crate::target::TargetPlatform;

/// Puts the facts that are kept beside locks into the cache, where the rest of the build looks.
pub(super) fn take_facts(book: &Book, cache: &Cache) -> Result<(), LockError> {
    for (path, lock) in book.locks() {
        let path = path.with_file_name(FACTS_FILE);
        // Most locks have none: the file is read only where the lock says that it counts.
        let counts = lock.bases.values().any(|base| base.platforms.values().any(|own| own.facts.is_some()));
        let Some(facts) = (if counts { LockedFacts::read(&path)? } else { None }) else { continue };
        for (layer, facts) in facts.of_lock(&path, &lock)? {
            if cache.facts(&layer).is_none()
                && let Err(error) = cache.put_facts(&layer, &facts)
            {
                tracing::debug!(%error, "facts of a layer are not kept");
            }
        }
    }
    Ok(())
}

/// A frozen build has refused a lock of another format; others say so.
pub(super) fn check_formats(shared: &Shared) {
    for (path, lock) in shared.book.locks().into_iter().filter(|(_, lock)| lock.format != FORMAT) {
        let path = path.display();
        let message = format!("{path} is for format {}, this mab writes format {FORMAT}: digests differ", lock.format);
        shared.reporter.report(Event::Warning { message });
    }
}

/// Insists on the compilers that the locks note.
pub(super) async fn check_compilers(shared: &Arc<Shared>, specs: &[Arc<BuildSpec>]) -> Result<(), BuildError> {
    for (path, lock) in shared.book.locks() {
        let here = |spec: &&Arc<BuildSpec>| crate::lock::book::path_in(crate::image_context(spec)) == path;
        let specs: Vec<BuildSpec> = specs.iter().filter(here).map(|spec| BuildSpec::clone(spec)).collect();
        let shared = Arc::clone(shared);
        let found = blocking(move || Ok(of_programs(&specs, &shared.env, &shared.children)?)).await?;
        if found.iter().any(|(name, versions)| lock.compilers.get(name) != Some(versions)) {
            return Err(LockError::Compilers { path, locked: lock.compilers, found }.into());
        }
    }
    Ok(())
}

/// Without a network, everything has to be here: what is not is told in one list.
pub(super) async fn check_absent(shared: &Arc<Shared>, specs: &[Arc<BuildSpec>]) -> Result<(), BuildError> {
    let specs: Vec<BuildSpec> = specs.iter().map(|spec| BuildSpec::clone(spec)).collect();
    let mut absent = crate::offline::absent(&specs, &shared.book, &shared.bundles, &shared.kept()).await?;
    let own = Arc::clone(shared);
    let sources = blocking(move || crate::offline::absent_sources(&specs, &own.vendored, &own.env, &own.children));
    absent.extend(sources.await?);
    if absent.is_empty() { Ok(()) } else { Err(BuildError::Absent(absent)) }
}

/// A base of a registry: what the lock says, else what its name means now, which is then locked.
/// `names`: what messages call it, and what the image's annotation says.
pub(super) async fn resolve(
    shared: &Arc<Shared>,
    spec: &BuildSpec,
    reference: &Reference,
    source: Arc<Source>,
    names: (String, String),
    platforms: &[TargetPlatform],
) -> Result<Base, BaseError> {
    let directory = crate::image_context(spec);
    let cache = shared.cache.as_deref();
    let (shown, name) = (names.0, Some(names.1));
    let locked = shared.book.base(directory, reference);
    if let Some(locked) = &locked
        && locked.lacks(platforms).is_empty()
    {
        let own = |platform| Some((platform, locked.platforms.get(&platform)?.manifest.descriptor()));
        let found: BTreeMap<_, _> = platforms.iter().copied().filter_map(own).collect();
        let source = from_bundles(shared, &found, source);
        return base::load_all(shown, name, source, locked.root.descriptor(), found, cache).await;
    }
    // Without a lock, a bundle's own table says what the name means.
    if locked.is_none()
        && let Some(image) = shared.bundles.image(&Name::new(reference).to_string())
    {
        let source = Arc::new(shared.kept());
        let bytes = source.document(&image.root, cache).await?;
        let base = base::resolve(shown, name, source, image.root.clone(), &bytes, platforms, cache).await?;
        say(shared, directory, shared.book.add(directory, reference, &base)?);
        return Ok(base);
    }
    if shared.offline {
        let (path, base) = (crate::lock::book::path_in(directory), Name::new(reference).to_string());
        return Err(LockError::Uncovered { path, wanted: vec![Wanted { base, platforms: Vec::new() }] }.into());
    }
    let target = locked.map_or_else(|| reference.target(), |locked| locked.root.digest.into());
    let fetched = shared.client.manifest(&reference.repository, &target).await?;
    let base = base::resolve(shown, name, source, fetched.descriptor, &fetched.bytes, platforms, cache).await?;
    say(shared, directory, shared.book.add(directory, reference, &base)?);
    Ok(base)
}

/// Whether a base of a registry can be resolved without asking for anything: the lock has it, and
/// the cache its documents and the facts of its layers.
pub(super) fn is_at_hand(
    shared: &Shared,
    spec: &BuildSpec,
    reference: &Reference,
    platforms: &[TargetPlatform],
) -> bool {
    let (Some(cache), Some(locked)) =
        (shared.cache.as_deref(), shared.book.base(crate::image_context(spec), reference))
    else {
        return false;
    };
    platforms.iter().all(|platform| {
        let Some(own) = locked.platforms.get(platform) else { return false };
        let manifest = cache.read_blob(&own.manifest.descriptor(), oci_layout::document::MAX_DOCUMENT);
        let Some(manifest) = manifest.and_then(|bytes| oci_layout::json::parse::<ImageManifest>(&bytes).ok()) else {
            return false;
        };
        cache.blob(&manifest.config).is_some()
            && manifest.layers.iter().all(|layer| cache.facts(&layer.digest).is_some())
    })
}

/// The bundles, where they have the manifests; a build with a network takes the others from there,
/// one without from the cache.
fn from_bundles(
    shared: &Shared,
    manifests: &BTreeMap<TargetPlatform, Descriptor>,
    registry: Arc<Source>,
) -> Arc<Source> {
    let here = !manifests.is_empty() && manifests.values().all(|own| shared.bundles.find(&own.digest).is_some());
    if here || shared.offline { Arc::new(shared.kept()) } else { registry }
}

/// The base `static` is used.
pub(super) fn note_static(shared: &Shared, spec: &BuildSpec) -> Result<(), BaseError> {
    let directory = crate::image_context(spec);
    say(shared, directory, shared.book.add_static(directory)?);
    Ok(())
}

fn say(shared: &Shared, directory: &std::path::Path, added: Vec<String>) {
    if !added.is_empty() {
        let path = crate::lock::book::path_in(directory);
        let message = format!("added to {}: {}", path.display(), added.join("; "));
        shared.reporter.report(Event::Warning { message });
    }
}
