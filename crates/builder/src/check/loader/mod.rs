//! How a program's loader finds its libraries, followed in an image's files without running it.
//!
//! glibc's rules are those of ld.so(8) and `elf/dl-load.c`, musl's those of `ldso/dynlink.c`.
//! Loops end because a library is loaded once, by name and by file; counts are bounded.

mod closure;
mod configuration;
mod search;

pub(super) use closure::{Closure, Lack};

use oci_layout::ImagePath;
use oci_layout::layer::facts::Node;

use super::elf::ElfFacts;
use super::files::Files;
use crate::target::Libc;

/// The loader of some programs of an image.
pub(super) struct Loader<'a> {
    pub(super) files: &'a Files<'a>,
    /// Whose rules it follows.
    pub(super) libc: Libc,
    /// Where it is.
    pub(super) path: ImagePath,
    /// `LD_LIBRARY_PATH` of the image's config.
    environment: Vec<String>,
    /// Directories of its configuration.
    configured: Vec<String>,
    /// The layer that glibc's cache is from; none where there is no cache, which means that the
    /// configuration is not looked at. What came later is not in it.
    cache: Option<Option<u32>>,
    /// Directories that it knows by itself.
    built_in: Vec<String>,
    /// `$PLATFORM` and `$LIB` cannot be told from outside: only `$ORIGIN` can.
    is_64: bool,
}

/// Which C library an interpreter's path is the loader of, by its name.
pub(super) fn libc_of(interpreter: &str) -> Option<Libc> {
    let name = interpreter.rsplit('/').next().unwrap_or_default();
    if name.starts_with("ld-musl-") {
        Some(Libc::Musl)
    } else if name.starts_with("ld-linux") || name.starts_with("ld64.so.") || name.starts_with("ld.so.") {
        Some(Libc::Gnu)
    } else {
        None
    }
}

impl<'a> Loader<'a> {
    /// The loader at `path`, for programs of the machine that `facts` are of. `environment` is
    /// the value of `LD_LIBRARY_PATH`.
    pub(super) fn new(
        files: &'a Files<'a>,
        libc: Libc,
        path: ImagePath,
        facts: &ElfFacts,
        environment: Option<&str>,
    ) -> Self {
        let tree = files.tree;
        let environment = environment.unwrap_or_default().split([':', ';']);
        let environment = environment.filter(|part| part.starts_with('/')).map(str::to_owned).collect();
        let (configured, cache, built_in) = match libc {
            Libc::Gnu => {
                let cache = files.file("/etc/ld.so.cache").map(|(_, node): (ImagePath, &Node)| node.layer);
                let own = files.elf(&path).map(|elf| elf.directories.clone()).filter(|list| !list.is_empty());
                let built_in = own.unwrap_or_else(|| configuration::default_directories(facts));
                (configuration::ld_so_conf(tree), cache, built_in)
            }
            Libc::Musl => (Vec::new(), None, configuration::musl_path(tree, &path)),
        };
        Self { files, libc, path, environment, configured, cache, built_in, is_64: facts.is_64 }
    }
}

#[cfg(test)]
mod tests;
