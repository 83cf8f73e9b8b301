//! `mab platforms`.

use clap::Args;

/// Examples below the help text.
pub(crate) const EXAMPLES: &str = "Examples:
  mab platforms                what can be built in this directory
  mab platforms --verbose      with targets, linkers, and what is missing for each platform

Cargo's configuration and a rust-toolchain file of the directory count. Nothing is changed.";

#[derive(Args, Debug)]
pub(crate) struct Platforms {
    /// Say for each platform which target and linker are taken, or what is missing
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}
