//! `mab check IMAGE`: what belongs to images.

use builder::transfer::Location;
use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct CheckImage {
    /// An image of a registry, oci:DIR[:TAG|@DIGEST], oci-archive:FILE or docker-archive:FILE, in place of a build file
    #[arg(
        value_name = "REF|oci:DIR|oci-archive:FILE|docker-archive:FILE",
        group = "examined",
        conflicts_with_all = ["files", "tags", "image", "set", "allow_exec", "offline"]
    )]
    pub(crate) subject: Option<Location>,
    /// Of an image: every answer with its evidence, also what fits
    #[arg(long, requires = "subject")]
    pub(crate) all: bool,
    /// Of an image, or with --sandbox: as JSON
    #[arg(long, requires = "examined")]
    pub(crate) json: bool,
}
