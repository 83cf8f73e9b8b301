//! `mab check`: can this be built, can this image start, can programs run here?

mod file;
mod image;
mod sandbox;

use crate::cli::Check;

pub(crate) fn run(arguments: &Check) -> u8 {
    match &arguments.image.subject {
        Some(image) => image::run(image, arguments),
        None if arguments.sandbox => sandbox::run(arguments.image.json),
        None => file::run(arguments),
    }
}
