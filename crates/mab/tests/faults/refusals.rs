//! Registries that say no.

use test_registry::{Fault, Options, TestRegistry};

use crate::support::Place;

const FILE: &str = "version: 1\nbase: scratch\nplatforms: [linux/amd64]\nfiles: [{from: build.yaml, to: /x}]\n";

/// A place, and a registry that has an older image as `app:latest`.
fn place(options: Options) -> (Place, TestRegistry, String) {
    let place = Place::new();
    place.write("build.yaml", FILE);
    let registry = TestRegistry::with(options);
    let image = format!("{}/app", registry.host());
    place.succeeds(&["build", "--push", "--image", &image]);
    place.write("build.yaml", format!("{FILE}labels: {{new: \"yes\"}}\n"));
    (place, registry, image)
}

#[test]
fn r10_403_to_an_upload() {
    let (place, registry, image) = place(Options::default());
    let old = registry.tag("app", "latest");
    registry.fault(Fault::on("POST", "/blobs/uploads/").error(403, "DENIED").always());
    registry.clear_log();
    let ended = place.run(&["build", "--push", "--image", &image]);
    ended.fails(6, &[&image, "403 Forbidden (DENIED", "hint: these credentials may not do this here"]);
    assert_eq!(registry.tag("app", "latest"), old);
    let writes: Vec<String> = registry.log().into_iter().filter(|line| !line.starts_with("HEAD ")).collect();
    // Layer and config are new; neither is tried twice.
    assert!(matches!(writes.len(), 1 | 2), "{writes:#?}");
    assert!(writes.iter().all(|line| line == "POST /v2/app/blobs/uploads/ 403"), "{writes:#?}");
}

#[test]
fn r50_a_tag_that_may_not_be_set() {
    let (place, registry, image) = place(Options::default());
    let old = registry.tag("app", "latest");
    registry.fault(Fault::on("PUT", "/manifests/latest").error(403, "DENIED").always());
    let ended = place.run(&["build", "--push", "--image", &image]);
    ended.fails(6, &[&image, "latest", "403 Forbidden (DENIED", "hint: "]);
    assert_eq!(registry.tag("app", "latest"), old);
    // What the tag would have named is there: once it may be set, nothing is sent again.
    registry.clear_faults();
    registry.clear_log();
    place.succeeds(&["build", "--push", "--image", &image]);
    assert!(!registry.log().iter().any(|line| line.starts_with("POST")), "{:#?}", registry.log());
}

#[test]
fn r39_an_immutable_tag_with_another_image() {
    let (place, registry, image) = place(Options { immutable_tags: true, ..Options::default() });
    let old = registry.tag("app", "latest");
    registry.clear_log();
    place.run(&["build", "--push", "--image", &image]).fails(6, &[&image, "latest"]);
    assert_eq!(registry.tag("app", "latest"), old);
    let tried = registry.log().into_iter().filter(|line| line.starts_with("PUT /v2/app/manifests/latest"));
    assert_eq!(tried.count(), 1, "{:#?}", registry.log());
}

#[test]
fn a_tag_that_is_none_is_no_build() {
    let (place, registry, image) = place(Options::default());
    registry.clear_log();
    for tag in ["no tag", ".x", "a/b", &"x".repeat(129)] {
        place.run(&["build", "--push", "--image", &image, "--tag", tag]).fails(2, &["--tag", "is not a tag"]);
    }
    assert!(registry.log().is_empty());
}

#[test]
fn a_registry_that_is_down() {
    let place = Place::new();
    place.write("build.yaml", FILE);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let image = format!("127.0.0.1:{port}/app");
    let ended = place.run(&["build", "--push", "--image", &image]);
    ended.fails(5, &[&image, "refused", "hint: see that the registry is up and reachable"]);
    // As a base.
    let base = format!("base={image}:v1");
    place.run(&["build", "--set", &base]).fails(5, &[&image, "refused", "hint: "]);
    assert!(!place.path("oci").exists());
    place.run(&["inspect", &format!("{image}:v1")]).fails(5, &[&image, "refused", "hint: "]);
}

#[test]
fn what_is_no_reference_is_named_with_what_to_write() {
    let place = Place::new();
    for text in ["UPPER/case:", "http://host/x", "", "a b"] {
        let ended = place.run(&["inspect", text]);
        ended.fails(2, &[&format!("`{text}` is not a reference to an image"), "caused by: ", "hint: write REGISTRY/"]);
    }
}
