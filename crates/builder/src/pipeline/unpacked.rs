//! Layers of the build's own, unpacked for programs to run on.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use oci_layout::cache::Unpacking;
use oci_layout::layer::{self, UnpackError, UnpackLimits};
use oci_layout::{BlobSource as _, Cache};

use super::Shared;
use crate::base::BaseError;
use crate::build::BuildError;
use crate::image::NewLayer;

impl Shared {
    /// Where layers are unpacked: the cache, or where there is none, a place for as long as the build lasts.
    pub(super) fn sandbox_cache(&self) -> Result<Arc<Cache>, BuildError> {
        match &self.cache {
            Some(cache) => Ok(Arc::clone(cache)),
            None => Ok(Arc::new(Cache::open(self.work_dir.join("unpacked")).map_err(internal)?)),
        }
    }
}

/// Unpacks a layer; it is for whoever asks to keep it.
pub(super) fn unpack(cache: &Cache, layer: &NewLayer) -> Result<Unpacking, BuildError> {
    let (digest, diff_id) = (layer.written.descriptor.digest, layer.written.diff_id);
    let failed = |source| internal(BaseError::Unpack { digest, source });
    let at = |action| move |error: io::Error| failed(UnpackError::Io { action, path: "/".to_owned(), source: error });
    let Some(compression) = layer.written.descriptor.media_type.layer_compression() else {
        let media_type = layer.written.descriptor.media_type.clone();
        return Err(internal(BaseError::LayerType { digest, media_type }));
    };
    let unpacking = cache.unpack(&diff_id).map_err(internal)?;
    let root = File::open(unpacking.root()).map_err(at("open"))?;
    let blob = layer.open_at(0).map_err(at("read"))?;
    layer::unpack(blob, compression, diff_id, root.as_fd(), &UnpackLimits::default()).map_err(failed)?;
    Ok(unpacking)
}

/// What mab itself has just written cannot be unpacked.
pub(super) fn internal(source: impl Into<BaseError>) -> BuildError {
    BuildError::Base { base: "the image itself".to_owned(), source: source.into() }
}
