use std::path::Path;

use super::*;

fn content(seed: &str) -> Content {
    let kind = "application/vnd.oci.image.index.v1+json".into();
    Content { digest: Digest::of(seed.as_bytes()), size: seed.len() as u64, media_type: kind }
}

fn base(seed: &str, platforms: &[&str]) -> LockedBase {
    let platforms = platforms.iter().map(|platform| {
        let own = LockedPlatform { manifest: content(&format!("{seed} {platform}")), facts: None };
        (platform.parse().unwrap(), own)
    });
    LockedBase { root: content(seed), platforms: platforms.collect() }
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn lock() -> Lock {
    let mut lock = Lock { static_base: Some(Digest::of(b"static")), ..Lock::default() };
    lock.compilers.insert("go".to_owned(), BTreeSet::from(["go1.26.8".to_owned()]));
    lock.add(&reference("debian:bookworm-slim"), &base("one", &["linux/s390x", "linux/amd64"]));
    let pinned = format!("alpine:3@{}", content("two").digest);
    lock.add(&reference(&pinned), &base("two", &["linux/amd64"]));
    lock
}

fn parse(text: &str) -> Result<Lock, LockError> {
    Lock::parse(Path::new("mab.lock"), text)
}

#[track_caller]
fn fails(text: &str, says: &str) {
    let error = parse(text).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    assert!(!error.hints().is_empty());
}

#[test]
fn it_reads_back_and_is_sorted() {
    let lock = lock();
    let text = lock.render();
    assert_eq!(parse(&text).unwrap(), lock);
    assert_eq!(parse(&text.replace('\n', "\r\n")).unwrap(), lock, "line ends do not matter");
    assert_eq!(parse(&format!("{text}# a remark\n")).unwrap(), lock, "nor do remarks");
    let amd64 = text.find("platform = \"linux/amd64\"").unwrap();
    assert!(text.find("docker.io/library/alpine").unwrap() < text.find("docker.io/library/debian").unwrap());
    assert!(amd64 < text.find("platform = \"linux/s390x\"").unwrap());
    let line = format!("image = \"docker.io/library/debian:bookworm-slim@{}\"", content("one").digest);
    assert!(text.lines().any(|it| it == line), "{text}");
}

#[test]
fn one_moved_base_is_a_few_lines_of_difference() {
    let before = lock();
    let mut after = before.clone();
    after.bases.insert(Name::new(&reference("debian:bookworm-slim")), base("new", &["linux/amd64", "linux/s390x"]));
    let (before, after) = (before.render(), after.render());
    let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b).count();
    assert_eq!(before.lines().count(), after.lines().count());
    assert_eq!(changed, 4, "checksum, image, and a line for each platform");
}

#[test]
fn what_was_changed_by_hand_or_by_a_merge_is_found_out() {
    let text = lock().render();
    let digest = content("one").digest.to_string();
    fails(&text.replace(&digest, &content("other").digest.to_string()), "changed by hand");
    let without = |part: &str| -> String {
        text.lines().filter(|line| !line.contains(part)).map(|line| format!("{line}\n")).collect()
    };
    fails(&without("linux/s390x"), "changed by hand");
    fails(&without("pinned"), "changed by hand");
    fails(&without("checksum"), "missing field `checksum`");
    fails(&format!("<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> theirs\n"), ":1: a merge conflict");
    let (ours, next) = (format!("format = {FORMAT}"), format!("format = {}", FORMAT + 1));
    assert!(text.contains(&ours));
    fails(&text.replace(&ours, &next), "changed by hand");
    fails(&text.replace("[static]", "[statics]"), "statics");
    let entry = text[text.find("[[base]]").unwrap()..].to_owned();
    fails(&format!("{text}\n{entry}"), "is there twice");
    for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        // The last line end alone is no change.
        assert!(parse(&text[..at]).is_err() || at + 1 == text.len(), "cut at {at}");
    }
}

#[test]
fn another_version_is_named() {
    fails("version = 2\nfuture = true\n", "has version 2");
    fails("format = 1\n", "does not say its version");
}

#[test]
fn adding_moves_nothing() {
    let mut lock = lock();
    let name = reference("docker.io/library/debian:bookworm-slim");
    assert!(lock.add(&name, &base("moved", &["linux/amd64", "linux/arm64"])).is_empty(), "another index");
    assert_eq!(lock.base(&name).unwrap().root, content("one"));
    let added = lock.add(&name, &base("one", &["linux/amd64", "linux/arm64"]));
    assert_eq!(added, ["linux/arm64 of docker.io/library/debian:bookworm-slim"]);
    assert_eq!(lock.base(&name).unwrap().platforms.len(), 3);
    assert_eq!(lock.base(&reference("debian")), None, "latest is another name");
    assert_eq!(lock.add(&reference("debian"), &base("x", &[])), ["docker.io/library/debian:latest"]);
}
