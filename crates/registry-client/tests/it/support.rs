//! Clients with short patience, and short ways to say what a test says often.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_layout::Descriptor;
use registry_client::config::{Notices, Retry, Timeouts};
use registry_client::{Client, Config, Error, MemorySource, Notice, Pushed, Repository, TagOrDigest};
use test_registry::TestRegistry;

/// Settings for tests: everything that waits waits little.
pub(crate) fn config() -> Config {
    Config {
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            headers: Duration::from_millis(600),
            commit: Duration::from_millis(600),
            idle: Duration::from_millis(300),
        },
        retry: Retry {
            attempts: 4,
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(40),
            retry_after_cap: Duration::from_millis(1500),
        },
        roots: registry_client::config::Roots { system: Vec::new(), built_in: false, extra: Vec::new() },
        ..Config::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(config()).unwrap()
}

/// Settings whose notices are kept.
pub(crate) fn noting() -> (Config, Arc<Mutex<Vec<Notice>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let take = Arc::clone(&kept);
    let notices = Notices::to(move |notice| take.lock().unwrap().push(notice.clone()));
    (Config { notices, ..config() }, kept)
}

pub(crate) fn repository(registry: &TestRegistry, path: &str) -> Repository {
    format!("{}/{path}", registry.host()).parse().unwrap()
}

pub(crate) fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.parse().unwrap())
}

/// Everything of a blob.
pub(crate) async fn pull(client: &Client, repository: &Repository, blob: &Descriptor) -> Result<Bytes, Error> {
    let mut stream = client.pull_blob(repository, blob);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.into())
}

/// Sends bytes.
pub(crate) async fn push(client: &Client, repository: &Repository, bytes: &Bytes) -> Result<Pushed, Error> {
    let descriptor = Descriptor::of("application/octet-stream", bytes);
    let source = MemorySource::new(descriptor, bytes.clone());
    client.push_blob(repository, &source, &[], &|_| {}).await
}

/// An error with its causes, as a user sees it.
pub(crate) fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The log without its digests: method, kind of target, status.
#[track_caller]
pub(crate) fn assert_log(registry: &TestRegistry, expect: &[&str]) {
    let log: Vec<String> = registry
        .log()
        .iter()
        .map(|line| {
            line.split(' ')
                .map(|word| match word.find('#') {
                    Some(at) => {
                        let after = &word[at + 1..];
                        let rest = after.char_indices().nth(6).map_or("", |(end, _)| &after[end..]);
                        format!("{}#{rest}", &word[..at])
                    }
                    None => word.to_owned(),
                })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(log, expect, "requests that the registry saw");
}
