//! `mab check`.

use clap::Args;

use super::{CheckImage, Images, Registries};

pub(super) const EXAMPLES: &str = "Examples:
  mab check                             build.yaml here: bases, sources, users, paths, compilers
  mab check --offline -f app.yaml       the same, without asking a registry
  mab check oci:oci                     an image: programs, libraries, symbol versions, entrypoint, user
  mab check registry.example.com/team/app:v1 --platform linux/arm64 --json

Everything that is wrong with a build file is told at once, each with its place. Exits with 4 if an
image cannot start; docs/checks.md has the checks.";

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) image: CheckImage,
    #[command(flatten)]
    pub(crate) images: Images,
    /// Ask no registry; cargo and go must not use the network
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// Say more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
