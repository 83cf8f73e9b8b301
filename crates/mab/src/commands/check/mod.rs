//! `mab check`: can this be built, can this image start?

mod image;

use crate::cli::Check;
use crate::{exit, text};

pub(crate) fn run(arguments: &Check) -> u8 {
    match &arguments.image.image {
        Some(source) => image::run(source, &arguments.image),
        None => {
            text::error_line("error: no image is named\n\nhint: write `mab check oci:DIR` or `mab check REFERENCE`");
            exit::USAGE
        }
    }
}
