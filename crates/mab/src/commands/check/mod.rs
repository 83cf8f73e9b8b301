//! `mab check`: whether what a build would do can be done, short of compiling.

mod file;

use crate::cli::Check;

pub(crate) fn run(arguments: &Check) -> u8 {
    file::run(arguments)
}
