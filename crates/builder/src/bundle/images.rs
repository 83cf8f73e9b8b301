//! Images for a bundle: which blobs they consist of, and where these are.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci_layout::document::{Document, ImageIndex};
use oci_layout::{Descriptor, Layout};

use super::write::{Origins, WriteError};
use super::{Contents, ImageEntry};
use crate::base::{self, BaseError, Source, select};
use crate::target::TargetPlatform;

/// An image that is to be taken up.
pub(super) struct Wanted {
    /// Its name in the bundle.
    pub(super) name: String,
    pub(super) source: Arc<Source>,
    pub(super) root: Descriptor,
    /// The manifests, by their platforms. None: all that its index has, or those of a few platforms.
    pub(super) manifests: Manifests,
    /// It was asked for by its name, and is no base.
    pub(super) extra: bool,
}

pub(super) enum Manifests {
    /// As a lock has them.
    Known(BTreeMap<TargetPlatform, Descriptor>),
    /// These of the index's; everything that runs somewhere where there are none.
    Of(Vec<TargetPlatform>),
}

/// Takes up an image. Its documents go into `staging`; its other blobs stay where they are.
pub(super) async fn take(
    wanted: Wanted,
    staging: &(Layout, Arc<Source>),
    contents: &mut Contents,
    origins: &mut Origins,
) -> Result<(), WriteError> {
    let Wanted { name, source, root, manifests, extra } = wanted;
    let stage = |bytes: &[u8], origins: &mut Origins| -> Result<(), BaseError> {
        let digest = staging.0.store().put_bytes(bytes)?;
        origins.insert(digest, Arc::clone(&staging.1));
        Ok(())
    };
    let bytes = source.document(&root, None).await?;
    stage(&bytes, origins)?;
    let root = Descriptor::new(root.media_type, root.digest, root.size);
    let parsed = Document::parse(&bytes, &root.media_type)
        .map_err(|source| BaseError::Document { digest: root.digest, source })?;
    // What belongs to no platform, such as attestations, goes along where all of the image does.
    let beside: Vec<Descriptor> = match (&manifests, &parsed) {
        (Manifests::Of(platforms), Document::Index(index)) if platforms.is_empty() => {
            let entries = index.manifests.iter().filter(|own| own.media_type.is_manifest());
            let runnable: Vec<_> = select::runnable(index).map(|(own, _)| own.digest).collect();
            entries.filter(|own| !runnable.contains(&own.digest)).cloned().collect()
        }
        _ => Vec::new(),
    };
    let mut named: Vec<(String, Descriptor)> = match (manifests, &parsed) {
        (Manifests::Known(known), _) => known.into_iter().map(|(at, own)| (at.to_string(), own)).collect(),
        (Manifests::Of(platforms), Document::Index(index)) if platforms.is_empty() => everything(index),
        (Manifests::Of(platforms), Document::Index(_)) => {
            let found = base::locate(&name, &source, &root, &bytes, &platforms, None).await?;
            found.into_iter().map(|(at, own)| (at.to_string(), own)).collect()
        }
        (Manifests::Of(_), Document::Manifest(_)) => {
            let (_, config) = base::documents(&source, &root, None).await?;
            vec![(config.platform().normalized().to_string(), root.clone())]
        }
    };
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let mut blobs: BTreeMap<_, Descriptor> = BTreeMap::new();
    for descriptor in named.iter().map(|(_, own)| own).chain(&beside) {
        let bytes = source.document(descriptor, None).await?;
        stage(&bytes, origins)?;
        let document = Document::parse(&bytes, &descriptor.media_type);
        let manifest = match document.map_err(|source| BaseError::Document { digest: descriptor.digest, source })? {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => return Err(BaseError::Nested { digest: descriptor.digest }.into()),
        };
        if descriptor.digest != root.digest {
            let bare = Descriptor::new(descriptor.media_type.clone(), descriptor.digest, descriptor.size);
            blobs.insert(bare.digest, bare);
        }
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let bare = Descriptor::new(blob.media_type.clone(), blob.digest, blob.size);
            origins.entry(bare.digest).or_insert_with(|| Arc::clone(&source));
            blobs.insert(bare.digest, bare);
        }
    }
    let platforms = named.into_iter().map(|(platform, _)| platform).collect();
    add(contents, ImageEntry { name, root, platforms, blobs: blobs.into_values().collect(), extra });
    Ok(())
}

/// The same image may be wanted twice: as a base, and by its name.
fn add(contents: &mut Contents, image: ImageEntry) {
    let same = |known: &&mut ImageEntry| known.name == image.name && known.root.digest == image.root.digest;
    let Some(known) = contents.images.iter_mut().find(same) else { return contents.images.push(image) };
    known.extra |= image.extra;
    known.platforms.extend(image.platforms);
    known.platforms.sort();
    known.platforms.dedup();
    known.blobs.extend(image.blobs);
    known.blobs.sort_by_key(|blob| blob.digest);
    known.blobs.dedup();
}

/// Everything of an index that runs somewhere.
fn everything(index: &ImageIndex) -> Vec<(String, Descriptor)> {
    let entries = select::runnable(index).map(|(own, platform)| (platform.normalized().to_string(), own.clone()));
    entries.collect()
}
