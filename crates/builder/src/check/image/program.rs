//! The checks of one ELF file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use oci_layout::ImagePath;

use super::level::{Level, level};
use super::{Image, Maker, Recorder, Role, start, ways};
use crate::check::elf::{
    ElfFacts, Relocations, StaticNss, glibc_version, machine_name, not_program, unfit_float, unfit_machine,
};
use crate::check::files::{Files, normal};
use crate::check::loader::{Closure, Lack, Loader, libc_of};
use crate::check::{CheckId, Finding};
use crate::spec::Severity;
use crate::spec::model::GlibcVersion;
use crate::target::Libc;

/// Machine, class and byte order: programs that can share libraries.
type Kind = (u16, bool, bool);

/// The loaders of an image, for the programs and libraries of each machine.
pub(super) struct Loaders<'a> {
    files: &'a Files<'a>,
    environment: Option<&'a str>,
    /// What there is of each C library.
    known: BTreeMap<(Kind, Libc), Rc<Loader<'a>>>,
    /// Those that programs ask for, by where they are: their configuration is read once.
    asked: RefCell<BTreeMap<(ImagePath, Kind), Rc<Loader<'a>>>>,
}

fn kind(elf: &ElfFacts) -> Kind {
    (elf.machine, elf.is_64, elf.little_endian)
}

impl<'a> Loaders<'a> {
    pub(super) fn new(image: &Image<'a>, files: &'a Files<'a>) -> Self {
        let environment = start::variable(image, "LD_LIBRARY_PATH");
        let mut known = BTreeMap::new();
        for (path, node) in image.tree.iter().filter(|(_, node)| !node.is_directory()) {
            let Some(libc) = path.file_name().and_then(libc_of).filter(|_| is_library_directory(path)) else {
                continue;
            };
            let real = if node.inspected().is_some() { Ok(path.clone()) } else { image.tree.resolve(path, true) };
            let Some((real, elf)) = real.ok().and_then(|real| Some((real.clone(), files.elf(&real)?))) else {
                continue;
            };
            // musl's file has two names: its own, and that of the C library.
            let at = if libc == Libc::Musl { path.clone() } else { real };
            known.entry((kind(&elf), libc)).or_insert_with(|| Rc::new(Loader::new(files, libc, at, &elf, environment)));
        }
        Self { files, environment, known, asked: RefCell::default() }
    }

    /// The loader at `path`, for programs like `elf`.
    fn at(&self, path: ImagePath, libc: Libc, elf: &ElfFacts) -> Rc<Loader<'a>> {
        let mut asked = self.asked.borrow_mut();
        let loader = asked
            .entry((path.clone(), kind(elf)))
            .or_insert_with(|| Rc::new(Loader::new(self.files, libc, path, elf, self.environment)));
        Rc::clone(loader)
    }

    /// The C library that the image has for programs like `elf`.
    fn libc(&self, elf: &ElfFacts) -> Option<Libc> {
        [Libc::Gnu, Libc::Musl].into_iter().find(|libc| self.known.contains_key(&(kind(elf), *libc)))
    }

    /// The loader that loads a library: that of the C library that it asks for.
    fn of_library(&self, elf: &ElfFacts) -> Option<&Loader<'a>> {
        let musl = elf.needed.iter().any(|name| name == "libc.so" || name.starts_with("libc.musl-"));
        let order = if musl { [Libc::Musl, Libc::Gnu] } else { [Libc::Gnu, Libc::Musl] };
        order.into_iter().find_map(|libc| self.known.get(&(kind(elf), libc))).map(Rc::as_ref)
    }
}

/// Loaders are where libraries are; copies elsewhere (a chroot, a test) are nobody's.
fn is_library_directory(path: &ImagePath) -> bool {
    let parent = path.parent().map(|parent| parent.to_string()).unwrap_or_default();
    parent.starts_with("/lib") || parent.starts_with("/usr/lib")
}

/// Checks one file.
pub(super) fn check<'a>(
    image: &Image<'a>,
    loaders: &Loaders<'a>,
    path: &ImagePath,
    elf: &Rc<ElfFacts>,
    role: Role,
    recorder: &mut Recorder<'_>,
) {
    let mut checking = Checking { image, loaders, path, elf, role, recorder };
    if checking.machine() {
        checking.level();
        checking.hardening();
        match (&elf.interpreter, elf.needed.is_empty()) {
            (Some(interpreter), _) if elf.soname.is_none() => checking.program(interpreter),
            (_, false) => checking.library(),
            (_, true) => checking.alone(),
        }
    }
}

struct Checking<'c, 'a, 'r> {
    image: &'c Image<'a>,
    loaders: &'c Loaders<'a>,
    path: &'c ImagePath,
    elf: &'c Rc<ElfFacts>,
    role: Role,
    recorder: &'c mut Recorder<'r>,
}

impl Checking<'_, '_, '_> {
    fn subject(&self) -> &str {
        self.path.as_str()
    }

    /// `/usr/bin/x for linux/arm64`.
    fn name(&self) -> String {
        format!("{} for {}", self.path, self.image.platform)
    }

    fn unfit(&mut self, check: CheckId, message: String, hint: String) {
        self.finding(Finding::unfit(check, self.path.as_str(), message).hint(hint));
    }

    fn finding(&mut self, finding: Finding) {
        let finding = match &self.image.base {
            Some(base) => finding.note(format!("base: {base}")),
            None => finding,
        };
        let finding = if self.role == Role::Own { finding } else { finding.at_most(Severity::Warning) };
        self.recorder.unfit(finding);
    }

    fn fits(&mut self, check: CheckId, evidence: impl FnOnce() -> String) {
        self.recorder.fits(check, self.path.as_str(), evidence);
    }

    /// Machine, kind and float ABI. Without these nothing else can be asked.
    fn machine(&mut self) -> bool {
        let wanted = self.image.platform.target().elf;
        let origin = self.image.origin(self.path);
        if let Some((found, wanted)) = unfit_machine(self.elf, wanted) {
            let message = format!("{} is {found}, but {wanted} is wanted", self.name());
            self.unfit(CheckId::Machine, message, ways::other_machine(&origin));
            return false;
        }
        self.fits(CheckId::Machine, || machine_name(self.elf.machine));
        if self.image.programs.contains_key(self.path) {
            if let Some((found, wanted)) = not_program(self.elf) {
                let message = format!("{} is {found}, but {wanted} is wanted", self.name());
                let hint = "name the linked program, add a library under `files` instead, or look at how it is linked";
                self.unfit(CheckId::Program, message, hint.to_owned());
                return false;
            }
            self.fits(CheckId::Program, || "a program".to_owned());
        }
        if let Some(abi) = wanted.float {
            if let Some((found, wanted)) = unfit_float(self.elf, wanted) {
                let message = format!("{} is {found}, but {wanted} is wanted", self.name());
                self.unfit(CheckId::FloatAbi, message, ways::other_machine(&origin));
                return false;
            }
            match self.elf.float {
                Some(_) => self.fits(CheckId::FloatAbi, || format!("{abi:?} float").to_lowercase()),
                // Go's own code passes nothing to C libraries.
                None if self.elf.is_static() => self.fits(CheckId::FloatAbi, || "it has no libraries".to_owned()),
                None => self.recorder.unknown(
                    CheckId::FloatAbi,
                    self.path.as_str(),
                    format!("{} does not say how it passes floating-point arguments", self.path),
                ),
            }
        }
        true
    }

    fn level(&mut self) {
        let origin = self.image.origin(self.path);
        match level(self.elf, &origin, self.image.platform) {
            Level::Fits(evidence) => self.fits(CheckId::IsaLevel, || evidence),
            Level::One => {}
            // What mab told the compiler is a record, too.
            Level::Silent(_) if origin.maker != Maker::Elsewhere && origin.cpu.is_none() => {
                self.fits(CheckId::IsaLevel, || "it was compiled for the platform".to_owned());
            }
            Level::Silent(why) => {
                self.recorder.unknown(CheckId::IsaLevel, self.path.as_str(), format!("{}: {why}", self.path));
            }
            Level::Beyond { found, wanted } => {
                let message = format!("{} needs {found}, but the platform promises no more than {wanted}", self.name());
                self.unfit(CheckId::IsaLevel, message, ways::level(&self.image.platform.to_string(), &origin));
            }
        }
    }

    fn hardening(&mut self) {
        if self.elf.executable_stack {
            let message = format!("{} asks for an executable stack", self.name());
            let hint = "add `.section .note.GNU-stack,\"\",%progbits` to its assembler files, link it with `-z noexecstack`, \
                        or let it through with `allow: [exec-stack]`";
            self.unfit(CheckId::ExecStack, message, hint.to_owned());
        } else {
            self.fits(CheckId::ExecStack, || "no executable stack".to_owned());
        }
        if self.elf.text_relocations {
            let message = format!("{} has code that is changed while it is loaded (text relocations)", self.name());
            let hint = "compile all of it with `-fPIC`, link it with `-z text` to find the culprit, or let it through with \
                        `allow: [text-relocations]`";
            self.unfit(CheckId::TextRelocations, message, hint.to_owned());
        } else {
            self.fits(CheckId::TextRelocations, || "no text relocations".to_owned());
        }
    }

    /// A program with a loader.
    fn program(&mut self, interpreter: &str) {
        let origin = self.image.origin(self.path);
        let Some(libc) = libc_of(interpreter) else {
            match self.loaders.files.file(interpreter) {
                Some((real, _)) => {
                    self.fits(CheckId::Interpreter, || format!("{interpreter} is {real}"));
                    let why = format!("{}: its loader {interpreter} is none whose rules are known", self.path);
                    self.recorder.unknown(CheckId::Library, self.path.as_str(), why);
                }
                None => self.no_loader(interpreter, "is not in the image"),
            }
            return;
        };
        let wants = libc_name(libc);
        let found = normal(interpreter).and_then(|path| self.loaders.files.file(path.as_str()));
        let Some((real, node)) = found else {
            match self.loaders.libc(self.elf).filter(|has| *has != libc) {
                Some(has) => {
                    let has = libc_name(has);
                    let message =
                        format!("{} is linked against {wants}, but {} has {has}", self.name(), self.image.where_from());
                    let finding = Finding::unfit(CheckId::Libc, self.path.as_str(), message)
                        .note(format!("it asks for the loader {interpreter}"))
                        .hint(ways::other_libc(has, wants, &origin));
                    self.finding(finding);
                }
                None => self.no_loader(interpreter, "is not there"),
            }
            return;
        };
        let loader = self.loaders.files.elf(&real);
        match loader {
            None => return self.no_loader(interpreter, "is no ELF file"),
            Some(loader) if kind(&loader) != kind(self.elf) => {
                let what = format!("is for {}", machine_name(loader.machine));
                return self.no_loader(interpreter, &what);
            }
            Some(_) if node.mode & 0o111 == 0 => return self.no_loader(interpreter, "may not be executed"),
            Some(_) => {}
        }
        self.fits(CheckId::Interpreter, || format!("{interpreter} is {real}"));
        self.fits(CheckId::Libc, || wants.to_owned());
        self.ceiling(origin.glibc);
        let at = if libc == Libc::Musl { normal(interpreter).unwrap_or(real) } else { real };
        let loader = self.loaders.at(at, libc, self.elf);
        let closure = loader.closure(self.path, Rc::clone(self.elf));
        self.closure(&closure);
    }

    fn no_loader(&mut self, interpreter: &str, why: &str) {
        let origin = self.image.origin(self.path);
        let message = format!("{} asks for the loader {interpreter}, which {why}", self.name())
            .replace("is not there", &format!("{} does not have", self.image.where_from()));
        self.unfit(CheckId::Interpreter, message, ways::no_loader(&origin));
    }

    fn ceiling(&mut self, ceiling: Option<GlibcVersion>) {
        let Some(ceiling) = ceiling else { return };
        match self.elf.glibc() {
            Some((major, minor)) if (major, minor) > (ceiling.major, ceiling.minor) => {
                let message = format!(
                    "{} needs GLIBC_{major}.{minor}, but `glibc: \"{ceiling}\"` is the newest that it may need",
                    self.name()
                );
                let hint = format!(
                    "install zig, which links against any glibc (`pip install ziglang`), raise it to `glibc: \
                     \"{major}.{minor}\"`, or build it with `libc: musl`"
                );
                self.unfit(CheckId::GlibcCeiling, message, hint);
            }
            newest => self.fits(CheckId::GlibcCeiling, || match newest {
                Some((major, minor)) => format!("it needs GLIBC_{major}.{minor}"),
                None => "it needs no glibc".to_owned(),
            }),
        }
    }

    fn closure(&mut self, closure: &Closure) {
        let origin = self.image.origin(self.path);
        let mut libraries = 0;
        let mut newest: Option<(u32, u32)> = None;
        let mut other_versions = Vec::new();
        for lack in &closure.lacks {
            match lack {
                Lack::Library { name, by, passed } => {
                    libraries += 1;
                    let who = if by == self.path { String::new() } else { format!("{by}, which it loads, ") };
                    let who = if who.is_empty() { "needs".to_owned() } else { format!("cannot start: {who}needs") };
                    let message = format!(
                        "{} {who} the library {name}, which {} does not have where it is looked for",
                        self.name(),
                        self.image.where_from()
                    );
                    let stale = passed.iter().any(|why| why.contains("ld.so.cache"));
                    let mut finding =
                        Finding::unfit(CheckId::Library, self.subject(), message).hint(ways::no_library(name, stale));
                    for why in passed.iter().take(8) {
                        finding = finding.note(why);
                    }
                    self.finding(finding);
                }
                Lack::Untold { name, why } => {
                    libraries += 1;
                    let why = format!("{}: whether {name} is found cannot be told: {why}", self.path);
                    self.recorder.unknown(CheckId::Library, self.path.as_str(), why);
                }
                Lack::Versions { missing, .. } => {
                    newest = newest.max(missing.iter().filter_map(|version| glibc_version(version)).max());
                    other_versions.push(lack);
                }
            }
        }
        if libraries == 0 {
            self.fits(CheckId::Library, || match closure.loaded.len() - 1 {
                0 => "it needs none".to_owned(),
                count => format!("all {count} are there"),
            });
        }
        if other_versions.is_empty() {
            self.fits(CheckId::SymbolVersion, || format!("all {} wanted are defined", closure.wanted()));
            return;
        }
        let glibc_is_too_old = newest.is_some_and(|newest| closure.glibc().is_some_and(|had| newest > had));
        for lack in other_versions {
            let Lack::Versions { by, name, library, missing } = lack else { continue };
            let of_glibc = missing.iter().filter_map(|version| glibc_version(version)).max();
            let finding = match (of_glibc, closure.glibc()) {
                (Some((major, minor)), Some(had)) if (major, minor) > had => {
                    // The C library has several files; one finding says it.
                    if name != "libc.so.6" && Some((major, minor)) != newest {
                        continue;
                    }
                    let who = if by == self.path { String::new() } else { format!("{by}, which it loads, ") };
                    let message = format!(
                        "{} {}needs GLIBC_{major}.{minor}, but {} has glibc {}.{}",
                        self.name(),
                        if who.is_empty() { who } else { format!("cannot start: {who}") },
                        self.image.where_from(),
                        had.0,
                        had.1
                    );
                    Finding::unfit(CheckId::SymbolVersion, self.subject(), message).hint(ways::newer_glibc(
                        (major, minor),
                        Some(had),
                        &origin,
                    ))
                }
                _ => {
                    let message = format!(
                        "{} cannot start: {by} needs {} of {name}, which {library} does not define",
                        self.name(),
                        missing.join(", ")
                    );
                    Finding::unfit(CheckId::SymbolVersion, self.subject(), message).hint(if glibc_is_too_old {
                        ways::newer_glibc(newest.unwrap_or_default(), closure.glibc(), &origin)
                    } else {
                        ways::no_version(name)
                    })
                }
            };
            self.finding(finding);
        }
    }

    /// A library. What it lacks may be loaded already by the program that loads it, so that a
    /// library that is not found is no finding but an open question.
    fn library(&mut self) {
        let Some(loader) = self.loaders.of_library(self.elf) else {
            let why = format!("{}: the image has no loader for it", self.path);
            self.recorder.unknown(CheckId::Library, self.path.as_str(), why);
            return;
        };
        let closure = loader.closure(self.path, Rc::clone(self.elf));
        let lacks = closure.lacks.iter().filter_map(|lack| match lack {
            Lack::Library { name, .. } | Lack::Untold { name, .. } => Some(name.as_str()),
            Lack::Versions { .. } => None,
        });
        let lacks: Vec<&str> = lacks.collect();
        if lacks.is_empty() {
            self.fits(CheckId::Library, || format!("all {} are there", closure.loaded.len() - 1));
        } else {
            let why = format!("{}: {} may be loaded by the program that loads it", self.path, lacks.join(", "));
            self.recorder.unknown(CheckId::Library, self.path.as_str(), why);
        }
        let own = closure.lacks.iter().find_map(|lack| match lack {
            Lack::Versions { by, name, library, missing } if by == self.path => Some((name, library, missing)),
            _ => None,
        });
        match own {
            None => self.fits(CheckId::SymbolVersion, || "all wanted are defined".to_owned()),
            Some((name, library, missing)) => {
                let message =
                    format!("{} needs {} of {name}, which {library} does not define", self.name(), missing.join(", "));
                self.unfit(CheckId::SymbolVersion, message, ways::no_version(name));
            }
        }
    }

    /// A file that needs neither loader nor library.
    fn alone(&mut self) {
        self.relocations();
        self.names();
    }

    fn relocations(&mut self) {
        match &self.elf.relocations {
            None => {}
            Some(Relocations::Applied) => {
                self.fits(CheckId::StaticRelocations, || "its start code applies them".to_owned());
            }
            Some(Relocations::Left { count, first }) => {
                let about = |which| if first.is_empty() { String::new() } else { format!(", {which}to `{first}`") };
                let what = match count {
                    1 => format!("a relocation that nothing applies{}", about("")),
                    _ => format!("{count} relocations that nothing applies{}", about("the first ")),
                };
                let message = format!("{} has {what}", self.name());
                let hint = "GNU ld leaves such pointers to exported symbols on s390x: link it with \
                            `-Wl,--exclude-libs,ALL` and without `-rdynamic`, or dynamically (`link: dynamic`), or without \
                            position independence (`-no-pie`)";
                let note = "a static program relocates itself, and this one's start code (musl's, say) applies relative \
                            relocations alone";
                let finding = Finding::unfit(CheckId::StaticRelocations, self.subject(), message);
                self.finding(finding.note(note).hint(hint));
            }
        }
    }

    fn names(&mut self) {
        let Some(nss) = self.elf.static_nss else { return };
        let services = nss_services(self.loaders.files);
        match (nss, services) {
            (StaticNss::BuiltIn, None) => {
                self.fits(CheckId::StaticNss, || "`files` and `dns` are built into it".to_owned());
            }
            (nss, services) => {
                let why = match (nss, services) {
                    (StaticNss::BuiltIn, Some(service)) => {
                        format!("/etc/nsswitch.conf asks for the service `{service}`, which is not built into it")
                    }
                    _ => "its glibc loads a library for each service of /etc/nsswitch.conf".to_owned(),
                };
                let message = format!("{} is static, but looks up names through glibc's NSS", self.name());
                let finding = Finding::unfit(CheckId::StaticNss, self.subject(), message).note(why).hint(
                    "build it with `libc: musl` or without C, link it dynamically on a base with glibc, or name only `files` \
                     and `dns` in /etc/nsswitch.conf (glibc 2.34 and newer have these built in)",
                );
                self.finding(finding);
            }
        }
    }
}

fn libc_name(libc: Libc) -> &'static str {
    match libc {
        Libc::Gnu => "glibc",
        Libc::Musl => "musl",
    }
}

/// The first service of the image's nsswitch.conf that glibc does not have in itself.
fn nss_services(files: &Files<'_>) -> Option<String> {
    let text = files.tree.text(&"/etc/nsswitch.conf".parse().ok()?)?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let databases = lines.filter_map(|line| line.split_once(':'));
    let looked_up = databases.filter(|(name, _)| matches!(name.trim(), "passwd" | "group" | "hosts" | "services"));
    let mut services = looked_up.flat_map(|(_, services)| services.split_whitespace());
    // `[NOTFOUND=return]` is no service.
    services
        .find(|word| !word.starts_with('[') && !word.contains('=') && !matches!(*word, "files" | "dns"))
        .map(str::to_owned)
}
