use super::*;
use crate::target::{ElfKind, FloatAbi, TargetPlatform};

/// A small ELF file: header, program headers, interpreter, dynamic section, names.
fn elf(kind: ElfKind, e_type: u16, flags: u32, interpreter: Option<&str>, needed: &[&str]) -> Vec<u8> {
    let (word, header, segment) = if kind.is_64 { (8, 64, 56) } else { (4, 52, 32) };
    let number = |value: u64, size: usize| {
        let mut bytes = value.to_le_bytes().to_vec();
        bytes.resize(size, 0);
        if !kind.little_endian {
            bytes.reverse();
        }
        bytes
    };
    let mut names = b"\0".to_vec();
    let mut dynamic = Vec::new();
    for name in needed {
        dynamic.extend([number(1, word), number(names.len() as u64, word)].concat());
        names.extend([name.as_bytes(), b"\0"].concat());
    }
    let interpreter = interpreter.map(|path| [path.as_bytes(), b"\0"].concat());
    let segments = 1 + usize::from(interpreter.is_some()) + usize::from(!needed.is_empty());
    let interpreter_at = header + segments * segment;
    let dynamic_at = interpreter_at + interpreter.as_ref().map_or(0, Vec::len);
    let names_at = dynamic_at + dynamic.len() + 4 * word;
    dynamic
        .extend([number(5, word), number(0x10000 + names_at as u64, word), number(0, word), number(0, word)].concat());
    let total = names_at + names.len();

    let mut file = b"\x7fELF".to_vec();
    file.extend([if kind.is_64 { 2 } else { 1 }, if kind.little_endian { 1 } else { 2 }, 1, 0]);
    file.resize(16, 0);
    file.extend([number(e_type.into(), 2), number(kind.machine.into(), 2), number(1, 4)].concat());
    file.extend([number(0x10000, word), number(header as u64, word), number(0, word)].concat());
    file.extend([number(flags.into(), 4), number(header as u64, 2), number(segment as u64, 2)].concat());
    file.extend([number(segments as u64, 2), number(0, 2), number(0, 2), number(0, 2)].concat());
    let mut add = |kind_of: u64, offset: usize, size: usize| {
        let address = 0x10000 + offset as u64;
        let (offset, size) = (offset as u64, size as u64);
        if kind.is_64 {
            file.extend([number(kind_of, 4), number(5, 4), number(offset, 8), number(address, 8)].concat());
            file.extend([number(address, 8), number(size, 8), number(size, 8), number(1, 8)].concat());
        } else {
            file.extend([number(kind_of, 4), number(offset, 4), number(address, 4), number(address, 4)].concat());
            file.extend([number(size, 4), number(size, 4), number(5, 4), number(1, 4)].concat());
        }
    };
    add(1, 0, total);
    if let Some(path) = &interpreter {
        add(3, interpreter_at, path.len());
    }
    if !needed.is_empty() {
        add(2, dynamic_at, dynamic.len());
    }
    file.extend(interpreter.unwrap_or_default());
    file.extend(dynamic);
    file.extend(names);
    assert_eq!(file.len(), total);
    file
}

fn check(file: &[u8], platform: &str) -> Result<ElfFacts, String> {
    let temporary = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(temporary.path(), file).unwrap();
    check_program("/usr/bin/x", temporary.path(), platform.parse().unwrap())
        .map_err(|error| error.to_string().replace(temporary.path().to_str().unwrap(), "FILE"))
}

#[test]
fn each_platform_takes_its_own_programs_and_no_other() {
    for row in TargetPlatform::all() {
        let kind = row.target().elf;
        let flags = match kind.float {
            Some(FloatAbi::Hard) => 0x0500_0400,
            Some(FloatAbi::Soft) => 0x0500_0200,
            None => 0,
        };
        let program = elf(kind, 2, flags, Some("/lib/ld.so"), &["libc.so.6", "libm.so.6"]);
        let facts = check(&program, row.target().platform).unwrap();
        assert_eq!(facts.needed, ["libc.so.6", "libm.so.6"]);
        assert_eq!(facts.interpreter.as_deref(), Some("/lib/ld.so"));
        assert!(!facts.is_static());
        for other in TargetPlatform::all().filter(|other| other.target().elf != kind) {
            check(&program, other.target().platform).unwrap_err();
        }
    }
}

#[test]
fn the_message_names_binary_platform_what_it_is_and_what_was_wanted() {
    let amd64 = elf("linux/amd64".parse::<TargetPlatform>().unwrap().target().elf, 2, 0, None, &[]);
    let messages = [
        check(&amd64, "linux/arm64"),
        check(&amd64, "linux/s390x"),
        check(b"#!/bin/sh\n", "linux/arm64"),
        check(b"!<arch>\n", "linux/arm64"),
        check(b"", "linux/arm64"),
        check(&amd64[..70], "linux/amd64"),
    ];
    let messages: Vec<_> = messages.into_iter().map(Result::unwrap_err).collect();
    assert_eq!(
        messages,
        [
            "/usr/bin/x for linux/arm64 is a 64-bit little-endian x86-64 program, but a 64-bit little-endian AArch64 (arm64) program is wanted: FILE",
            "/usr/bin/x for linux/s390x is a 64-bit little-endian x86-64 program, but a 64-bit big-endian s390 program is wanted: FILE",
            "/usr/bin/x for linux/arm64 is not a Linux program (ELF) but a script: FILE",
            "/usr/bin/x for linux/arm64 is not a Linux program (ELF) but an archive (for Go: the package is not `main`): FILE",
            "/usr/bin/x for linux/arm64 is not a Linux program (ELF) but an empty file: FILE",
            "/usr/bin/x for linux/amd64 is a damaged ELF file: FILE",
        ]
    );
}

#[test]
fn libraries_and_object_files_are_no_programs() {
    let kind = "linux/amd64".parse::<TargetPlatform>().unwrap().target().elf;
    let mut library = elf(kind, 3, 0, None, &["libc.so.6"]);
    assert!(check(&library, "linux/amd64").is_ok(), "with an entry it can be started: static-pie");
    library[24..32].fill(0);
    assert!(check(&library, "linux/amd64").unwrap_err().contains("a shared library"));
    assert!(check(&elf(kind, 1, 0, None, &[]), "linux/amd64").unwrap_err().contains("object file"));
}

#[test]
fn arm_float_and_power_abi() {
    let arm = "linux/arm/v7".parse::<TargetPlatform>().unwrap().target().elf;
    let (hard, soft, unsaid) = (0x0500_0400, 0x0500_0200, 0x0500_0000);
    let ld = Some("/lib/ld-linux.so.3");
    assert_eq!(check(&elf(arm, 2, unsaid, None, &[]), "linux/arm/v7").unwrap().float, None);
    assert!(check(&elf(arm, 2, hard, None, &[]), "linux/arm/v5").unwrap_err().contains("a hard-float program"));
    assert!(check(&elf(arm, 2, soft, ld, &[]), "linux/arm/v7").unwrap_err().contains("a soft-float program"));
    assert!(check(&elf(arm, 2, soft, None, &[]), "linux/arm/v7").is_ok());
    let power = "linux/ppc64le".parse::<TargetPlatform>().unwrap().target().elf;
    assert!(check(&elf(power, 2, 2, None, &[]), "linux/ppc64le").is_ok());
    assert!(check(&elf(power, 2, 1, None, &[]), "linux/ppc64le").unwrap_err().contains("ELFv1"));
}

/// The test's own executable is a real program of the host.
#[test]
fn a_real_program_of_this_machine() {
    let executable = fs_err::read_link("/proc/self/exe").unwrap();
    let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    let facts = check_program("/test", &executable, platform.parse().unwrap()).unwrap();
    assert!(facts.interpreter.as_ref().unwrap().contains("ld-linux"));
    assert!(facts.glibc().is_some_and(|version| version > (2, 10)));
    assert!(facts.needed.iter().any(|library| library == "libc.so.6"));
    assert!(
        facts
            .versions
            .iter()
            .any(|need| need.library == "libc.so.6" && need.versions.iter().any(|it| it.starts_with("GLIBC_2.")))
    );
}

#[test]
fn cut_anywhere_it_is_an_error_or_still_true() {
    for platform in ["linux/amd64", "linux/arm/v7", "linux/s390x"] {
        let kind = platform.parse::<TargetPlatform>().unwrap().target().elf;
        let program = elf(kind, 2, 0, Some("/lib/ld.so"), &["libc.so.6"]);
        let whole = ElfFacts::read(&program[..]).unwrap();
        for length in 0..program.len() {
            if let Ok(facts) = ElfFacts::read(&program[..length]) {
                assert_eq!(facts, whole, "{length}");
            }
        }
    }
}

/// Every byte of headers and tables set to values that hurt: no panic, no endless loop, no
/// allocation that follows the file's word.
#[test]
fn bent_anywhere_it_ends() {
    let executable = fs_err::read(fs_err::read_link("/proc/self/exe").unwrap()).unwrap();
    let real = &executable[..executable.len().min(64 << 10)];
    for platform in ["linux/amd64", "linux/arm/v7", "linux/s390x"] {
        let kind = platform.parse::<TargetPlatform>().unwrap().target().elf;
        let made = elf(kind, 2, 0x0500_0000, Some("/lib/ld.so"), &["libc.so.6"]);
        for (file, upto) in [(made.as_slice(), made.len()), (real, 1024)] {
            let mut bent = file.to_vec();
            for at in 0..upto {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    bent[at] = value;
                    let _ = ElfFacts::read(&bent[..]);
                }
                bent[at] = file[at];
            }
            for at in 0..upto - 8 {
                bent[at..at + 8].fill(0xff);
                let _ = ElfFacts::read(&bent[..]);
                bent[at..at + 8].copy_from_slice(&file[at..at + 8]);
            }
        }
    }
}

/// Counts what is asked of a file: hostile ones may ask for much.
struct Counted<'a> {
    bytes: &'a [u8],
    asked: std::cell::Cell<(usize, usize)>,
}

impl ReadAt for Counted<'_> {
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (reads, bytes) = self.asked.get();
        self.asked.set((reads + 1, bytes + buffer.len()));
        self.bytes.read_at_most(offset, buffer)
    }
}

/// Reads it, within bounds.
fn bounded(bytes: &[u8]) -> Result<ElfFacts, Malformed> {
    let counted = Counted { bytes, asked: Default::default() };
    let result = ElfFacts::read(&counted);
    let (reads, asked) = counted.asked.get();
    assert!(reads < 100_000 && asked < (64 << 20) + 4 * bytes.len(), "{reads} reads of {asked} bytes");
    result
}

/// This test's program, and the C library that it has loaded.
fn real_files() -> Vec<Vec<u8>> {
    let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libc."));
    let mut files = vec![fs_err::read("/proc/self/exe").unwrap()];
    files.extend(libc.map(|path| fs_err::read(path).unwrap()));
    files
}

/// Every place in a file where one of its parts begins or ends, as its headers say.
fn boundaries(file: &[u8]) -> Vec<usize> {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    let (headers, count) = (word(32), half(56));
    let mut places = vec![0, 4, 16, 20, 24, 32, 40, 48, 52, 54, 56, 58, 60, 62, 64, word(40), file.len()];
    for number in 0..count {
        let at = headers + number * 56;
        places.extend([at, at + 8, at + 32, at + 56, word(at + 8), word(at + 8) + word(at + 32)]);
    }
    places.retain(|place| *place <= file.len());
    places
}

#[test]
fn cut_at_every_header_boundary_it_ends() {
    for file in real_files() {
        let whole = bounded(&file).unwrap();
        assert!(!whole.versions.is_empty());
        for place in boundaries(&file) {
            for length in [place.saturating_sub(1), place, place + 1] {
                let _ = bounded(&file[..length.min(file.len())]);
            }
        }
    }
}

/// Counts, sizes and offsets of program headers and of the dynamic section set to what hurts:
/// segments that overlap, tables of 4 GiB, lists that lead back to themselves.
#[test]
fn absurd_numbers_end() {
    let absurd = [0, 1, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_ffff_ffff, u64::MAX - 1, u64::MAX];
    for mut file in real_files() {
        let dynamic = File64::dynamic(&file);
        let headers = 64..64 + 56 * usize::from(file[56]);
        for at in (16..64).chain(headers).chain(dynamic).step_by(8) {
            let old: [u8; 8] = file[at..at + 8].try_into().unwrap();
            for value in absurd {
                file[at..at + 8].copy_from_slice(&value.to_le_bytes());
                let _ = bounded(&file);
            }
            file[at..at + 8].copy_from_slice(&old);
        }
    }
}

/// Where things are in a little-endian file of 64 bits.
struct File64;

impl File64 {
    fn dynamic(file: &[u8]) -> std::ops::Range<usize> {
        let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
        let headers = word(32);
        let segment = (0..usize::from(file[56])).map(|number| headers + number * 56).find(|at| file[*at] == 2).unwrap();
        word(segment + 8)..word(segment + 8) + word(segment + 32)
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    /// Anything anywhere in the parts that are read.
    #[test]
    fn any_change_ends(
        which in 0..8_usize,
        changes in proptest::collection::vec((0..1_usize << 20, proptest::prelude::any::<u64>(), 1..9_usize), 1..8),
        cut in proptest::option::of(0..1_usize << 20),
    ) {
        thread_local!(static FILES: Vec<Vec<u8>> = real_files());
        let mut file = FILES.with(|files| files[which % files.len()][..].to_vec());
        for (at, value, length) in changes {
            // Half of the changes are where the headers are.
            let at = if at % 2 == 0 { at % 2048 } else { at % (file.len() - 8) };
            file[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
        }
        let length = cut.map_or(file.len(), |cut| cut.min(file.len()));
        let _ = bounded(&file[..length]);
        let held = FileFacts::read(&file[..length.min(256)], length as u64, 0o755, &mut &file[length.min(256)..length]);
        proptest::prop_assert!(held.is_ok());
    }
}
