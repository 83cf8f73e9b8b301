//! `mab verify`.

use std::path::PathBuf;

use clap::Args;
use registry_client::Reference;

use super::Registries;

/// Examples below the help text.
pub(crate) const EXAMPLES: &str = "Examples:
  mab verify oci:oci
  mab verify oci-archive:app.tar
  mab verify bundle:bundle.tar
  mab verify registry.example.com/team/app:v1 --json

Reads every byte. Exits with 4 if anything is not as it says.";

/// What `mab verify` takes.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// An image of a registry, oci:DIR, oci-archive:FILE, docker-archive:FILE or bundle:PATH
    #[arg(value_name = "REF|oci:DIR|oci-archive:FILE", value_parser = subject)]
    pub(crate) image: Subject,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

/// What is verified.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// An OCI layout.
    Layout(PathBuf),
    /// An archive, of either kind.
    Archive(PathBuf),
    /// A bundle.
    Bundle(PathBuf),
    /// An image of a registry.
    Registry(Box<Reference>),
}

fn subject(text: &str) -> Result<Subject, String> {
    let path = |rest: &str| if rest.is_empty() { Err("the path is missing".to_owned()) } else { Ok(rest.into()) };
    if let Some(directory) = text.strip_prefix("oci:") {
        return path(directory).map(Subject::Layout);
    }
    if let Some(file) = ["oci-archive:", "docker-archive:"].iter().find_map(|prefix| text.strip_prefix(prefix)) {
        return path(file).map(Subject::Archive);
    }
    if let Some(bundle) = text.strip_prefix("bundle:") {
        return path(bundle).map(Subject::Bundle);
    }
    text.parse().map(|reference| Subject::Registry(Box::new(reference))).map_err(|error| format!("{error}"))
}
