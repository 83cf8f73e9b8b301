//! Tools in a PATH of the test's own, each in turn not there.

use builder::spec::model::GlibcVersion;
use builder::target::{Libc, TARGETS};
use builder::toolchain::{Ability, CompileRequest, CompileUnit, Linkage, Program, RustTarget, overview};

use crate::support::{Machine, go, host, os, rust, script, which};

const ALL: [&str; 5] = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x", "linux/ppc64le"];

/// A machine with fake tools alone: cargo and rustc that have two standard libraries, linkers
/// that have a C library, a system with apt.
fn machine(tools: &[&str]) -> Machine {
    let mut machine = Machine::new("m");
    let bin = machine.root.join("bin");
    let toolchain = machine.root.join("toolchains/stable-x86_64-unknown-linux-gnu");
    for triple in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "s390x-unknown-linux-gnu"] {
        let libraries = toolchain.join("lib/rustlib").join(triple).join("lib");
        fs_err::create_dir_all(&libraries).unwrap();
        fs_err::write(libraries.join("libstd-0.rlib"), "").unwrap();
    }
    for tool in tools {
        let text = match *tool {
            "rustc" => format!(
                "case \"$*\" in -vV) echo 'rustc 1.95.0'; echo 'host: x86_64-unknown-linux-gnu';; *) echo {};; esac",
                toolchain.display()
            ),
            "cargo" => format!("exec {} \"$@\"", which("cargo").unwrap().display()),
            "rustup" => "echo 'stable-x86_64-unknown-linux-gnu (default)'".to_owned(),
            "apt-get" | "apt-cache" | "go" => String::new(),
            "bare-gcc" => "echo crt1.o".to_owned(),
            _ => "echo /usr/lib/$1".to_owned(),
        };
        script(&bin.join(tool), &text);
    }
    // Without rustc on PATH the real cargo does not start; it is told where one is.
    machine.env.set("PATH", os(&format!("{}:/usr/bin:/bin", bin.display())));
    machine.write(&[
        ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/main.rs", "fn main() {}"),
        ("agent/go.mod", "module example.com/agent\n"),
        ("agent/main.go", "package main\n\nfunc main() {}\n"),
    ]);
    machine
}

fn requests(machine: &Machine) -> Vec<CompileRequest> {
    let mut requests = Vec::new();
    for platform in ALL {
        let mut request = rust(&machine.checkout());
        request.platform = platform.parse().unwrap();
        requests.push(request);
        requests.push(go(&machine.checkout().join("agent"), platform));
    }
    requests
}

#[test]
fn compilers_that_are_not_there() {
    if which("apt-get").is_some_and(|path| path.starts_with("/usr/bin")) && which("cargo").is_some() {
        let mut machine = machine(&[]);
        machine.env.set("PATH", machine.root.join("bin"));
        let error = machine.survey(&requests(&machine)).unwrap_err();
        assert_eq!(
            error,
            "this machine lacks what the build needs:
  for linux/amd64, linux/arm/v7, linux/arm64, linux/ppc64le, linux/s390x: `cargo` is not on PATH
    install Rust with rustup: https://rustup.rs
  for linux/amd64, linux/arm/v7, linux/arm64, linux/ppc64le, linux/s390x: `go` is not on PATH
    install Go: https://go.dev/doc/install"
        );
    }
}

#[test]
fn libraries_linkers_and_c_libraries_in_one_report() {
    let tools = ["cargo", "rustc", "rustup", "go", "cc", "apt-get", "apt-cache"];
    let mut machine = machine(&tools);
    machine.env.set("PATH", machine.root.join("bin"));
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo " };
    script(&machine.root.join("bin/s390x-linux-gnu-gcc"), "echo crt1.o");
    let error = machine.survey(&requests(&machine)).unwrap_err();
    assert_eq!(
        error,
        format!(
            "this machine lacks what the build needs:
  for linux/arm64: the linker aarch64-linux-gnu-gcc is not on PATH
    {sudo}apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross
  for linux/arm/v7: Rust's standard library for armv7-unknown-linux-gnueabihf is not installed
    rustup target add armv7-unknown-linux-gnueabihf
  for linux/arm/v7: the linker arm-linux-gnueabihf-gcc is not on PATH
    {sudo}apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
  for linux/s390x: s390x-linux-gnu-gcc has no C library to link with (crt1.o)
    {sudo}apt-get install gcc-s390x-linux-gnu libc6-dev-s390x-cross
  for linux/ppc64le: Rust's standard library for powerpc64le-unknown-linux-gnu is not installed
    rustup target add powerpc64le-unknown-linux-gnu
  for linux/ppc64le: the linker powerpc64le-linux-gnu-gcc is not on PATH
    {sudo}apt-get install gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross"
        )
    );
}

#[test]
fn a_static_program_is_helped_with_the_least() {
    let mut machine = machine(&["cargo", "rustc", "rustup", "cc", "apt-get"]);
    machine.env.set("PATH", machine.root.join("bin"));
    let lld = machine.root.join("toolchains/stable-x86_64-unknown-linux-gnu/lib/rustlib/x86_64-unknown-linux-gnu/bin");
    script(&lld.join("rust-lld"), "");
    let ask = |platform: &str| {
        let mut request = rust(&machine.checkout());
        request.platform = platform.parse().unwrap();
        request.linkage = Linkage::Static;
        machine.survey(&[request]).map(|units| match &units[0] {
            CompileUnit::Rust(unit) => unit.targets[0].triple.clone(),
            CompileUnit::Go(_) => unreachable!(),
        })
    };
    assert_eq!(ask("linux/amd64").unwrap(), "x86_64-unknown-linux-gnu", "there is no musl, but glibc as an archive");
    let error = ask("linux/arm64").unwrap_err();
    assert!(error.ends_with("rustup target add aarch64-unknown-linux-musl"), "{error}");
    // With musl's standard library nothing else is needed.
    let libraries = lld.parent().unwrap().parent().unwrap().join("aarch64-unknown-linux-musl/lib");
    fs_err::create_dir_all(&libraries).unwrap();
    fs_err::write(libraries.join("libstd-0.rlib"), "").unwrap();
    assert!(ask("linux/arm64").unwrap_err().contains("aarch64-linux-gnu-gcc"), "it has no start files with it");
    fs_err::create_dir_all(libraries.join("self-contained")).unwrap();
    fs_err::write(libraries.join("self-contained/crt1.o"), "").unwrap();
    assert_eq!(ask("linux/arm64").unwrap(), "aarch64-unknown-linux-musl");
    // musl is tier 3 for s390x: never advised.
    let error = ask("linux/s390x").unwrap_err();
    assert!(error.contains("s390x-linux-gnu-gcc") && !error.contains("rustup"), "{error}");
}

#[test]
fn musl_that_the_base_wants_and_rust_does_not_have() {
    let mut machine = machine(&["cargo", "rustc", "rustup", "cc"]);
    machine.env.set("PATH", machine.root.join("bin"));
    let mut request = rust(&machine.checkout());
    request.linkage = Linkage::Dynamic(Libc::Musl);
    for (platform, expected) in [
        ("linux/mips64le", "Rust has no target with musl for this platform"),
        ("linux/s390x", "rustup has none either: leave linux/s390x out"),
    ] {
        request.platform = platform.parse().unwrap();
        let error = machine.survey(std::slice::from_ref(&request)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_linker_of_the_users_that_is_not_there_is_named_with_its_origin() {
    let machine = machine(&["cargo", "rustc", "cc"]);
    machine.write(&[(".cargo/config.toml", "[target.aarch64-unknown-linux-gnu]\nlinker = \"tools/ld\"\n")]);
    let mut request = rust(&machine.checkout());
    request.platform = "linux/arm64".parse().unwrap();
    let error = machine.survey(std::slice::from_ref(&request)).unwrap_err();
    assert_eq!(
        error,
        "this machine lacks what the build needs:
  for linux/arm64: the linker ROOT/checkout/tools/ld, named by target.aarch64-unknown-linux-gnu.linker in ROOT/checkout/.cargo/config.toml, is not there
    install it, or correct the setting"
    );
    script(&machine.checkout().join("tools/ld"), "");
    assert!(machine.survey(&[request]).is_ok());
    assert_eq!(host().target().goarch.len(), 5);
}

#[test]
fn a_compiler_that_does_not_work_is_quoted() {
    let machine = machine(&["cargo", "cc"]);
    script(&machine.root.join("bin/rustc"), "echo 'error: toolchain 1.2.3 is not installed' >&2; exit 1");
    let error = machine.survey(&[rust(&machine.checkout())]).unwrap_err();
    assert!(error.contains("bin/rustc does not work here: error: toolchain 1.2.3 is not installed"), "{error}");
}

#[test]
fn the_overview_says_for_each_platform_what_can_be_built_and_what_would_mend_the_rest() {
    let mut machine = machine(&["cargo", "rustc", "rustup", "cc", "gcc", "aarch64-linux-gnu-gcc", "apt-get"]);
    script(&machine.root.join("bin/go"), "echo go1.25");
    machine.env.set("PATH", machine.root.join("bin"));
    let overview = machine.with(|context| overview(&machine.checkout(), context)).unwrap();
    assert_eq!((overview.rust.as_deref(), overview.go.as_deref()), (Some("1.95.0"), Some("1.25")));
    let word = |ability: &Ability| match ability {
        Ability::Yes { target, linker } => format!("{target} {}", linker.as_deref().unwrap_or("-")),
        Ability::No(missing) => {
            format!("no: {}", missing.iter().map(|item| item.mend.to_string()).collect::<Vec<_>>().join("; "))
        }
    };
    let of = |name: &str| {
        let row = overview.platforms.iter().find(|row| row.platform.target().platform == name).unwrap();
        [&row.rust_static, &row.rust_glibc, &row.rust_musl, &row.go, &row.cgo].map(word)
    };
    assert_eq!(
        of("linux/arm64"),
        [
            "aarch64-unknown-linux-gnu aarch64-linux-gnu-gcc",
            "aarch64-unknown-linux-gnu aarch64-linux-gnu-gcc",
            "no: rustup target add aarch64-unknown-linux-musl",
            "arm64 -",
            "arm64 aarch64-linux-gnu-gcc",
        ]
    );
    assert!(of("linux/mips64le").iter().all(|word| !word.contains("rustup target add")), "{:?}", of("linux/mips64le"));
    assert_eq!(overview.platforms.len(), TARGETS.len());
}

/// Adds a standard library that is nothing but its name.
fn add_std(machine: &Machine, triple: &str) {
    let libraries =
        machine.root.join("toolchains/stable-x86_64-unknown-linux-gnu/lib/rustlib").join(triple).join("lib");
    fs_err::create_dir_all(&libraries).unwrap();
    fs_err::write(libraries.join("libstd-0.rlib"), "").unwrap();
}

/// What links for a platform, and the variables that say so; or the report.
fn tools_for(machine: &Machine, platform: &str, linkage: Linkage) -> Result<RustTarget, String> {
    let mut request = rust(&machine.checkout());
    request.platform = platform.parse().unwrap();
    request.linkage = linkage;
    machine.survey(&[request]).map(|units| match &units[0] {
        CompileUnit::Rust(unit) => unit.targets[0].clone(),
        CompileUnit::Go(_) => unreachable!(),
    })
}

/// Debian's compiler for hard-float ARM is made for ARMv7, and what it links does not run on the
/// ARMv6 of the first Raspberry Pis.
#[test]
fn a_gcc_for_armv7_does_not_link_for_armv6() {
    let mut machine = machine(&["cargo", "rustc", "rustup", "cc"]);
    machine.env.set("PATH", machine.root.join("bin"));
    add_std(&machine, "arm-unknown-linux-gnueabihf");
    add_std(&machine, "armv7-unknown-linux-gnueabihf");
    let made_for = |version: u32| {
        let text = format!("case \"$*\" in *-dM*) echo '#define __ARM_ARCH {version}';; *) echo /lib/crt1.o;; esac");
        script(&machine.root.join("bin/arm-linux-gnueabihf-gcc"), &text);
    };
    let dynamic = Linkage::Dynamic(Libc::Gnu);
    made_for(7);
    assert_eq!(tools_for(&machine, "linux/arm/v7", dynamic).unwrap().linker, "arm-linux-gnueabihf-gcc");
    assert_eq!(
        tools_for(&machine, "linux/arm/v6", dynamic).unwrap_err(),
        "this machine lacks what the build needs:
  for linux/arm/v6: arm-linux-gnueabihf-gcc is made for ARMv7: what it links does not run on an older processor
    install zig (`pip install ziglang` in a Python environment), or leave the platform out"
    );
    let error = tools_for(&machine, "linux/arm/v6", Linkage::Static).unwrap_err();
    assert!(error.ends_with("rustup target add arm-unknown-linux-musleabihf"), "{error}");
    // As on Raspberry Pi OS.
    made_for(6);
    assert_eq!(tools_for(&machine, "linux/arm/v6", dynamic).unwrap().linker, "arm-linux-gnueabihf-gcc");
    // zig has start files for every version.
    made_for(7);
    script(&machine.root.join("bin/zig"), "");
    assert_eq!(tools_for(&machine, "linux/arm/v6", dynamic).unwrap().linker, "zig");
}

/// zig searches none of the machine's directories by itself, not even for the machine's own
/// platform; and a sysroot that the user names is one for that platform too.
#[test]
fn zig_is_told_where_the_headers_of_this_machine_are() {
    let mut machine = machine(&["cargo", "rustc", "cc", "zig"]);
    machine.env.set("PATH", machine.root.join("bin"));
    machine.write(&[("Cargo.lock", "version = 4\n\n[[package]]\nname = \"pkg-config\"\nversion = \"0.3.0\"\n")]);
    let check = |machine: &Machine, glibc: Option<GlibcVersion>, expected: [Option<&str>; 2]| {
        let mut request = rust(&machine.checkout());
        request.platform = "linux/amd64".parse().unwrap();
        if let Program::Rust(program) = &mut request.program {
            program.glibc = glibc;
        }
        let units = machine.survey(&[request]).unwrap();
        let CompileUnit::Rust(unit) = &units[0] else { unreachable!() };
        let found = ["CFLAGS", "PKG_CONFIG_LIBDIR"].map(|name| {
            let name = format!("{name}_x86_64_unknown_linux_gnu");
            unit.targets[0].tools.iter().find(|(tool, _)| *tool == name).map(|(_, value)| value.as_str())
        });
        assert_eq!(found, expected);
    };
    let glibc = Some(GlibcVersion { major: 2, minor: 28 });
    check(&machine, None, [None, None]);
    // Behind zig's own: it brings the C library's.
    check(&machine, glibc, [Some("-idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include"), None]);
    machine.env.set("PKG_CONFIG_SYSROOT_DIR_x86_64_unknown_linux_gnu", "/s");
    let libraries = "/s/usr/lib/x86_64-linux-gnu/pkgconfig:/s/usr/lib/pkgconfig:/s/usr/share/pkgconfig";
    for glibc in [None, glibc] {
        check(&machine, glibc, [Some("-isystem /s/usr/include/x86_64-linux-gnu"), Some(libraries)]);
    }
}

/// Build scripts run on this machine, and rustc has `cc` link them unless something else is said.
#[test]
fn build_scripts_are_linked_by_what_there_is() {
    let mut machine = machine(&["cargo", "rustc", "aarch64-linux-gnu-gcc"]);
    let bin = machine.root.join("bin");
    machine.env.set("PATH", bin.clone());
    let check = |machine: &Machine, expected: &str| {
        let tools = tools_for(machine, "linux/arm64", Linkage::Dynamic(Libc::Gnu)).unwrap().build_scripts;
        let of_host = |name: &str| {
            let name = match name {
                "LINKER" => "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER".to_owned(),
                name => format!("{name}_x86_64_unknown_linux_gnu"),
            };
            tools.iter().find(|(tool, _)| *tool == name).map_or("-", |(_, value)| value.rsplit('/').next().unwrap())
        };
        assert_eq!(["LINKER", "CC", "AR"].map(of_host).join(" "), expected);
    };
    check(&machine, "- - -");
    script(&bin.join("zig"), "");
    check(&machine, "cc cc ar");
    // Where this machine is a target as well, what the program wants comes first: it is the same variable.
    let requests = ["linux/amd64", "linux/arm64"].map(|platform| {
        let mut request = rust(&machine.checkout());
        request.platform = platform.parse().unwrap();
        if let Program::Rust(program) = &mut request.program {
            program.glibc = Some(GlibcVersion { major: 2, minor: 28 });
        }
        request
    });
    let units = machine.survey(&requests).unwrap();
    assert_eq!(units.len(), 1);
    let linker = &units[0].tools()["CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER"];
    let text = fs_err::read_to_string(linker).unwrap();
    assert!(text.contains("-target x86_64-linux-gnu.2.28 "), "{text}");
    script(&bin.join("clang"), "");
    check(&machine, "clang clang -");
    let without = machine.env.clone();
    machine.env.set("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "own");
    check(&machine, "- - -");
    machine.env = without;
    script(&bin.join("cc"), "echo /lib/crt1.o");
    check(&machine, "- - -");
}

/// C may want GCC's support library; and a program for s390x crashes where its pointers to exported symbols are not
/// relocated, which musl's start code does not do.
#[test]
fn a_gcc_with_musl_is_told_what_rustc_leaves_out() {
    let mut machine = machine(&["cargo", "rustc", "cc"]);
    let bin = machine.root.join("bin");
    machine.env.set("PATH", bin.clone());
    for (machine_name, platform, expected) in
        [("s390x", "linux/s390x", "[a b][-Wl,--exclude-libs,ALL][-lgcc]"), ("aarch64", "linux/arm64", "[a b][-lgcc]")]
    {
        let triple = format!("{machine_name}-unknown-linux-musl");
        add_std(&machine, &triple);
        script(&bin.join(format!("{machine_name}-linux-musl-gcc")), "printf '[%s]' \"$@\"");
        let tools = tools_for(&machine, platform, Linkage::Dynamic(Libc::Musl)).unwrap().tools;
        let variable = format!("CARGO_TARGET_{}_LINKER", triple.replace('-', "_").to_uppercase());
        let (_, linker) = tools.iter().find(|(name, _)| *name == variable).unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let said =
            std::process::Command::new("/usr/bin/env").arg(linker).arg("a b").env("PATH", path).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), expected);
    }
}

#[test]
fn clang_with_lld_links_where_no_gcc_does_and_the_c_library_is_there() {
    let mut machine = machine(&["cargo", "rustc", "cc", "ld.lld"]);
    machine.env.set("PATH", machine.root.join("bin"));
    let dynamic = Linkage::Dynamic(Libc::Gnu);
    script(&machine.root.join("bin/clang"), "echo crt1.o");
    let error = tools_for(&machine, "linux/arm64", dynamic).unwrap_err();
    assert!(error.contains("aarch64-linux-gnu-gcc is not on PATH"), "{error}");
    script(
        &machine.root.join("bin/clang"),
        "case $1 in --target=aarch64-linux-gnu) echo /lib/crt1.o;; *) echo x;; esac",
    );
    let found = tools_for(&machine, "linux/arm64", dynamic).unwrap();
    assert_eq!(found.linker, "clang");
    let value = |name: &str| found.tools.iter().find(|(tool, _)| tool == name).map(|(_, value)| value.clone()).unwrap();
    let linker = value("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER");
    assert_eq!(value("CC_aarch64_unknown_linux_gnu"), linker);
    let text = fs_err::read_to_string(linker).unwrap();
    assert!(text.contains("/bin/clang\" --target=aarch64-linux-gnu -fuse-ld=lld "), "{text}");
    // A cross GCC goes before it.
    script(&machine.root.join("bin/aarch64-linux-gnu-gcc"), "echo /lib/crt1.o");
    assert_eq!(tools_for(&machine, "linux/arm64", dynamic).unwrap().linker, "aarch64-linux-gnu-gcc");
}

#[test]
fn a_gcc_for_musl_brings_its_own_tools_or_those_of_the_cross_gcc() {
    let mut machine = machine(&["cargo", "rustc", "cc", "arm-linux-musleabihf-gcc", "arm-linux-gnueabihf-ar"]);
    machine.env.set("PATH", machine.root.join("bin"));
    add_std(&machine, "armv7-unknown-linux-musleabihf");
    let found = tools_for(&machine, "linux/arm/v7", Linkage::Dynamic(Libc::Musl)).unwrap();
    assert_eq!(found.linker, "arm-linux-musleabihf-gcc");
    let (linker, others) = found.tools.split_first().unwrap();
    assert_eq!(linker.0, "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_MUSLEABIHF_LINKER");
    assert_eq!(
        others,
        [
            ("CC_armv7_unknown_linux_musleabihf", "arm-linux-musleabihf-gcc"),
            ("AR_armv7_unknown_linux_musleabihf", "arm-linux-gnueabihf-ar"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_toolchain_by_name_needs_rustup_and_is_not_fetched_in_silence() {
    let mut machine = machine(&["cargo", "cc", "rustup"]);
    machine.env.set("PATH", machine.root.join("bin"));
    let mut request = rust(&machine.checkout());
    if let Program::Rust(program) = &mut request.program {
        program.toolchain = Some("1.80".to_owned());
    }
    let rustc = machine.root.join("bin/rustc");
    script(
        &rustc,
        "[ \"$RUSTUP_AUTO_INSTALL\" = 0 ] || exit 9
         echo \"error: toolchain '$RUSTUP_TOOLCHAIN-x86_64-unknown-linux-gnu' is not installed\" >&2; exit 1",
    );
    assert_eq!(
        machine.survey(std::slice::from_ref(&request)).unwrap_err(),
        "this machine lacks what the build needs:
  for linux/amd64: the Rust toolchain 1.80-x86_64-unknown-linux-gnu is not installed
    rustup toolchain install 1.80-x86_64-unknown-linux-gnu"
    );
    script(&rustc, "case \"$*\" in -vV) echo 'rustc 1.85.0';; *) echo /usr;; esac");
    assert_eq!(
        machine.survey(&[request]).unwrap_err(),
        "this machine lacks what the build needs:
  for linux/amd64: the toolchain 1.80 is asked for, but ROOT/bin/cargo is not rustup's, which alone knows toolchains by name
    put rustup's cargo first on PATH (https://rustup.rs), or leave `toolchain` out of the build file"
    );
}
