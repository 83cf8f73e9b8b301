//! Registries that nobody reaches: how soon they are given up.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use registry_client::config::{Notices, Retry};
use registry_client::{Client, Config, ErrorKind, Notice, Repository};
use test_registry::{Fault, Image, Options, TestRegistry};

use crate::support::{config, noting, repository, tag};

/// An address that nobody listens on: it was free a moment ago.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn pauses(notices: &Mutex<Vec<Notice>>) -> Vec<Duration> {
    let notices = notices.lock().unwrap();
    let pauses = notices.iter().filter_map(|notice| match notice {
        Notice::Waiting { pause, .. } => Some(*pause),
        _ => None,
    });
    pauses.collect()
}

#[tokio::test]
async fn who_refuses_connections_is_given_up_soon() {
    let (config, notices) = noting();
    let client = Client::new(Config { retry: Retry::default(), ..config }).unwrap();
    let repository: Repository = format!("{}/app", nobody()).parse().unwrap();
    let error = client.manifest(&repository, &tag("v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    let pauses = pauses(&notices);
    assert_eq!(pauses.len(), 2);
    assert!(pauses.iter().sum::<Duration>() < Duration::from_secs(3), "{pauses:?}");
}

#[tokio::test]
async fn who_is_just_starting_is_found() {
    let address = nobody();
    let started = Mutex::new(None);
    let notices = Notices::to(move |_| {
        started.lock().unwrap().get_or_insert_with(|| {
            let registry = TestRegistry::with(Options { listen: address, ..Options::default() });
            registry.put_image("app", Some("v1"), &Image::new(1, "linux/amd64", &[10]));
            registry
        });
    });
    let client = Client::new(Config { notices, ..config() }).unwrap();
    let repository: Repository = format!("{address}/app").parse().unwrap();
    client.manifest(&repository, &tag("v1")).await.unwrap();
}

#[tokio::test]
async fn who_drops_connections_or_was_there_before_gets_all_tries() {
    let registry = TestRegistry::start();
    registry.put_image("app", Some("v1"), &Image::new(1, "linux/amd64", &[10]));
    registry.fault(Fault::on("*", "/v2/").drop_unread().always());
    let (config, notices) = noting();
    let client = Client::new(config).unwrap();
    let repository = repository(&registry, "app");
    client.manifest(&repository, &tag("v1")).await.unwrap_err();
    assert_eq!(pauses(&notices).len(), 3, "all four tries of the settings");

    registry.clear_faults();
    client.manifest(&repository, &tag("v1")).await.unwrap();
    drop(registry);
    notices.lock().unwrap().clear();
    client.manifest(&repository, &tag("v1")).await.unwrap_err();
    assert_eq!(pauses(&notices).len(), 3, "it may be restarting");
}
