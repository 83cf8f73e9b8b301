use builder::check::elf::check_program;
use builder::target::Libc;
use builder::toolchain::{CompileRequest, Linkage, Program};
use oci_layout::Digest;

use crate::support::{Machine, go, host, run, script, which, without_zig};

const MODULE: &[(&str, &str)] = &[
    ("go.mod", "module example.com/agent\n\ngo 1.22\n"),
    (
        "cmd/agent/main.go",
        "package main\n\nimport (\n\t\"os\"\n\n\t\"example.com/agent/words\"\n)\n\nvar version = \"none\"\n\nfunc main() { os.Stdout.WriteString(words.Hello + \" \" + version + \"\\n\") }\n",
    ),
    ("words/words.go", "package words\n\nconst Hello = \"hello\"\n"),
];

fn agent(machine: &Machine, platform: &str) -> CompileRequest {
    go(&machine.checkout().join("cmd/agent"), platform)
}

#[test]
fn one_module_for_every_platform_and_the_same_bytes_elsewhere() {
    let mut digests = Vec::new();
    for depth in ["a", "another/place"] {
        let machine = Machine::new(depth);
        machine.write(MODULE);
        let all = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"];
        let requests: Vec<_> = all.iter().map(|platform| agent(&machine, platform)).collect();
        let units = machine.survey(&requests).unwrap();
        assert_eq!(units.len(), all.len());
        let mut of_this = Vec::new();
        for unit in &units {
            let compiled = machine.compile(unit).unwrap();
            let artifact = &compiled.artifacts[0];
            assert!(check_program("/agent", &artifact.path, artifact.platform).unwrap().is_static());
            of_this.push((artifact.platform, Digest::of(&fs_err::read(&artifact.path).unwrap())));
        }
        assert_eq!(machine.record.warnings(), [""; 0]);
        digests.push(of_this);
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn linker_flags_with_blanks_arrive_and_nothing_is_linked_twice() {
    let machine = Machine::new("m");
    machine.write(MODULE);
    let mut request = agent(&machine, host().target().platform);
    if let Program::Go(program) = &mut request.program {
        program.ldflags = vec!["-s".to_owned(), "-X main.version=1 of 2".to_owned()];
    }
    let program = machine.build(&request);
    assert_eq!(run(&program), "hello 1 of 2\n");
    use std::os::unix::fs::MetadataExt as _;
    let before = fs_err::metadata(&program).unwrap().ino();
    machine.build(&request);
    assert_eq!(fs_err::metadata(&program).unwrap().ino(), before);
}

#[test]
fn a_library_is_no_program_and_errors_are_shown() {
    let machine = Machine::new("m");
    machine.write(MODULE);
    assert_eq!(
        machine.survey(&[go(&machine.checkout().join("words"), "linux/arm64")]).unwrap_err(),
        "/agent cannot be built: ROOT/checkout/words is not a program: its package is not `main`"
    );
    assert_eq!(
        machine.survey(&[go(&machine.checkout(), "linux/arm64")]).unwrap_err(),
        "/agent cannot be built: there is no Go file in ROOT/checkout"
    );
    machine.write(&[("cmd/agent/more.go", "package main\n\nvar x int = \"\"\n")]);
    let units = machine.survey(&[agent(&machine, "linux/arm64")]).unwrap();
    assert_eq!(machine.compile(&units[0]).unwrap_err(), "go build failed for linux/arm64 (exit code 1)");
    assert!(machine.record.output().contains("more.go:3"), "{}", machine.record.output());
}

#[test]
fn without_a_home_it_works_too() {
    let mut machine = Machine::new("m");
    machine.write(MODULE);
    machine.env.set("HOME", "/nonexistent");
    machine.env.set("GOCACHE", machine.env.get("GOCACHE").unwrap().to_owned());
    machine.build(&agent(&machine, "linux/arm64"));
}

/// A program with C in it, which says so.
const CGO: &[(&str, &str)] = &[
    ("go.mod", "module example.com/c\n\ngo 1.22\n"),
    (
        "main.go",
        "package main\n\n// int answer(void) { return 42; }\nimport \"C\"\n\nfunc main() { println(C.answer()) }\n",
    ),
];

#[test]
fn c_is_compiled_in_and_linked_as_the_base_wants() {
    if which("gcc").is_none() {
        return;
    }
    let mut machine = Machine::new("m");
    machine.write(CGO);
    // Without zig: the C library of this machine.
    machine.env.set("PATH", without_zig(&machine));
    for (linkage, is_static) in [(Linkage::Dynamic(Libc::Gnu), false), (Linkage::Static, true)] {
        let mut request = go(&machine.checkout(), host().target().platform);
        request.linkage = linkage;
        let program = machine.build(&request);
        assert_eq!(check_program("/c", &program, request.platform).unwrap().is_static(), is_static);
        assert_eq!(machine.record.warnings(), [""; 0]);
    }
}

#[test]
fn without_a_c_compiler_c_is_not_left_out_in_silence() {
    let mut machine = Machine::new("m");
    machine.write(CGO);
    let bin = machine.root.join("bin");
    script(&bin.join("go"), &format!("exec {} \"$@\"", which("go").unwrap().display()));
    machine.env.set("PATH", &bin);
    let request = go(&machine.checkout(), "linux/riscv64");
    let error = machine.survey(std::slice::from_ref(&request)).unwrap_err();
    assert!(
        error.contains(
            "for linux/riscv64: the C compiler riscv64-linux-gnu-gcc is not on PATH, or has no C library for it; \
             the Go package example.com/c has C in it"
        ),
        "{error}"
    );
    // Who says so gets it without, and is told.
    machine.env.set("CGO_ENABLED", "0");
    machine.survey(&[request]).unwrap();
    assert_eq!(machine.record.warnings(), ["/agent: CGO_ENABLED=0 leaves out the C in example.com/c"]);
}

/// A program with all that go counts to one.
const INPUTS: &[(&str, &str)] = &[
    (
        "go.mod",
        "module example.com/made\n\ngo 1.22\n\nrequire example.com/near v0.0.0\n\nreplace example.com/near => ./near\n",
    ),
    (
        "main.go",
        "package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/near\"\n)\n\n//go:embed words.txt\nvar words string\n\nvar more = \"\"\n\nfunc main() { println(near.One, words, more) }\n",
    ),
    ("words.txt", "words"),
    ("near/go.mod", "module example.com/near\n\ngo 1.22\n"),
    ("near/near.go", "package near\n\nconst One = 1\n"),
];

/// How often go was told to build something.
fn builds(machine: &Machine) -> usize {
    let log = fs_err::read_to_string(machine.root.join("log")).unwrap_or_default();
    log.lines().filter(|line| line.starts_with("build ")).count()
}

/// A machine whose go writes down what it is told, and the program of [`INPUTS`] built once.
fn logging_machine() -> (Machine, CompileRequest) {
    let mut machine = Machine::new("m");
    machine.write(INPUTS);
    let bin = machine.root.join("bin");
    let log = machine.root.join("log");
    script(
        &bin.join("go"),
        &format!("echo \"$@\" >>{}\nexec {} \"$@\"", log.display(), which("go").unwrap().display()),
    );
    machine.env.set("PATH", &bin);
    // What was written just now could change without a trace.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let request = go(&machine.checkout(), host().target().platform);
    machine.build(&request);
    assert_eq!(builds(&machine), 1);
    (machine, request)
}

#[test]
fn what_is_unchanged_is_not_given_to_go_again() {
    let (machine, request) = logging_machine();
    let first = machine.build(&request);
    assert_eq!(builds(&machine), 1);
    let units = machine.survey(std::slice::from_ref(&request)).unwrap();
    assert!(machine.compile(&units[0]).unwrap().is_as_before);
    assert_eq!(run(&first), "");
    // What was built is not there any more, or is not what it was.
    let output =
        walk(&machine.root.join("work"), "checkout").into_iter().find(|path| !path.starts_with(&first)).unwrap();
    let changed = [fs_err::read(&output).unwrap(), b"more".to_vec()].concat();
    fs_err::write(&output, changed).unwrap();
    assert!(!machine.compile(&units[0]).unwrap().is_as_before);
    fs_err::remove_file(&output).unwrap();
    machine.build(&request);
    assert_eq!(builds(&machine), 3);
    machine.build(&request);
    assert_eq!(builds(&machine), 3);
}

/// Files of this name.
fn walk(directory: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&path, name));
        } else if entry.file_name() == name {
            found.push(path);
        }
    }
    found
}

#[test]
fn whatever_a_go_program_is_made_of_counts() {
    // Each of the same size, at a time that was set back: its state shows all the same.
    let changes: &[(&str, &str)] = &[
        (
            "main.go",
            "package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/near\"\n)\n\n//go:embed words.txt\nvar words string\n\nvar more = \"\"\n\nfunc main() { println(near.One, words, \"e\") }\n",
        ),
        ("words.txt", "WORDS"),
        ("near/near.go", "package near\n\nconst One = 2\n"),
        ("more.go", "package main\n\nfunc init() { more = \"more\" }\n"),
        ("near/go.mod", "module example.com/near\n\ngo 1.21\n"),
        ("default.pgo", ""),
    ];
    let (machine, request) = logging_machine();
    let mut expected = 1;
    for (name, text) in changes {
        let path = machine.checkout().join(name);
        let before = fs_err::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        machine.write(&[(name, text)]);
        if let Some(before) = before {
            fs_err::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        expected += 1;
        let program = machine.build(&request);
        assert_eq!(builds(&machine), expected, "{name}");
        if *name == "near/near.go" {
            let bytes = fs_err::read(&program).unwrap();
            assert!(memchr::memmem::find(&bytes, b"WORDS").is_some());
        }
        machine.build(&request);
        assert_eq!(builds(&machine), expected, "{name}, unchanged");
    }
    // A file that goes.
    fs_err::remove_file(machine.checkout().join("more.go")).unwrap();
    machine.build(&request);
    assert_eq!(builds(&machine), expected + 1);
}

#[test]
fn settings_of_go_count_and_what_brings_more_in_is_built_each_time() {
    let (mut machine, request) = logging_machine();
    let flagged = |machine: &mut Machine, flags: &str, expected: [usize; 2]| {
        machine.env.set("GOFLAGS", flags);
        let before = builds(machine);
        let counts = [(); 2].map(|()| {
            machine.build(&request);
            builds(machine) - before
        });
        assert_eq!(counts, expected, "{flags}");
    };
    flagged(&mut machine, "-ldflags=-s", [1, 1]);
    flagged(&mut machine, "-tags=other -trimpath", [1, 1]);
    // Tools and files that nobody lists.
    flagged(&mut machine, "-toolexec=/usr/bin/env", [1, 2]);
    flagged(&mut machine, "'-ldflags=-s -w'", [1, 2]);
    flagged(&mut machine, "-ldflags=-linkmode=internal", [1, 2]);
    machine.env.set("GOFLAGS", "");
    machine.env.set("GODEBUG", "http2client=0");
    flagged(&mut machine, "", [1, 1]);
}
