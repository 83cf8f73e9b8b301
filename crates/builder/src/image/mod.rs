//! Putting an image together: from base, build file and programs to layers, config and manifest.
//! Nothing here opens a connection or reads the clock.

mod content;
mod context;
mod finish;
mod layers;
#[cfg(test)]
mod parity;
mod tree;

pub(crate) use content::{
    ContentError, Draft, Ground, Group, Growth, Layers, context, layer_options, make_layers, source_directory,
};
pub(crate) use context::Context;
pub use finish::BASE_LAYERS;
pub(crate) use finish::{Around, Finished, base_annotations, check_entrypoint, container, finish};
pub(crate) use layers::{LayerMaker, NewLayer};

/// Version of everything that layers and documents depend on beside their content: compressor
/// and level, block size, file times, layer order, JSON key order. A new number gives new digests.
pub const FORMAT: u32 = 2;

/// Date of everything, unless the build says otherwise: one second after the epoch, because some
/// programs take 0 for "missing".
pub const CREATED: &str = "1970-01-01T00:00:01Z";
