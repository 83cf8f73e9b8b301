//! `mab build`.

use std::path::PathBuf;

use builder::build::SmokeMode;
use clap::Args;

use super::output::{self, Destination};
use super::{Images, Progress, Registries};

pub(super) const EXAMPLES: &str = "Examples:
  mab build                             build.yaml here, into the OCI layout ./oci
  mab build --push                      to the repository that the build file names
  mab build --platform linux/arm64      one platform only
  mab build -o oci:out --tag v1         another layout, another tag
  mab build -o oci-archive:app.tar      all platforms in one file
  mab build --dry-run                   what would be done, without doing it

Standard output has the result alone: the image's reference by digest, or the plan.";

#[derive(Args, Debug)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) images: Images,
    /// Push to the image's repository
    #[arg(long)]
    pub(crate) push: bool,
    /// Where to write: oci:DIR, oci-archive:FILE or docker-archive:FILE. Can be given several times.
    /// By default `oci` beside the build file, unless --push is given
    #[arg(short, long = "output", value_name = "oci:DIR", value_parser = output::destination)]
    pub(crate) outputs: Vec<Destination>,
    /// Everything as locked: bases by mab.lock, programs by Cargo.lock and go.sum; none is written
    #[arg(long)]
    pub(crate) locked: bool,
    /// The compilers must be those that mab.lock notes
    #[arg(long)]
    pub(crate) locked_compilers: bool,
    /// Fetch nothing, neither bases nor crates nor modules; only --push uses the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Take bases, crates and Go modules from a bundle of `mab vendor`, before any network; an
    /// update together with what it updates. By default what MAB_BUNDLE names
    #[arg(long = "bundle", value_name = "BUNDLE")]
    pub(crate) bundles: Vec<PathBuf>,
    /// Write what became of each image to FILE: buildx's keys, and mab's own document
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Write the images' references by digest to FILE, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) image_refs: Option<PathBuf>,
    /// Write the index's digest to FILE; for one image only
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Run the commands under `run` and `steps` again, whatever is known of earlier builds
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) no_cache: bool,
    /// Trial runs of the finished images, as `smoke` in the build file has them: where this machine
    /// can run them; all of them, or there is no image; none
    #[arg(long, value_enum, default_value_t = Smoke::Auto, conflicts_with = "dry_run")]
    pub(crate) smoke: Smoke,
    /// Show what would be done: bases, compiler calls, layers, tags. Nothing is compiled or written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The plan of --dry-run as JSON
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// Jobs at once; all processors by default
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
    /// How to show progress
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,
    /// Say more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Trial runs of finished images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Smoke {
    Auto,
    Require,
    Skip,
}

impl From<Smoke> for SmokeMode {
    fn from(smoke: Smoke) -> Self {
        match smoke {
            Smoke::Auto => Self::Auto,
            Smoke::Require => Self::Require,
            Smoke::Skip => Self::Skip,
        }
    }
}
