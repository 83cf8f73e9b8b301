//! `aws-lc-rs`: a large C library with assembly.

use aws_lc_rs::{digest, hmac};

fn main() {
    let digest = digest::digest(&digest::SHA256, b"abc");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"message");
    let hex = |bytes: &[u8]| bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    println!("aws-lc {} {}", hex(digest.as_ref()), hex(tag.as_ref()));
}
