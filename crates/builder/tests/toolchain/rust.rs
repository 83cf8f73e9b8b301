use std::time::{Duration, Instant};

use builder::check::elf::check_program;
use builder::toolchain::{CompileRequest, CompileUnit, Linkage, Program, RustProgram, compile};
use oci_layout::Digest;

use crate::support::{Machine, host, os, run, rust, script, which};

/// A workspace with what makes bytes differ: a build script whose output is included, a macro,
/// panics in generic code, debug information, and a crate out of a registry.
const WORKSPACE: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nmembers = [\"app\", \"macros\"]\nresolver = \"2\"\n[profile.release]\ndebug = 1\n"),
    (
        "app/Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
         [features]\nloud = []\n\
         [dependencies]\nmacros = { path = \"../macros\" }\ntiny = \"1\"\n",
    ),
    (
        "app/build.rs",
        "fn main() {
            let out = std::env::var(\"OUT_DIR\").unwrap();
            let text = \"pub fn made(n: usize) -> u8 { [1, 2, 3][n] }\";
            std::fs::write(format!(\"{out}/made.rs\"), text).unwrap();
        }",
    ),
    (
        "app/src/main.rs",
        "mod made { include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\")); }
         fn main() {
            let count = std::env::args().count();
            let loud = if cfg!(feature = \"loud\") { \"!\" } else { \"\" };
            let linked = if cfg!(target_feature = \"crt-static\") { \"static\" } else { \"dynamic\" };
            let word = macros::word!();
            println!(\"{word} {} {} {linked}{loud}\", made::made(count), tiny::pick(&[4, 5, 6], 2 * count));
         }",
    ),
    (
        "macros/Cargo.toml",
        "[package]\nname = \"macros\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\nproc-macro = true\n",
    ),
    (
        "macros/src/lib.rs",
        "use proc_macro::TokenStream;
         #[proc_macro]
         pub fn word(_: TokenStream) -> TokenStream {
             // A target's flags must not come to what runs here.
             assert!(!cfg!(target_feature = \"crt-static\"));
             \"\\\"hello\\\"\".parse().unwrap()
         }",
    ),
];

const TINY: &[(&str, &str)] = &[
    ("tiny/Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[workspace]\n"),
    ("tiny/src/lib.rs", "pub fn pick<T: Copy>(from: &[T], at: usize) -> T { assert!(at < 9, \"far\"); from[at] }"),
];

impl Machine {
    /// A machine with the workspace, and a registry in a directory with the one crate in it.
    fn with_workspace(depth: &str, registry: &str) -> Self {
        let machine = Self::new(depth);
        machine.write(WORKSPACE);
        let registry = machine.root.join(registry);
        for (name, text) in TINY {
            let path = registry.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let packed = std::process::Command::new("cargo")
            .args(["package", "--quiet", "--no-verify", "--allow-dirty", "--offline", "--target-dir"])
            .arg(registry.join("target"))
            .current_dir(registry.join("tiny"))
            .status()
            .unwrap();
        assert!(packed.success());
        let archive = fs_err::read(registry.join("target/package/tiny-1.0.0.crate")).unwrap();
        fs_err::write(registry.join("tiny-1.0.0.crate"), &archive).unwrap();
        let line = format!(
            r#"{{"name":"tiny","vers":"1.0.0","deps":[],"cksum":"{}","features":{{}},"yanked":false}}"#,
            Digest::of(&archive).hex()
        );
        fs_err::create_dir_all(registry.join("index/ti/ny")).unwrap();
        fs_err::write(registry.join("index/ti/ny/tiny"), line).unwrap();
        fs_err::write(
            machine.root.join("cargo/config.toml"),
            format!(
                "[source.crates-io]\nreplace-with = \"here\"\n[source.here]\nlocal-registry = {:?}\n",
                registry.to_str().unwrap()
            ),
        )
        .unwrap();
        machine
    }

    fn app(&self, change: impl FnOnce(&mut RustProgram)) -> CompileRequest {
        let mut request = rust(&self.checkout());
        if let Program::Rust(program) = &mut request.program {
            change(program);
        }
        request
    }
}

#[test]
fn the_same_bytes_wherever_it_is_built() {
    let mut digests = Vec::new();
    for (depth, registry, jobs, zone) in
        [("a", "mirror", 1, "UTC"), ("another/place/altogether", "registry-of-ours", 4, "Asia/Tokyo")]
    {
        let mut machine = Machine::with_workspace(depth, registry);
        machine.jobs = jobs.try_into().unwrap();
        machine.env.set("TZ", zone);
        let program = machine.build(&machine.app(|_| {}));
        assert_eq!(run(&program), "hello 2 6 dynamic\n");
        assert_eq!(machine.record.warnings(), [""; 0]);
        let bytes = fs_err::read(&program).unwrap();
        digests.push(Digest::of(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        for name in ["/cargo/registry/src/tiny-1.0.0/src/lib.rs", "app/src/main.rs"] {
            assert!(text.contains(name), "{name}");
        }
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn settings_reach_the_compiler_and_every_source_of_the_users_flags_stays() {
    let host = builder::target::TargetPlatform::target(host()).rust_gnu;
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
    let flags = ["--cfg", "users"];
    let in_file = |key: &str| format!("[{key}]\nrustflags = {flags:?}\n");
    let sources: [(&str, &str, String); 5] = [
        ("RUSTFLAGS", "", flags.join(" ")),
        ("CARGO_ENCODED_RUSTFLAGS", "", flags.join("\u{1f}")),
        (&variable, "", flags.join(" ")),
        ("", "build", in_file("build")),
        ("", "target", in_file(&format!("target.{host}"))),
    ];
    for (variable, key, value) in sources {
        let mut machine = Machine::new("m");
        machine.write(&[
            ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
            (
                "src/main.rs",
                "fn main() { println!(\"{} {}\", cfg!(users), cfg!(target_feature = \"crt-static\")); panic!(); }",
            ),
        ]);
        if variable.is_empty() {
            machine.write(&[(".cargo/config.toml", &value)]);
        } else {
            machine.env.set(variable, value);
        }
        let mut request = rust(&machine.checkout());
        request.linkage = Linkage::Static;
        let program = machine.build(&request);
        assert_eq!(run(&program), "true true\n", "{variable}{key}");
        assert!(check_program("/app", &program, request.platform).unwrap().is_static());
        assert_eq!(machine.record.warnings(), [""; 0], "{variable}{key}: paths are still replaced");
    }
}

#[test]
fn features_are_passed_on_and_the_users_wrapper_is_called() {
    let mut machine = Machine::with_workspace("m", "registry");
    let log = machine.root.join("log");
    script(&machine.root.join("bin/cache"), &format!("echo called >>{}\nexec \"$@\"", log.display()));
    machine.env.set("RUSTC_WRAPPER", machine.root.join("bin/cache"));
    let program = machine.build(&machine.app(|program| program.features = vec!["loud".to_owned()]));
    assert_eq!(run(&program), "hello 2 6 dynamic!\n");
    assert!(fs_err::read_to_string(log).unwrap().lines().count() > 4);
}

#[test]
fn what_is_fresh_is_not_compiled_again_and_other_settings_do_not_overwrite_it() {
    let machine = Machine::with_workspace("m", "registry");
    let quiet = machine.app(|_| {});
    let loud = machine.app(|program| program.features = vec!["loud".to_owned()]);
    let (first, second) = (machine.build(&quiet), machine.build(&loud));
    assert_ne!(first, second);
    assert_eq!((run(&first).as_str(), run(&second).as_str()), ("hello 2 6 dynamic\n", "hello 2 6 dynamic!\n"));
    let compiled = machine.record.output().matches("Compiling app").count();
    machine.build(&quiet);
    assert_eq!(machine.record.output().matches("Compiling app").count(), compiled);
    assert!(machine.record.output().contains("Finished"));
}

#[test]
fn a_path_that_the_program_keeps_is_told_with_its_crate() {
    let machine = Machine::new("m");
    machine.write(&[
        ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/main.rs", "fn main() { println!(\"{}\", env!(\"CARGO_MANIFEST_DIR\")); }"),
    ]);
    let program = machine.build(&rust(&machine.checkout()));
    assert_eq!(run(&program).trim(), machine.checkout().to_str().unwrap());
    let warnings = machine.record.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains(machine.checkout().to_str().unwrap()), "{warnings:?}");
}

#[test]
fn a_compile_error_is_shown_and_named() {
    let machine = Machine::new("m");
    machine.write(&[
        ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/main.rs", "fn main() { let x: u8 = \"\"; }"),
    ]);
    let units = machine.survey(&[rust(&machine.checkout())]).unwrap();
    let error = machine.compile(&units[0]).unwrap_err();
    assert_eq!(error, format!("cargo build failed for {} (exit code 101)", host()));
    assert!(machine.record.output().contains("mismatched types"), "{}", machine.record.output());
}

#[test]
fn an_interrupt_ends_a_build_script_that_sleeps() {
    let machine = Machine::new("m");
    let mark = machine.root.join("pid");
    machine.write(&[
        ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/main.rs", "fn main() {}"),
        (
            "build.rs",
            &format!(
                "fn main() {{
                    std::fs::write({mark:?}, std::process::id().to_string()).unwrap();
                    std::thread::sleep(std::time::Duration::from_secs(600));
                }}"
            ),
        ),
    ]);
    let units = machine.survey(&[rust(&machine.checkout())]).unwrap();
    std::thread::scope(|scope| {
        let build = scope.spawn(|| machine.compile(&units[0]));
        let deadline = Instant::now() + Duration::from_secs(60);
        let pid = loop {
            let text = fs_err::read_to_string(&mark).unwrap_or_default();
            if !text.is_empty() {
                break text;
            }
            assert!(Instant::now() < deadline, "the build script did not start");
            std::thread::sleep(Duration::from_millis(10));
        };
        machine.children.interrupt(Duration::from_secs(5));
        assert_eq!(build.join().unwrap().unwrap_err(), "interrupted");
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::path::Path::new("/proc").join(&pid).exists() {
            assert!(Instant::now() < deadline, "the build script still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn packages_and_binaries_that_are_not_there() {
    let machine = Machine::with_workspace("m", "registry");
    let check = |change: fn(&mut RustProgram), expected: &str| {
        assert_eq!(machine.survey(&[machine.app(change)]).unwrap_err(), expected);
    };
    check(
        |program| program.package = Some("ap".to_owned()),
        "/app cannot be built: there is no package `ap` in ROOT/checkout; there are app, macros",
    );
    check(
        |program| program.bin = Some("ap".to_owned()),
        "/app cannot be built: there is no binary `ap` in ROOT/checkout; there is only `app`",
    );
    check(
        |program| program.directory.push("nowhere"),
        "/app cannot be built: there is no directory ROOT/checkout/nowhere",
    );
    machine.write(&[("broken/Cargo.toml", "[package\n")]);
    let error = machine.survey(&[machine.app(|program| program.directory.push("broken"))]).unwrap_err();
    assert!(
        error.starts_with("/app cannot be built: cargo cannot read the package in ROOT/checkout/broken:\n"),
        "{error}"
    );
}

#[test]
fn credentials_do_not_reach_a_build_script() {
    let mut machine = Machine::new("m");
    machine.env.set("DOCKER_AUTH_CONFIG", "canary");
    machine.env.set("REGISTRY_AUTH_FILE", "canary");
    machine.write(&[
        ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/main.rs", "fn main() {}"),
        ("build.rs", "fn main() { assert!(std::env::vars().all(|(_, value)| !value.contains(\"canary\"))); }"),
    ]);
    let units = machine.survey(&[rust(&machine.checkout())]).unwrap();
    let CompileUnit::Rust(_) = &units[0] else { panic!("a Rust unit") };
    machine.with(|context| compile(&units[0], 1, context)).unwrap();
}

/// A cargo that tells the truth about the package and then does something else.
fn with_cargo(build: &str) -> (Machine, CompileUnit) {
    let mut machine = Machine::new("m");
    machine.write(&[
        ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/main.rs", "fn main() {}"),
    ]);
    let cargo = which("cargo").unwrap();
    let text = format!("case $1 in build) {build};; *) exec {} \"$@\";; esac", cargo.display());
    script(&machine.root.join("bin/cargo"), &text);
    let path = format!("{}:{}", machine.root.join("bin").display(), machine.env.text("PATH").unwrap());
    machine.env.set("PATH", os(&path));
    let unit = machine.survey(&[rust(&machine.checkout())]).unwrap().remove(0);
    (machine, unit)
}

#[test]
fn a_cargo_that_is_cut_off_killed_or_floods() {
    let failed = format!("cargo build failed for {}", host());
    for (build, expected) in [
        (r#"echo '{"reason":"compiler-art'"#, "cargo's message cannot be read: {\"reason\":\"compiler-art".to_owned()),
        ("exit 0", format!("cargo build has built no `app` for {}", host())),
        ("kill -9 $$", format!("{failed} (killed by signal 9, as happens when memory runs out)")),
        ("head -c 3000000 /dev/zero >&2; seq 100000 >&2; exit 7", format!("{failed} (exit code 7)")),
    ] {
        let (machine, unit) = with_cargo(build);
        let error = machine.compile(&unit).unwrap_err();
        assert!(error.starts_with(&expected), "{error}");
    }
    let (machine, unit) = with_cargo("echo 'error: No space left on device (os error 28)' >&2; exit 101");
    let error = machine.with(|context| compile(&unit, 1, context)).unwrap_err();
    assert!(error.is_disk_full());
    assert!(error.hint().is_some_and(|hint| hint.contains("make room")));
}
