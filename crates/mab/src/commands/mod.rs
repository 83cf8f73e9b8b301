//! The commands: each a function from what was typed to an exit code.

mod build;
mod build_files;
mod cache;
mod check;
mod index;
mod inspect;
mod inspect_bundle;
mod lock;
mod login;
mod platforms;
mod run;
mod session;
mod transfer;
mod vendor;
mod verify;

use clap::CommandFactory as _;

use crate::cli::{Arguments, Command};
use crate::{exit, text};

/// Runs a command.
pub(crate) fn run(arguments: Arguments) -> u8 {
    match arguments.command {
        Command::Build(build) => build::run(&build),
        Command::Check(check) => check::run(&check),
        Command::Copy(copy) => transfer::copy(&copy),
        Command::Push(push) => transfer::push(&push),
        Command::Index(index) => index::run(&index),
        Command::Login(login) => login::login(&login),
        Command::Logout(logout) => login::logout(&logout),
        Command::Inspect(inspect) => inspect::run(&inspect),
        Command::Lock(lock) => lock::run(&lock),
        Command::Platforms(platforms) => platforms::run(&platforms),
        Command::Run(run) => run::run(*run),
        Command::Vendor(vendor) => vendor::run(&vendor),
        Command::Verify(verify) => verify::run(&verify),
        Command::Cache(cache) => cache::run(&cache),
        Command::Schema => {
            let schema = builder::spec::schema::json_schema();
            text::result_line(&serde_json::to_string_pretty(&schema).unwrap_or_default());
            exit::SUCCESS
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "mab", &mut script);
            text::result_line(&String::from_utf8_lossy(&script));
            exit::SUCCESS
        }
    }
}
