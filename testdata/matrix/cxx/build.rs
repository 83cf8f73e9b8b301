fn main() {
    cc::Build::new().cpp(true).std("c++14").file("src/words.cpp").compile("words");
    println!("cargo:rerun-if-changed=src/words.cpp");
}
