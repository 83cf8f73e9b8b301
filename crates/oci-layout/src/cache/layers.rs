//! Layers that were written before, found again without compressing, and mostly without reading.
//!
//! A layer's blob is settled by its plan's shape and its diff ID: the first is all that the bytes
//! depend on but the content of files, the second a digest over that content. So two records are
//! kept of each: which blob a shape and diff ID made, and which one the files made while they were
//! in a certain state. As long as no file has changed, the second answers without a file being
//! opened; when one may have, and only if a layer of this shape was ever written, the files are
//! read for the diff ID.

use std::io;
use std::path::PathBuf;

use super::{Cache, Kind, touch};
use crate::blob::BlobSource as _;
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest, Hasher, VerifyingReader};
use crate::layer::{LayerError, LayerPlan, Moment, Pool, SourceStates, WrittenLayer};
use crate::store::BlobStore;

/// How a layer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its files are in the states in which they were read before.
    Unchanged,
    /// Its files were read, and are what they were before.
    SameContent,
    /// It was written now.
    Written,
}

impl Cache {
    /// The layer that `plan` makes: known from before, in which case no store need have its blob,
    /// or written to `store` now.
    ///
    /// # Errors
    ///
    /// [`LayerError`]. A cache that cannot be written costs time and is no error.
    pub fn layer(
        &self,
        plan: &LayerPlan,
        pool: &Pool,
        store: &BlobStore,
    ) -> Result<(WrittenLayer, Origin), LayerError> {
        if let Some(found) = self.find_layer(plan, &plan.look()?)? {
            return Ok(found);
        }
        Ok((self.write_layer(plan, pool, store)?, Origin::Written))
    }

    /// Writes the layer that `plan` makes to `store`, and remembers it.
    pub fn write_layer(&self, plan: &LayerPlan, pool: &Pool, store: &BlobStore) -> Result<WrittenLayer, LayerError> {
        let moment = self.moment();
        let (layer, states) = plan.write(pool, store)?;
        self.remember(plan, &layer, &states, moment);
        Ok(layer)
    }

    /// The layer that `plan` makes, if it was written before. `states` are those of its files now.
    pub fn find_layer(
        &self,
        plan: &LayerPlan,
        states: &SourceStates,
    ) -> Result<Option<(WrittenLayer, Origin)>, LayerError> {
        if let Some(layer) = self.record(Kind::Memo, &memo_key(plan, states)) {
            return Ok(Some((layer, Origin::Unchanged)));
        }
        if self.record::<WrittenLayer>(Kind::Layers, &plan.shape()).is_none() {
            return Ok(None);
        }
        let moment = self.moment();
        let (diff_id, states) = plan.diff_id()?;
        let Some(layer) = self.record(Kind::Layers, &layer_key(plan, &diff_id)) else { return Ok(None) };
        self.remember(plan, &layer, &states, moment);
        Ok(Some((layer, Origin::SameContent)))
    }

    fn remember(&self, plan: &LayerPlan, layer: &WrittenLayer, states: &SourceStates, moment: Option<Moment>) {
        let mut keys = vec![(Kind::Layers, plan.shape()), (Kind::Layers, layer_key(plan, &layer.diff_id))];
        if moment.is_some_and(|moment| states.settled_by(moment)) {
            keys.push((Kind::Memo, memo_key(plan, states)));
        }
        for (kind, key) in keys {
            if let Err(error) = self.put_record(kind, &key, layer) {
                tracing::debug!(%error, "a layer is not remembered");
            }
        }
    }

    /// Where the blob of `descriptor` is, if it is here and its bytes are right; a damaged one is
    /// removed (row D06). Reads all of it. Counts as a use.
    pub fn verified_blob(&self, descriptor: &Descriptor) -> Option<PathBuf> {
        let blob = self.store.blob(descriptor).ok()?;
        let whole = blob.open_at(0).and_then(|reader| {
            io::copy(&mut VerifyingReader::new(reader, descriptor.digest, descriptor.size), &mut io::sink())
        });
        match whole {
            Ok(_) => {
                touch(&blob.path);
                Some(blob.path)
            }
            Err(error) => {
                tracing::debug!(%error, digest = %descriptor.digest, "removed a damaged blob");
                let _ = self.store.remove(&descriptor.digest);
                None
            }
        }
    }

    /// The cache's file system's now.
    fn moment(&self) -> Option<Moment> {
        let writer = self.store.writer().ok()?;
        Some(Moment::of(&std::fs::metadata(writer.path()).ok()?))
    }
}

fn layer_key(plan: &LayerPlan, diff_id: &Digest) -> Digest {
    both(b"layer", &plan.shape(), diff_id)
}

fn memo_key(plan: &LayerPlan, states: &SourceStates) -> Digest {
    both(b"memo", &plan.shape(), &states.digest())
}

fn both(what: &[u8], first: &Digest, second: &Digest) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(what);
    hasher.update(first.bytes());
    hasher.update(second.bytes());
    hasher.finish()
}
