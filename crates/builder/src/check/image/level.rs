//! Instructions beyond the platform's variant, as far as a file or its compiler's record says.

use super::Origin;
use crate::check::elf::ElfFacts;
use crate::target::TargetPlatform;

/// The answer, with what was found.
pub(super) enum Level {
    /// It says, and fits.
    Fits(String),
    /// It says, and needs more.
    Beyond {
        /// What it needs.
        found: String,
        /// What the platform has.
        wanted: String,
    },
    /// The architecture has levels, and it does not say.
    Silent(String),
    /// The platform has one level, and nothing says that there is another.
    One,
}

/// Compares what `facts` say with the variant of `platform`.
pub(super) fn level(facts: &ElfFacts, origin: &Origin, platform: TargetPlatform) -> Level {
    let own = platform.platform();
    let go = facts.go.as_ref().and_then(|go| go.level.as_deref());
    match own.architecture.as_str() {
        "amd64" => {
            let wanted = own.variant.as_deref().and_then(|variant| x86(variant, "v")).unwrap_or(1);
            let flag = origin.cpu.as_deref().and_then(|cpu| x86(cpu, "x86-64-v"));
            let say = [
                (facts.x86_level.map(|level| level.0), "its note"),
                (go.and_then(|level| x86(level, "v")), "GOAMD64"),
                (flag, "`target-cpu`"),
            ];
            let said = say.into_iter().filter_map(|(level, by)| Some((level?, by))).max();
            match said {
                Some((level, by)) if level > wanted => Level::Beyond {
                    found: format!("x86-64-v{level} ({by} says so)"),
                    wanted: format!("x86-64-v{wanted}"),
                },
                Some((level, by)) => Level::Fits(format!("{by} says x86-64-v{level}")),
                None => Level::Silent("it does not say which level of x86-64 it needs".to_owned()),
            }
        }
        "386" => match facts.x86_level {
            Some(level) if level.0 > 1 => {
                Level::Beyond { found: format!("x86-64-v{} (its note says so)", level.0), wanted: "i686".to_owned() }
            }
            Some(_) => Level::Fits("its note says baseline".to_owned()),
            None => Level::One,
        },
        "arm" => arm(facts, go, own.variant.as_deref().unwrap_or("v7")),
        "arm64" => go_level(go, "v8.0", "ARMv8.0"),
        "ppc64le" => go_level(go, "power8", "POWER8"),
        "riscv64" => go_level(go, "rva20u64", "RV64GC"),
        _ => Level::One,
    }
}

fn x86(text: &str, prefix: &str) -> Option<u8> {
    text.strip_prefix(prefix)?.parse().ok().filter(|level| (1..=4).contains(level))
}

/// "Addenda to, and Errata in, the ABI for the Arm Architecture", 2.3.5.2.
fn arm(facts: &ElfFacts, go: Option<&str>, variant: &str) -> Level {
    const NAMES: [&str; 18] = [
        "ARM before v4",
        "ARMv4",
        "ARMv4T",
        "ARMv5T",
        "ARMv5TE",
        "ARMv5TEJ",
        "ARMv6",
        "ARMv6KZ",
        "ARMv6T2",
        "ARMv6K",
        "ARMv7",
        "ARMv6-M",
        "ARMv6S-M",
        "ARMv7E-M",
        "ARMv8-A",
        "ARMv8-R",
        "ARMv8-M baseline",
        "ARMv8-M mainline",
    ];
    // Thumb-2 came with v6T2, which the first Raspberry Pi is not.
    let most: &[u8] = match variant {
        "v5" => &[0, 1, 2, 3, 4, 5],
        "v6" => &[0, 1, 2, 3, 4, 5, 6, 7, 9],
        "v7" => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        _ => return Level::One,
    };
    let wanted = format!("ARM{variant}");
    let go = go.and_then(|level| level.split(',').next()?.parse::<u8>().ok());
    let limit: u8 = variant.trim_start_matches('v').parse().unwrap_or(7);
    match (facts.arm_arch, go) {
        (Some(architecture), _) if !most.contains(&architecture) => {
            let name = NAMES.get(usize::from(architecture)).copied().unwrap_or("a later ARM");
            Level::Beyond { found: format!("{name} (its attributes say so)"), wanted }
        }
        (_, Some(level)) if level > limit => Level::Beyond { found: format!("ARMv{level} (GOARM says so)"), wanted },
        (_, Some(level)) => Level::Fits(format!("GOARM is {level}")),
        (Some(architecture), None) => {
            let name = NAMES.get(usize::from(architecture)).copied().unwrap_or_default();
            Level::Fits(format!("its attributes say {name}"))
        }
        (None, None) => Level::Silent("it does not say which ARM architecture it is compiled for".to_owned()),
    }
}

/// A platform without variants: only Go's record could say that it needs more.
fn go_level(said: Option<&str>, least: &str, name: &str) -> Level {
    match said {
        None => Level::One,
        Some(level) if level == least => Level::Fits(format!("Go's record says {level}")),
        Some(level) => Level::Beyond { found: format!("{level} (Go's record says so)"), wanted: name.to_owned() },
    }
}
