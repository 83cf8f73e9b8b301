//! Exit codes: the same for every command. docs/commands.md has the table that is here.

use builder::build::ErrorClass;

/// Done.
pub(crate) const SUCCESS: u8 = 0;
/// Something that no other code is for.
pub(crate) const OTHER: u8 = 1;
/// The command line or the build file.
pub(crate) const USAGE: u8 = 2;
/// A toolchain is missing, a program does not compile, or a command that is run on an image fails.
pub(crate) const TOOLCHAIN: u8 = 3;
/// A check has failed.
pub(crate) const CHECK: u8 = 4;
/// A registry or the network.
pub(crate) const REGISTRY: u8 = 5;
/// Credentials.
pub(crate) const AUTHENTICATION: u8 = 6;
/// The lock, or what an offline build may not fetch.
pub(crate) const LOCKED: u8 = 7;
/// The output or the disk.
pub(crate) const OUTPUT: u8 = 8;
/// A panic: mab itself is wrong.
pub(crate) const DEFECT: u8 = 101;
/// `mab run`: the program's time was up.
pub(crate) const TIMED_OUT: u8 = 124;
/// `mab run`: the program was not started, for a reason of mab's or of this system.
pub(crate) const NOT_RUN: u8 = 125;
/// `mab run`: the program cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// `mab run`: the image has no such program.
pub(crate) const NOT_FOUND: u8 = 127;
/// Interrupted by SIGINT.
pub(crate) const SIGINT: u8 = 130;
/// Ended by SIGTERM.
pub(crate) const SIGTERM: u8 = 143;

/// All of them, as the documentation has them.
#[cfg(test)]
pub(crate) const TABLE: &[(&[u8], &str)] = &[
    (&[SUCCESS], "done"),
    (&[OTHER], "an error that no other code is for"),
    (&[USAGE], "the command line or the build file"),
    (&[TOOLCHAIN], "a toolchain is missing, a program does not compile, or a command that is run on an image fails"),
    (
        &[CHECK],
        "a check failed: a program does not fit its platform, an entrypoint or user is not there, a smoke run was not as the build file says, `mab verify` has found something",
    ),
    (&[REGISTRY], "a registry or the network"),
    (&[AUTHENTICATION], "credentials"),
    (
        &[LOCKED],
        "the lock: it is missing, does not cover a build file, or a base has moved; a command that needs the network, with `--offline`",
    ),
    (&[OUTPUT], "the output or the disk"),
    (
        &[TIMED_OUT, NOT_RUN, NOT_EXECUTABLE, NOT_FOUND],
        "`mab run` alone: the program's time was up; it was not started; it cannot be executed; the image does not have it. Every other code of `mab run` is the program's own, 128 and more where a signal has ended it",
    ),
    (&[DEFECT], "a defect of mab\'s own (a panic); please report it"),
    (&[SIGINT, SIGTERM], "interrupted by SIGINT, ended by SIGTERM"),
];

/// The code for an error of the builder's.
pub(crate) fn of_class(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::Other => OTHER,
        ErrorClass::Usage => USAGE,
        ErrorClass::Toolchain => TOOLCHAIN,
        ErrorClass::Check => CHECK,
        ErrorClass::Registry => REGISTRY,
        ErrorClass::Authentication => AUTHENTICATION,
        ErrorClass::Locked => LOCKED,
        ErrorClass::Output => OUTPUT,
        ErrorClass::Interrupted => SIGINT,
    }
}

/// The code for an error of a registry's.
pub(crate) fn of_registry(error: &registry_client::Error) -> u8 {
    use registry_client::ErrorKind;
    match error.kind() {
        ErrorKind::Unauthorized | ErrorKind::Denied => AUTHENTICATION,
        ErrorKind::Usage => USAGE,
        ErrorKind::Local => OUTPUT,
        _ => REGISTRY,
    }
}
