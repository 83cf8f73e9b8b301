//! `mab check IMAGE`: what belongs to images.

use std::path::PathBuf;

use builder::check::CheckId;
use builder::target::TargetPlatform;
use clap::Args;
use oci_layout::Digest;
use registry_client::Reference;

#[derive(Args, Debug)]
pub(crate) struct CheckImage {
    /// An image of a registry, oci:DIR[:TAG|@DIGEST] or oci-archive:FILE
    #[arg(value_name = "REF|oci:DIR|oci-archive:FILE", value_parser = source)]
    pub(crate) image: Option<ImageSource>,
    /// Only these platforms of the image, such as linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',', requires = "image")]
    pub(crate) platforms: Vec<TargetPlatform>,
    /// Checks whose findings are let through
    #[arg(long, value_name = "CHECK", value_delimiter = ',', requires = "image")]
    pub(crate) allow: Vec<CheckId>,
    /// Every answer with its evidence, also what fits
    #[arg(long, requires = "image")]
    pub(crate) all: bool,
    /// As JSON
    #[arg(long, requires = "image")]
    pub(crate) json: bool,
}

/// Where an image is.
#[derive(Clone, Debug)]
pub(crate) enum ImageSource {
    /// In an OCI layout.
    Layout(PathBuf, Option<LayoutChoice>),
    /// In an archive, of either kind.
    Archive(PathBuf),
    /// In a registry.
    Registry(Box<Reference>),
}

/// Which image of a layout.
#[derive(Clone, Debug)]
pub(crate) enum LayoutChoice {
    Tag(String),
    Digest(Digest),
}

fn source(text: &str) -> Result<ImageSource, String> {
    if let Some(rest) = text.strip_prefix("oci:") {
        let (directory, choice) = match rest.split_once('@') {
            Some((directory, digest)) => {
                let digest = digest.parse().map_err(|error| format!("{error}"))?;
                (directory, Some(LayoutChoice::Digest(digest)))
            }
            // A directory's name may have a colon in it; a tag has no slash.
            None => match rest.rsplit_once(':').filter(|(_, tag)| !tag.is_empty() && !tag.contains('/')) {
                Some((directory, tag)) => (directory, Some(LayoutChoice::Tag(tag.to_owned()))),
                None => (rest, None),
            },
        };
        if directory.is_empty() {
            return Err("the directory is missing: write oci:DIR".to_owned());
        }
        return Ok(ImageSource::Layout(directory.into(), choice));
    }
    if let Some(file) = ["oci-archive:", "docker-archive:"].iter().find_map(|prefix| text.strip_prefix(prefix)) {
        if file.is_empty() {
            return Err("the file is missing: write oci-archive:FILE".to_owned());
        }
        return Ok(ImageSource::Archive(file.into()));
    }
    text.parse().map(|reference| ImageSource::Registry(Box::new(reference))).map_err(|error| format!("{error}"))
}
