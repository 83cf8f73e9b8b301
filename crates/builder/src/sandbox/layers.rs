//! From an image to unpacked layers in the cache.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::try_join_all;
use oci_layout::document::{Document, ImageConfig};
use oci_layout::layer::UnpackLimits;
use oci_layout::{Cache, Descriptor, Digest, layer};

use crate::base::{self, BaseError, select};
use crate::event::{Outcome, Phase, Reporter};
use crate::target::TargetPlatform;
use crate::transfer::{Meter, Source};
use crate::work::{Piece, Work};

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

/// Unpacks the layers of an image that the cache does not have yet, and tells `reporter` how far it is.
pub async fn unpack(image: &Image<'_>, cache: &Cache, reporter: &Arc<dyn Reporter>) -> Result<Unpacked, BaseError> {
    let platform = match image.platform {
        Some(platform) => platform,
        None => own_or_only(image, cache).await?,
    };
    let Image { source, root, bytes, shown, .. } = image;
    let found = base::locate(shown, source, root, bytes, &[platform], Some(cache)).await?;
    let missing = || BaseError::NoPlatform { base: (*shown).to_owned(), platform, available: Vec::new() };
    let descriptor = found.get(&platform).ok_or_else(missing)?;
    let (manifest, config) = base::documents(source, descriptor, Some(cache)).await?;
    let begin = |total| {
        let work = Work::new(Arc::clone(reporter));
        work.start(Phase::Run, Some(platform), format!("unpack {shown}"), Some(total))
    };
    let layers = unpack_layers(source, &manifest.layers, &config.rootfs.diff_ids, cache, begin).await?;
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

/// The directories of layers in the cache, which are unpacked where they are not there yet: `begin` makes the
/// piece of work that tells of that, from how many bytes there are to read.
pub(crate) async fn unpack_layers(
    source: &Arc<Source>,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    cache: &Cache,
    begin: impl FnOnce(u64) -> Piece,
) -> Result<Vec<PathBuf>, BaseError> {
    let layers = layers.iter().zip(diff_ids);
    let new = layers.clone().filter(|(_, diff_id)| cache.unpacked(diff_id).is_none());
    let sizes: Vec<u64> = new.map(|(layer, _)| layer.size).collect();
    let total = sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
    let meter = (!sizes.is_empty()).then(|| Arc::new(Meter::new(begin(total))));
    let unpacked = layers.map(|(layer, diff_id)| unpack_layer(source, layer, *diff_id, cache, meter.clone()));
    let unpacked = try_join_all(unpacked).await?;
    if let Some(meter) = meter.and_then(Arc::into_inner) {
        meter.end(Outcome::Done(String::new()));
    }
    Ok(unpacked)
}

async fn unpack_layer(
    source: &Arc<Source>,
    layer: &Descriptor,
    diff_id: Digest,
    cache: &Cache,
    meter: Option<Arc<Meter>>,
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
        let reader = Metered { reader, digest, read: 0, meter };
        let failed = |source| BaseError::Unpack { digest, source };
        let root = std::fs::File::open(unpacking.root())
            .map_err(|source| failed(layer::UnpackError::Io { action: "open", path: "/".to_owned(), source }))?;
        layer::unpack(reader, compression, diff_id, std::os::fd::AsFd::as_fd(&root), &UnpackLimits::default())
            .map_err(failed)?;
        Ok::<_, BaseError>(unpacking)
    });
    Ok(written.await?.finish()?)
}

/// Tells a meter what is read.
struct Metered<R> {
    reader: R,
    digest: Digest,
    read: u64,
    meter: Option<Arc<Meter>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        if let Some(meter) = &self.meter {
            meter.blob(&self.digest, self.read);
        }
        Ok(count)
    }
}
