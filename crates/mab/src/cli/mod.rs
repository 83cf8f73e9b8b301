//! What can be typed. docs/commands.md is made from it.

mod build;
mod build_files;
mod check;
mod platforms;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use build::Build;
pub(crate) use build_files::BuildFiles;
pub(crate) use check::Check;
pub(crate) use platforms::Platforms;

/// Builds multi-platform container images from Rust and Go sources, without a container engine,
/// without root, without emulation.
#[derive(Parser, Debug)]
#[command(name = "mab", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Build the images of build files, and push them or write them to an OCI layout
    #[command(after_help = build::EXAMPLES)]
    Build(Box<Build>),
    /// Check build files: everything that a build does short of compiling
    #[command(after_help = check::EXAMPLES)]
    Check(Box<Check>),
    /// Show what an image holds for each platform
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Show what this machine can build for each platform, and what is missing
    #[command(after_help = platforms::EXAMPLES)]
    Platforms(Platforms),
    /// Print the JSON Schema of the build file
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const INSPECT_EXAMPLES: &str = "Examples:
  mab inspect oci:oci
  mab inspect registry.example.com/team/app:v1 --json";

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// An image of a registry, or oci:DIR[:TAG|@DIGEST]
    #[arg(value_name = "REF|oci:DIR")]
    pub(crate) image: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// tty in a terminal, else plain
    Auto,
    /// Lines that change
    Tty,
    /// Lines that stay
    Plain,
    /// A JSON object for each event
    Json,
    /// Errors and warnings only
    Quiet,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }
}
