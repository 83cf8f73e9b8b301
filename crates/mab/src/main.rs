//! The command line of mab.
fn main() {}
