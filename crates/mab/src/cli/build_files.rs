//! Which build files, and what the command line says in place of them.

use std::path::PathBuf;

use builder::check::CheckId;
use builder::target::TargetPlatform;
use clap::Args;
use registry_client::{Repository, Tag};

/// For every command that reads build files.
#[derive(Args, Debug)]
pub(crate) struct BuildFiles {
    /// Build file; `build.yaml` or `build.yml` by default. Several are several images
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Platforms in place of the build file's, such as linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<TargetPlatform>,
    /// Set a value of the build file, such as config.env.MODE=test
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Let settings through that run programs of their own
    #[arg(long)]
    pub(crate) allow_exec: bool,
}

/// For commands that build images, or look whether they could.
#[derive(Args, Debug)]
pub(crate) struct Images {
    #[command(flatten)]
    pub(crate) build_files: BuildFiles,
    #[command(flatten)]
    pub(crate) naming: Naming,
    /// Checks whose findings are let through, such as symbol-version; docs/checks.md has all
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    pub(crate) allow: Vec<CheckId>,
}

/// What images are called.
#[derive(Args, Debug, Default)]
pub(crate) struct Naming {
    /// Tags in place of the build file's
    #[arg(short, long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<Tag>,
    /// Repository in place of the build file's
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) image: Option<Repository>,
}
