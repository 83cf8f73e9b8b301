//! `mab copy`, `mab push`, and what all that moves images is told.

use builder::transfer::Location;
use clap::Args;
use oci_layout::Platform;
use registry_client::Reference;

use super::{Progress, Registries};

/// Examples below the help text.
pub(crate) const COPY_EXAMPLES: &str = "Examples:
  mab copy debian:bookworm registry.example.com/mirror/debian:bookworm
  mab copy registry.example.com/team/app:v1 oci:app          into the layout ./app, as v1
  mab copy registry.example.com/team/app:v1 oci-archive:app.tar
  mab copy oci:app:v1 localhost:5000/app:v1 --platform linux/arm64,linux/arm/v7

Documents arrive byte for byte. With --platform that leaves something out, the index
is a new one. Run again after it broke off, it moves only what is missing.";

/// Examples below the help text.
pub(crate) const PUSH_EXAMPLES: &str = "Examples:
  mab push oci registry.example.com/team/app               with all the tags that it has
  mab push oci registry.example.com/team/app:v2            the only image, under another tag
  mab push app.tar:v1 registry.example.com/team/app:v1 registry.example.com/team/app:latest";

/// How to talk, to people and to registries.
#[derive(Args, Debug)]
pub(crate) struct Talk {
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// How to show progress
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,
    /// Say more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Copy {
    /// An image of a registry, oci:DIR[:TAG|@DIGEST] or oci-archive:FILE[:TAG|@DIGEST]
    #[arg(value_name = "SRC")]
    pub(crate) from: Location,
    /// The same
    #[arg(value_name = "DST")]
    pub(crate) to: Location,
    /// These platforms alone, such as linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<Platform>,
    /// Leave behind what refers to the image: signatures, SBOMs
    #[arg(long)]
    pub(crate) no_referrers: bool,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

#[derive(Args, Debug)]
pub(crate) struct Push {
    /// An OCI layout or an archive (also of `docker save`), with :TAG or @DIGEST behind it to pick an image
    #[arg(value_name = "DIR|FILE", value_parser = Location::of_path)]
    pub(crate) from: Location,
    /// Where to; without a tag, all tags that the images have
    #[arg(value_name = "REF", required = true)]
    pub(crate) targets: Vec<Reference>,
    /// Leave behind what refers to the images: signatures, SBOMs
    #[arg(long)]
    pub(crate) no_referrers: bool,
    #[command(flatten)]
    pub(crate) talk: Talk,
}
