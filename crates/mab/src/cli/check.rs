//! `mab check`.

use clap::Args;

use super::{CheckImage, Images, Registries};

pub(super) const EXAMPLES: &str = "Examples:
  mab check                             build.yaml here: bases, sources, users, paths, compilers
  mab check --offline -f app.yaml       the same, without asking a registry
  mab check oci:oci                     an image: programs, libraries, symbol versions, entrypoint, user
  mab check registry.example.com/team/app:v1 --platform linux/arm64 --json
  mab check --sandbox                   whether `mab run` works here, and what would mend what does not

Everything that is wrong with a build file is told at once, each with its place. Exits with 4 if an
image cannot start, or if no program can run here; docs/checks.md has the checks.";

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) image: CheckImage,
    #[command(flatten)]
    pub(crate) images: Images,
    /// In place of a build file: what this system lets `mab run` do, each thing tried, and what would mend the rest
    #[arg(
        long,
        group = "examined",
        conflicts_with_all = ["files", "tags", "image", "set", "allow", "allow_exec", "platforms", "offline"]
    )]
    pub(crate) sandbox: bool,
    /// Ask no registry; cargo and go must not use the network
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// Say more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
