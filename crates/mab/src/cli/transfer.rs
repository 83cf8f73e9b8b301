//! `mab copy`, `mab push`, and what all that moves images is told.

use std::path::PathBuf;

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
  mab copy --all-tags registry.example.com/team/app oci:app
  mab copy bundle:bundle.tar:docker.io/library/debian:12 localhost:5000/debian:12
  mab copy --list images.txt --report moved.json     `SRC DST` on each line

Documents arrive byte for byte. With --platform that leaves something out, the index
is a new one. Run again after it broke off, it moves only what is missing.";

/// Examples below the help text.
pub(crate) const PUSH_EXAMPLES: &str = "Examples:
  mab push oci registry.example.com/team/app               with all the tags that it has
  mab push oci registry.example.com/team/app:v2            the only image, under another tag
  mab push app.tar:v1 registry.example.com/team/app:v1 registry.example.com/team/app:latest
  mab push bundle.tar registry.example.com/team/app       what `mab vendor --image` took along";

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
    /// An image of a registry, oci:DIR[:TAG|@DIGEST], oci-archive:FILE[:TAG|@DIGEST], or
    /// bundle:PATH:NAME
    #[arg(value_name = "SRC", required_unless_present = "list")]
    pub(crate) from: Option<Location>,
    /// The same, but for a bundle
    #[arg(value_name = "DST", required_unless_present = "list")]
    pub(crate) to: Option<Location>,
    /// All tags of SRC, a repository, layout, archive or bundle, to DST, a repository or layout
    #[arg(long)]
    pub(crate) all_tags: bool,
    /// The images of a file instead: `SRC DST` on each line, # begins a comment line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "all_tags"])]
    pub(crate) list: Option<PathBuf>,
    /// These platforms alone, such as linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<Platform>,
    /// Leave behind what refers to the image: signatures, SBOMs
    #[arg(long)]
    pub(crate) no_referrers: bool,
    /// Write what moved to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

#[derive(Args, Debug)]
pub(crate) struct Push {
    /// An OCI layout, an archive (also of `docker save`) or a bundle, with :TAG or @DIGEST behind it
    /// to pick an image
    #[arg(value_name = "DIR|FILE|BUNDLE", value_parser = Location::of_path)]
    pub(crate) from: Location,
    /// Where to; without a tag, all tags that the images have
    #[arg(value_name = "REF", required = true)]
    pub(crate) targets: Vec<Reference>,
    /// Leave behind what refers to the images: signatures, SBOMs
    #[arg(long)]
    pub(crate) no_referrers: bool,
    /// Write what moved to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) talk: Talk,
}
