//! Bytes of `.ARM.attributes`, in both byte orders.
#![no_main]

use builder::check::elf::arm_attributes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = arm_attributes::read(data, true);
    let _ = arm_attributes::read(data, false);
});
