//! The whole of a build, as a front end asks for it and hears of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use oci_layout::Descriptor;
use registry_client::Client;

use crate::check::CheckId;
use crate::event::Reporter;
use crate::plan::ImagePlan;
use crate::process::{Children, Environment};
use crate::result::ImageResult;
use crate::spec::BuildSpec;

pub use crate::error::{BuildError, ErrorClass, GateError};

/// What is to be built, and where it goes.
pub struct BuildRequest {
    /// The images.
    pub specs: Vec<BuildSpec>,
    /// Where each image goes. Never empty.
    pub outputs: Vec<Output>,
    /// mab's cache directory; none where there is none (it is then built without).
    pub cache: Option<PathBuf>,
    /// The user's environment.
    pub env: Environment,
    /// Checks whose findings are let through, beside those of the build files.
    pub allow: BTreeSet<CheckId>,
    /// Jobs at once.
    pub jobs: usize,
    /// Everything is as locked: the bases by `mab.lock`, the programs by the compilers' own lock
    /// files. No lock file is written.
    pub locked: bool,
    /// The compilers are those that the lock notes.
    pub locked_compilers: bool,
    /// Nothing is fetched, neither by mab nor by compilers. No lock file is written.
    pub offline: bool,
    /// Bundles, which come before every network.
    pub bundles: Vec<PathBuf>,
    /// Compilers' output may have colours.
    pub colour: bool,
    /// The program that acts as rustc's wrapper: mab itself.
    pub rustc_wrapper: PathBuf,
    /// What programs of images are started with.
    pub sandbox: Sandbox,
    /// Commands are run on images again, whatever is known of earlier builds.
    pub no_cache: bool,
    /// Whether finished images are tried out as their build files say.
    pub smoke: SmokeMode,
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub source_date_epoch: Option<i64>,
}

/// What a sandbox is made with.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// A program that calls [`crate::sandbox::stage::enter`] before anything else: mab itself.
    pub executable: PathBuf,
    /// Whether overlay file systems may be used; else the images' files are copied.
    pub overlay: bool,
}

/// What becomes of the trial runs that build files ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmokeMode {
    /// They run where this machine can run them; what is left out is told, and noted in the result.
    #[default]
    Auto,
    /// All of them run, or there is no image.
    Require,
    /// None runs.
    Skip,
}

/// Where an image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the repository that the build file names.
    Push,
    /// Into an OCI layout. None: `oci/` beside the build file.
    Layout(Option<PathBuf>),
    /// Into a tar file that holds an OCI layout.
    OciArchive(PathBuf),
    /// Into a tar file that `docker load` takes: one platform only.
    DockerArchive(PathBuf),
}

/// Kinds of archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// See [`Output::OciArchive`].
    Oci,
    /// See [`Output::DockerArchive`].
    Docker,
}

impl ArchiveKind {
    /// As skopeo and others call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oci => "oci-archive",
            Self::Docker => "docker-archive",
        }
    }
}

/// An image that was built.
#[derive(Clone, Debug)]
pub struct BuildOutcome {
    /// Its index.
    pub index: Descriptor,
    /// Its platforms' manifests, in the index's order.
    pub manifests: Vec<Descriptor>,
    /// Where it is, by digest: `registry/repository@sha256:…`, `oci:DIR@sha256:…` or
    /// `oci-archive:FILE@sha256:…`, in the order of the outputs.
    pub references: Vec<String>,
    /// The tags that it has.
    pub tags: Vec<String>,
    /// All of it, as a document.
    pub result: ImageResult,
}

/// What a build would do: everything is looked at that a build looks at, and nothing compiled or
/// written. With `offline`, no registry is asked: what stands on a base of one is looked at only
/// as far as that goes without it, and a warning says so.
pub async fn plan(
    request: BuildRequest,
    client: &Client,
    children: Arc<Children>,
    reporter: Arc<dyn Reporter>,
) -> Result<Vec<ImagePlan>, BuildError> {
    crate::pipeline::plan(request, client, children, reporter).await
}

/// Builds the images and delivers them.
///
/// Nothing becomes visible (a tag, an `index.json`) before all platforms of an image are there.
/// `children` is for interrupting: after [`Children::interrupt`] it ends with
/// [`BuildError::Interrupted`].
pub async fn build(
    request: BuildRequest,
    client: &Client,
    children: Arc<Children>,
    reporter: Arc<dyn Reporter>,
) -> Result<Vec<BuildOutcome>, BuildError> {
    crate::pipeline::run(request, client, children, reporter).await
}
