//! No C at all: threads, the unwinder and an ordinary crate.

use sha2::{Digest as _, Sha256};

fn main() {
    let sums = (1..=4u32).map(|n| std::thread::spawn(move || (1..=n).sum::<u32>()));
    let handles: Vec<_> = sums.collect();
    let sum: u32 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| panic!("caught")).is_err();
    let digest = Sha256::digest(b"abc");
    println!("plain {sum} {caught} {:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
}
