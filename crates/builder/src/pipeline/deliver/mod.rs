//! Delivery: a platform's blobs as soon as its image is put together, while others are still
//! compiled; at the end manifests by digest, the index by digest, and what makes it visible last:
//! the tags of a repository, `index.json` of a layout, the renaming of an archive.

mod archive;
mod layout;
mod registry;

use std::sync::Arc;

use bytes::Bytes;
use oci_layout::Descriptor;
use registry_client::{Repository, Tag};

use super::*;
use archive::ToArchive;
use layout::ToLayout;
use registry::ToRegistry;

/// A place that an image goes to.
pub(super) enum Sink {
    Registry(ToRegistry),
    Layout(ToLayout),
    Archive(ToArchive),
}

/// A whole image, its blobs delivered.
pub(super) struct Delivery<'a> {
    pub(super) spec: &'a BuildSpec,
    pub(super) bases: &'a Bases,
    /// In the index's order.
    pub(super) images: &'a [Arc<Finished>],
    pub(super) index: &'a Descriptor,
    pub(super) index_bytes: Bytes,
    pub(super) tags: &'a [Tag],
}

impl Sink {
    /// Opens the place; whether it can be written shows here, before anything is compiled.
    pub(super) async fn open(shared: &Shared, spec: &BuildSpec, output: &Output) -> Result<Self, BuildError> {
        Ok(match output {
            Output::Push => Self::Registry(ToRegistry::open(shared, spec)?),
            Output::Layout(at) => {
                let at = at.clone().unwrap_or_else(|| beside(spec, "oci"));
                Self::Layout(blocking(move || ToLayout::open(at)).await?)
            }
            Output::OciArchive(path) => Self::Archive(ToArchive::open(ArchiveKind::Oci, path.clone(), spec)?),
            Output::DockerArchive(path) => Self::Archive(ToArchive::open(ArchiveKind::Docker, path.clone(), spec)?),
        })
    }

    /// The layout, where it is one.
    pub(super) fn layout(&self) -> Option<&ToLayout> {
        if let Self::Layout(sink) = self { Some(sink) } else { None }
    }

    /// The repository, where it goes to one.
    pub(super) fn repository(&self) -> Option<&Repository> {
        if let Self::Registry(sink) = self { Some(sink.repository()) } else { None }
    }

    /// Takes the blobs of one platform's image.
    pub(super) async fn take(
        &self,
        shared: &Shared,
        spec: &BuildSpec,
        bases: &Bases,
        image: &Arc<Finished>,
    ) -> Result<(), BuildError> {
        let base = bases.of(spec, image.platform);
        let work = async {
            match self {
                Self::Registry(sink) => sink.take(shared, base, image).await,
                Self::Layout(sink) => sink.take(shared, base, image).await,
                Self::Archive(sink) => sink.take(shared, base, image).await,
            }
        };
        interruptible(shared, work).await?
    }

    /// Makes the image visible; gives its reference by digest.
    pub(super) async fn complete(&self, shared: &Shared, result: &Delivery<'_>) -> Result<String, BuildError> {
        match self {
            Self::Registry(sink) => interruptible(shared, sink.complete(shared, result)).await?,
            // What cannot be interrupted half-way is not begun.
            _ if shared.interrupted() => Err(BuildError::Interrupted),
            Self::Layout(sink) => sink.complete(shared, result).await,
            Self::Archive(sink) => sink.complete(shared, result).await,
        }
    }
}

fn of_base(base: &Base, source: impl Into<BaseError>) -> BuildError {
    BuildError::Base { base: base.shown.clone(), source: source.into() }
}

fn of_layer(image: &Finished, source: LayerError) -> BuildError {
    BuildError::Layer { platform: image.platform, source }
}
