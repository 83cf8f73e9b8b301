//! The user's own cargo configuration goes before whatever mab would do.

use builder::toolchain::{CompileUnit, Program};
use oci_layout::Digest;

use crate::support::{Machine, host, run, rust, script, which};

const APP: &[(&str, &str)] = &[
    ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    ("src/main.rs", "fn main() { println!(\"hello\"); }"),
];

fn app() -> Machine {
    let machine = Machine::new("m");
    machine.write(APP);
    machine
}

#[test]
fn the_users_linker_links() {
    let Some(cc) = which("cc") else { return };
    let machine = app();
    let log = machine.root.join("log");
    script(
        &machine.checkout().join("tools/gcc"),
        &format!("echo called >>{}\nexec {} \"$@\"", log.display(), cc.display()),
    );
    let config = format!("[target.{}]\nlinker = \"tools/gcc\"\n", host().target().rust_gnu);
    machine.write(&[(".cargo/config.toml", &config)]);
    let program = machine.build(&rust(&machine.checkout()));
    assert_eq!(run(&program), "hello\n");
    assert_eq!(fs_err::read_to_string(log).unwrap(), "called\n");
}

#[test]
fn the_users_target_directory_holds_ours_and_other_directories_stay_empty() {
    let machine = app();
    machine.write(&[(
        ".cargo/config.toml",
        "[build]\ntarget-dir = \"elsewhere\"\nbuild-dir = \"between\"\ntarget = \"riscv64gc-unknown-linux-gnu\"\n",
    )]);
    let program = machine.build(&rust(&machine.checkout()));
    assert!(program.starts_with(machine.checkout().join("elsewhere/mab")), "{}", program.display());
    assert_eq!(run(&program), "hello\n");
    assert!(!machine.checkout().join("target").exists());
    assert!(!machine.checkout().join("between").exists(), "shared with builds that have other flags");
}

#[test]
fn vendored_sources_are_taken() {
    let machine = app();
    let source = "pub const WORD: &str = \"vendored\";";
    let manifest = "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    let checksum = format!(
        r#"{{"files":{{"Cargo.toml":"{}","src/lib.rs":"{}"}},"package":"{}"}}"#,
        Digest::of(manifest.as_bytes()).hex(),
        Digest::of(source.as_bytes()).hex(),
        Digest::of(b"the archive").hex()
    );
    machine.write(&[
        ("Cargo.toml", &format!("{}[dependencies]\ntiny = \"1\"\n", APP[0].1)),
        ("src/main.rs", "fn main() { println!(\"{}\", tiny::WORD); }"),
        ("vendor/tiny/Cargo.toml", manifest),
        ("vendor/tiny/src/lib.rs", source),
        ("vendor/tiny/.cargo-checksum.json", &checksum),
        (
            ".cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"vendor\"\n",
        ),
    ]);
    assert_eq!(run(&machine.build(&rust(&machine.checkout()))), "vendored\n");
}

#[test]
fn binaries_of_several_packages_are_one_call() {
    let machine = Machine::new("m");
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    machine.write(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"2\"\n"),
        ("one/Cargo.toml", &package("one")),
        ("one/src/main.rs", "fn main() { println!(\"1\"); }"),
        ("two/Cargo.toml", &package("two")),
        ("two/src/main.rs", "fn main() { println!(\"2\"); }"),
    ]);
    let mut requests = Vec::new();
    for (binary, (name, directory)) in [("one", "one"), ("two", "")].into_iter().enumerate() {
        let mut request = rust(&machine.checkout().join(directory));
        request.binary = binary;
        if let Program::Rust(program) = &mut request.program {
            program.bin = Some(name.to_owned());
        }
        requests.push(request);
    }
    let units = machine.survey(&requests).unwrap();
    assert!(matches!(&units[..], [CompileUnit::Rust(_)]), "{units:?}");
    let compiled = machine.compile(&units[0]).unwrap();
    let printed: Vec<_> = compiled.artifacts.iter().map(|artifact| (artifact.binary, run(&artifact.path))).collect();
    assert_eq!(printed, [(0, "1\n".to_owned()), (1, "2\n".to_owned())]);
    assert_eq!(compiled.packages.len(), 2);
}

#[test]
fn a_target_directory_that_cannot_be_written_is_named() {
    let machine = app();
    // A file in its place stops root, too.
    machine.write(&[("target", "")]);
    let units = machine.survey(&[rust(&machine.checkout())]).unwrap();
    let error = machine.compile(&units[0]).unwrap_err();
    assert!(error.contains("ROOT/checkout/target/mab"), "{error}");
}

#[test]
fn wrappers_of_a_file_and_of_the_workspace_are_both_called() {
    let mut machine = app();
    let log = machine.root.join("log");
    for name in ["cache", "workspace"] {
        let text = format!("echo {name} \"$*\" >>{}\nexec \"$@\"", log.display());
        script(&machine.checkout().join("tools").join(name), &text);
    }
    machine.write(&[(".cargo/config.toml", "[build]\nrustc-wrapper = \"tools/cache\"\n")]);
    machine.env.set("RUSTC_WORKSPACE_WRAPPER", machine.checkout().join("tools/workspace"));
    assert_eq!(run(&machine.build(&rust(&machine.checkout()))), "hello\n");
    let log = fs_err::read_to_string(log).unwrap();
    let of_app = |wrapper: &str| {
        log.lines().filter(|line| line.starts_with(wrapper) && line.contains("--crate-name app")).count()
    };
    // The one wraps the other.
    assert_eq!((of_app("cache"), of_app("workspace")), (1, 1), "{log}");
}

#[test]
fn no_flag_comes_twice() {
    let mut machine = app();
    let log = machine.root.join("log");
    let text =
        format!("case \"$*\" in *'--crate-name app'*) printf '%s\\n' \"$@\" >>{};; esac\nexec \"$@\"", log.display());
    script(&machine.root.join("bin/cache"), &text);
    machine.env.set("RUSTC_WRAPPER", machine.root.join("bin/cache"));
    machine.env.set("RUSTFLAGS", "--cfg users");
    let mut request = rust(&machine.checkout());
    request.linkage = builder::toolchain::Linkage::Static;
    machine.build(&request);
    let log = fs_err::read_to_string(log).unwrap();
    for flag in ["users", "-Ctarget-feature=+crt-static"] {
        assert_eq!(log.lines().filter(|line| *line == flag).count(), 1, "{flag}: {log}");
    }
    let mut remaps: Vec<&str> = log.lines().filter(|line| line.starts_with("--remap-path-prefix=")).collect();
    let all = remaps.len();
    remaps.sort_unstable();
    remaps.dedup();
    assert_eq!((remaps.len(), all > 3), (all, true), "{log}");
}

#[test]
fn a_c_compiler_that_a_file_names_is_left_alone() {
    let machine = app();
    machine.write(&[(
        ".cargo/config.toml",
        "[env]\nCC_aarch64_unknown_linux_gnu = { value = \"tools/cc\", relative = true }\n",
    )]);
    let config = fs_err::read_to_string(machine.checkout().join(".cargo/config.toml")).unwrap();
    machine.write(&[(
        "build.rs",
        "fn main() { println!(\"cargo:warning=CC is {}\", std::env::var(\"CC_aarch64_unknown_linux_gnu\").unwrap()); }",
    )]);
    machine.build(&rust(&machine.checkout()));
    let wanted = format!("CC is {}", machine.checkout().join("tools/cc").display());
    assert!(machine.record.output().contains(&wanted), "{config}{}", machine.record.output());
}
