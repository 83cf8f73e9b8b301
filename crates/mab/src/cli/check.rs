//! `mab check`.

use clap::Args;

use super::BuildFiles;

pub(super) const EXAMPLES: &str = "Examples:
  mab check                             build.yaml here: bases, sources, users, paths, compilers
  mab check --offline -f app.yaml       the same, without asking a registry

Everything that is wrong is told at once, each with its place. Standard output has nothing.";

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) build_files: BuildFiles,
    /// Ask no registry; cargo and go must not use the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Say more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
