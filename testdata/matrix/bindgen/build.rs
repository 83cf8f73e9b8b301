fn main() {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    cc::Build::new().file("src/thing.c").compile("thing");
    let bindings = bindgen::Builder::default().header("src/thing.h").allowlist_item("thing.*|LONG_SIZE");
    bindings.generate().unwrap().write_to_file(out.join("bindings.rs")).unwrap();
    println!("cargo:rerun-if-changed=src/thing.h");
    println!("cargo:rerun-if-changed=src/thing.c");
}
