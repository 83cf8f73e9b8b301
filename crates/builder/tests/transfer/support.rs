//! Short ways to say what these tests say often.

use std::path::Path;
use std::sync::Arc;

use builder::event::{Event, Reporter};
use builder::transfer::{self, Arrived, CopyRequest, Location, TransferError};
use oci_layout::verify::{Finding, Problem};
use registry_client::{Client, Config};
use test_registry::{Image, TestRegistry};

/// Keeps what is told.
#[derive(Default)]
pub(crate) struct Told(pub(crate) std::sync::Mutex<Vec<Event>>);

impl Reporter for Told {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

pub(crate) fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

pub(crate) fn silent() -> Arc<dyn Reporter> {
    Arc::new(builder::event::Silent)
}

pub(crate) fn place(text: &str) -> Location {
    text.parse().unwrap()
}

pub(crate) fn at(registry: &TestRegistry, name: &str) -> String {
    format!("{}/{name}", registry.host())
}

pub(crate) fn oci(directory: &Path, tag: &str) -> String {
    format!("oci:{}:{tag}", directory.display())
}

pub(crate) fn images() -> Vec<Image> {
    vec![
        Image::new(1, "linux/amd64", &[90_000, 10]),
        Image::new(2, "linux/arm64", &[90_000, 10]),
        Image::new(3, "linux/arm/v7", &[90_000, 10]),
    ]
}

pub(crate) async fn copy(from: &str, to: &str) -> Result<Arrived, TransferError> {
    copy_with(from, to, &[], true).await
}

pub(crate) async fn copy_with(
    from: &str,
    to: &str,
    platforms: &[&str],
    referrers: bool,
) -> Result<Arrived, TransferError> {
    let platforms = platforms.iter().map(|platform| platform.parse().unwrap()).collect();
    let request = CopyRequest { from: place(from), to: place(to), platforms, referrers };
    transfer::copy(&request, &client(), &silent()).await
}

/// What is wrong with a layout or archive, but that these images' layers are no tars and made up.
pub(crate) fn findings(all: Vec<Finding>) -> Vec<Finding> {
    all.into_iter()
        .filter(|finding| !matches!(finding.problem, Problem::DiffId | Problem::Layer | Problem::Count))
        .collect()
}
