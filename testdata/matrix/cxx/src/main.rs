//! C++ with its standard library and exceptions.

unsafe extern "C" {
    safe fn sorted_and_caught(n: u32) -> u32;
}

fn main() {
    println!("cxx {}", sorted_and_caught(7));
}
