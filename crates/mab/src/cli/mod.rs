//! What can be typed.

mod cache;
mod check;
mod check_image;
mod index;
mod lock;
mod login;
mod output;
mod platforms;
mod transfer;
mod verify;

use std::path::PathBuf;

use builder::check::CheckId;
use builder::target::TargetPlatform;
use clap::{Args, Parser, Subcommand, ValueEnum};
use registry_client::{Repository, Tag};

pub(crate) use cache::{Cache, CacheCommand};
pub(crate) use check::Check;
pub(crate) use check_image::CheckImage;
pub(crate) use index::{Annotate, Create, Index, IndexCommand, InspectIndex, PushIndex, Remove};
pub(crate) use lock::Lock;
pub(crate) use login::{Login, Logout};
pub(crate) use output::Destination;
pub(crate) use platforms::Platforms;
pub(crate) use transfer::{Copy, Push, Talk};
pub(crate) use verify::{Subject, Verify};

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
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Box<Build>),
    /// Copy an image between registries, OCI layouts and archives, byte for byte
    #[command(after_help = transfer::COPY_EXAMPLES)]
    Copy(Copy),
    /// Push an OCI layout or archive
    #[command(after_help = transfer::PUSH_EXAMPLES)]
    Push(Push),
    /// Join images into an index, and change what it lists
    #[command(after_help = index::EXAMPLES)]
    Index(Index),
    /// Say once which content the bases have, in mab.lock; move it, or see whether it has moved
    #[command(after_help = lock::EXAMPLES)]
    Lock(Lock),
    /// Show what an image holds for each platform
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Show what this machine can build for each platform, and what is missing
    #[command(after_help = platforms::EXAMPLES)]
    Platforms(Platforms),
    /// Keep the credentials of a registry
    #[command(after_help = login::EXAMPLES)]
    Login(Login),
    /// Forget the credentials of a registry
    Logout(Logout),
    /// Check that an image can start on each of its platforms
    #[command(after_help = check::EXAMPLES)]
    Check(Check),
    /// Check that everything in an image is what it says
    #[command(after_help = verify::EXAMPLES)]
    Verify(Verify),
    /// Show or shrink mab's cache
    #[command(after_help = cache::EXAMPLES)]
    Cache(Cache),
    /// Print the JSON Schema of the build file
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const BUILD_EXAMPLES: &str = "Examples:
  mab build                             build.yaml here, into the OCI layout ./oci
  mab build --push                      to the repository that the build file names
  mab build --platform linux/arm64      one platform only
  mab build -o oci:out --tag v1         another layout, another tag
  mab build -o oci-archive:app.tar      all platforms in one file

Standard output has the result alone: the image's reference by digest.";

const INSPECT_EXAMPLES: &str = "Examples:
  mab inspect oci:oci
  mab inspect registry.example.com/team/app:v1 --json";

#[derive(Args, Debug, Default)]
pub(crate) struct Build {
    /// Build file; `build.yaml` or `build.yml` by default. Several build several images
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Platforms in place of the build file's, such as linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<TargetPlatform>,
    /// Tags in place of the build file's
    #[arg(short, long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<Tag>,
    /// Repository in place of the build file's
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) image: Option<Repository>,
    /// Push to the image's repository
    #[arg(long)]
    pub(crate) push: bool,
    /// Where to write: oci:DIR, oci-archive:FILE or docker-archive:FILE. Can be given several times.
    /// By default `oci` beside the build file, unless --push is given
    #[arg(short, long = "output", value_name = "oci:DIR", value_parser = output::destination)]
    pub(crate) outputs: Vec<Destination>,
    /// Set a value of the build file, such as config.env.MODE=test
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Let settings through that run programs of their own
    #[arg(long)]
    pub(crate) allow_exec: bool,
    /// Checks whose findings are let through, such as symbol-version; docs/checks.md has all
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    pub(crate) allow: Vec<CheckId>,
    /// Everything as locked: bases by mab.lock, programs by Cargo.lock and go.sum; none is written
    #[arg(long)]
    pub(crate) locked: bool,
    /// The compilers must be those that mab.lock notes
    #[arg(long)]
    pub(crate) locked_compilers: bool,
    /// Fetch nothing, neither bases nor crates nor modules; only --push uses the network
    #[arg(long)]
    pub(crate) offline: bool,
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

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// An image of a registry, or oci:DIR[:TAG|@DIGEST]
    #[arg(value_name = "REF|oci:DIR")]
    pub(crate) image: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// tty in a terminal, else plain
    #[default]
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
