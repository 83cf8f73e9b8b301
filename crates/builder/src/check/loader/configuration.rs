//! Where loaders look by their configuration.

use std::collections::BTreeSet;

use globset::GlobBuilder;
use oci_layout::ImagePath;
use oci_layout::layer::Tree;

use crate::check::elf::ElfFacts;

/// Files that `include` may lead to, in all.
const FILES: usize = 256;
/// Directories that are taken from configuration.
const DIRECTORIES: usize = 1024;

/// Directories of `/etc/ld.so.conf` and what it includes (ldconfig(8)). Debian's packages put
/// theirs into `/etc/ld.so.conf.d` and the file that includes them comes with libc-bin; an image
/// without it has no cache either.
pub(super) fn ld_so_conf(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    if let Ok(path) = "/etc/ld.so.conf".parse() {
        read(tree, &path, &mut seen, &mut found);
    }
    found
}

fn read(tree: &Tree, path: &ImagePath, seen: &mut BTreeSet<ImagePath>, found: &mut Vec<String>) {
    let Ok(real) = tree.resolve(path, true) else { return };
    if seen.len() >= FILES || !seen.insert(real.clone()) {
        return;
    }
    let Some(text) = tree.get(&real).and_then(|node| node.text()) else { return };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include").filter(|rest| rest.starts_with(char::is_whitespace)) {
            for pattern in pattern.split_whitespace() {
                include(tree, path, pattern, seen, found);
            }
        } else if line.starts_with("hwcap") {
            // Ignored by ldconfig, too.
        } else {
            for directory in line.split([':', ',', ' ', '\t', '=']).filter(|part| part.starts_with('/')) {
                if found.len() < DIRECTORIES && !found.iter().any(|known| known == directory) {
                    found.push(directory.trim_end_matches('/').to_owned());
                }
            }
        }
    }
}

fn include(tree: &Tree, from: &ImagePath, pattern: &str, seen: &mut BTreeSet<ImagePath>, found: &mut Vec<String>) {
    let pattern = match (pattern.starts_with('/'), from.parent()) {
        (true, _) => pattern.to_owned(),
        (false, Some(directory)) => format!("{}/{pattern}", directory.as_str().trim_end_matches('/')),
        (false, None) => return,
    };
    let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build() else { return };
    let matcher = glob.compile_matcher();
    // Only the last part may be a pattern: nothing else is in use.
    let Some(directory) = pattern.rsplit_once('/').and_then(|(directory, _)| super::super::files::normal(directory))
    else {
        return;
    };
    let Ok(real) = tree.resolve(&directory, true) else { return };
    let names: Vec<ImagePath> = tree.children(&real).map(|(path, _)| path.clone()).collect();
    for path in names {
        let Some(name) = path.file_name() else { continue };
        if matcher.is_match(format!("{}/{name}", directory.as_str().trim_end_matches('/'))) {
            read(tree, &path, seen, found);
        }
    }
}

/// musl's search path: `/etc/ld-musl-ARCH.path`, relative to the loader's own prefix, or what is
/// built in.
pub(super) fn musl_path(tree: &Tree, loader: &ImagePath) -> Vec<String> {
    let name = loader.file_name().unwrap_or_default();
    let architecture = name.strip_prefix("ld-musl-").and_then(|rest| rest.split('.').next()).unwrap_or_default();
    let path = format!("/etc/ld-musl-{architecture}.path").parse().ok();
    match path.and_then(|path: ImagePath| tree.text(&path)) {
        Some(text) => {
            text.split([':', '\n']).map(str::trim).filter(|part| part.starts_with('/')).map(str::to_owned).collect()
        }
        None => ["/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned).into(),
    }
}

/// What glibc's loader most likely has built in, where it could not be read out of it: Debian's
/// multiarch directories, then the plain ones.
pub(super) fn default_directories(facts: &ElfFacts) -> Vec<String> {
    let tuple = match (facts.machine, facts.is_64, facts.little_endian) {
        (62, true, _) => Some("x86_64-linux-gnu"),
        (62, false, _) => Some("x86_64-linux-gnux32"),
        (3, ..) => Some("i386-linux-gnu"),
        (183, _, true) => Some("aarch64-linux-gnu"),
        (40, ..) if facts.float == Some(crate::target::FloatAbi::Soft) => Some("arm-linux-gnueabi"),
        (40, ..) => Some("arm-linux-gnueabihf"),
        (21, _, true) => Some("powerpc64le-linux-gnu"),
        (22, true, _) => Some("s390x-linux-gnu"),
        (243, true, _) => Some("riscv64-linux-gnu"),
        (258, ..) => Some("loongarch64-linux-gnu"),
        (8, true, true) => Some("mips64el-linux-gnuabi64"),
        _ => None,
    };
    let mut list = Vec::new();
    if let Some(tuple) = tuple {
        list.extend([format!("/lib/{tuple}"), format!("/usr/lib/{tuple}")]);
    }
    if facts.is_64 {
        list.extend(["/lib64".to_owned(), "/usr/lib64".to_owned()]);
    }
    list.extend(["/lib".to_owned(), "/usr/lib".to_owned()]);
    list
}
