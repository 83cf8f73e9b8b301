//! Whole files: what is understood, and every message with its place.

use super::model::*;
use super::*;
use crate::sandbox::Network;

/// What `text` is answered with: nothing, or messages.
#[track_caller]
fn check(text: &str, expect: &str) {
    check_with(text, &Overrides::default(), expect);
}

#[track_caller]
fn check_with(text: &str, overrides: &Overrides, expect: &str) {
    let shown = parse(Path::new("f"), text, overrides).err().map(|it| it.to_string()).unwrap_or_default();
    assert_eq!(shown.trim(), expect.trim(), "\n--- got:\n{shown}\n---");
}

fn good(text: &str) -> BuildSpec {
    parse(Path::new("dir/build.yaml"), text, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"))
}

const WHOLE: &str = include_str!("../../../../testdata/good/whole.yaml");

#[test]
fn the_whole_file_is_understood() {
    let spec = good(WHOLE);
    assert_eq!(spec.directory, Path::new("dir"));
    assert_eq!(spec.image.as_ref().unwrap().value.to_string(), "registry.example.com/team/trow");
    let tags: Vec<&str> = spec.tags.iter().map(|tag| tag.value.text()).collect();
    assert_eq!(tags, ["${git.tag}", "latest", "1.10"]);
    let platforms: Vec<String> = spec.platforms.iter().map(|it| it.value.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v7", "linux/arm64", "linux/s390x"]);
    assert_eq!(spec.platforms[0].place.unwrap().to_string(), "5:26");
    let select = Some(LayoutSelect::Tag("v1".to_owned()));
    let layout = BaseSource::Layout { directory: "bases/s390x".into(), select };
    assert_eq!(spec.base.of(spec.platforms[3].value).value, layout);
    assert!(matches!(spec.base.of(spec.platforms[0].value).value, BaseSource::Registry(_)));
    let BinarySource::Rust(rust) = &spec.binaries[0].value.source else { panic!() };
    assert_eq!((rust.profile.as_str(), rust.features.as_slice()), ("dist", &["sqlite".to_owned()][..]));
    assert_eq!(rust.glibc.as_ref().unwrap().value.to_string(), "2.31");
    let helper = &spec.binaries[2].value;
    assert_eq!(helper.mode, 0o4755);
    assert_eq!(helper.owner.value.user, Some(Id::Name("trow".to_owned())));
    let facts = Facts::default();
    let values = Variables { platform: Some(spec.platforms[1].value), facts: &facts };
    let BinarySource::File(file) = &helper.source else { panic!() };
    assert_eq!(render(file, &values).unwrap(), "prebuilt/armv7/helper");
    let data = render_destination(&spec.directories[0].value.path, &values).unwrap();
    assert_eq!((data.path.as_str(), data.below), ("/data", true));
    assert_eq!(spec.users[0].value.gid, 2001);
    let expose: Vec<&String> = spec.config.expose.iter().collect();
    assert_eq!(expose, ["8000/tcp", "9000/tcp", "9001/udp", "9002/udp"]);
    assert_eq!(spec.config.env["PORT"].value.text(), "8000");
    assert_eq!(render(&spec.config.env["PRICE"], &values).unwrap(), "5$");
    assert_eq!(spec.config.cmd, Some(vec![]));
    assert_eq!(spec.labels["version"].value.text(), "1.10");
    let error = render(&spec.tags[0], &values).unwrap_err();
    assert_eq!(error.message, "`${git.tag}` has no value: the commit has no tag");
    assert_eq!(error.place().unwrap().to_string(), "4:9");
}

#[test]
fn the_smallest_file_has_defaults() {
    let spec = good("version: 1\nbinaries:\n  - rust: .\n    to: /app\n");
    let platforms: Vec<String> = spec.platforms.iter().map(|it| it.value.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(spec.base.default, Placed::implied(BaseSource::Static));
    assert_eq!(spec.tags[0].value.text(), "latest");
    assert_eq!(spec.binaries[0].value.mode, 0o755);
    assert!(spec.config.entrypoint.is_none() && spec.image.is_none());
}

const STEPS: &str = include_str!("../../../../testdata/good/steps.yaml");

#[test]
fn steps_keep_their_order_and_platforms_may_have_others() {
    let spec = good(STEPS);
    assert_eq!(
        spec.parts,
        [
            Part::Runs(0..1),
            Part::Content(ContentRange { files: 0..2, ..ContentRange::default() }),
            Part::Binaries(0..1),
            Part::Runs(1..3),
            Part::Content(ContentRange { files: 2..2, users: 0..1, ..ContentRange::default() }),
        ]
    );
    let first = &spec.runs[0].value;
    assert_eq!(
        (first.shell, first.command.as_slice()),
        (true, &["/bin/sh", "-c", "echo $PATH > /etc/path"].map(str::to_owned)[..])
    );
    let second = &spec.runs[1].value;
    assert_eq!(
        (second.shell, second.command.as_slice()),
        (false, &["/usr/bin/app", "--write", "1"].map(str::to_owned)[..])
    );
    assert_eq!((second.network, second.time_limit.as_secs()), (Network::None, 3600));
    let last = &spec.runs[2].value;
    assert_eq!((last.network, last.time_limit.as_secs()), (Network::Host, 90));
    assert_eq!(last.user.value.user, Some(Id::Name("late".to_owned())));
    let kinds: Vec<&str> = last
        .mounts
        .iter()
        .map(|mount| match &mount.value.kind {
            MountKind::Cache(_) => "cache",
            MountKind::Bind(_) => "bind",
            MountKind::Tmpfs => "tmpfs",
            MountKind::Secret(_) => "secret",
            MountKind::SecretEnv(_) => "secret-env",
        })
        .collect();
    assert_eq!(kinds, ["cache", "bind", "tmpfs", "secret", "secret-env"]);
    let other = spec.of("linux/arm64".parse().unwrap());
    assert_eq!(other.parts, [Part::Runs(0..1)]);
    assert!(other.smoke.is_empty());
    assert_eq!(spec.smoke.len(), 2);
    assert_eq!(spec.smoke[0].value.command, SmokeCommand::Image);
    assert!(matches!(&spec.smoke[1].value.command, SmokeCommand::Arguments(arguments) if arguments.is_empty()));
    assert!(spec.smoke[1].value.pattern.as_ref().unwrap().value.is_match("a v1 b"));
    // The usual order.
    let spec = good("version: 1\nrun: [x]\nbinaries: [{file: a, to: /a}]\nlinks: [{path: /l, to: a}]\n");
    assert_eq!(
        spec.parts,
        [
            Part::Content(ContentRange { links: 0..1, ..ContentRange::default() }),
            Part::Runs(0..1),
            Part::Binaries(0..1)
        ]
    );
}

#[test]
fn every_example_of_the_design_is_understood() {
    good("version: 1\nbinaries:\n- go: ./cmd/agent\n  to: /app\n");
    good("version: 1\nbase: scratch\n");
    good("version: 1\nbase: oci:../bases\n");
    good("version: 1\nconfig: {user: '0:0'}\n");
    good("version: 1\nconfig: {user: 2000:2000}\n");
    good("version: 1\nconfig: {env: &e {A: b}}\nlabels: *e\n");
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    check(
        r#"version: 1
plattforms: [linux/amd64]
tags: latest
base: Not A Base
binaries:
  - rust: {path: ., featuers: [x]}
    too: /app
  - go: .
    file: x
    to: app
config:
  entrypont: [/app]
  env: {A=B: c, D: "${platform.architecture}"}
"#,
        r#"
f:2:1: error: unknown key `plattforms` in the build file (did you mean `platforms`?)
f:3:7: error: `tags` must be a list, but is a text (expected a list)
  hint: write `tags: ["latest"]`
f:4:7: error: `Not A Base` is not a repository: its name must be lower-case
  hint: write `scratch`, `static`, `oci:DIRECTORY` or a reference such as `docker.io/library/debian:bookworm-slim`
f:6:5: error: an entry of `binaries` lacks the required key `to`
  hint: say where it goes in the image, such as `to: /usr/bin/app`
f:6:21: error: unknown key `featuers` in `rust` (did you mean `features`?)
f:7:5: error: unknown key `too` in an entry of `binaries` (did you mean `to`?)
f:8:5: error: an entry of `binaries` can have only one of `rust`, `go` and `file`
  9:5: the other one
f:10:9: error: path `app` in the image is not absolute
  hint: write an absolute path without `.` and `..`, such as `/usr/bin/app`
f:12:3: error: unknown key `entrypont` in `config` (did you mean `entrypoint`?)
f:13:9: error: `A=B` is no name of a variable: it holds a `=`
f:13:23: error: unknown name `platform.architecture` in `${…}` (did you mean `platform.arch`?)
"#,
    );
}

#[test]
fn i01_what_is_no_yaml_has_a_place() {
    check("version: 1\ntags: [a\n", "f:2:7: error: not valid YAML: unclosed bracket '['");
    check("- version: 1\n", "f:1:1: error: the build file must be a map, but is a list (expected a map)");
    check(
        "version: 1\nlabels: *nothing\ntags: x",
        "f:2:9: error: there is no anchor `&nothing` before this alias\n\
         f:3:7: error: `tags` must be a list, but is a text (expected a list)\n  hint: write `tags: [\"x\"]`",
    );
    check("version: 1\nlabels: &a {b: *a}\n", "f:2:16: error: the alias stands within the value that it names");
}

/// The message, without its hints, that `text` ends with.
fn refused(text: &str) -> String {
    let shown = parse(Path::new("f"), text, &Overrides::default()).unwrap_err().to_string();
    shown.lines().next().unwrap().to_owned()
}

#[test]
fn i01_bombs_are_refused_quickly() {
    let started = std::time::Instant::now();
    let mut bomb = "version: 1\nlabels:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("  a{level}: &a{level} [{items}]\n"));
    }
    assert!(refused(&bomb).starts_with("f:7:"), "{}", refused(&bomb));
    assert!(refused(&bomb).ends_with("more than 100000 values once its aliases are expanded"));
    let text = "x".repeat(500_000);
    let texts = format!("version: 1\nlabels:\n  a: &a {text}\n  b: [{}]\n", vec!["*a"; 1000].join(", "));
    assert!(refused(&texts).starts_with("f:4:") && refused(&texts).contains("4194304 bytes of text"));
    assert_eq!(refused(&"x".repeat(100_000_000)), "f: error: the build file has 100000000 bytes, more than 1048576");
    let deep = format!("version: 1\ntags: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(refused(&deep).ends_with("nested more than 32 deep"), "{}", refused(&deep));
    let deep: String = (0..5000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(refused(&deep).contains("nested more than 32 deep") || refused(&deep).contains("more than 1048576"));
    let nested: String = (1..60).map(|level| format!("  a{level}: &a{level} [*a{}]\n", level - 1)).collect();
    assert!(refused(&format!("version: 1\nlabels:\n  a0: &a0 x\n{nested}")).ends_with("nested more than 32 deep"));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn i02_unknown_and_doubled_keys_are_refused() {
    check(
        "version: 1\nversion: 1\nconfig:\n  env: {A: 1, B: 2, A: 3}\nbinarys: []\n",
        "f:2:1: error: the key `version` is there twice (here again)\n  1:1: first here\n\
         f:4:21: error: the key `A` is there twice (here again)\n  4:9: first here\n\
         f:5:1: error: unknown key `binarys` in the build file (did you mean `binaries`?)",
    );
}

#[test]
fn i03_destinations_outside_the_image_are_refused() {
    for (to, expect) in [
        ("../x", "path `../x` in the image is not absolute"),
        (".", "path `.` in the image is not absolute"),
        ("''", "`to` is empty"),
        (r#""/a\0b""#, "`binaries[].to` holds a NUL character"),
        ("/usr/../x", "path `/usr/../x` in the image has the component `..`"),
        ("/", "`/` is the image's root directory, no file"),
        ("'${platform.os}/x'", "path `x/x` in the image is not absolute"),
    ] {
        let text = format!("version: 1\nbinaries:\n  - file: x\n    to: {to}\n");
        assert_eq!(refused(&text), format!("f:4:9: error: {expect}"));
    }
}

#[test]
fn i10_destinations_that_would_delete_are_refused() {
    assert!(refused("version: 1\nfiles: [{from: x, to: /a/.wh.b}]\n").contains("f:2:23: error: path `/a/.wh.b`"));
}

#[test]
fn i11_two_sources_for_one_destination_are_refused() {
    check(
        "version: 1\nbinaries:\n  - {file: a, to: /a}\n  - {file: b, to: /a}\nfiles: [{from: c, to: /a/}]\n",
        "f:4:19: error: two sources for `/a` in the image (here again)\n  3:19: first here\n\
         f:5:23: error: `/a` lies below `/a`, which is a file\n  3:19: a file is put here",
    );
}

#[test]
fn i22_settings_that_run_programs_are_refused_unless_allowed() {
    let text = "version: 1\nbinaries:\n  - rust: {path: ., env: {RUSTC_WRAPPER: /x}}\n    to: /a\n";
    assert_eq!(refused(text), "f:3:42: error: `RUSTC_WRAPPER` runs a program of its own");
    check_with(text, &Overrides { allow_exec: true, ..Overrides::default() }, "");
}

#[test]
fn the_command_line_replaces_what_the_file_says() {
    let set =
        |list: &[&str]| Overrides { set: list.iter().map(|it| (*it).to_owned()).collect(), ..Overrides::default() };
    let text = "version: 1\nbinaries:\n  - rust: .\n    to: /a\n";
    let overrides = set(&[
        "config.env.A=1",
        "labels.org.example.x=a: b",
        "tags=[a, b]",
        "binaries[0].rust.profile=dev",
        "base=scratch",
        "version=1",
    ]);
    let spec = parse(Path::new("f"), text, &overrides).unwrap();
    assert_eq!(spec.config.env["A"].value.text(), "1");
    assert_eq!(spec.labels["org.example.x"].value.text(), "a: b");
    assert_eq!(spec.tags.len(), 2);
    let BinarySource::Rust(rust) = &spec.binaries[0].value.source else { panic!() };
    assert_eq!((rust.path.value.to_str(), rust.profile.as_str()), (Some("."), "dev"));
    check_with(
        text,
        &set(&["confg.env.A=1", "tags=[a b, c", "base=A B", "config.user", "tags.x=1", "config.workdir=x"]),
        "--set:1:1: error: `confg.env.A=1` sets nothing: unknown key `confg`; did you mean `config`?
  hint: write `--set KEY=VALUE`, such as `--set config.env.RUST_LOG=debug`
--set:1:6: error: not valid YAML: unclosed bracket '['
--set:1:6: error: `A B` is not a repository: its name must be lower-case
  hint: write `scratch`, `static`, `oci:DIRECTORY` or a reference such as `docker.io/library/debian:bookworm-slim`
--set:1:1: error: `config.user` sets nothing: there is no `=`
  hint: write `--set KEY=VALUE`, such as `--set config.env.RUST_LOG=debug`
--set:1:1: error: `tags.x=1` sets nothing: `tags` is a list; write `tags[0]`
  hint: write `--set KEY=VALUE`, such as `--set config.env.RUST_LOG=debug`
--set:1:16: error: path `x` in the image is not absolute
  hint: write an absolute path without `.` and `..`, such as `/usr/bin/app`",
    );
}

#[test]
fn what_one_platform_needs_is_put_over_the_rest() {
    let spec = good(include_str!("../../../../testdata/good/per-platform.yaml"));
    let (amd64, s390x) = (spec.platforms[0].value, spec.platforms[1].value);
    assert!(matches!(spec.of(amd64).binaries[0].value.source, BinarySource::Rust(_)));
    let other = spec.of(s390x);
    assert!(matches!(other.binaries[0].value.source, BinarySource::File(_)));
    assert_eq!(other.base.of(s390x).value, BaseSource::Scratch);
    assert_eq!((other.config.env["A"].value.text(), other.config.env["B"].value.text()), ("1", "3"));
    assert!(other.config.cmd.is_some());
    assert!(other.annotations.manifest.contains_key("org.only") && !spec.annotations.manifest.contains_key("org.only"));
    let keys = |map: &std::collections::BTreeMap<String, _>| map.keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&spec.annotations.index), "org.x org.y");
    assert_eq!(keys(&spec.annotations.manifest), "org.p org.x");
    assert_eq!(spec.annotations.manifest["org.x"].value.text(), "${platform}");
    assert_eq!(keys(&spec.annotations.descriptor), "org.z");
}

#[test]
fn a_mistake_in_one_platform_is_told_once_and_there() {
    check(
        "version: 1\ntags: [a b]\nper-platform:\n  linux/s390x: {base: A B}\n  linux/arm64: {confg: {}, tags: [x]}\n",
        "f:2:8: error: `a b` is not a tag: write up to 128 letters, digits, `_`, `.` or `-`, not beginning with `.` or `-`
f:4:3: error: `linux/s390x` is not among the platforms of this image
  hint: add it to `platforms`, or remove it here
f:4:23: error: `A B` is not a repository: its name must be lower-case
  hint: write `scratch`, `static`, `oci:DIRECTORY` or a reference such as `docker.io/library/debian:bookworm-slim`
f:5:17: error: unknown key `confg` in `linux/arm64` (did you mean `config`?)
f:5:28: error: unknown key `tags` in `linux/arm64`
  hint: valid here: `base`, `binaries`, `files`, `links`, `directories`, `users`, `run`, `steps`, `config`, `inherit`, `labels`, `annotations`, `smoke` and `allow`",
    );
}

#[test]
fn what_else_an_image_can_need() {
    let spec = good(include_str!("../../../../testdata/good/rest.yaml"));
    assert!(matches!(&spec.files[0].value.from, FileSource::Pattern(_)));
    assert!(matches!(&spec.files[1].value.from, FileSource::CaCertificates(_)));
    assert_eq!(spec.files[0].value.directory_mode, Some(0o700));
    assert_eq!(spec.binaries[0].value.capabilities, Capabilities(1 << 10 | 1));
    assert_eq!((spec.users[0].value.group.as_str(), spec.users[0].value.comment.as_str()), ("staff", "An app"));
    assert!(matches!(
        &spec.config.healthcheck,
        Some(HealthcheckSpec::Check { interval: Some(90_000_000_000), retries: Some(2), timeout: None, .. })
    ));
    assert_eq!((spec.inherit.cmd, spec.inherit.labels, spec.inherit.env), (Some(true), Some(false), true));
    assert_eq!(spec.infer, Infer::Both);
    assert_eq!((spec.layers.compression, spec.layers.grouping), (Compression::Zstd, Grouping::Kind));
    let facts = Facts::default();
    let values = Variables { platform: None, facts: &facts };
    assert_eq!(render_date(spec.created.as_ref().unwrap(), &values).unwrap().to_string(), "2026-01-31T11:00:00Z");
}

/// A small generator (xorshift), so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Whatever is done to a file, there is an answer, and every place in it can be shown.
#[test]
fn i01_broken_files_have_places_that_can_be_shown() {
    const PIECES: &[&str] = &[
        "ä", "€", "\t", "\r\n", "\n", " ", "- ", ": ", "{", "}", "[", "]", "\"", "'", "&a ", "*a", "#", "|", ">", "!x",
        "${", "}", "$", "0", "null", "\0", "? ", "%", "---\n", "<<: ", "\u{feff}", "\u{2028}", "\\", ",",
    ];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut refused = 0;
    for round in 0..4000 {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for _ in 0..=dice.below(4) {
            let at = dice.below(text.len());
            match dice.below(3) {
                0 => drop(text.drain(at..(at + 1 + dice.below(12)).min(text.len()))),
                1 => drop(text.splice(at..at, PIECES[dice.below(PIECES.len())].chars())),
                _ => {
                    let from = dice.below(text.len());
                    let part: Vec<char> = text[from..(from + dice.below(40)).min(text.len())].to_vec();
                    drop(text.splice(at..at, part));
                }
            }
        }
        let text: String = text.into_iter().collect();
        let Err(diagnostics) = parse(Path::new("f"), &text, &Overrides::default()) else { continue };
        refused += 1;
        for diagnostic in &diagnostics {
            assert_ne!(diagnostic.code, "internal", "round {round}:\n{text}");
            for label in diagnostic.label.iter().chain(&diagnostic.related) {
                let Place { line, column, start, end, .. } = label.place;
                let shown = text.get(start..end);
                assert!(shown.is_some_and(|it| !it.contains('\n')), "round {round}: {:?}\n{text}", label.place);
                let before = &text[..start];
                let expect =
                    (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap().chars().count() + 1);
                let breaks = text.contains(['\r', '\u{feff}', '\u{2028}']);
                assert!(breaks || (line as usize, column as usize) == expect, "round {round}: {diagnostics}\n{text}");
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn i01_bytes_that_are_no_text_have_a_place() {
    let error = parse_bytes(Path::new("f"), b"version: 1\nimage: \xe4\xff\n", &Overrides::default()).unwrap_err();
    assert_eq!(error.to_string(), "f:2:8: error: the build file is not UTF-8 text");
    let error = parse_bytes(Path::new("f"), b"version: 1\n\xff", &Overrides::default()).unwrap_err();
    assert_eq!(error.to_string(), "f:2:1: error: the build file is not UTF-8 text");
}

#[test]
fn the_canonical_text_is_the_same_however_the_file_is_written() {
    let one = good("version: 1\ntags: [a, \"1.0\"]\nlabels: {b: c, a: d} # x\n").canonical;
    let other = good("labels:\n  a: 'd'\n  b: c\ntags:\n- a\n- 1.0\nversion: 1\n").canonical;
    assert_eq!(one, other);
    assert_eq!(one, r#"{"labels":{"a":"d","b":"c"},"tags":["a","1.0"],"version":"1"}"#);
}

#[test]
fn what_values_make_of_a_text_is_looked_at_again() {
    let spec = good(
        "version: 1\nenv: [X]\ntags: ['${env.X}']\nbinaries: [{file: 'a/${env.X}', to: '/${env.X}'}]\nlabels: {a: '${git.commit}'}\n",
    );
    assert_eq!(spec.variables, [Variable::GitCommit, Variable::Env("X".to_owned())].into());
    let with = |value: &str| {
        let facts = Facts { env: [("X".to_owned(), value.to_owned())].into(), ..Facts::default() };
        let values = Variables { platform: None, facts: &facts };
        let BinarySource::File(source) = &spec.binaries[0].value.source else { panic!() };
        let message = |problem: Box<Diagnostic>| format!("{} {}", problem.place().unwrap(), problem.message);
        [
            render_tag(&spec.tags[0], &values).map_or_else(message, |tag| tag.to_string()),
            render_source(source, &values).map_or_else(message, |path| path.to_string()),
            render_file(&spec.binaries[0].value.to, &values).map_or_else(message, |path| path.to_string()),
        ]
    };
    assert_eq!(with("v1"), ["v1", "a/v1", "/v1"]);
    assert_eq!(
        with("../../b"),
        [
            "3:8 `../../b` is no tag",
            "4:19 `a/../../b` leaves the directory of the build file",
            "4:37 path `/../../b` in the image has the component `..`"
        ]
    );
    assert_eq!(with("")[2], "4:37 `/${env.X}` is the image's root directory, no file");
}
