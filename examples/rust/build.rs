//! Hands the target triple to the program. Runs on the machine that builds, so
//! it must ask cargo for the target and not look at its own `cfg`.

fn main() {
    let target = std::env::var("TARGET").expect("cargo sets TARGET for build scripts");
    println!("cargo:rustc-env=ARCHINFO_TARGET={target}");
    println!("cargo:rerun-if-changed=build.rs");
}
