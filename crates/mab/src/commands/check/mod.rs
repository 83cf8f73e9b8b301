//! `mab check`: can this be built, can this image start?

mod file;
mod image;

use crate::cli::Check;

pub(crate) fn run(arguments: &Check) -> u8 {
    match &arguments.image.subject {
        Some(image) => image::run(image, arguments),
        None => file::run(arguments),
    }
}
