//! What can be typed behind `mab lock`.

use builder::lock::update::Named;
use clap::Args;

use super::{BuildFiles, Registries};

pub(crate) const EXAMPLES: &str = "Examples:
  mab lock                              makes mab.lock, or adds what it lacks
  mab lock -f build.yaml -f agent.yaml  for both, which share the lock of their directory
  mab lock --update                     takes what the tags name today, and says what moved
  mab lock --update debian:bookworm-slim
  mab lock --check                      exits with 7 if a base has moved, with 5 if a registry
                                        cannot be asked; changes nothing

Standard output has what was added and what moved.";

#[derive(Args, Debug)]
pub(crate) struct Lock {
    #[command(flatten)]
    pub(crate) build_files: BuildFiles,
    /// Move this base, or all of them, to what its tag names today
    #[arg(long, value_name = "BASE", num_args = 0.., conflicts_with = "check")]
    pub(crate) update: Option<Vec<Named>>,
    /// See whether a base has moved, and change nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Keep the facts of the bases' layers beside the lock, so that a runner with an empty cache
    /// reads none of them
    #[arg(long, conflicts_with = "check")]
    pub(crate) facts: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
}
