//! OpenSSL, the base's own.

use openssl::hash::MessageDigest;
use openssl::sign::Signer;

fn main() -> Result<(), openssl::error::ErrorStack> {
    let digest = openssl::sha::sha256(b"abc");
    let key = openssl::pkey::PKey::hmac(b"key")?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(b"message")?;
    let tag = signer.sign_to_vec()?;
    let hex = |bytes: &[u8]| bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    println!("openssl {} {}", hex(&digest), hex(&tag));
    Ok(())
}
