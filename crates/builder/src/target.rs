//! The platforms that mab builds for, and what each is called by compilers and ELF files.
//!
//! One table; `docs/platforms.md` is made from it.

use std::fmt;
use std::str::FromStr;

use oci_layout::Platform;
use serde::{Deserialize, Serialize};

/// The C library that a program is linked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Libc {
    /// glibc.
    Gnu,
    /// musl.
    Musl,
}

/// How floating-point arguments are passed on 32-bit ARM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloatAbi {
    /// In floating-point registers (`gnueabihf`).
    Hard,
    /// In integer registers (`gnueabi`).
    Soft,
}

/// What the ELF header of a program for the platform says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElfKind {
    /// `e_machine`.
    pub machine: u16,
    /// 64-bit class.
    pub is_64: bool,
    /// Little-endian data.
    pub little_endian: bool,
    /// Float ABI, where the architecture has two.
    pub float: Option<FloatAbi>,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// os/architecture[/variant] in its canonical spelling.
    pub platform: &'static str,
    /// Rust target for glibc.
    pub rust_gnu: &'static str,
    /// Rust target for musl.
    pub rust_musl: Option<&'static str>,
    /// Targets (of the two above) that rustup has no std for.
    pub tier_three: &'static [&'static str],
    /// `-C target-cpu`, where the variant asks for one.
    pub target_cpu: Option<&'static str>,
    /// `GOARCH`.
    pub goarch: &'static str,
    /// The variable that carries the variant for Go, and its value.
    pub go_level: Option<(&'static str, &'static str)>,
    /// ELF header.
    pub elf: ElfKind,
    /// Debian's name of the cross compiler's prefix, without `-gcc`.
    pub gcc_prefix: &'static str,
    /// Debian's package of that compiler.
    pub gcc_package: &'static str,
    /// Debian's name of the architecture.
    pub debian: &'static str,
}

const fn elf(machine: u16, is_64: bool, little_endian: bool, float: Option<FloatAbi>) -> ElfKind {
    ElfKind { machine, is_64, little_endian, float }
}

const X86_64: ElfKind = elf(62, true, true, None);
const ARM_HARD: ElfKind = elf(40, false, true, Some(FloatAbi::Hard));
const ARM_SOFT: ElfKind = elf(40, false, true, Some(FloatAbi::Soft));

macro_rules! amd64 {
    ($platform:literal, $cpu:expr, $level:literal) => {
        Target {
            platform: $platform,
            rust_gnu: "x86_64-unknown-linux-gnu",
            rust_musl: Some("x86_64-unknown-linux-musl"),
            tier_three: &[],
            target_cpu: $cpu,
            goarch: "amd64",
            go_level: Some(("GOAMD64", $level)),
            elf: X86_64,
            gcc_prefix: "x86_64-linux-gnu",
            gcc_package: "gcc-x86-64-linux-gnu",
            debian: "amd64",
        }
    };
}

/// Every platform that can be built for, in the order of an index.
pub static TARGETS: &[Target] = &[
    Target {
        platform: "linux/386",
        rust_gnu: "i686-unknown-linux-gnu",
        rust_musl: Some("i686-unknown-linux-musl"),
        tier_three: &[],
        target_cpu: None,
        goarch: "386",
        go_level: Some(("GO386", "sse2")),
        elf: elf(3, false, true, None),
        gcc_prefix: "i686-linux-gnu",
        gcc_package: "gcc-i686-linux-gnu",
        debian: "i386",
    },
    amd64!("linux/amd64", None, "v1"),
    amd64!("linux/amd64/v2", Some("x86-64-v2"), "v2"),
    amd64!("linux/amd64/v3", Some("x86-64-v3"), "v3"),
    amd64!("linux/amd64/v4", Some("x86-64-v4"), "v4"),
    Target {
        platform: "linux/arm/v5",
        rust_gnu: "armv5te-unknown-linux-gnueabi",
        rust_musl: Some("armv5te-unknown-linux-musleabi"),
        tier_three: &[],
        target_cpu: None,
        goarch: "arm",
        go_level: Some(("GOARM", "5")),
        elf: ARM_SOFT,
        gcc_prefix: "arm-linux-gnueabi",
        gcc_package: "gcc-arm-linux-gnueabi",
        debian: "armel",
    },
    Target {
        platform: "linux/arm/v6",
        rust_gnu: "arm-unknown-linux-gnueabihf",
        rust_musl: Some("arm-unknown-linux-musleabihf"),
        tier_three: &[],
        target_cpu: None,
        goarch: "arm",
        go_level: Some(("GOARM", "6")),
        elf: ARM_HARD,
        gcc_prefix: "arm-linux-gnueabihf",
        gcc_package: "gcc-arm-linux-gnueabihf",
        debian: "armhf",
    },
    Target {
        platform: "linux/arm/v7",
        rust_gnu: "armv7-unknown-linux-gnueabihf",
        rust_musl: Some("armv7-unknown-linux-musleabihf"),
        tier_three: &[],
        target_cpu: None,
        goarch: "arm",
        go_level: Some(("GOARM", "7")),
        elf: ARM_HARD,
        gcc_prefix: "arm-linux-gnueabihf",
        gcc_package: "gcc-arm-linux-gnueabihf",
        debian: "armhf",
    },
    Target {
        platform: "linux/arm64",
        rust_gnu: "aarch64-unknown-linux-gnu",
        rust_musl: Some("aarch64-unknown-linux-musl"),
        tier_three: &[],
        target_cpu: None,
        goarch: "arm64",
        go_level: None,
        elf: elf(183, true, true, None),
        gcc_prefix: "aarch64-linux-gnu",
        gcc_package: "gcc-aarch64-linux-gnu",
        debian: "arm64",
    },
    Target {
        platform: "linux/loong64",
        rust_gnu: "loongarch64-unknown-linux-gnu",
        rust_musl: Some("loongarch64-unknown-linux-musl"),
        tier_three: &[],
        target_cpu: None,
        goarch: "loong64",
        go_level: None,
        elf: elf(258, true, true, None),
        gcc_prefix: "loongarch64-linux-gnu",
        gcc_package: "gcc-loongarch64-linux-gnu",
        debian: "loong64",
    },
    Target {
        platform: "linux/mips64le",
        rust_gnu: "mips64el-unknown-linux-gnuabi64",
        rust_musl: None,
        tier_three: &["mips64el-unknown-linux-gnuabi64"],
        target_cpu: None,
        goarch: "mips64le",
        go_level: None,
        elf: elf(8, true, true, None),
        gcc_prefix: "mips64el-linux-gnuabi64",
        gcc_package: "gcc-mips64el-linux-gnuabi64",
        debian: "mips64el",
    },
    Target {
        platform: "linux/ppc64le",
        rust_gnu: "powerpc64le-unknown-linux-gnu",
        rust_musl: Some("powerpc64le-unknown-linux-musl"),
        tier_three: &[],
        target_cpu: None,
        goarch: "ppc64le",
        go_level: None,
        elf: elf(21, true, true, None),
        gcc_prefix: "powerpc64le-linux-gnu",
        gcc_package: "gcc-powerpc64le-linux-gnu",
        debian: "ppc64el",
    },
    Target {
        platform: "linux/riscv64",
        rust_gnu: "riscv64gc-unknown-linux-gnu",
        rust_musl: Some("riscv64gc-unknown-linux-musl"),
        tier_three: &[],
        target_cpu: None,
        goarch: "riscv64",
        go_level: None,
        elf: elf(243, true, true, None),
        gcc_prefix: "riscv64-linux-gnu",
        gcc_package: "gcc-riscv64-linux-gnu",
        debian: "riscv64",
    },
    Target {
        platform: "linux/s390x",
        rust_gnu: "s390x-unknown-linux-gnu",
        rust_musl: Some("s390x-unknown-linux-musl"),
        tier_three: &["s390x-unknown-linux-musl"],
        target_cpu: None,
        goarch: "s390x",
        go_level: None,
        elf: elf(22, true, false, None),
        gcc_prefix: "s390x-linux-gnu",
        gcc_package: "gcc-s390x-linux-gnu",
        debian: "s390x",
    },
];

/// A platform out of [`TARGETS`]. Ordered as in an index.
#[derive(Clone, Copy)]
pub struct TargetPlatform(&'static Target);

impl TargetPlatform {
    /// linux/amd64, of whatever level.
    pub const AMD64: Self = Self(&TARGETS[1]);
    /// linux/arm64.
    pub const ARM64: Self = Self(&TARGETS[8]);

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TARGETS.iter().map(Self)
    }

    /// The row of the table.
    pub fn target(self) -> &'static Target {
        self.0
    }

    /// As it is written into descriptors and configs.
    pub fn platform(self) -> Platform {
        let mut parts = self.0.platform.split('/');
        let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Platform::new(os, architecture, parts.next())
    }

    /// The Rust target for a C library, where there is one.
    pub fn rust_target(self, libc: Libc) -> Option<&'static str> {
        match libc {
            Libc::Gnu => Some(self.0.rust_gnu),
            Libc::Musl => self.0.rust_musl,
        }
    }

    /// What prefixes compilers for musl have, without `-gcc`: the Rust target's own name, and the
    /// shorter ones of other people's builds.
    pub fn musl_prefixes(self) -> Vec<String> {
        let Some(target) = self.0.rust_musl else { return Vec::new() };
        let machine = target.split('-').next().unwrap_or_default();
        let abi = target.rsplit('-').next().unwrap_or_default();
        let shorter = match (self.0.platform, machine) {
            ("linux/arm/v7", _) => &["armv7l", "arm"][..],
            ("linux/arm/v6", _) => &["armv6", "arm"],
            ("linux/arm/v5", _) => &["armv5l", "arm"],
            (_, "riscv64gc") => &["riscv64"],
            _ => &[],
        };
        [machine].iter().chain(shorter).map(|machine| format!("{machine}-linux-{abi}")).collect()
    }

    fn position(self) -> usize {
        TARGETS.iter().position(|row| row.platform == self.0.platform).unwrap_or(TARGETS.len())
    }
}

impl PartialEq for TargetPlatform {
    fn eq(&self, other: &Self) -> bool {
        // Not by address: a constant's row may be a copy.
        self.0.platform == other.0.platform
    }
}
impl Eq for TargetPlatform {}
impl std::hash::Hash for TargetPlatform {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.platform.hash(state);
    }
}
impl PartialOrd for TargetPlatform {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for TargetPlatform {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.position().cmp(&other.position())
    }
}
impl fmt::Debug for TargetPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.platform)
    }
}
impl fmt::Display for TargetPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.platform)
    }
}

/// A platform that mab does not build for, or no platform at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTargetError {
    /// Not os/architecture[/variant].
    #[error(transparent)]
    Syntax(#[from] oci_layout::platform::ParsePlatformError),
    /// A platform that is not in the table.
    #[error("mab does not build for {platform}; it builds for {}", known())]
    Unknown {
        /// As it was understood.
        platform: String,
    },
}

fn known() -> String {
    TARGETS.iter().map(|row| row.platform).collect::<Vec<_>>().join(", ")
}

impl serde::Serialize for TargetPlatform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for TargetPlatform {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for TargetPlatform {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        let platform = text.parse::<Platform>()?.to_string();
        TARGETS.iter().find(|row| row.platform == platform).map(Self).ok_or(ParseTargetError::Unknown { platform })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_canonical_unique_and_in_index_order() {
        let platforms: Vec<Platform> = TargetPlatform::all().map(TargetPlatform::platform).collect();
        assert_eq!(
            [TargetPlatform::AMD64, TargetPlatform::ARM64].map(|it| it.to_string()),
            ["linux/amd64", "linux/arm64"]
        );
        let parsed = |text: &str| text.parse::<TargetPlatform>().unwrap();
        assert_eq!([TargetPlatform::AMD64, TargetPlatform::ARM64], [parsed("linux/amd64"), parsed("linux/arm64")]);
        for (row, platform) in TARGETS.iter().zip(&platforms) {
            assert_eq!(row.platform.parse::<Platform>().unwrap().to_string(), row.platform);
            assert_eq!(platform.to_string(), row.platform);
        }
        assert!(platforms.windows(2).all(|pair| pair[0].index_order(&pair[1]).is_lt()));
    }

    /// The table as the documentation has it.
    fn page() -> String {
        let mut page = "# Platforms\n\nMade from `crates/builder/src/target.rs`: `MAB_WRITE_DOCS=1 cargo test -p builder the_platforms_page` writes it anew.\n\n| platform | Rust, glibc | Rust, musl | Go | cross compiler (Debian) |\n| --- | --- | --- | --- | --- |\n".to_owned();
        for row in TARGETS {
            let tier = |target: &str| if row.tier_three.contains(&target) { " (no std from rustup)" } else { "" };
            let musl = row.rust_musl.map_or("none".to_owned(), |target| format!("{target}{}", tier(target)));
            let level = row.go_level.map_or(String::new(), |(name, value)| format!(", {name}={value}"));
            page.push_str(&format!(
                "| {} | {}{} | {musl} | {}{level} | {} |\n",
                row.platform,
                row.rust_gnu,
                tier(row.rust_gnu),
                row.goarch,
                row.gcc_package
            ));
        }
        page
    }

    #[test]
    fn the_platforms_page_is_not_stale() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/platforms.md");
        if std::env::var_os("MAB_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), page());
    }

    #[test]
    fn compilers_for_musl_have_several_names() {
        let check = |platform: &str, expected: &[&str]| {
            assert_eq!(platform.parse::<TargetPlatform>().unwrap().musl_prefixes(), expected);
        };
        check("linux/amd64/v3", &["x86_64-linux-musl"]);
        check("linux/arm/v7", &["armv7-linux-musleabihf", "armv7l-linux-musleabihf", "arm-linux-musleabihf"]);
        check("linux/riscv64", &["riscv64gc-linux-musl", "riscv64-linux-musl"]);
        check("linux/mips64le", &[]);
    }

    #[test]
    fn unknown_platforms_list_the_known() {
        let error = "linux/sparc64".parse::<TargetPlatform>().unwrap_err().to_string();
        assert!(error.contains("linux/sparc64") && error.contains("linux/s390x"), "{error}");
        assert_eq!("linux/aarch64".parse::<TargetPlatform>().unwrap().to_string(), "linux/arm64");
    }
}
