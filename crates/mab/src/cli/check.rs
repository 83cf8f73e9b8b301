//! `mab check`.

use clap::Args;

use super::CheckImage;

pub(super) const EXAMPLES: &str = "Examples:
  mab check oci:oci                     programs, libraries, symbol versions, entrypoint, user
  mab check registry.example.com/team/app:v1 --platform linux/arm64 --json
  mab check --allow set-id oci-archive:app.tar

Exits with 4 if an image cannot start. docs/checks.md has the checks.";

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) image: CheckImage,
}
