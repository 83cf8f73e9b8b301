//! What a compiler's last words mean, and what the user could do about them.

use super::ToolContext;
use super::error::CompileError;
use super::missing::Mend;
use super::system::System;
use crate::process::{Output, describe_status};
use crate::target::{TARGETS, TargetPlatform};

/// The error of a compiler that has ended with one.
pub(super) fn failed(
    tool: &'static str,
    platforms: Vec<TargetPlatform>,
    output: Output,
    context: &ToolContext<'_>,
) -> CompileError {
    let status = describe_status(output.status);
    let hint = find(&output.tail, &status).map(|hint| match hint {
        Hint::Say(text) => text,
        Hint::Install(packages, otherwise) => {
            match System::detect(&context.compiler_environment(), context.children).install(&packages) {
                Some(mend @ Mend::Packages { .. }) => mend.to_string(),
                _ => otherwise,
            }
        }
    });
    CompileError::Failed { tool, platforms, status, tail: output.tail, hint }
}

/// What helps.
#[derive(Debug, PartialEq, Eq)]
enum Hint {
    /// In words.
    Say(String),
    /// Debian's packages, where the system has them, else words.
    Install(Vec<String>, String),
}

fn find(tail: &[String], status: &str) -> Option<Hint> {
    let line = |text: &str| tail.iter().find(|line| line.contains(text)).map(String::as_str);
    let says = |text: &str| line(text).is_some();
    let say = |text: &str| Some(Hint::Say(text.to_owned()));
    let install = |package: &str, what: &str| Some(Hint::Install(vec![package.to_owned()], format!("install {what}")));
    if says("No space left on device") {
        return say("make room on the disk, or move the target directory (CARGO_TARGET_DIR)");
    }
    if status.contains("memory") || says("signal: 9") || says("signal: killed") {
        return say("memory ran out: take fewer --jobs");
    }
    if says("--locked") && says("lock file") {
        return say("bring Cargo.lock up to date with `cargo update --workspace`, or build without --locked");
    }
    if says("--offline") && (says("no matching package") || says("attempting to make an HTTP request")) {
        return say("fetch the dependencies first with `cargo fetch`, or build without --offline");
    }
    // The cc crate, and cargo for a linker.
    for (before, after) in [("failed to find tool \"", '"'), ("linker `", '`')] {
        let name = line(before).and_then(|line| line.split_once(before)?.1.split_once(after));
        if let Some((name, _)) = name {
            return Some(compiler(name.rsplit('/').next().unwrap_or(name)));
        }
    }
    if says("Unable to find libclang") {
        return install("libclang-dev", "libclang, which a build script reads headers with");
    }
    if says("is `cmake` not installed?") {
        return install("cmake", "cmake");
    }
    if says("Could not find `protoc`") {
        return install("protobuf-compiler", "protoc, the compiler of Protocol Buffers");
    }
    if says("The pkg-config command could not be found") || says("Could not run `pkg-config") {
        return install("pkg-config", "pkg-config");
    }
    if says("pkg-config has not been configured to support cross-compilation") {
        return say("a crate wants a C library of the target: install its development package for that architecture, \
             name a directory that has it with PKG_CONFIG_SYSROOT_DIR_<target>, or have the crate build its own \
             (often a feature called `vendored` or `bundled`)");
    }
    None
}

/// A compiler that is not there, by its name.
fn compiler(name: &str) -> Hint {
    let words = format!("install {name}, or zig, which compiles C for every platform");
    for row in TARGETS {
        let packages = match name.strip_prefix(row.gcc_prefix) {
            Some("-gcc" | "-ar" | "-ld") => vec![row.gcc_package.to_owned()],
            Some("-g++") => vec![row.gcc_package.replacen("gcc-", "g++-", 1)],
            _ => continue,
        };
        return Hint::Install(packages, words);
    }
    match name {
        "cc" | "gcc" => Hint::Install(vec!["gcc".to_owned(), "libc6-dev".to_owned()], words),
        "c++" | "g++" => Hint::Install(vec!["g++".to_owned()], words),
        _ => Hint::Say(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tail: &str, expected: Option<Hint>) {
        let tail: Vec<String> = tail.lines().map(str::to_owned).collect();
        assert_eq!(find(&tail, "exit code 101"), expected);
    }

    fn install(packages: &[&str], words: &str) -> Option<Hint> {
        Some(Hint::Install(packages.iter().map(|name| (*name).to_owned()).collect(), words.to_owned()))
    }

    /// Texts as the tools wrote them.
    #[test]
    fn what_is_known_is_understood() {
        check(
            "  error occurred in cc-rs: failed to find tool \"aarch64-linux-gnu-g++\": No such file (os error 2)",
            install(
                &["g++-aarch64-linux-gnu"],
                "install aarch64-linux-gnu-g++, or zig, which compiles C for every platform",
            ),
        );
        check(
            "error: linker `/opt/x/s390x-linux-gnu-gcc` not found",
            install(
                &["gcc-s390x-linux-gnu"],
                "install s390x-linux-gnu-gcc, or zig, which compiles C for every platform",
            ),
        );
        check(
            "  Unable to find libclang: \"couldn't find any valid shared libraries matching: ['libclang.so']\"",
            install(&["libclang-dev"], "install libclang, which a build script reads headers with"),
        );
        check(
            "error: failed to write `/w/x`: No space left on device (os error 28)",
            Some(Hint::Say("make room on the disk, or move the target directory (CARGO_TARGET_DIR)".to_owned())),
        );
        check("error[E0308]: mismatched types", None);
    }
}
