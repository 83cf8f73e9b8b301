//! Checks of programs against platform and base, before a layer is written.

pub mod elf;
