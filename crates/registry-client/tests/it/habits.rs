//! What single registries are known for, where no fault row says it already.
//!
//! Others are held by rows: GHCR's chunks (r35), locations (r29) and slow commit (r33's neighbour),
//! ECR's 201 (r36) and immutable tags (r38, r39), ACR's lost sessions (r28), GAR's vanished blobs
//! (r37), Artifactory's missing PUT (r33), Nexus's realm (r24), distribution's `_state` (r29), S3's
//! two signatures (r19, r20), proxies' 413 (r34).

use registry_client::{ErrorKind, Published};
use test_registry::{Answer, Auth, Fault, Image, Options, TestRegistry, TokenAuth, blob_bytes};

use crate::publishing::publications;
use crate::redirects::logged_in;
use crate::support::{client, push, repository};

async fn publish(registry: &TestRegistry) -> Published {
    let images = [Image::new(1, "linux/amd64", &[5000])];
    let tags = ["v1".parse().unwrap()];
    client().publish(&repository(registry, "a"), &publications(&images), &tags, &|_, _| {}).await.unwrap()
}

#[tokio::test]
async fn artifactory_answers_403_for_a_tag_that_is_not_there() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("HEAD", "/manifests/").error(403, "DENIED").always());
    assert_eq!(publish(&registry).await.tags, 1);
    assert!(registry.tag("a", "v1").is_some());
}

#[tokio::test]
async fn ecr_drops_the_connection_where_the_repository_is_missing() {
    let registry = TestRegistry::start();
    registry.fault(Fault::on("*", "/uploads/").drop_unread().always());
    let error = push(&client(), &repository(&registry, "a"), &blob_bytes(1, 10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert_eq!(registry.log().iter().filter(|line| line.starts_with("POST")).count(), 4, "an end, and soon");
}

#[tokio::test]
async fn docker_hub_throttles_in_plain_text() {
    let registry = TestRegistry::start();
    let slow = Answer::new(429)
        .header("Content-Type", "text/plain")
        .header("Retry-After", "0")
        .body("You have reached your pull rate limit.\n");
    registry.fault(Fault::on("*", "/").answer(slow.clone()));
    registry.fault(Fault::on("PUT", "/").answer(slow));
    publish(&registry).await;
    assert!(registry.tag("a", "v1").is_some());
}

#[tokio::test]
async fn quay_is_never_asked_to_mount_without_a_source() {
    let registry = TestRegistry::start();
    publish(&registry).await;
    assert!(registry.requests().iter().all(|request| !request.target.contains("mount=")));
}

#[tokio::test]
async fn tokens_without_a_life_last_sixty_seconds() {
    let auth = Auth::Token(TokenAuth { expires_in: None, ..TokenAuth::default() });
    let registry = TestRegistry::with(Options { auth, ..Options::default() });
    let client = registry_client::Client::new(logged_in(&registry)).unwrap();
    for seed in 0..3 {
        push(&client, &repository(&registry, "a"), &blob_bytes(seed, 10)).await.unwrap();
    }
    let asked = registry.requests().iter().filter(|request| request.path() == "/token").count();
    assert_eq!(asked, 1, "one token does for all of it");
}

#[tokio::test]
async fn blobs_that_several_images_share_go_up_once() {
    let registry = TestRegistry::start();
    let images = [Image::new(1, "linux/amd64", &[5000]), Image::new(1, "linux/arm64", &[5000])];
    let published =
        client().publish(&repository(&registry, "a"), &publications(&images), &[], &|_, _| {}).await.unwrap();
    assert_eq!(published.uploaded, 3, "two configs, one layer");
}
