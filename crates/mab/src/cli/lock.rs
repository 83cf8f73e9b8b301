//! What can be typed behind `mab lock`.

use std::path::PathBuf;

use builder::lock::update::Named;
use builder::target::TargetPlatform;
use clap::Args;

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
    /// Build file; `build.yaml` or `build.yml` by default. Several share the lock of a directory
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Platforms in place of the build file's
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<TargetPlatform>,
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
    /// Set a value of the build file, such as base=debian:12
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Let settings through that run programs of their own
    #[arg(long)]
    pub(crate) allow_exec: bool,
}
