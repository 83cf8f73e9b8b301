//! All that a program loads when it is started.

use std::collections::HashMap;
use std::rc::Rc;

use oci_layout::ImagePath;

use super::Loader;
use super::search::{Asking, Searched};
use crate::check::elf::ElfFacts;

use crate::target::Libc;

/// Most libraries of one program; the largest desktop programs have some hundreds.
const LIBRARIES: usize = 4096;
/// Longest chain of who needs whom that library paths are taken from.
const CHAIN: usize = 64;

/// A library of a program.
pub(in crate::check) struct Loaded {
    /// Where it is.
    pub(in crate::check) path: ImagePath,
    /// What it says.
    pub(in crate::check) elf: Rc<ElfFacts>,
    /// Who needed it first: its number in the list, none for the program itself.
    by: Option<usize>,
    /// What each of its needed names led to.
    needs: HashMap<String, usize>,
}

/// Something that a program or library of it needs and that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) enum Lack {
    /// A library.
    Library {
        /// Its name.
        name: String,
        /// Who needs it.
        by: ImagePath,
        /// Files of that name that are no help, and why.
        passed: Vec<String>,
    },
    /// It cannot be told whether a library is there.
    Untold {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// Symbol versions.
    Versions {
        /// Who wants them.
        by: ImagePath,
        /// The library's name.
        name: String,
        /// Where it is.
        library: ImagePath,
        /// What is wanted and not defined.
        missing: Vec<String>,
    },
}

/// A program with all its libraries.
pub(in crate::check) struct Closure {
    /// The program first, then libraries in the order in which they are loaded.
    pub(in crate::check) loaded: Vec<Loaded>,
    /// What is not there.
    pub(in crate::check) lacks: Vec<Lack>,
}

impl Loader<'_> {
    /// Follows what `elf`, at `path`, needs.
    pub(in crate::check) fn closure(&self, path: &ImagePath, elf: Rc<ElfFacts>) -> Closure {
        let program = Loaded { path: path.clone(), elf, by: None, needs: HashMap::new() };
        let mut closure = Closure { loaded: vec![program], lacks: Vec::new() };
        // Loaders know a library by the name that it was asked for, by its own, and by its file.
        let mut by_name: HashMap<String, Option<usize>> = HashMap::new();
        let mut by_path: HashMap<ImagePath, usize> = HashMap::from([(path.clone(), 0)]);
        let mut next = 0;
        while next < closure.loaded.len() {
            let needed = closure.loaded[next].elf.needed.clone();
            for name in needed {
                if self.is_itself(&name) {
                    continue;
                }
                if !self.files.may_look(1) {
                    let why = "the image's programs and libraries need too many others".to_owned();
                    closure.lacks.push(Lack::Untold { name, why });
                    return closure;
                }
                if let Some(known) = by_name.get(&name) {
                    if let Some(known) = *known {
                        closure.loaded[next].needs.insert(name, known);
                    }
                    continue;
                }
                let searched = self.search(&name, &chain(&closure.loaded, next));
                match searched {
                    Searched::Found(path, elf) => {
                        let number = *by_path.entry(path.clone()).or_insert(closure.loaded.len());
                        if number == closure.loaded.len() {
                            if number >= LIBRARIES {
                                let why = format!("more than {LIBRARIES} libraries are needed");
                                closure.lacks.push(Lack::Untold { name, why });
                                return closure;
                            }
                            if let Some(own) = &elf.soname {
                                by_name.entry(own.clone()).or_insert(Some(number));
                            }
                            closure.loaded.push(Loaded { path, elf, by: Some(next), needs: HashMap::new() });
                        }
                        closure.loaded[next].needs.insert(name.clone(), number);
                        by_name.insert(name, Some(number));
                    }
                    Searched::Missing(passed) => {
                        let by = closure.loaded[next].path.clone();
                        closure.lacks.push(Lack::Library { name: name.clone(), by, passed });
                        by_name.insert(name, None);
                    }
                    Searched::Untold(why) => {
                        closure.lacks.push(Lack::Untold { name: name.clone(), why });
                        by_name.insert(name, None);
                    }
                }
            }
            next += 1;
        }
        self.versions(&mut closure);
        closure
    }

    /// musl is loader and C library in one, and takes the parts of other C libraries for itself.
    fn is_itself(&self, name: &str) -> bool {
        const PARTS: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];
        let part = name.strip_prefix("lib").and_then(|rest| rest.split('.').next());
        self.libc == Libc::Musl && (part.is_some_and(|part| PARTS.contains(&part)) || name.starts_with("ld-musl-"))
    }

    /// musl knows no symbol versions.
    fn versions(&self, closure: &mut Closure) {
        if self.libc == Libc::Musl {
            return;
        }
        let mut lacks = Vec::new();
        for object in &closure.loaded {
            for want in &object.elf.versions {
                let Some(library) = object.needs.get(&want.library).and_then(|number| closure.loaded.get(*number))
                else {
                    continue;
                };
                // As glibc has it: a library without any versions satisfies all.
                if library.elf.defined.is_empty() {
                    continue;
                }
                let missing: Vec<String> = want
                    .versions
                    .iter()
                    .filter(|version| library.elf.defined.binary_search(version).is_err())
                    .cloned()
                    .collect();
                if !missing.is_empty() {
                    lacks.push(Lack::Versions {
                        by: object.path.clone(),
                        name: want.library.clone(),
                        library: library.path.clone(),
                        missing,
                    });
                }
            }
        }
        closure.lacks.extend(lacks);
    }
}

impl Closure {
    /// The C library among what is loaded: its version of glibc.
    pub(in crate::check) fn glibc(&self) -> Option<(u32, u32)> {
        let libc = self.loaded.iter().find(|loaded| loaded.elf.soname.as_deref() == Some("libc.so.6"));
        libc.and_then(|libc| libc.elf.defined_glibc())
    }

    /// How many versions are wanted by the program and all its libraries.
    pub(in crate::check) fn wanted(&self) -> usize {
        let needs = |elf: &ElfFacts| elf.versions.iter().map(|need| need.versions.len()).sum::<usize>();
        self.loaded.iter().map(|loaded| needs(&loaded.elf)).sum()
    }
}

fn chain(loaded: &[Loaded], from: usize) -> Vec<Asking<'_>> {
    let mut chain = Vec::new();
    let mut at = Some(from);
    while let Some(object) = at.and_then(|number| loaded.get(number)) {
        chain.push(Asking { path: &object.path, elf: &object.elf });
        if chain.len() >= CHAIN {
            break;
        }
        at = object.by;
    }
    chain
}
