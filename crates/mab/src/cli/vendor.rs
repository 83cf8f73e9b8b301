//! What can be typed behind `mab vendor`.

use std::path::PathBuf;

use builder::bundle::vendor::{ExtraImage, Output};
use builder::target::TargetPlatform;
use clap::Args;

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
    /// Build file; `build.yaml` or `build.yml` by default, unless --image is given
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Platforms in place of the build file's, and those of --image (by default all it has)
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<TargetPlatform>,
    /// Another image to take along: of a registry, or oci:DIR[:TAG|@DIGEST]
    #[arg(long = "image", value_name = "REF|oci:DIR")]
    pub(crate) images: Vec<ExtraImage>,
    /// Leave out what this earlier bundle has; a build needs both then
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) since: Vec<PathBuf>,
    /// Where to write: a name in .tar makes one file, any other a directory
    #[arg(short, long, value_name = "FILE.tar|DIR", value_parser = output)]
    pub(crate) output: Output,
    /// Set a value of the build file, such as base=debian:12
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Let settings through that run programs of their own
    #[arg(long)]
    pub(crate) allow_exec: bool,
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
