//! A farm whose one registry stands for all others: `registries.conf`, an authority of its own, and
//! credentials in a file. Nothing of it is on the command line, and nothing of it is in the lock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use test_registry::{Auth, Authority, Options, TestRegistry, Tls};

const UPSTREAM: &str = "registry.upstream.example/team/base:stable";

/// A machine of a farm: its registry, and a home that knows it.
struct Farm {
    registry: TestRegistry,
    directory: tempfile::TempDir,
}

impl Farm {
    fn new() -> Self {
        let authority = Authority::new();
        let auth = Auth::Basic { username: "farm".into(), password: "canary".into() };
        let registry = TestRegistry::with(Options { auth, tls: Some(Tls::new(&authority)), ..Options::default() });
        let farm = Self { registry, directory: tempfile::tempdir().unwrap() };
        let host = farm.registry.host();
        farm.write(&format!(".config/containers/certs.d/{host}/ca.crt"), &authority.pem());
        farm.write(
            ".config/containers/registries.conf",
            &format!("[[registry]]\nprefix = \"*.upstream.example\"\nlocation = \"{host}/upstream\"\n"),
        );
        // farm:canary
        farm.write(
            ".config/containers/auth.json",
            &format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"ZmFybTpjYW5hcnk=\"}}}}}}"),
        );
        farm.write("base/file", "one");
        farm.write(
            "base/build.yaml",
            "version: 1\ntags: [stable]\nbase: scratch\nplatforms: [linux/amd64, linux/arm64]\nfiles: [{from: file, to: /etc/base}]\n",
        );
        farm.ok(&["build", "-f", "base/build.yaml", "--push", "--image", &format!("{host}/upstream/team/base")]);
        farm.write("hello", "hi");
        farm.write(
            "build.yaml",
            &format!(
                "version: 1\nplatforms: [linux/amd64, linux/arm64]\nbase: {UPSTREAM}\nfiles: [{{from: hello, to: /srv/hello}}]\nconfig: {{user: \"1:1\"}}\n"
            ),
        );
        farm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> (String, String) {
        let home: &Path = self.directory.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mab"));
        command.env_clear().env("HOME", home).env("MAB_LOG", "debug").current_dir(home).args(arguments);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{arguments:?}\n{out}{err}");
        (out, err)
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("mab.lock")).unwrap()
    }
}

#[test]
fn everything_goes_by_the_farms_registry_and_the_lock_keeps_the_upstreams_names() {
    let farm = Farm::new();
    let host = farm.registry.host();
    farm.ok(&["lock"]);
    let lock = farm.lock();
    assert!(lock.contains(&format!("image = \"{UPSTREAM}@sha256:")), "{lock}");
    assert!(!lock.contains(&host) && !lock.contains("canary"), "{lock}");
    let image = format!("{host}/team/app");
    let (out, err) = farm.ok(&["build", "--locked", "--push", "--image", &image, "--metadata-file", "m.json"]);
    assert!(out.starts_with(&format!("{image}@sha256:")), "{out}");
    assert!(!err.contains("canary") && !err.contains("ZmFybTpjYW5hcnk="), "{err}");
    let metadata = fs::read_to_string(farm.path("m.json")).unwrap();
    assert!(
        metadata.contains(&format!("\"name\": \"{UPSTREAM}\"")) && !metadata.contains("upstream/team"),
        "{metadata}"
    );
    farm.ok(&["lock", "--check"]);
    farm.ok(&["vendor", "-o", "bundle.tar"]);
    let (contents, _) = farm.ok(&["inspect", "bundle:bundle.tar"]);
    assert!(contents.contains(&format!("image {UPSTREAM}@sha256:")), "{contents}");

    // Another farm, with the same lock: the same image, from its own registry.
    let other = Farm::new();
    other.write("mab.lock", &lock);
    let image = format!("{}/team/app", other.registry.host());
    let (same, _) = other.ok(&["build", "--locked", "--push", "--image", &image]);
    assert_eq!(same.rsplit_once('@').unwrap().1, out.rsplit_once('@').unwrap().1);
    assert_eq!(other.lock(), lock);
}
