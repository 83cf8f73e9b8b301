//! What can be done about a finding: the ways out that messages name.

use super::{Maker, Origin};

/// glibc of well-known bases, oldest first.
const BASES: [(&str, (u32, u32)); 5] = [
    ("debian:bullseye", (2, 31)),
    ("ubuntu:22.04", (2, 35)),
    ("debian:bookworm", (2, 36)),
    ("ubuntu:24.04", (2, 39)),
    ("debian:trixie", (2, 41)),
];

/// For a program that wants a newer glibc than there is.
pub(super) fn newer_glibc(wanted: (u32, u32), had: Option<(u32, u32)>, origin: &Origin) -> String {
    let base = BASES.iter().find(|(name, version)| name.starts_with("debian") && *version >= wanted);
    let base = match base {
        Some((name, (major, minor))) => format!("take a newer base ({name} has {major}.{minor})"),
        None => format!("take a base with glibc {}.{} or newer", wanted.0, wanted.1),
    };
    let ceiling = had.map_or("2.x".to_owned(), |(major, minor)| format!("{major}.{minor}"));
    match origin.maker {
        Maker::Rust => {
            format!("{base}, set `glibc: \"{ceiling}\"` on the binary, or build it with `libc: musl`")
        }
        Maker::Go => format!(
            "{base}, build it without C (`env: {{CGO_ENABLED: \"0\"}}` on the binary), or use zig as its C compiler \
             (`CC: zig cc -target …-linux-gnu.{ceiling}`)"
        ),
        Maker::Elsewhere => format!(
            "{base}, build it against glibc {ceiling} (`cargo zigbuild --target …-gnu.{ceiling}`, or on an older system), \
             or link it statically"
        ),
    }
}

/// For a program of the other C library.
pub(super) fn other_libc(has: &str, wants: &str, origin: &Origin) -> String {
    let base = if wants == "glibc" { "debian:bookworm-slim" } else { "alpine" };
    let libc = if has == "musl" { "musl" } else { "gnu" };
    match origin.maker {
        Maker::Rust => {
            format!("take a base with {wants} ({base}), build it with `libc: {libc}`, or with `link: static`")
        }
        Maker::Go => format!(
            "take a base with {wants} ({base}), build it without C (`env: {{CGO_ENABLED: \"0\"}}`), or link it statically"
        ),
        Maker::Elsewhere => format!("take a base with {wants} ({base}), build it for {has}, or link it statically"),
    }
}

/// For a loader that is not there at all.
pub(super) fn no_loader(origin: &Origin) -> String {
    let linked = match origin.maker {
        Maker::Rust => "link it statically (`link: static`)",
        Maker::Go => "build it without C (`env: {CGO_ENABLED: \"0\"}`)",
        Maker::Elsewhere => "link it statically",
    };
    format!("{linked}, take a base that has the loader (debian:bookworm-slim), or add it under `files`")
}

/// For a library that is not found.
pub(super) fn no_library(name: &str, newer_than_cache: bool) -> String {
    if newer_than_cache {
        return format!(
            "put {name} into a directory that the loader knows by itself (such as /usr/lib), set LD_LIBRARY_PATH under \
             `config: env`, or link the program with a RUNPATH"
        );
    }
    format!("take a base that has {name}, add it under `files`, or link it statically")
}

/// For a version that another library lacks.
pub(super) fn no_version(library: &str) -> String {
    format!("take a base with a newer {library}, build against the one that the base has, or link it statically")
}

/// For a program of another machine.
pub(super) fn other_machine(origin: &Origin) -> String {
    match origin.maker {
        Maker::Elsewhere => {
            "name each platform's own file (`prebuilt/${platform.arch}/…`), build it for the platform, \
                             or leave the platform out"
                .to_owned()
        }
        _ => "look at the compiler's own configuration (a `[build] target`, GOARCH), build it elsewhere and add it as \
              `file`, or leave the platform out"
            .to_owned(),
    }
}

/// For instructions that the platform's machines may lack.
pub(super) fn level(platform: &str, origin: &Origin) -> String {
    let build = match origin.maker {
        Maker::Rust => "take `target-cpu` away from the binary",
        Maker::Go => "take GOAMD64, GOARM and the like away",
        Maker::Elsewhere => "compile it without `-march`",
    };
    format!(
        "{build}, compile its C library's start files for that level too, or offer the image for a higher variant \
             than {platform} (such as linux/amd64/v3 or linux/arm/v7)"
    )
}

/// For a file that is damaged.
pub(super) fn damaged(origin: &Origin) -> String {
    match origin.maker {
        Maker::Elsewhere => "copy it anew, compare its checksum with the original's, or build it again".to_owned(),
        _ => "build it again, look for a full disk, or report a defect of the linker".to_owned(),
    }
}
