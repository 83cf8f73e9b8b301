//! What the compiler decided for this binary, and what the kernel says at run
//! time. Reads no files and no environment.

use std::fmt;

use miniserde::Serialize;

/// Everything but `machine` is fixed when the program is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    pub language: &'static str,
    /// Rust's own name: `x86_64`, `aarch64`, `arm`, `s390x`, `powerpc64`, …
    pub arch: &'static str,
    pub os: &'static str,
    /// `little` or `big`.
    pub endian: &'static str,
    /// Bits in a pointer.
    pub pointer_width: u32,
    /// The target triple given to rustc.
    pub target: &'static str,
    /// The running kernel's `uname -m`. Differs from `arch` when a 32-bit
    /// program runs on a 64-bit kernel.
    pub machine: String,
}

impl Facts {
    pub fn gather() -> Facts {
        Facts {
            language: "rust",
            arch: std::env::consts::ARCH,
            os: std::env::consts::OS,
            endian: if cfg!(target_endian = "big") { "big" } else { "little" },
            pointer_width: usize::BITS,
            target: env!("ARCHINFO_TARGET"),
            machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
        }
    }
}

/// One `name: value` line for each fact.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "language:       {}", self.language)?;
        writeln!(f, "arch:           {}", self.arch)?;
        writeln!(f, "os:             {}", self.os)?;
        writeln!(f, "endian:         {}", self.endian)?;
        writeln!(f, "pointer width:  {}", self.pointer_width)?;
        writeln!(f, "target:         {}", self.target)?;
        writeln!(f, "machine:        {}", self.machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s390x() -> Facts {
        Facts {
            language: "rust",
            arch: "s390x",
            os: "linux",
            endian: "big",
            pointer_width: 64,
            target: "s390x-unknown-linux-gnu",
            machine: "s390x".to_owned(),
        }
    }

    #[test]
    fn facts_agree_with_each_other() {
        let facts = Facts::gather();
        assert_eq!(facts.language, "rust");
        assert_eq!(facts.endian, if 1u16.to_ne_bytes() == [0, 1] { "big" } else { "little" });
        assert_eq!(facts.pointer_width as usize, std::mem::size_of::<*const u8>() * 8);
        assert!(!facts.machine.is_empty());
        // `powerpc64le-…` begins with `powerpc64`, `armv7-…` with `arm`.
        assert!(facts.target.starts_with(facts.arch), "{} is no {}", facts.target, facts.arch);
        assert!(facts.target.contains(facts.os));
    }

    #[test]
    fn text_has_a_line_for_each_fact() {
        assert_eq!(
            s390x().to_string(),
            "language:       rust\n\
             arch:           s390x\n\
             os:             linux\n\
             endian:         big\n\
             pointer width:  64\n\
             target:         s390x-unknown-linux-gnu\n\
             machine:        s390x\n"
        );
    }

    #[test]
    fn json_keeps_the_order_of_the_fields() {
        assert_eq!(
            miniserde::json::to_string(&s390x()),
            r#"{"language":"rust","arch":"s390x","os":"linux","endian":"big","pointer_width":64,"target":"s390x-unknown-linux-gnu","machine":"s390x"}"#
        );
    }
}
