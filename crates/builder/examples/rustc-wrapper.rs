//! The smallest program that can be given to the builder as its rustc wrapper. mab itself begins
//! its `main` like this; the tests of this crate use this one.

use std::process::ExitCode;

use builder::toolchain::rustc_wrapper;

fn main() -> ExitCode {
    let Some(settings) = std::env::var_os(rustc_wrapper::VARIABLE) else { return ExitCode::from(2) };
    let arguments = std::env::args_os().skip(1).collect();
    let error = rustc_wrapper::run(arguments, &settings, |name| std::env::var_os(name));
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
