//! Says what it runs on, and what a program says that a command has installed beside it.

use std::process::Command;

fn main() {
    let openssl = Command::new("openssl").arg("version").output().expect("openssl cannot be started");
    let version = String::from_utf8_lossy(&openssl.stdout);
    println!("mixed on {}, {}", std::env::consts::ARCH, version.trim());
}
