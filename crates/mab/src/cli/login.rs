//! `mab login` and `mab logout`.

use clap::Args;
use registry_client::Registry;

use super::Registries;

/// Examples below the help text.
pub(crate) const EXAMPLES: &str = "Examples:
  mab login registry.example.com                                asks for name and password
  mab login registry.example.com -u robot --password-stdin < token

The registry is asked before anything is kept. What is kept goes to the credential helper that
Docker's configuration names, else into that file (or REGISTRY_AUTH_FILE), readable by you alone.";

#[derive(Args, Debug)]
pub(crate) struct Login {
    /// Host, or host:port; docker.io by default
    #[arg(default_value = "docker.io")]
    pub(crate) registry: Registry,
    /// The name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Take the password from standard input
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// Say more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Logout {
    /// Host, or host:port; docker.io by default
    #[arg(default_value = "docker.io")]
    pub(crate) registry: Registry,
}
