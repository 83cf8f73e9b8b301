//! `mab cache`.

use clap::{Args, Subcommand};

/// Examples below the help text.
pub(crate) const EXAMPLES: &str = "Examples:
  mab cache dir
  mab cache size
  mab cache prune --keep 500MB";

/// How many bytes a clean-up keeps unless told otherwise: 5GB.
pub(crate) const KEEP: u64 = 5_000_000_000;

/// What `mab cache` takes.
#[derive(Args, Debug)]
pub(crate) struct Cache {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// What can be done with the cache.
#[derive(Subcommand, Debug)]
pub(crate) enum CacheCommand {
    /// Print where it is
    Dir,
    /// Print how much is in it
    Size {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what has not been used for longest
    Prune {
        /// How much to keep, such as 5GB or 500MiB
        #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = bytes)]
        keep: u64,
    },
}

/// A number of bytes with or without a unit.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(format!("`{unit}` is no unit: write B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")),
    };
    let number: u64 = number.parse().map_err(|_| "write a number, such as 5GB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is more than can be counted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{KEEP, bytes};

    #[test]
    fn sizes_are_read() {
        assert_eq!(["5GB", "500 MiB", "0", "7k"].map(bytes), [Ok(KEEP), Ok(500 << 20), Ok(0), Ok(7_000)]);
        for bad in ["", "GB", "5XB", "99999999999TB", "-1", "1.5GB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
