//! Indexes made of images that are there already: joined, annotated, thinned out.
//!
//! Everything here is a function from trees to a tree: nothing is moved before [`crate::transfer`]
//! delivers the result, and then only what the target lacks. The entries come in the order in which
//! readers look for the first that fits.

mod change;
mod join;

use oci_layout::document::ImageConfig;
use oci_layout::{Digest, Platform};

pub use change::{Change, annotate, remove};
pub use join::{Input, join};

use crate::transfer::TransferError;

/// Picks entries of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The images for a platform.
    Platform(Platform),
    /// The entry with a digest.
    Digest(Digest),
}

impl std::fmt::Display for Pick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Platform(platform) => platform.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// The platform of a config in the config's own spelling, as Docker's lists have it.
fn own_platform(config: &ImageConfig) -> Platform {
    Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        os_features: config.os_features.clone(),
        variant: config.variant.clone().filter(|variant| !variant.is_empty()),
        extra: Default::default(),
    }
}

/// Whether `announced` can be the platform of `config`. Old configs leave the variant out: that is
/// no contradiction.
fn check_platform(image: &str, announced: &Platform, config: &ImageConfig) -> Result<(), TransferError> {
    let own = own_platform(config);
    let (ours, theirs) = (own.normalized(), announced.normalized());
    let agree = ours.os == theirs.os
        && ours.architecture == theirs.architecture
        && (own.variant.is_none() || ours.variant == theirs.variant);
    if agree {
        return Ok(());
    }
    Err(TransferError::Contradiction { image: image.to_owned(), announced: announced.clone(), config: own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_contradict_where_they_say_something_else() {
        let check = |announced: &str, config: &str, fits: bool| {
            let mut parsed = ImageConfig::new(&config.parse().unwrap());
            parsed.variant = config.split('/').nth(2).map(str::to_owned);
            let outcome = check_platform("x", &announced.parse().unwrap(), &parsed);
            assert_eq!(outcome.is_ok(), fits, "{announced} {config}");
        };
        check("linux/arm/v7", "linux/arm/v7", true);
        check("linux/arm/v6", "linux/arm", true);
        check("linux/arm/v6", "linux/arm/v7", false);
        check("linux/arm64", "linux/arm64/v8", true);
        check("linux/arm64/v8", "linux/arm64", true);
        check("linux/arm64", "linux/amd64", false);
        check("windows/amd64", "linux/amd64", false);
        check("linux/amd64", "linux/amd64/v3", false);
    }
}
