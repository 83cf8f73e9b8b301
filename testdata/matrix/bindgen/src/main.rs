//! Bindings that are made from a C header for the target while it is built.

#[allow(non_camel_case_types, non_upper_case_globals, dead_code)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

fn main() {
    // Both sides must see the same structure, whatever the target's `long` is.
    let it = bindings::thing { flag: 1, length: 40, name: [109, 97, 98, 0] };
    let sum = unsafe { bindings::thing_sum(&it) };
    let same = unsafe { bindings::thing_size() } == std::mem::size_of::<bindings::thing>();
    println!("bindgen {sum} {same} {}", std::mem::size_of::<std::ffi::c_long>() == bindings::LONG_SIZE as usize);
}
