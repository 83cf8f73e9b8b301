//! `mab check IMAGE`: what belongs to images.

use builder::check::CheckId;
use builder::target::TargetPlatform;
use builder::transfer::Location;
use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct CheckImage {
    /// An image of a registry, oci:DIR[:TAG|@DIGEST] or oci-archive:FILE
    #[arg(value_name = "REF|oci:DIR|oci-archive:FILE")]
    pub(crate) image: Option<Location>,
    /// Only these platforms of the image, such as linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',', requires = "image")]
    pub(crate) platforms: Vec<TargetPlatform>,
    /// Checks whose findings are let through
    #[arg(long, value_name = "CHECK", value_delimiter = ',', requires = "image")]
    pub(crate) allow: Vec<CheckId>,
    /// Every answer with its evidence, also what fits
    #[arg(long, requires = "image")]
    pub(crate) all: bool,
    /// As JSON
    #[arg(long, requires = "image")]
    pub(crate) json: bool,
}
