//! Stub.
#![allow(missing_docs)]
use super::*;
use oci_layout::layer::{Entry, Tree};
pub struct StepRequest<'a> {
    pub request: Request<'a>,
    pub below: &'a Tree,
    pub scratch: &'a Path,
    pub mounts: Vec<StepMount>,
}
pub struct StepMount {
    pub target: String,
    pub kind: StepMountKind,
}
pub enum StepMountKind {
    Bind { source: PathBuf },
    Cache { source: PathBuf },
    Tmpfs,
    Secret { content: Secret },
}
pub struct Secret(#[allow(dead_code)] Vec<u8>);
impl Secret {
    pub fn new(content: Vec<u8>) -> Self {
        Self(content)
    }
}
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
impl StepError {
    pub fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}
pub struct StepOutcome {
    pub ending: Ending,
    pub files: Files,
    pub entries: Vec<Entry>,
}
pub struct StepRunning<'a>(Running, std::marker::PhantomData<&'a ()>);
impl StepRunning<'_> {
    pub fn control(&self) -> std::io::Result<Control> {
        self.0.control()
    }
    pub fn wait(self) -> Result<StepOutcome, StepError> {
        let files = self.0.files();
        Ok(StepOutcome { ending: self.0.wait()?, files, entries: Vec::new() })
    }
}
pub fn run_step<'a>(request: StepRequest<'a>, streams: Streams) -> Result<StepRunning<'a>, StepError> {
    Ok(StepRunning(start(request.request, Some(streams))?, std::marker::PhantomData))
}
