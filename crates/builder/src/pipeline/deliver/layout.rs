//! Into an OCI layout.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use oci_layout::layout::put_entry;
use oci_layout::{Descriptor, Digest, Layout};
use tokio::sync::OnceCell;

use super::*;

pub(in crate::pipeline) struct ToLayout {
    layout: Layout,
    /// Blobs that `index.json` led to when it was opened.
    trusted: BTreeSet<Digest>,
    /// Base layers on their way in: platforms may share them.
    copies: Mutex<HashMap<Digest, Arc<OnceCell<()>>>>,
}

impl ToLayout {
    pub(super) fn open(at: PathBuf) -> Result<Self, BuildError> {
        let layout = Layout::create_or_open(at)?;
        let trusted = layout.named()?;
        Ok(Self { layout, trusted, copies: Mutex::default() })
    }

    pub(in crate::pipeline) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(in crate::pipeline) fn trusted(&self) -> &BTreeSet<Digest> {
        &self.trusted
    }

    /// Whether the blob is there and known to be whole.
    fn has(&self, blob: &Descriptor) -> bool {
        self.trusted.contains(&blob.digest) && self.layout.store().blob(blob).is_ok()
    }

    pub(super) async fn take(
        &self,
        shared: &Shared,
        base: Option<&Base>,
        image: &Arc<Finished>,
    ) -> Result<(), BuildError> {
        let store = self.layout.store();
        if let Some(base) = base {
            for layer in image.base_layers.iter().filter(|layer| !self.has(layer)) {
                let cell = {
                    let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
                    Arc::clone(copies.entry(layer.digest).or_default())
                };
                let copy = || base.source.copy(layer, store, shared.cache.as_ref());
                cell.get_or_try_init(copy).await.map_err(|error| of_base(base, error))?;
            }
        }
        let missing: Vec<Arc<NewLayer>> =
            image.new_layers.iter().filter(|layer| !self.has(&layer.written.descriptor)).cloned().collect();
        let (store, image) = (store.clone(), Arc::clone(image));
        blocking(move || {
            for layer in missing {
                let path = layer.path().map_err(|error| of_layer(&image, error))?;
                if path != store.path(&layer.written.descriptor.digest) {
                    store.import(&layer.written.descriptor, &path)?;
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn complete(&self, shared: &Shared, result: &Delivery<'_>) -> Result<String, BuildError> {
        let root = self.layout.root().display().to_string();
        let piece = shared.work.start(Phase::Deliver, None, format!("write oci:{root}"), None);
        let mut documents: Vec<Bytes> = Vec::new();
        for image in result.images {
            documents.extend([image.config_bytes.clone(), image.manifest_bytes.clone()]);
        }
        documents.push(result.index_bytes.clone());
        let (layout, index) = (self.layout.clone(), result.index.clone());
        let tags: Vec<String> = result.tags.iter().map(ToString::to_string).collect();
        let removed = blocking(move || {
            for document in documents {
                layout.store().put_bytes(&document)?;
            }
            layout.commit(|entries| {
                for tag in &tags {
                    put_entry(entries, index.clone(), Some(tag));
                }
            })?;
            Ok(layout.remove_unreferenced()?)
        })
        .await?;
        piece.done(if removed > 0 { format!("{removed} blobs removed that nothing refers to") } else { String::new() });
        Ok(format!("oci:{root}@{}", result.index.digest))
    }
}
