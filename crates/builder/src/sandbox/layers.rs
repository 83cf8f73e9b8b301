//! From an image to unpacked layers in the cache.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::try_join_all;
use oci_layout::document::{Document, ImageConfig};
use oci_layout::layer::UnpackLimits;
use oci_layout::{Cache, Descriptor, Digest, layer};

use crate::base::{self, BaseError, select};
use crate::target::TargetPlatform;
use crate::transfer::Source;

/// An image that is to run.
pub struct Image<'a> {
    /// Where it is.
    pub source: &'a Arc<Source>,
    /// Its index, or its only manifest.
    pub root: &'a Descriptor,
    /// The bytes of that document.
    pub bytes: &'a [u8],
    /// As messages call it.
    pub shown: &'a str,
    /// The platform; where there is none, that of this machine, or the only one that the image has.
    pub platform: Option<TargetPlatform>,
}

/// One platform of an image, unpacked.
pub struct Unpacked {
    /// The platform.
    pub platform: TargetPlatform,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers, lowest first: directories in the cache.
    pub layers: Vec<PathBuf>,
}

/// Unpacks the layers of an image that the cache does not have yet.
pub async fn unpack(image: &Image<'_>, cache: &Cache) -> Result<Unpacked, BaseError> {
    let platform = match image.platform {
        Some(platform) => platform,
        None => own_or_only(image, cache).await?,
    };
    let Image { source, root, bytes, shown, .. } = image;
    let found = base::locate(shown, source, root, bytes, &[platform], Some(cache)).await?;
    let missing = || BaseError::NoPlatform { base: (*shown).to_owned(), platform, available: Vec::new() };
    let descriptor = found.get(&platform).ok_or_else(missing)?;
    let (manifest, config) = base::documents(source, descriptor, Some(cache)).await?;
    let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids);
    let layers = try_join_all(layers.map(|(layer, diff_id)| unpack_layer(source, layer, *diff_id, cache))).await?;
    Ok(Unpacked { platform, digest: descriptor.digest, config, layers })
}

/// This machine's platform, if the image has it or has several, else its only one.
async fn own_or_only(image: &Image<'_>, cache: &Cache) -> Result<TargetPlatform, BaseError> {
    let parsed = Document::parse(image.bytes, &image.root.media_type)
        .map_err(|source| BaseError::Document { digest: image.root.digest, source })?;
    let platforms: Vec<TargetPlatform> = match &parsed {
        Document::Index(index) => {
            select::available(index).iter().filter_map(|platform| platform.parse().ok()).collect()
        }
        Document::Manifest(_) => {
            let (_, config) = base::documents(image.source, image.root, Some(cache)).await?;
            config.platform().normalized().to_string().parse().into_iter().collect()
        }
    };
    match platforms[..] {
        [only] => Ok(only),
        _ => Ok(own()),
    }
}

/// This machine's platform.
pub(super) fn own() -> TargetPlatform {
    if cfg!(target_arch = "aarch64") { TargetPlatform::ARM64 } else { TargetPlatform::AMD64 }
}

/// The directory of a layer in the cache, which is unpacked if it is not there yet.
pub(crate) async fn unpack_layer(
    source: &Arc<Source>,
    layer: &Descriptor,
    diff_id: Digest,
    cache: &Cache,
) -> Result<PathBuf, BaseError> {
    if let Some(path) = cache.unpacked(&diff_id) {
        return Ok(path);
    }
    let digest = layer.digest;
    let Some(compression) = layer.media_type.layer_compression() else {
        return Err(BaseError::LayerType { digest, media_type: layer.media_type.clone() });
    };
    let unpacking = cache.unpack(&diff_id)?;
    let written = source.read(layer, move |reader| {
        let failed = |source| BaseError::Unpack { digest, source };
        let root = std::fs::File::open(unpacking.root())
            .map_err(|source| failed(layer::UnpackError::Io { action: "open", path: "/".to_owned(), source }))?;
        layer::unpack(reader, compression, diff_id, std::os::fd::AsFd::as_fd(&root), &UnpackLimits::default())
            .map_err(failed)?;
        Ok::<_, BaseError>(unpacking)
    });
    Ok(written.await?.finish()?)
}
