//! Putting an image together: pure functions from base, plan and programs to entries, config and
//! manifests. Nothing here opens a connection or reads the clock.

pub mod config;
pub mod destination;
pub mod identity;
pub mod manifest;
pub mod step;

/// Version of everything that layers and documents depend on beside their content: compressor
/// and level, block size, file times, layer order, JSON key order. A new number gives new digests.
pub const FORMAT: u32 = 1;

/// Date of everything, unless the build says otherwise: one second after the epoch, because some
/// programs take 0 for "missing".
pub const CREATED: &str = "1970-01-01T00:00:01Z";
