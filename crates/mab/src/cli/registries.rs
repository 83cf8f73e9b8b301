//! What every command is told that talks to registries.

use clap::Args;
use registry_client::config::Url;

/// Whom registries may send credentials to.
#[derive(Args, Debug)]
pub(crate) struct Registries {
    /// The token server that alone may see credentials
    #[arg(long, value_name = "URL")]
    pub(crate) auth_realm: Option<Url>,
}
