//! Commands that talk to registries, from outside: results, exit codes, what is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use assert_cmd::Command;
use oci_layout::{Layout, Selector};
use test_registry::{Auth, Image, Options, TestRegistry, TokenAuth};

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn mab_with(home: &Path, input: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
    command.env_clear().env("HOME", home).env("PATH", home).current_dir(home).args(arguments).write_stdin(input);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn mab(home: &Path, arguments: &[&str]) -> Ran {
    mab_with(home, "", arguments)
}

fn images() -> [Image; 2] {
    [Image::new(1, "linux/amd64", &[50_000]), Image::new(2, "linux/arm64", &[50_000])]
}

fn with_password() -> TestRegistry {
    let auth = Auth::Basic { username: "builder".into(), password: "canary".into() };
    TestRegistry::with(Options { auth, ..Options::default() })
}

#[test]
fn results_are_references_by_digest() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("v1"), &images());
    let source = format!("{}/a:v1", from.host());
    let ran = mab(home, &["copy", &source, "oci:out", "--progress", "plain"]);
    assert_eq!((ran.code, ran.out), (0, format!("oci:out@{}\n", index.digest)), "{}", ran.err);
    assert!(ran.err.contains("[deliver] copy "), "{}", ran.err);
    assert_eq!(Layout::open(home.join("out")).unwrap().resolve(Selector::Name("v1")).unwrap().digest, index.digest);

    let target = format!("{}/b", to.host());
    let ran = mab(home, &["push", "out", &target, &format!("{target}:v2"), "--progress", "quiet"]);
    let reference = format!("{target}@{}\n", index.digest);
    assert_eq!((ran.code, ran.out), (0, format!("{reference}{reference}")), "{}", ran.err);
    assert!(to.tag("b", "v1").is_some() && to.tag("b", "v2").is_some());

    let ran = mab(home, &["index", "rm", &format!("{target}:v2"), "--platform", "linux/arm64", "--progress", "quiet"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = mab(home, &["index", "inspect", &format!("{target}:v2")]);
    assert!(ran.out.contains("linux/amd64") && !ran.out.contains("linux/arm64"), "{}", ran.out);
    let ran = mab(home, &["index", "inspect", "--raw", &format!("{target}:v1")]);
    assert_eq!(ran.out.as_bytes(), to.manifest("b", "v1").unwrap());
}

#[test]
fn all_tags_of_a_repository_move_and_a_report_says_what() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let index = from.put_index("a", Some("v1"), &images());
    from.put_index("a", Some("latest"), &images());
    let single = images()[0].descriptor.digest;
    from.put_image("a", Some("one"), &images()[0]);
    let (source, target) = (format!("{}/a", from.host()), format!("{}/b", to.host()));
    let read =
        || -> serde_json::Value { serde_json::from_slice(&std::fs::read(home.join("moved.json")).unwrap()).unwrap() };
    let ran = mab(home, &["copy", "--all-tags", &source, &target, "--report", "moved.json", "--progress", "quiet"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 3, "{}", ran.out);
    for tag in ["v1", "latest", "one"] {
        assert_eq!(to.manifest("b", tag), from.manifest("a", tag), "{tag}");
    }
    let report = read();
    assert_eq!((report["version"].as_u64(), report["error"].is_null()), (Some(1), true), "{report}");
    let images: Vec<_> = report["images"].as_array().unwrap().clone();
    let v1 = images.iter().find(|image| image["tags"][0] == "v1").unwrap();
    assert_eq!(v1["from"], format!("{source}:v1"));
    assert_eq!(v1["reference"], format!("{target}@{}", index.digest));
    let sum = |key: &str| images.iter().map(|image| image[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("blobs"), sum("names")), (4, 3), "each blob moved once: {report}");

    // Into a layout and out of it; again, nothing is left to do.
    let ran = mab(home, &["copy", "--all-tags", &source, "oci:all", "--progress", "quiet"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let layout = Layout::open(home.join("all")).unwrap();
    assert_eq!(layout.resolve(Selector::Name("latest")).unwrap().digest, index.digest);
    let ran = mab(home, &["copy", "--all-tags", "oci:all", &target, "--report", "moved.json", "--progress", "quiet"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(read()["images"].as_array().unwrap().len(), 3);
    assert!(read()["images"].as_array().unwrap().iter().all(|image| image["bytes"] == 0), "{}", read());

    // A list ends where something fails, and the report has what arrived before.
    let list = format!("# ours\n{source}:one {target}:again\n\n{source}:none {target}:none\n{source}:v1 {target}:v9\n");
    std::fs::write(home.join("list"), list).unwrap();
    let ran = mab(home, &["copy", "--list", "list", "--report", "moved.json", "--progress", "quiet"]);
    assert_eq!((ran.code, ran.out), (5, format!("{target}@{}\n", single)), "{}", ran.err);
    assert!(to.tag("b", "again").is_some() && to.tag("b", "v9").is_none());
    assert!(read()["error"].as_str().unwrap().contains("none"), "{}", read());
    let refused = |arguments: &[&str], says: &str| {
        let ran = mab(home, arguments);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    };
    refused(&["copy", "--all-tags", &format!("{source}:v1"), &target], "leave out its tag");
    refused(&["copy", "--all-tags", &source, &format!("{target}:v1")], "takes one image");
    refused(&["copy", "--all-tags", &source, "oci-archive:x.tar"], "takes one image");
    refused(&["copy", "--list", "nothing"], "cannot read nothing");
    refused(&["copy", "--list", "list", &source, &target], "cannot be used with");
    refused(&["copy", &source], "DST");
    std::fs::write(home.join("list"), "one\n").unwrap();
    refused(&["copy", "--list", "list"], "line 1 of the list: 1 words");
}

#[test]
fn failures_have_their_codes() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let registry = TestRegistry::start();
    registry.put_index("a", Some("v1"), &images());
    let source = format!("{}/a:v1", registry.host());
    let check = |arguments: &[&str], code: i32, says: &str| {
        let ran = mab(home, arguments);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(ran.out.is_empty() && ran.err.contains(says), "{}", ran.err);
    };
    check(&["copy", "UPPER/x", "oci:x"], 2, "lower-case");
    check(&["copy", &source, "oci:"], 2, "the path is missing");
    check(&["copy", &source, "oci:x", "--platform", "linux/s390x"], 2, "it has linux/amd64, linux/arm64");
    check(&["copy", &source.replace("v1", "v2"), "oci:x"], 5, "cannot read manifest v2");
    check(&["push", "nothing", &source], 8, "nothing");
    check(&["index", "annotate", &source, "--set-platform", "linux/arm64"], 2, "--platform");
    check(&["index", "rm", &source], 2, "--platform");
    let single = format!("{}/a@{}", registry.host(), images()[0].descriptor.digest);
    check(&["index", "rm", &single, "--platform", "linux/amd64"], 2, "mab index create");
    let lie = Image::new(1, "linux/amd64", &[5]);
    registry.put_image("a", Some("other"), &lie);
    let other = format!("{}/a:other", registry.host());
    check(&["index", "create", "oci:y:1", &source, &other], 4, "two images for linux/amd64");
    assert!(!home.join("x").exists() && !home.join("y").exists(), "nothing is begun before it can be done");
}

#[test]
fn a_login_is_asked_for_before_it_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let registry = with_password();
    registry.put_index("a", Some("v1"), &images());
    let file = home.join(".docker/config.json");
    let login = ["login", &registry.host(), "--username", "builder", "--password-stdin"];
    let ran = mab_with(home, "wrong\n", &login);
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert!(!file.exists() && !ran.err.contains("wrong\n"), "{}", ran.err);
    let source = format!("{}/a:v1", registry.host());
    assert_eq!(mab(home, &["copy", &source, "oci:x"]).code, 6);

    let ran = mab_with(home, "canary\n", &login);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.err.contains("canary") && ran.out.is_empty());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(mab(home, &["copy", &source, "oci:x"]).code, 0);

    let ran = mab(home, &["logout", &registry.host()]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("logged out"), "{}", ran.err);
    assert_eq!(mab(home, &["copy", &source, "oci:z"]).code, 6);
    assert!(mab(home, &["logout", &registry.host()]).err.contains("nothing was kept"));
    // Without a terminal there is nobody to ask.
    assert_eq!(mab(home, &["login", &registry.host()]).code, 2);
    assert_eq!(mab_with(home, "\n", &login).code, 2);
}

/// The registry sends to another token server than the pinned one: neither that one nor the pinned
/// one hears of the password.
#[test]
fn r23_a_pinned_token_server_holds_for_every_command() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let tokens = |realm: Option<String>| {
        TestRegistry::with(Options {
            auth: Auth::Token(TokenAuth { realm, ..TokenAuth::default() }),
            ..Options::default()
        })
    };
    let other = tokens(None);
    let registry = tokens(Some(format!("{}/token", other.url())));
    let index = registry.put_index("a", Some("v1"), &images());
    let (host, own) = (registry.host(), format!("{}/token", registry.url()));
    let auth = r#"{"auths":{"HOST":{"username":"builder","password":"canary-password"}}}"#.replace("HOST", &host);
    std::fs::create_dir(home.join(".docker")).unwrap();
    std::fs::write(home.join(".docker/config.json"), auth).unwrap();
    let file = "version: 1\nbase: BASE\nimage: HOST/b\nfiles: [{from: hello, to: /hello}]\n";
    std::fs::write(home.join("hello"), "hello").unwrap();
    std::fs::write(home.join("build.yaml"), file.replace("BASE", "HOST/a:v1").replace("HOST", &host)).unwrap();
    std::fs::write(home.join("push.yaml"), file.replace("BASE", "scratch").replace("HOST", &host)).unwrap();
    let image = format!("{host}/a:v1");
    let commands: [&[&str]; 14] = [
        &["build"],
        &["build", "--push", "-f", "push.yaml"],
        &["build", "--dry-run"],
        &["check"],
        &["check", &image],
        &["lock"],
        &["vendor", "--image", &image, "-o", "bundle.tar"],
        &["verify", &image],
        &["inspect", &image],
        &["copy", &image, "oci:x"],
        &["index", "inspect", &image],
        &["index", "rm", &image, "--platform", "linux/arm64"],
        &["index", "create", &image, &image],
        &["index", "annotate", &image, "--annotation", "a=b"],
    ];
    for command in commands {
        registry.clear_log();
        let ran = mab(home, &[command, &["--auth-realm", &own]].concat());
        assert_eq!(ran.code, 6, "{command:?}: {}", ran.err);
        assert!(ran.err.contains("another one is pinned"), "{command:?}: {}", ran.err);
        let log = registry.log();
        assert!(!log.is_empty() && log.iter().all(|line| line.ends_with(" 401")), "{command:?}: {log:#?}");
    }
    let login = ["login", &host, "-u", "builder", "--password-stdin", "--auth-realm", &own];
    assert_eq!(mab_with(home, "canary-password", &login).code, 6);
    assert_eq!(other.connections(), 0, "nobody else hears of the password");
    assert_eq!(registry.tag("a", "v1"), Some(index.digest));

    // The pinned one, where the registry names it, is asked.
    let registry = tokens(None);
    let file = file.replace("BASE", "scratch").replace("HOST", &registry.host());
    std::fs::write(home.join("push.yaml"), file).unwrap();
    let auth = r#"{"auths":{"HOST":{"username":"builder","password":"canary-password"}}}"#;
    std::fs::write(home.join(".docker/config.json"), auth.replace("HOST", &registry.host())).unwrap();
    let own = format!("{}/token", registry.url());
    let ran = mab(home, &["build", "--push", "-f", "push.yaml", "--auth-realm", &own, "--progress", "quiet"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(registry.log().iter().any(|line| line.starts_with("GET /token")), "{:#?}", registry.log());
    assert!(registry.tag("b", "latest").is_some());
}

#[test]
fn credential_helpers_are_found_in_path() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let registry = with_password();
    registry.put_index("a", Some("v1"), &images());
    let program = home.join("docker-credential-test");
    let script = "#!/bin/sh\ncd \"$HOME\"; case $1 in store) /bin/cat > kept;; get) /bin/cat kept 2>/dev/null || { echo credentials not found; exit 1; };; erase) /bin/rm kept;; esac\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(home.join(".docker")).unwrap();
    std::fs::write(home.join(".docker/config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let ran = mab_with(home, "canary", &["login", &registry.host(), "-u", "builder", "--password-stdin"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(home.join("kept").exists());
    assert!(!std::fs::read_to_string(home.join(".docker/config.json")).unwrap().contains("auth\""));
    assert_eq!(mab(home, &["copy", &format!("{}/a:v1", registry.host()), "oci:x"]).code, 0);
    assert_eq!(mab(home, &["logout", &registry.host()]).code, 0);
    assert!(!home.join("kept").exists());
}

#[test]
fn x03_a_trace_shows_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let registry = with_password();
    registry.put_index("a", Some("v1"), &images());
    mab_with(home, "canary", &["login", &registry.host(), "-u", "builder", "--password-stdin"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
    command.env_clear().env("HOME", home).env("MAB_LOG", "trace").current_dir(home);
    let source = format!("{}/a:v1", registry.host());
    let output = command.args(["copy", &source, &source.replace("/a", "/b")]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    assert!(log.contains("/v2/b/blobs/uploads/"), "{log}");
    // builder:canary in base64 begins so.
    assert!(!log.contains("canary") && !log.contains("YnVpbGRlcjpjYW5h"), "{log}");
}
