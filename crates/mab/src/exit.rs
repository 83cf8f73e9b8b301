//! Exit codes: documented in the README, and the same for every command.

use builder::build::ErrorClass;

/// Done.
pub(crate) const SUCCESS: u8 = 0;
/// Something that no other code is for.
pub(crate) const OTHER: u8 = 1;
/// The command line or the build file.
pub(crate) const USAGE: u8 = 2;
/// A toolchain is missing, or a program does not compile.
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
/// Interrupted by SIGINT.
pub(crate) const SIGINT: u8 = 130;
/// Ended by SIGTERM.
pub(crate) const SIGTERM: u8 = 143;

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
