//! What the compiler decided for this binary.

use miniserde::Serialize;

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
}

pub const FACTS: Facts = Facts {
    language: "rust",
    arch: std::env::consts::ARCH,
    os: std::env::consts::OS,
    endian: if cfg!(target_endian = "big") { "big" } else { "little" },
    pointer_width: usize::BITS,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_this_machine() {
        let big = 1u16.to_ne_bytes() == [0, 1];
        assert_eq!(FACTS.endian, if big { "big" } else { "little" });
        assert_eq!(FACTS.pointer_width as usize, std::mem::size_of::<*const u8>() * 8);
    }
}
