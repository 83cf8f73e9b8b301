//! `mab run`.

use std::ffi::OsString;
use std::time::Duration;

use builder::sandbox::Network;
use builder::target::TargetPlatform;
use builder::transfer::Location;
use clap::{Args, ValueEnum};

use super::Registries;

/// Examples below the help text.
pub(super) const EXAMPLES: &str = "Examples:
  mab run oci:oci                                   what the image starts, for this machine's platform
  mab run oci:oci --platform linux/arm64 -- --help  other arguments; under QEMU, if that is foreign here
  mab run debian:bookworm -- sh                     in a terminal of its own
  mab run oci-archive:app.tar --entrypoint /bin/sh -- -c id

The program sees the image's files and nothing of this system: no files, processes, environment,
network (but for --network host). What it writes is gone when it ends. Its exit code is that of
mab; 125 if it was not started, 126 if it cannot be executed, 127 if the image does not have it.
`mab check --sandbox` says what works here, docs/run.md the rest.";

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// An image of a registry, oci:DIR[:TAG|@DIGEST], oci-archive:FILE or docker-archive:FILE
    #[arg(value_name = "REF|oci:DIR|oci-archive:FILE|docker-archive:FILE")]
    pub(crate) image: Location,
    /// Arguments of the entrypoint, in place of the image's own; without an entrypoint, program and arguments
    #[arg(value_name = "ARG", last = true)]
    pub(crate) arguments: Vec<String>,
    /// The platform; else this machine's, or the only one that the image has
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<TargetPlatform>,
    /// What the program can reach
    #[arg(long, value_enum, default_value_t = NetworkMode::None)]
    pub(crate) network: NetworkMode,
    /// Set a variable; without a value, to that which it has here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// The directory that the program starts in
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// The program's user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// The program, in place of the image's entrypoint and arguments
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// End the program after so many seconds (exit code 124)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) registries: Registries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkMode {
    /// A loopback interface of its own
    None,
    /// What this system reaches
    Host,
}

impl From<NetworkMode> for Network {
    fn from(mode: NetworkMode) -> Self {
        match mode {
            NetworkMode::None => Self::None,
            NetworkMode::Host => Self::Host,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "not a number of seconds above 0".to_owned())
}

/// Whether what was typed is `mab run`, whose exit codes are of another kind.
pub(crate) fn is_run(mut arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.nth(1).is_some_and(|command| command == "run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["", "0", "-1", "x", "1s", "inf", "NaN", "1e99"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
