//! Who executes the programs of a platform: this system's processor, or QEMU.
//!
//! QEMU's user emulation is registered in a binfmt_misc of the sandbox's own, which Linux has since
//! 6.7: nothing of the host changes, and no privileges are wanted. The kernel opens QEMU when it is
//! registered (flag F), so the image need not have it; its own file has to be enough for that: a static
//! one. `argv[0]` of programs is kept (flag P).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use super::devices;
use super::report::{Failure, forbidden, setup};
use crate::check::elf::ElfFacts;
use crate::process::Environment;
use crate::target::{ElfKind, TargetPlatform};

/// Bytes of an ELF header that say what it is for.
const HEADER: usize = 20;
/// Where the host's own registrations are.
const HOST_BINFMT: &str = "/proc/sys/fs/binfmt_misc";
/// The name of the registration; there are no others beside it.
const NAME: &str = "mab";

/// Who executes programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Execution {
    /// This system's processor.
    Native,
    /// A QEMU of this system, registered for the sandbox alone.
    Emulated(Emulator),
    /// What the host has registered for everyone.
    Host {
        /// Its interpreter.
        interpreter: String,
    },
}

impl Execution {
    pub(super) fn emulator(&self) -> Option<&Emulator> {
        match self {
            Self::Emulated(emulator) => Some(emulator),
            Self::Native | Self::Host { .. } => None,
        }
    }
}

/// A QEMU, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// Its file.
    path: PathBuf,
    /// What headers of its programs begin with.
    magic: [u8; HEADER],
    /// Which bits of that count.
    mask: [u8; HEADER],
    /// Whether the host's own registration will do, should the sandbox not get one.
    host_has_one: bool,
}

impl Emulator {
    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn host_has_one(&self) -> bool {
        self.host_has_one
    }
}

/// Nobody here executes programs of a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEmulator {
    /// There is no QEMU.
    #[error("programs for {platform} need QEMU on this machine: {program} is not on PATH")]
    Missing {
        /// The platform.
        platform: TargetPlatform,
        /// What was looked for.
        program: String,
    },
    /// There is one, and it is no use inside a sandbox.
    #[error("{} is linked dynamically: an image does not have its libraries", path.display())]
    Dynamic {
        /// The platform.
        platform: TargetPlatform,
        /// The file.
        path: PathBuf,
        /// A static one's name.
        program: String,
    },
    /// There is one that cannot be read.
    #[error("{} cannot be read as a program: {why}", path.display())]
    Unreadable {
        /// The platform.
        platform: TargetPlatform,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// QEMU's name of an architecture.
pub(super) fn qemu_name(platform: TargetPlatform) -> &'static str {
    match platform.target().debian {
        "i386" => "i386",
        "amd64" => "x86_64",
        "armel" | "armhf" => "arm",
        "arm64" => "aarch64",
        "mips64el" => "mips64el",
        "ppc64el" => "ppc64le",
        "loong64" => "loongarch64",
        other => other,
    }
}

/// Who executes a platform's programs on this machine.
pub(super) fn find(platform: TargetPlatform, env: &Environment) -> Result<Execution, NoEmulator> {
    if is_native(platform) {
        return Ok(Execution::Native);
    }
    let (magic, mask) = pattern(&platform.target().elf);
    let host = host_registration(&magic);
    match qemu(platform, env) {
        Ok(path) => Ok(Execution::Emulated(Emulator { path, magic, mask, host_has_one: host.is_some() })),
        Err(error) => host.map(|interpreter| Execution::Host { interpreter }).ok_or(error),
    }
}

/// The platform's QEMU on `PATH`.
fn qemu(platform: TargetPlatform, env: &Environment) -> Result<PathBuf, NoEmulator> {
    let program = format!("qemu-{}-static", qemu_name(platform));
    let names = [program.clone(), format!("qemu-{}", qemu_name(platform))];
    let mut refused = None;
    for path in names.iter().filter_map(|name| env.lookup(name)) {
        let facts = fs::File::open(&path)
            .map_err(|error| error.to_string())
            .and_then(|file| ElfFacts::read(file.file()).map_err(|error| error.to_string()));
        match facts {
            Ok(facts) if facts.interpreter.is_none() => return Ok(path),
            Ok(_) => refused = refused.or(Some(NoEmulator::Dynamic { platform, path, program: program.clone() })),
            Err(why) => refused = refused.or(Some(NoEmulator::Unreadable { platform, path, why })),
        }
    }
    Err(refused.unwrap_or(NoEmulator::Missing { platform, program }))
}

/// What the ELF headers of a platform's programs have in common.
fn pattern(kind: &ElfKind) -> ([u8; HEADER], [u8; HEADER]) {
    const EXECUTABLE: u16 = 2;
    /// Programs that can lie anywhere are of type 3.
    const EITHER: u16 = 0xfffe;
    let mut magic = [0; HEADER];
    magic[..7].copy_from_slice(&[
        0x7f,
        b'E',
        b'L',
        b'F',
        1 + u8::from(kind.is_64),
        2 - u8::from(kind.little_endian),
        1,
    ]);
    let bytes = |number: u16| if kind.little_endian { number.to_le_bytes() } else { number.to_be_bytes() };
    magic[16..18].copy_from_slice(&bytes(EXECUTABLE));
    magic[18..].copy_from_slice(&bytes(kind.machine));
    let mut mask = [0xff; HEADER];
    // The system and its ABI's version: Linux or nothing, and whatever the linker felt like.
    mask[7..16].fill(0);
    mask[16..18].copy_from_slice(&bytes(EITHER));
    (magic, mask)
}

/// Mounts a binfmt_misc of the sandbox's own. It is there for as long as the descriptor is open.
pub(super) fn binfmt() -> Result<OwnedFd, Failure> {
    devices::make("binfmt_misc", &[], MountAttrFlags::empty())
        .map_err(forbidden("a binfmt_misc of the sandbox's own (Linux has that since 6.7)"))
}

/// Registers an emulator for the sandbox.
pub(super) fn register(emulator: &Emulator) -> Result<Option<OwnedFd>, Failure> {
    let mounted = match binfmt() {
        Err(_) if emulator.host_has_one => return Ok(None),
        mounted => mounted?,
    };
    let what = || format!("register {}", emulator.path.display());
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let register = openat(&mounted, "register", flags, Mode::empty()).map_err(setup(what()))?;
    File::from(register).write_all(&registration(emulator).map_err(setup(what()))?).map_err(setup(what()))?;
    Ok(Some(mounted))
}

/// As binfmt_misc reads it: fields behind whatever its first character is.
fn registration(emulator: &Emulator) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = emulator.path.as_os_str().as_bytes();
    let unused = |mark: &u8| !path.contains(mark);
    let mark = b":|;,".iter().copied().find(|mark| unused(mark)).filter(|_| unused(&b'\n'));
    let Some(mark) = mark else { return Err(io::Error::other("its path has characters that binfmt_misc cannot take")) };
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes();
    let fields: [&[u8]; 7] =
        [NAME.as_bytes(), b"M", b"", &escaped(&emulator.magic), &escaped(&emulator.mask), path, b"PF"];
    let mut text = Vec::new();
    for field in fields {
        text.push(mark);
        text.extend_from_slice(field);
    }
    Ok(text)
}

/// The interpreter that the host has for headers like this one, if the image need not have it.
fn host_registration(header: &[u8; HEADER]) -> Option<String> {
    let status = |name: &str| fs::read_to_string(Path::new(HOST_BINFMT).join(name)).ok();
    if status("status")?.trim() != "enabled" {
        return None;
    }
    let mut names: Vec<_> =
        fs::read_dir(HOST_BINFMT).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
        .iter()
        .filter(|name| !["status", "register"].contains(&name.as_str()))
        .find_map(|name| fits(&status(name)?, header))
}

/// The interpreter of a registration, as the kernel shows it, if it takes this header.
fn fits(shown: &str, header: &[u8; HEADER]) -> Option<String> {
    let field = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let bytes = |name: &str| -> Option<Vec<u8>> {
        let text = field(name)?.as_bytes();
        text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    let enabled = shown.lines().next()? == "enabled";
    let opened = field("flags:")?.contains('F');
    let (offset, magic) = (field("offset ")?, bytes("magic ")?);
    let mask = bytes("mask ").unwrap_or_else(|| vec![0xff; magic.len()]);
    let same = magic.len() <= HEADER
        && magic.len() == mask.len()
        && magic.iter().zip(&mask).zip(header).all(|((magic, mask), byte)| magic & mask == byte & mask);
    (enabled && opened && offset == "0" && same).then(|| field("interpreter ").unwrap_or_default().to_owned())
}

/// Whether this machine's processor and kernel execute a platform's programs themselves.
fn is_native(platform: TargetPlatform) -> bool {
    match (std::env::consts::ARCH, platform.target().debian) {
        ("x86_64", "amd64") | ("aarch64", "arm64") => true,
        // Kernels may be made without it, processors may lack it: it is tried.
        ("x86_64", "i386") => runs(&program(3, 0x0804_8000, &[0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80])),
        ("aarch64", "armel" | "armhf") => {
            runs(&program(40, 0x0001_0000, &[0x00, 0x00, 0xa0, 0xe3, 0x01, 0x70, 0xa0, 0xe3, 0x00, 0x00, 0x00, 0xef]))
        }
        _ => false,
    }
}

/// A 32-bit program of nothing but this code, which is `exit(0)`.
fn program(machine: u16, address: u32, code: &[u8]) -> Vec<u8> {
    const HEADERS: u32 = 52 + 32;
    const EABI_5: u32 = 0x0500_0000;
    let size = HEADERS + code.len() as u32;
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |file: &mut Vec<u8>, number: u16| file.extend(number.to_le_bytes());
    let word = |file: &mut Vec<u8>, number: u32| file.extend(number.to_le_bytes());
    half(&mut file, 2);
    half(&mut file, machine);
    let flags = if machine == 40 { EABI_5 } else { 0 };
    for number in [1, address + HEADERS, 52, 0, flags] {
        word(&mut file, number);
    }
    for number in [52, 32, 1, 40, 0, 0] {
        half(&mut file, number);
    }
    // One segment: all of the file, to be read and executed.
    for number in [1, 0, address, address, size, size, 5, 0x1000] {
        word(&mut file, number);
    }
    file.extend_from_slice(code);
    file
}

fn runs(program: &[u8]) -> bool {
    let Ok(file) = memfd_create("program", MemfdFlags::CLOEXEC) else { return false };
    let mut file = File::from(file);
    if file.write_all(program).is_err() {
        return false;
    }
    // Opened for writing it could not be executed.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let Ok(read_only) = File::open(&path) else { return false };
    drop(file);
    let mut command = Command::new(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&read_only)));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> TargetPlatform {
        text.parse().unwrap()
    }

    fn emulator(path: &str, of: &str) -> Emulator {
        let (magic, mask) = pattern(&platform(of).target().elf);
        Emulator { path: path.into(), magic, mask, host_has_one: false }
    }

    #[test]
    fn registrations_are_those_of_qemus_own_script() {
        let text = |of: &str| String::from_utf8(registration(&emulator("/usr/bin/q", of)).unwrap()).unwrap();
        assert_eq!(
            text("linux/s390x"),
            ":mab:M::\\x7f\\x45\\x4c\\x46\\x02\\x02\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x16:\
             \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xff\\xfe\\xff\\xff:/usr/bin/q:PF"
        );
        assert!(
            text("linux/arm/v7").contains("\\x01\\x01\\x01") && text("linux/arm/v7").contains("\\x02\\x00\\x28\\x00:")
        );
        assert!(
            text("linux/arm64").contains("\\x02\\x01\\x01") && text("linux/arm64").contains("\\x02\\x00\\xb7\\x00:")
        );
        assert!(registration(&emulator("/a:b/q", "linux/arm64")).unwrap().starts_with(b"|mab|M||"));
        assert!(registration(&emulator("/a:b|c;d,e/q", "linux/arm64")).is_err());
        assert!(registration(&emulator("/a\nb/q", "linux/arm64")).is_err());
    }

    #[test]
    fn names_are_qemus() {
        let names: Vec<&str> = [
            "linux/386",
            "linux/amd64/v3",
            "linux/arm/v5",
            "linux/arm64",
            "linux/ppc64le",
            "linux/riscv64",
            "linux/s390x",
            "linux/mips64le",
            "linux/loong64",
        ]
        .map(|of| qemu_name(platform(of)))
        .into();
        assert_eq!(
            names,
            ["i386", "x86_64", "arm", "aarch64", "ppc64le", "riscv64", "s390x", "mips64el", "loongarch64"]
        );
    }

    #[test]
    fn a_hosts_registration_counts_where_the_image_need_not_have_the_interpreter() {
        let shown = "enabled\ninterpreter /usr/libexec/qemu-s390x\nflags: PF\noffset 0\n\
                     magic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n";
        let (s390x, _) = pattern(&platform("linux/s390x").target().elf);
        let (arm64, _) = pattern(&platform("linux/arm64").target().elf);
        assert_eq!(fits(shown, &s390x).as_deref(), Some("/usr/libexec/qemu-s390x"));
        assert_eq!(fits(shown, &arm64), None);
        assert_eq!(fits(&shown.replace("PF", "P"), &s390x), None);
        assert_eq!(fits(&shown.replace("enabled", "disabled"), &s390x), None);
        assert_eq!(fits("enabled\ninterpreter /x\nflags: F\nextension .py\n", &s390x), None);
        assert_eq!(fits("enabled\nmagic 7\u{e9}", &s390x), None);
    }

    #[test]
    fn a_qemu_has_to_be_static() {
        let directory = tempfile::tempdir().unwrap();
        let env = Environment::new([("PATH".into(), directory.path().into())]);
        let found = || qemu(platform("linux/s390x"), &env);
        assert!(matches!(found(), Err(NoEmulator::Missing { program, .. }) if program == "qemu-s390x-static"));
        // Whatever this test is: it has its C library elsewhere.
        fs::copy("/proc/self/exe", directory.path().join("qemu-s390x")).unwrap();
        assert!(matches!(found(), Err(NoEmulator::Dynamic { .. })));
        let path = directory.path().join("qemu-s390x-static");
        fs::write(&path, "no program").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::remove_file(directory.path().join("qemu-s390x")).unwrap();
        assert!(matches!(found(), Err(NoEmulator::Unreadable { .. })));
        fs::write(&path, program(22, 0x1_0000, &[0])).unwrap();
        assert_eq!(found().unwrap(), path);
    }

    #[test]
    fn this_machines_own_platform_is_native() {
        let own = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
        assert!(is_native(platform(own)) && !is_native(platform("linux/s390x")));
    }
}
