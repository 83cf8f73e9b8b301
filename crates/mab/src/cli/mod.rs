//! What can be typed. docs/commands.md is made from it.

mod build;
mod build_files;
mod cache;
mod check;
mod check_image;
mod index;
mod lock;
mod login;
mod output;
mod platforms;
mod registries;
mod run;
mod transfer;
mod vendor;
mod verify;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use build::Build;
pub(crate) use build_files::{BuildFiles, Images, Naming};
pub(crate) use cache::{Cache, CacheCommand, KEEP as CACHE_KEEP, bytes as cache_bytes};
pub(crate) use check::Check;
pub(crate) use check_image::CheckImage;
pub(crate) use index::{Annotate, Create, Index, IndexCommand, InspectIndex, PushIndex, Remove};
pub(crate) use lock::Lock;
pub(crate) use login::{Login, Logout};
pub(crate) use output::Destination;
pub(crate) use platforms::Platforms;
pub(crate) use registries::Registries;
pub(crate) use run::{Run, is_run};
pub(crate) use transfer::{Copy, Push, Talk};
pub(crate) use vendor::Vendor;
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
    #[command(after_help = build::EXAMPLES)]
    Build(Box<Build>),
    /// Check build files, short of compiling; that an image can start; or what `mab run` can do here
    #[command(after_help = check::EXAMPLES)]
    Check(Box<Check>),
    /// Copy an image between registries, OCI layouts and archives, byte for byte
    #[command(after_help = transfer::COPY_EXAMPLES)]
    Copy(Copy),
    /// Push an OCI layout or archive
    #[command(after_help = transfer::PUSH_EXAMPLES)]
    Push(Push),
    /// Join images into an index, and change what it lists
    #[command(after_help = index::EXAMPLES)]
    Index(Index),
    /// Run a program of an image, apart from everything else on this system
    #[command(after_help = run::EXAMPLES)]
    Run(Box<Run>),
    /// Say once which content the bases have, in mab.lock; move it, or see whether it has moved
    #[command(after_help = lock::EXAMPLES)]
    Lock(Lock),
    /// Show what an image holds for each platform
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Show what this machine can build for each platform, and what is missing
    #[command(after_help = platforms::EXAMPLES)]
    Platforms(Platforms),
    /// Put everything that an offline build needs into one file: bases, crates, Go modules
    #[command(after_help = vendor::EXAMPLES)]
    Vendor(Vendor),
    /// Keep the credentials of a registry
    #[command(after_help = login::EXAMPLES)]
    Login(Login),
    /// Forget the credentials of a registry
    Logout(Logout),
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

const INSPECT_EXAMPLES: &str = "Examples:
  mab inspect oci:oci
  mab inspect registry.example.com/team/app:v1 --json
  mab inspect bundle:bundle.tar            the table of contents";

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// An image of a registry, oci:DIR[:TAG|@DIGEST], or bundle:PATH
    #[arg(value_name = "REF|oci:DIR|bundle:PATH")]
    pub(crate) image: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
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

    /// A command that is not listed here asks registries.
    #[test]
    fn r23_every_command_that_asks_registries_pins_the_token_server() {
        const SILENT: [&str; 5] = ["logout", "platforms", "cache", "schema", "completions"];
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(check);
            } else {
                let pins = command.get_arguments().any(|argument| argument.get_id() == "auth_realm");
                assert!(pins, "{}", command.get_name());
            }
        }
        let all = Arguments::command();
        all.get_subcommands().filter(|command| !SILENT.contains(&command.get_name())).for_each(check);
    }
}
