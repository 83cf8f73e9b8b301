//! `ring`: assembly for some processors, C for the rest.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};

fn main() {
    let digest = digest::digest(&digest::SHA256, b"abc");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"message");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut text = b"sealed".to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([1; 12]), Aad::empty(), &mut text).unwrap();
    let opened = key.open_in_place(Nonce::assume_unique_for_key([1; 12]), Aad::empty(), &mut text).unwrap();
    let hex = |bytes: &[u8]| bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    println!("ring {} {} {}", hex(digest.as_ref()), hex(tag.as_ref()), String::from_utf8_lossy(opened));
}
