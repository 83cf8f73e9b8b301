//! What can be typed behind `mab vendor`.

use std::path::PathBuf;

use builder::bundle::vendor::{ExtraImage, Output};
use clap::Args;

use super::{BuildFiles, Registries};

pub(crate) const EXAMPLES: &str = "Examples:
  mab lock && mab vendor -o bundle.tar      what build.yaml needs, for its platforms
  mab vendor -f a.yaml -f b.yaml -o bundle.tar
  mab vendor --since bundle.tar -o update.tar
                                            only what bundle.tar lacks
  mab vendor --image debian:12 --platform linux/arm64 -o images.tar
  mab inspect bundle:bundle.tar             what is in it
  mab build --locked --offline --bundle bundle.tar

Standard output has the bundle's digest.";

#[derive(Args, Debug)]
pub(crate) struct Vendor {
    #[command(flatten)]
    pub(crate) build_files: BuildFiles,
    /// Another image to take along: of a registry, or oci:DIR[:TAG|@DIGEST]; all its platforms, or
    /// those of --platform. No build file is looked for then
    #[arg(long = "image", value_name = "REF|oci:DIR")]
    pub(crate) images: Vec<ExtraImage>,
    /// Leave out what this earlier bundle has; a build needs both then
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) since: Vec<PathBuf>,
    /// Where to write: a name in .tar makes one file, any other a directory
    #[arg(short, long, value_name = "FILE.tar|DIR", value_parser = output)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// Say more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

fn output(text: &str) -> Result<Output, String> {
    let path = PathBuf::from(text);
    match path.file_name() {
        None => Err("name a file or directory".to_owned()),
        Some(name) if name.to_string_lossy().ends_with(".tar") => Ok(Output::Tar(path)),
        Some(_) => Ok(Output::Directory(path)),
    }
}
