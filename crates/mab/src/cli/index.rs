//! `mab index`.

use builder::transfer::Location;
use clap::{Args, Subcommand};
use oci_layout::{Digest, Platform};

use super::Talk;

/// Examples below the help text.
pub(crate) const EXAMPLES: &str = "Examples:
  mab index create registry.example.com/app:v1 registry.example.com/app:v1-amd64 oci:arm64
  mab index annotate registry.example.com/app:v1 --annotation org.opencontainers.image.version=1
  mab index rm registry.example.com/app:v1 --platform linux/386
  mab index inspect registry.example.com/app:v1
  mab index push oci:app:v1 registry.example.com/app:v1

Blobs move only where the target lacks them. Two images for one platform, or one whose
config is for another platform than it is announced for, are refused.";

#[derive(Args, Debug)]
pub(crate) struct Index {
    #[command(subcommand)]
    pub(crate) command: IndexCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum IndexCommand {
    /// Join images into a new index
    Create(Create),
    /// Change annotations or platforms of an index, in its place
    Annotate(Box<Annotate>),
    /// Take images out of an index, in its place
    Rm(Remove),
    /// Show what an index lists
    Inspect(InspectIndex),
    /// Push an index with all that it lists
    Push(PushIndex),
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Where the index goes: a reference, or oci:DIR:TAG
    #[arg(value_name = "DST")]
    pub(crate) to: Location,
    /// Images, or indexes whose images are meant, from registries, layouts and archives
    #[arg(value_name = "SRC", required = true)]
    pub(crate) from: Vec<Location>,
    /// An annotation of the index
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) annotations: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

#[derive(Args, Debug)]
pub(crate) struct Annotate {
    /// The index: a reference, or oci:DIR:TAG
    #[arg(value_name = "DST")]
    pub(crate) index: Location,
    /// Change the entries for this platform, rather than the index itself
    #[arg(long, value_name = "PLATFORM", group = "entry")]
    pub(crate) platform: Option<Platform>,
    /// Change the entry with this digest, rather than the index itself
    #[arg(long, value_name = "DIGEST", group = "entry")]
    pub(crate) digest: Option<Digest>,
    /// Set an annotation; without a value, take it away
    #[arg(long = "annotation", value_name = "KEY=[VALUE]", value_parser = pair)]
    pub(crate) annotations: Vec<(String, String)>,
    /// Give the entry another platform; its config must agree
    #[arg(long, value_name = "PLATFORM", requires = "entry")]
    pub(crate) set_platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The index: a reference, or oci:DIR:TAG
    #[arg(value_name = "DST")]
    pub(crate) index: Location,
    /// The images for these platforms
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',', required_unless_present = "digests")]
    pub(crate) platforms: Vec<Platform>,
    /// The entries with these digests
    #[arg(long = "digest", value_name = "DIGEST", value_delimiter = ',')]
    pub(crate) digests: Vec<Digest>,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

#[derive(Args, Debug)]
pub(crate) struct InspectIndex {
    /// The index: a reference, oci:DIR[:TAG|@DIGEST] or oci-archive:FILE[:TAG|@DIGEST]
    #[arg(value_name = "REF|oci:DIR")]
    pub(crate) index: Location,
    /// The document itself, byte for byte
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

#[derive(Args, Debug)]
pub(crate) struct PushIndex {
    /// The index: a reference, oci:DIR[:TAG|@DIGEST] or oci-archive:FILE[:TAG|@DIGEST]
    #[arg(value_name = "SRC")]
    pub(crate) from: Location,
    /// Where to
    #[arg(value_name = "REF", required = true)]
    pub(crate) targets: Vec<registry_client::Reference>,
    #[command(flatten)]
    pub(crate) talk: Talk,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}
