//! Images made of facts: each check with a file that fits and one that does not.

use std::collections::{BTreeMap, BTreeSet};

use oci_layout::document::ContainerConfig;
use oci_layout::layer::facts::{Fact, FactKind, LayerFacts};

use super::*;
use crate::check::elf::{ElfFacts, FileFacts, GoBuild, Relocations, StaticNss, VersionNeeds, X86Level};
use crate::check::{Answer, Report};
use crate::target::FloatAbi;

/// A small image: one layer of a base, files above it, a config.
struct Made {
    facts: Vec<LayerFacts>,
    programs: BTreeMap<ImagePath, Origin>,
    config: ContainerConfig,
    platform: &'static str,
    base_layers: Option<usize>,
    scope: Scope,
    allow: BTreeSet<CheckId>,
}

fn at(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn layer() -> LayerFacts {
    LayerFacts::parse(br#"{"version":2,"entries":[]}"#).unwrap().unwrap()
}

impl Made {
    /// glibc of version 2.36 with its loader, for amd64.
    fn debian() -> Self {
        let mut made = Self {
            facts: vec![layer()],
            programs: BTreeMap::new(),
            config: ContainerConfig { entrypoint: Some(vec!["/app".to_owned()]), ..ContainerConfig::default() },
            platform: "linux/amd64",
            base_layers: Some(1),
            scope: Scope::All,
            allow: BTreeSet::new(),
        };
        let versions = ["GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.36", "GLIBC_PRIVATE"].map(str::to_owned).into();
        let directories = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        made.elf("/lib/x86_64-linux-gnu/libc.so.6", |elf| {
            elf.soname = Some("libc.so.6".to_owned());
            elf.interpreter = Some("/lib64/ld-linux-x86-64.so.2".to_owned());
            elf.needed = vec!["ld-linux-x86-64.so.2".to_owned()];
            elf.defined = versions;
        });
        made.elf("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", |elf| {
            elf.soname = Some("ld-linux-x86-64.so.2".to_owned());
            elf.directories = directories.map(str::to_owned).into();
        });
        made.link("/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
        made.text("/etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/x\n");
        made.text("/etc/group", "root:x:0:\napp:x:1000:\nextra:x:50:app\n");
        made.facts.push(layer());
        made
    }

    /// musl with the loader that is the C library too.
    fn alpine() -> Self {
        let mut made = Self::debian();
        made.facts[0] = layer();
        let last = made.facts.pop();
        made.elf("/lib/ld-musl-x86_64.so.1", |elf| elf.soname = Some("libc.musl-x86_64.so.1".to_owned()));
        made.link("/lib/libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1");
        made.facts.extend(last);
        made
    }

    fn put(&mut self, path: &str, kind: FactKind, mode: u32) -> &mut LayerFacts {
        let layer = self.facts.last_mut().unwrap();
        layer.entries.push(Fact { path: at(path), kind, mode, uid: 0, gid: 0 });
        layer
    }

    fn elf(&mut self, path: &str, change: impl FnOnce(&mut ElfFacts)) {
        let mut elf = ElfFacts {
            machine: 62,
            is_64: true,
            little_endian: true,
            x86_level: Some(X86Level(1)),
            ..ElfFacts::default()
        };
        change(&mut elf);
        self.noted(path, FileFacts::Elf(Box::new(elf)));
    }

    fn noted(&mut self, path: &str, facts: FileFacts) {
        let value = serde_json::to_value(facts).unwrap();
        self.put(path, FactKind::File { size: 1 }, 0o755).inspected.insert(at(path), value);
    }

    /// The program that the image starts, for glibc.
    fn app(mut self, change: impl FnOnce(&mut ElfFacts)) -> Self {
        self.elf("/app", |elf| {
            elf.kind = ElfType::Program;
            elf.interpreter = Some("/lib64/ld-linux-x86-64.so.2".to_owned());
            elf.needed = vec!["libc.so.6".to_owned()];
            change(elf);
        });
        self
    }

    fn text(&mut self, path: &str, text: &str) {
        self.put(path, FactKind::File { size: 1 }, 0o644).texts.insert(at(path), text.to_owned());
    }

    fn link(&mut self, path: &str, target: &str) {
        self.put(path, FactKind::Symlink { target: target.to_owned() }, 0o777);
    }

    fn report(&self, detail: Detail) -> Report {
        let tree = Tree::of(&self.facts);
        let image = Image {
            platform: self.platform.parse().unwrap(),
            tree: &tree,
            config: &self.config,
            base: Some("debian@sha256:1".to_owned()),
            base_layers: self.base_layers,
            programs: &self.programs,
            scope: self.scope,
        };
        check(&image, &self.allow, detail)
    }

    /// Checks and messages of what does not fit or is unknown.
    #[track_caller]
    fn finds(&self, expect: &[(&str, &str)]) {
        let report = self.report(Detail::Findings);
        let found: Vec<String> =
            report.findings.iter().map(|it| format!("{} {}: {}", it.check, it.answer.name(), it.message)).collect();
        assert_eq!(found.len(), expect.len(), "{found:#?}");
        for (found, (check, part)) in found.iter().zip(expect) {
            assert!(found.starts_with(check) && found.contains(part), "{found} is not {check} {part}");
        }
    }
}

fn needs(library: &str, versions: &[&str]) -> Vec<VersionNeeds> {
    let versions = versions.iter().map(|version| (*version).to_owned()).collect();
    vec![VersionNeeds { library: library.to_owned(), versions, weak: vec!["GLIBC_9.9".to_owned()] }]
}

#[test]
fn what_fits_says_so() {
    let made = Made::debian().app(|elf| elf.versions = needs("libc.so.6", &["GLIBC_2.34"]));
    made.finds(&[]);
    let report = made.report(Detail::All);
    let of = |check: CheckId| {
        let found = report.findings.iter().find(|it| it.check == check && it.subject == "/app");
        found.map(|finding| finding.message.as_str()).unwrap_or_default()
    };
    assert_eq!(of(CheckId::Interpreter), "/lib64/ld-linux-x86-64.so.2 is /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    assert_eq!(of(CheckId::Library), "all 2 are there");
    assert_eq!(of(CheckId::SymbolVersion), "all 1 wanted are defined");
    assert_eq!(report.count(Answer::Unknown), 0);
}

#[test]
fn a_newer_glibc_has_the_message_of_the_style() {
    let mut made =
        Made::debian().app(|elf| elf.versions = needs("libc.so.6", &["GLIBC_2.34", "GLIBC_2.38", "GLIBC_2.41"]));
    made.finds(&[("symbol-version", "/app for linux/amd64 needs GLIBC_2.41, but its base has glibc 2.36")]);
    let hint = |made: &Made| made.report(Detail::Findings).findings[0].hints[0].clone();
    made.programs.insert(at("/app"), Origin { maker: Maker::Rust, ..Origin::default() });
    assert_eq!(
        hint(&made),
        "take a newer base (debian:trixie has 2.41), set `glibc: \"2.36\"` on the binary, or build it with `libc: musl`"
    );
    made.allow.insert(CheckId::SymbolVersion);
    let report = made.report(Detail::Findings);
    assert!(report.findings[0].allowed && !report.has_errors());
    // A ceiling is kept even where the base has more.
    let mut made = Made::debian().app(|elf| elf.versions = needs("libc.so.6", &["GLIBC_2.34"]));
    let glibc = Some(GlibcVersion { major: 2, minor: 31 });
    made.programs.insert(at("/app"), Origin { maker: Maker::Rust, glibc, cpu: None });
    made.finds(&[("glibc-ceiling", "needs GLIBC_2.34, but `glibc: \"2.31\"` is the newest that it may need")]);
}

#[test]
fn versions_of_other_libraries_and_of_libraries_in_turn() {
    let mut made = Made::debian().app(|elf| {
        elf.needed.push("libx.so.1".to_owned());
        elf.versions = needs("libx.so.1", &["X_1", "X_2"]);
    });
    made.elf("/usr/lib/libx.so.1", |elf| elf.defined = vec!["X_1".to_owned()]);
    made.finds(&[("symbol-version", "/app needs X_2 of libx.so.1, which /usr/lib/libx.so.1 does not define")]);
    // Without any versions it satisfies all, as for glibc's loader.
    let mut made = Made::debian().app(|elf| {
        elf.needed.push("libx.so.1".to_owned());
        elf.versions = needs("libx.so.1", &["X_2"]);
    });
    made.elf("/usr/lib/libx.so.1", |elf| {
        elf.needed = vec!["libc.so.6".to_owned()];
        elf.versions = needs("libc.so.6", &["GLIBC_2.38"]);
    });
    made.finds(&[
        ("symbol-version", "/app for linux/amd64 cannot start: /usr/lib/libx.so.1, which it loads, needs GLIBC_2.38"),
        ("symbol-version", "/usr/lib/libx.so.1 for linux/amd64 needs GLIBC_2.38 of libc.so.6"),
    ]);
}

#[test]
fn relocations_that_nothing_applies() {
    let made = |relocations| {
        Made::debian().app(|elf| (elf.interpreter, elf.needed, elf.relocations) = (None, Vec::new(), Some(relocations)))
    };
    made(Relocations::Applied).finds(&[]);
    let left = |count, first: &str| made(Relocations::Left { count, first: first.to_owned() });
    let message = "/app for linux/amd64 has 2 relocations that nothing applies, the first to `value`";
    left(2, "value").finds(&[("static-relocations", message)]);
    assert!(left(2, "value").report(Detail::Findings).has_errors());
    left(1, "").finds(&[("static-relocations", "/app for linux/amd64 has a relocation that nothing applies")]);
    left(1, "value").finds(&[("static-relocations", "has a relocation that nothing applies, to `value`")]);
}

#[test]
fn another_machine_float_abi_or_level() {
    Made::debian()
        .app(|elf| elf.machine = 183)
        .finds(&[("machine", "AArch64 (arm64) program, but a 64-bit little-endian x86-64")]);
    Made::debian().app(|elf| elf.x86_level = Some(X86Level(3))).finds(&[("isa-level", "x86-64-v3 (its note says so)")]);
    let go = |level: &str| Some(GoBuild { level: Some(level.to_owned()), ..GoBuild::default() });
    Made::debian().app(|elf| elf.go = go("v2")).finds(&[("isa-level", "x86-64-v2 (GOAMD64 says so)")]);
    let mut made = Made::debian().app(|elf| elf.x86_level = Some(X86Level(3)));
    made.platform = "linux/amd64/v3";
    made.finds(&[]);
    Made::debian().app(|elf| elf.x86_level = None).finds(&[("isa-level unknown", "does not say which level")]);
    let mut made = Made::debian().app(|_| ());
    made.programs.insert(at("/app"), Origin { maker: Maker::Rust, glibc: None, cpu: Some("x86-64-v4".to_owned()) });
    made.finds(&[("isa-level", "x86-64-v4 (`target-cpu` says so)")]);

    let arm = |platform: &'static str, float: FloatAbi, architecture: u8| {
        let mut made = Made::debian();
        made.facts = vec![layer(), layer()];
        made.platform = platform;
        made.elf("/app", |elf| {
            *elf = ElfFacts { machine: 40, little_endian: true, ..ElfFacts::default() };
            elf.kind = ElfType::Program;
            (elf.float, elf.arm_arch) = (Some(float), Some(architecture));
        });
        made
    };
    arm("linux/arm/v7", FloatAbi::Hard, 10).finds(&[]);
    arm("linux/arm/v6", FloatAbi::Hard, 10).finds(&[("isa-level", "ARMv7 (its attributes say so)")]);
    arm("linux/arm/v5", FloatAbi::Hard, 4).finds(&[("float-abi", "hard-float")]);
    arm("linux/arm/v7", FloatAbi::Hard, 14).finds(&[("isa-level", "ARMv8-A")]);
}

#[test]
fn loaders_of_the_other_libc_and_of_none() {
    let mut made = Made::alpine().app(|_| ());
    made.finds(&[("libc", "/app for linux/amd64 is linked against glibc, but its base has musl")]);
    made = Made::debian().app(|elf| elf.interpreter = Some("/lib/ld-musl-x86_64.so.1".to_owned()));
    made.finds(&[("libc", "is linked against musl, but its base has glibc")]);
    made = Made::alpine().app(|elf| {
        elf.interpreter = Some("/lib/ld-musl-x86_64.so.1".to_owned());
        elf.needed = vec!["libc.musl-x86_64.so.1".to_owned()];
    });
    made.finds(&[]);
    made = Made::debian();
    made.facts = vec![layer(), layer()];
    made.app(|_| ())
        .finds(&[("interpreter", "asks for the loader /lib64/ld-linux-x86-64.so.2, which its base does not have")]);
    made = Made::debian();
    made.facts[0].entries.retain(|fact| fact.path.as_str() != "/lib64/ld-linux-x86-64.so.2");
    made.app(|_| ()).finds(&[("interpreter", "its base does not have")]);
}

#[test]
fn warnings_are_no_errors() {
    let made = Made::debian().app(|elf| (elf.executable_stack, elf.text_relocations) = (true, true));
    made.finds(&[("exec-stack", "executable stack"), ("text-relocations", "changed while it is loaded")]);
    assert!(!made.report(Detail::Findings).has_errors());
    let still = |nss: StaticNss| {
        Made::debian().app(|elf| (elf.interpreter, elf.needed, elf.static_nss) = (None, Vec::new(), Some(nss)))
    };
    still(StaticNss::Loads).finds(&[("static-nss", "static, but looks up names")]);
    still(StaticNss::BuiltIn).finds(&[]);
    let mut made = still(StaticNss::BuiltIn);
    made.text("/etc/nsswitch.conf", "passwd: files\nhosts: files [NOTFOUND=return] dns # mdns\n");
    made.finds(&[]);
    made = still(StaticNss::BuiltIn);
    made.text("/etc/nsswitch.conf", "hosts: files mdns4 dns\n");
    made.finds(&[("static-nss", "static, but")]);
    made = Made::debian().app(|_| ());
    made.facts[1].entries[0].mode = 0o4755;
    made.finds(&[("set-id", "/app for linux/amd64 has mode 4755")]);
}

#[test]
fn what_is_started_is_there() {
    let started = |words: &[&str], change: &dyn Fn(&mut Made)| {
        let mut made = Made::debian().app(|_| ());
        made.config.entrypoint = Some(words.iter().map(|word| (*word).to_owned()).collect());
        change(&mut made);
        made
    };
    started(&["/gone"], &|_| ()).finds(&[("entrypoint", "/gone, which linux/amd64 is to start, is not in the image")]);
    started(&["app"], &|_| ()).finds(&[("entrypoint", "is not in PATH (/usr/local/sbin")]);
    started(&["app"], &|made| made.config.env = vec!["PATH=/usr/bin:/".to_owned()]).finds(&[]);
    started(&["./app"], &|_| ()).finds(&[]);
    started(&["/"], &|_| ()).finds(&[("entrypoint", "is not a file")]);
    started(&["/run"], &|made| made.link("/run", "/gone")).finds(&[("entrypoint", "is a link to /gone")]);
    started(&["/l1"], &|made| {
        made.link("/l1", "/l2");
        made.link("/l2", "/l1");
    })
    .finds(&[("entrypoint", "too many symbolic links")]);
    started(&["/app"], &|made| made.facts[1].entries[0].mode = 0o644)
        .finds(&[("entrypoint", "may not be executed by anyone")]);
    started(&["/text"], &|made| {
        made.put("/text", FactKind::File { size: 1 }, 0o755);
    })
    .finds(&[("entrypoint", "neither an ELF program nor a script")]);
    let private = |made: &mut Made| {
        made.facts[1].entries[0].mode = 0o750;
        made.facts[1].entries[0].gid = 50;
    };
    started(&["/app"], &|made| {
        private(made);
        made.config.user = Some("1001".to_owned());
    })
    .finds(&[("entrypoint", "may not be executed by user 1001: its mode is 0750, its owner 0:50")]);
    started(&["/app"], &|made| {
        private(made);
        made.config.user = Some("app".to_owned());
    })
    .finds(&[]);
    started(&["/app"], &|made| made.config.user = Some("web".to_owned()))
        .finds(&[("user", "starts as `web`, but its /etc/passwd has no such user")]);
    started(&["/app"], &|made| made.config.working_dir = Some("/app".to_owned()))
        .finds(&[("workdir", "/app of linux/amd64 is not a directory")]);
    started(&["/app"], &|made| made.config.working_dir = Some("/app/x".to_owned()))
        .finds(&[("workdir", "cannot be reached")]);
    started(&[], &|_| ()).finds(&[("entrypoint unknown", "names nothing to start")]);
}

#[test]
fn scripts_need_their_interpreters() {
    let script = |line: &str| {
        let mut made = Made::debian().app(|_| ());
        made.noted("/start", FileFacts::Script(line.to_owned()));
        made.config.entrypoint = Some(vec!["/start".to_owned()]);
        made
    };
    script("/app -e").finds(&[]);
    script("/bin/sh")
        .finds(&[("script", "/start for linux/amd64 is a script of `/bin/sh`, which is not in the image")]);
    script("/app\r").finds(&[("script", "carriage return")]);
    script("").finds(&[("script", "names no interpreter")]);
    script("/start").finds(&[("script", "script of a script")]);
    let mut made = script("/usr/bin/env -S A=1 app x");
    made.noted("/usr/bin/env", FileFacts::Script("/app".to_owned()));
    made.finds(&[("script", "`app` is not in PATH")]);
    made.config.env = vec!["PATH=/".to_owned()];
    made.finds(&[]);
}

#[test]
fn a_base_of_another_platform_is_told_once() {
    let mut made = Made::debian();
    made.platform = "linux/arm64";
    made.elf("/app", |elf| (elf.machine, elf.kind) = (183, ElfType::Program));
    made.finds(&[(
        "base-platform",
        "the base says that it is for linux/arm64, but 2 of its 2 ELF files are for x86-64",
    )]);
    // What was finished elsewhere, without a word of its base.
    made.base_layers = None;
    made.finds(&[("base-platform", "but 2 of its 3 ELF files are for x86-64")]);
}

#[test]
fn damaged_files_and_libraries_on_the_list_of_programs() {
    let mut made = Made::debian().app(|_| ());
    made.noted("/app2", FileFacts::Damaged("it ends within the header".to_owned()));
    made.finds(&[("program unknown", "/app2: it ends within the header")]);
    made.programs.insert(at("/app2"), Origin::default());
    made.finds(&[("program", "/app2 for linux/amd64 is a damaged ELF file: it ends within the header")]);
    let mut made = Made::debian().app(|elf| elf.kind = ElfType::Library);
    made.programs.insert(at("/app"), Origin::default());
    made.finds(&[("program", "is a shared library, but a program is wanted")]);
}
