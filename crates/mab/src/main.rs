//! The command line of mab: the only place that prints, reads the environment or exits.

#![allow(clippy::result_large_err, reason = "errors are rare")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cli;
mod commands;
mod defect;
mod diagnostics;
mod environment;
mod errors;
mod exit;
mod findings;
mod log;
mod memory;
mod output_file;
#[cfg(test)]
mod pages;
mod plan_text;
mod progress;
mod prompt;
mod signals;
mod text;

use std::process::ExitCode;

use builder::toolchain::rustc_wrapper;
use clap::Parser as _;

fn main() -> ExitCode {
    // A sandbox starts mab as one of its stages: nothing may be open yet.
    if let Some(code) = builder::sandbox::stage::enter(std::env::args_os()) {
        return ExitCode::from(code);
    }
    defect::end_at_once();
    // cargo starts mab as its rustc wrapper: nothing else may happen before.
    if let Some(settings) = std::env::var_os(rustc_wrapper::VARIABLE) {
        let arguments = std::env::args_os().skip(1).collect();
        let error = rustc_wrapper::run(arguments, &settings, |name| std::env::var_os(name));
        text::error_line(&format!("error: {error}"));
        return ExitCode::FAILURE;
    }
    log::begin();
    memory::keep_little();
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = match error.use_stderr() {
                true if cli::is_run(std::env::args_os()) => exit::NOT_RUN,
                true => exit::USAGE,
                false => exit::SUCCESS,
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let code = commands::run(arguments);
    match text::lost_result() {
        Some(error) if code == exit::SUCCESS => {
            text::error_line(&format!("error: cannot write the result to standard output: {error}"));
            ExitCode::from(exit::OUTPUT)
        }
        _ => ExitCode::from(code),
    }
}
