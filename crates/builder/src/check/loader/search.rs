//! Where one library is looked for, in order.

use std::rc::Rc;

use oci_layout::ImagePath;
use oci_layout::layer::facts::NodeKind;

use super::Loader;
use crate::check::elf::ElfFacts;
use crate::check::files::normal;
use crate::target::Libc;

/// What a search has come to.
pub(super) enum Searched {
    /// A file of the right kind.
    Found(ImagePath, Rc<ElfFacts>),
    /// None; with what was passed over on the way.
    Missing(Vec<String>),
    /// It depends on something that is not in the image, such as the working directory.
    Untold(String),
}

/// A loaded object, as far as searching for what it needs goes.
pub(super) struct Asking<'a> {
    /// Where it is.
    pub(super) path: &'a ImagePath,
    /// What it says.
    pub(super) elf: &'a ElfFacts,
}

impl Loader<'_> {
    /// Looks for `name`, which the first of `chain` needs; the rest is what loaded it, up to the
    /// program.
    pub(super) fn search(&self, name: &str, chain: &[Asking<'_>]) -> Searched {
        let Some(asking) = chain.first() else { return Searched::Missing(Vec::new()) };
        // The loader itself is loaded already, under its own name.
        if let Some(own) = self.files.elf(&self.path).filter(|own| own.soname.as_deref() == Some(name)) {
            return Searched::Found(self.path.clone(), own);
        }
        let mut passed = Vec::new();
        if name.contains('/') {
            return match normal(name) {
                Some(_) => self.take(name, asking.elf, &mut passed).unwrap_or(Searched::Missing(passed)),
                None => Searched::Untold(format!("{name} is looked for in the working directory")),
            };
        }
        let mut directories: Vec<(String, bool)> = Vec::new();
        let mut untold = None;
        let mut add = |directories: &mut Vec<(String, bool)>, object: &Asking<'_>, list: &[String]| {
            for entry in list {
                match self.expand(entry, object.path) {
                    Some(directory) => directories.push((directory, false)),
                    None => untold = Some(format!("{} looks in `{entry}`", object.path)),
                }
            }
        };
        match self.libc {
            Libc::Gnu => {
                if asking.elf.runpath.is_empty() {
                    for object in chain.iter().filter(|object| object.elf.runpath.is_empty()) {
                        add(&mut directories, object, &object.elf.rpath);
                    }
                }
                directories.extend(self.environment.iter().map(|directory| (directory.clone(), false)));
                add(&mut directories, asking, &asking.elf.runpath);
                if self.cache.is_some() {
                    directories.extend(self.configured.iter().map(|directory| (directory.clone(), true)));
                }
                directories.extend(self.built_in.iter().map(|directory| (directory.clone(), false)));
            }
            Libc::Musl => {
                directories.extend(self.environment.iter().map(|directory| (directory.clone(), false)));
                for object in chain {
                    let list = if object.elf.runpath.is_empty() { &object.elf.rpath } else { &object.elf.runpath };
                    add(&mut directories, object, list);
                }
                directories.extend(self.built_in.iter().map(|directory| (directory.clone(), false)));
            }
        }
        // All that follow may be looked at: chains of long paths are.
        if !self.files.may_look(directories.len()) {
            return Searched::Untold("the image's library paths name too many directories".to_owned());
        }
        for (directory, by_cache) in directories {
            let path = format!("{directory}/{name}");
            if by_cache && !self.in_cache(&path, &mut passed) {
                continue;
            }
            if let Some(found) = self.take(&path, asking.elf, &mut passed) {
                return found;
            }
        }
        match untold {
            Some(why) => Searched::Untold(why),
            None => Searched::Missing(passed),
        }
    }

    /// Whether `path` was there when the cache was made.
    fn in_cache(&self, path: &str, passed: &mut Vec<String>) -> bool {
        let (Some(cache), Some((_, node))) = (self.cache, self.files.file(path)) else { return true };
        // No layer: it comes with the build.
        let known = cache.is_none() || node.layer.is_some_and(|layer| cache.is_some_and(|cache| layer <= cache));
        if !known {
            passed.push(format!("{path} is newer than /etc/ld.so.cache, which the loader goes by"));
        }
        known
    }

    /// The file at `path`, if it is a library of the machine that asks; others are passed over.
    fn take(&self, path: &str, asking: &ElfFacts, passed: &mut Vec<String>) -> Option<Searched> {
        let normal = normal(path)?;
        let real = match self.files.tree.resolve(&normal, true) {
            Ok(real) => real,
            Err(error) => {
                passed.push(error.to_string());
                return None;
            }
        };
        let node = self.files.tree.get(&real);
        let Some(node) = node else {
            if real != normal && self.files.tree.get(&normal).is_some() {
                passed.push(format!("{normal} is a link to {real}, which is not there"));
            }
            return None;
        };
        if !matches!(node.kind, NodeKind::File { .. }) {
            passed.push(format!("{normal} is not a file"));
            return None;
        }
        let Some(elf) = self.files.elf(&real) else {
            // A loader that finds such a file stops there: "invalid ELF header".
            passed.push(format!("{normal} is not an ELF file"));
            return None;
        };
        if (elf.machine, elf.is_64, elf.little_endian) != (asking.machine, asking.is_64, asking.little_endian) {
            passed.push(format!("{normal} is for {}", crate::check::elf::machine_name(elf.machine)));
            return None;
        }
        Some(Searched::Found(real, elf))
    }

    /// An entry of a library path with `$ORIGIN` in it. None for what depends on where or on
    /// which processor the program is started.
    fn expand(&self, entry: &str, object: &ImagePath) -> Option<String> {
        let origin = object.parent().map_or("/".to_owned(), |parent| parent.to_string());
        let lib = if self.is_64 { "lib64" } else { "lib" };
        let text = entry.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
        // `$LIB` is the distribution's choice; Debian's has the tuple in it.
        let text = match self.built_in.first().and_then(|first| first.strip_prefix("/")) {
            Some(first) => text.replace("${LIB}", first).replace("$LIB", first),
            None => text.replace("${LIB}", lib).replace("$LIB", lib),
        };
        (text.starts_with('/') && !text.contains('$')).then(|| text.trim_end_matches('/').to_owned())
    }
}
