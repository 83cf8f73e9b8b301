//! Several images become one index.

use std::sync::Arc;

use bytes::Bytes;
use oci_layout::descriptor::Annotations;
use oci_layout::document::{Document, ImageIndex};
use oci_layout::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX};
use oci_layout::{Descriptor, MediaType, Platform, json};
use registry_client::Node;

use super::{check_platform, own_platform};
use crate::transfer::{Item, Source, TransferError, Tree, config};

/// An image, or an index whose images are meant.
pub struct Input {
    /// As messages call it.
    pub shown: String,
    /// What it is.
    pub tree: Tree,
}

/// An entry of the new index, with where it comes from.
struct Entry {
    descriptor: Descriptor,
    shown: String,
}

/// Joins `inputs` into an index with `annotations`.
///
/// An index among them stands for its images, with their attestations. The same image twice is taken
/// once; two images for one platform are an error, as is an image whose config is for another platform
/// than it is announced for. Of Docker's manifests alone a manifest list is made, as Docker does,
/// unless there are annotations, which those cannot have.
pub async fn join(inputs: &[Input], annotations: Annotations) -> Result<Tree, TransferError> {
    let mut images: Vec<Entry> = Vec::new();
    let mut others: Vec<Descriptor> = Vec::new();
    let mut below: Vec<Item> = Vec::new();
    for input in inputs {
        match &input.tree.root.node.document {
            Document::Manifest(manifest) => {
                let root = &input.tree.root;
                let Some(config) = config(&root.source, manifest).await? else {
                    let found = format!("an artifact with a config of type {}", manifest.config.media_type);
                    return Err(TransferError::NotImage { image: input.shown.clone(), found });
                };
                let bare = &root.node.descriptor;
                let mut descriptor = Descriptor::new(bare.media_type.clone(), bare.digest, bare.size);
                descriptor.platform = Some(own_platform(&config));
                add(&mut images, Entry { descriptor, shown: input.shown.clone() })?;
                keep(&mut below, root);
            }
            Document::Index(index) => {
                Box::pin(entries(input, index, &mut images, &mut others, &mut below)).await?;
            }
        }
    }
    images.sort_by(|a, b| match (&a.descriptor.platform, &b.descriptor.platform) {
        (Some(a), Some(b)) => a.index_order(b),
        _ => std::cmp::Ordering::Equal,
    });
    let manifests: Vec<Descriptor> = images.into_iter().map(|entry| entry.descriptor).chain(others).collect();
    let docker = annotations.is_empty()
        && !manifests.is_empty()
        && manifests.iter().all(|entry| entry.media_type.as_str() == DOCKER_MANIFEST);
    let mut index = ImageIndex::new(manifests, annotations);
    if docker {
        index.media_type = Some(DOCKER_LIST.into());
    }
    let source = inputs.first().map(|input| Arc::clone(&input.tree.root.source));
    let source = source.ok_or_else(|| TransferError::Internal("an index of nothing".to_owned()))?;
    Ok(Tree { root: root(index, if docker { DOCKER_LIST } else { OCI_INDEX }, source)?, below })
}

fn root(index: ImageIndex, media_type: &str, source: Arc<Source>) -> Result<Item, TransferError> {
    let bytes = json::to_bytes(&index).map_err(|error| TransferError::Internal(error.to_string()))?;
    let descriptor = Descriptor::of(MediaType::from(media_type), &bytes);
    Ok(Item { node: Node { descriptor, bytes: Bytes::from(bytes), document: Document::Index(index) }, source })
}

/// The entries of an index among the inputs, and of those inside it.
async fn entries(
    input: &Input,
    index: &ImageIndex,
    images: &mut Vec<Entry>,
    others: &mut Vec<Descriptor>,
    below: &mut Vec<Item>,
) -> Result<(), TransferError> {
    for entry in &index.manifests {
        let Some(item) = input.tree.items().find(|item| item.digest() == entry.digest) else { continue };
        let manifest = match &item.node.document {
            Document::Index(inner) => {
                Box::pin(entries(input, inner, images, others, below)).await?;
                continue;
            }
            Document::Manifest(manifest) => manifest,
        };
        keep(below, item);
        let shown = format!("{} in {}", entry.digest, input.shown);
        // Attestations are of no platform.
        let attestation = entry.platform.as_ref().is_some_and(Platform::is_unknown);
        let config = if attestation { None } else { config(&item.source, manifest).await? };
        match config {
            Some(config) => {
                let mut descriptor = entry.clone();
                match &entry.platform {
                    Some(announced) => check_platform(&shown, announced, &config)?,
                    None => descriptor.platform = Some(own_platform(&config)),
                }
                add(images, Entry { descriptor, shown })?;
            }
            None if others.iter().any(|known| known.digest == entry.digest) => {}
            None => others.push(entry.clone()),
        }
    }
    Ok(())
}

fn add(images: &mut Vec<Entry>, entry: Entry) -> Result<(), TransferError> {
    for known in images.iter() {
        if known.descriptor.digest == entry.descriptor.digest {
            return Ok(());
        }
        if let (Some(a), Some(b)) = (&known.descriptor.platform, &entry.descriptor.platform)
            && a.is_same(b)
            && a.os_version == b.os_version
            && a.os_features == b.os_features
        {
            let (first, second) = (known.shown.clone(), entry.shown);
            return Err(TransferError::SamePlatform { platform: b.clone(), first, second });
        }
    }
    images.push(entry);
    Ok(())
}

fn keep(below: &mut Vec<Item>, item: &Item) {
    if !below.iter().any(|known| known.digest() == item.digest()) {
        below.push(item.clone());
    }
}
