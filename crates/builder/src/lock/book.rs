//! The locks of one build: a directory's build files share one.
//!
//! A plain build uses a lock that is there and adds to it, and never makes one or moves an entry.
//! A frozen one (`--locked`, `--offline`) writes nothing, and does not begin where something that
//! it will need is not locked.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use registry_client::Reference;

use super::text::MAX_BYTES;
use super::{FILE, Lock, LockError, LockedBase, Name, Wanted};
use crate::base::{Base, embedded};
use crate::image::FORMAT;
use crate::spec::BuildSpec;
use crate::spec::model::BaseSource;
use crate::target::TargetPlatform;

/// What build files stand on that a lock names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Bases of registries, with the platforms.
    pub bases: BTreeMap<Name, Vec<TargetPlatform>>,
    /// The base `static`.
    pub is_static: bool,
}

impl Wants {
    /// What one build file stands on.
    pub fn of(spec: &BuildSpec) -> Self {
        let mut wants = Self::default();
        for platform in spec.platforms.iter().map(|platform| platform.value) {
            match &spec.of(platform).base.of(platform).value {
                BaseSource::Registry(reference) => {
                    wants.bases.entry(Name::new(reference)).or_default().push(platform);
                }
                BaseSource::Static => wants.is_static = true,
                // A layout is a part of the checkout: its digest would say nothing new.
                BaseSource::Scratch | BaseSource::Layout { .. } => {}
            }
        }
        wants
    }

    /// Adds another build file's.
    pub fn merge(&mut self, other: Self) {
        self.is_static |= other.is_static;
        for (name, platforms) in other.bases {
            let own = self.bases.entry(name).or_default();
            own.extend(platforms);
            own.sort_unstable();
            own.dedup();
        }
    }

    /// Those of `specs`, by the directory whose lock they share.
    pub fn by_directory<'a>(specs: impl IntoIterator<Item = &'a BuildSpec>) -> BTreeMap<PathBuf, Self> {
        let mut all: BTreeMap<PathBuf, Self> = BTreeMap::new();
        for spec in specs {
            all.entry(crate::image_context(spec).to_owned()).or_default().merge(Self::of(spec));
        }
        all
    }

    fn missing_in(&self, lock: &Lock) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        if self.is_static && lock.static_base.is_none() {
            wanted.push(Wanted { base: "static".to_owned(), platforms: Vec::new() });
        }
        for (name, platforms) in &self.bases {
            let lacks = lock.bases.get(name).map(|base| base.lacks(platforms));
            if lacks.as_ref().is_none_or(|lacks| !lacks.is_empty()) {
                wanted.push(Wanted { base: name.to_string(), platforms: lacks.unwrap_or_default() });
            }
        }
        wanted
    }
}

/// Where the lock of a directory is.
pub fn path_in(directory: &Path) -> PathBuf {
    if directory == Path::new(".") { PathBuf::from(FILE) } else { directory.join(FILE) }
}

/// Reads a lock; none where there is no file.
pub fn read(path: &Path) -> Result<Option<Lock>, LockError> {
    let failed = |source| LockError::Io { action: "read", path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let syntax = |reason: &str| LockError::Syntax { path: path.to_owned(), reason: reason.to_owned() };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(syntax("it is too long"));
    }
    let text = String::from_utf8(bytes).map_err(|_| syntax("it is not UTF-8"))?;
    Lock::parse(path, &text).map(Some)
}

/// Replaces a lock whole. Nothing happens where it says just that already.
pub fn write(path: &Path, lock: &Lock) -> Result<(), LockError> {
    let text = lock.render();
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let failed = |source| LockError::Io { action: "write", path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = std::fs::write(&temporary, text)
        .and_then(|()| std::fs::File::open(&temporary)?.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// The locks of a build.
#[derive(Debug)]
pub struct Book {
    /// By directory.
    pages: Mutex<BTreeMap<PathBuf, Option<Lock>>>,
    frozen: bool,
}

impl Book {
    /// Reads the locks of all build files. `frozen`: nothing is written, and everything that the
    /// build files stand on must be there.
    pub fn open(specs: &[BuildSpec], frozen: bool) -> Result<Self, LockError> {
        let mut pages = BTreeMap::new();
        for (directory, wants) in Wants::by_directory(specs) {
            let path = path_in(&directory);
            let lock = read(&path)?;
            if let Some(lock) = &lock {
                check_static(&path, lock, &wants)?;
            }
            if frozen {
                match &lock {
                    Some(lock) if lock.format != FORMAT => {
                        return Err(LockError::Format { path, format: lock.format });
                    }
                    Some(lock) => {
                        let wanted = wants.missing_in(lock);
                        if !wanted.is_empty() {
                            return Err(LockError::Uncovered { path, wanted });
                        }
                    }
                    None => {
                        let wanted = wants.missing_in(&Lock::default());
                        if !wanted.is_empty() {
                            return Err(LockError::Missing { path, wanted });
                        }
                    }
                }
            }
            pages.insert(directory, lock);
        }
        Ok(Self { pages: Mutex::new(pages), frozen })
    }

    /// The same where nothing is built: nothing is written, and what is not locked may be absent.
    pub fn to_look_at(specs: &[BuildSpec]) -> Result<Self, LockError> {
        Ok(Self { frozen: true, ..Self::open(specs, false)? })
    }

    /// The checksum of the lock of `directory`, as it is now.
    pub fn checksum(&self, directory: &Path) -> Option<oci_layout::Digest> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        Some(pages.get(directory)?.as_ref()?.checksum())
    }

    /// The locks that there are, with their paths.
    pub fn locks(&self) -> Vec<(PathBuf, Lock)> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().filter_map(|(directory, lock)| Some((path_in(directory), lock.clone()?))).collect()
    }

    /// What the lock of `directory` says about a base.
    pub fn base(&self, directory: &Path, reference: &Reference) -> Option<LockedBase> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(directory)?.as_ref()?.base(reference).cloned()
    }

    /// Notes what was resolved beyond the lock, in its file too. Gives what is new, for people.
    pub fn add(&self, directory: &Path, reference: &Reference, base: &Base) -> Result<Vec<String>, LockError> {
        self.change(directory, |lock| lock.add(reference, &LockedBase::of(base)))
    }

    /// Notes the base `static`, where the lock does not.
    pub fn add_static(&self, directory: &Path) -> Result<Vec<String>, LockError> {
        self.change(directory, |lock| {
            let new = lock.static_base.is_none();
            lock.static_base = lock.static_base.or_else(embedded::digest);
            if new { vec!["static".to_owned()] } else { Vec::new() }
        })
    }

    fn change(&self, directory: &Path, change: impl Fn(&mut Lock) -> Vec<String>) -> Result<Vec<String>, LockError> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Some(lock)) = pages.get_mut(directory) else { return Ok(Vec::new()) };
        if self.frozen || change(&mut lock.clone()).is_empty() {
            return Ok(Vec::new());
        }
        // Another build may have added to it meanwhile.
        let path = path_in(directory);
        if let Ok(Some(newer)) = read(&path) {
            *lock = newer;
        }
        let added = change(lock);
        write(&path, lock)?;
        Ok(added)
    }
}

/// A lock that names another `static` than this mab's cannot be followed, frozen or not.
fn check_static(path: &Path, lock: &Lock, wants: &Wants) -> Result<(), LockError> {
    match (lock.static_base, embedded::digest()) {
        (Some(locked), Some(own)) if wants.is_static && locked != own => {
            Err(LockError::Static { path: path.to_owned(), locked, own })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Overrides, parse};

    fn spec(directory: &Path, text: &str) -> BuildSpec {
        let text = format!("version: 1\nplatforms: [linux/amd64, linux/arm64]\n{text}\n");
        parse(&directory.join("build.yaml"), &text, &Overrides::default()).unwrap()
    }

    fn open(directory: &Path, text: &str, frozen: bool) -> Result<Book, LockError> {
        Book::open(&[spec(directory, text)], frozen)
    }

    #[test]
    fn a_frozen_build_needs_a_lock_that_covers_it() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let error = open(directory, "base: debian:12", true).unwrap_err().to_string();
        assert!(error.contains("there is no") && error.contains("docker.io/library/debian:12"), "{error}");
        assert!(open(directory, "base: scratch", true).is_ok(), "nothing to lock");
        assert!(open(directory, "base: debian:12", false).is_ok(), "a plain build needs none");
        assert!(!directory.join(FILE).exists(), "and makes none");
        write(&directory.join(FILE), &Lock::default()).unwrap();
        let error = open(directory, "base: {default: debian:12, linux/arm64: static}", true).unwrap_err().to_string();
        assert!(error.ends_with("it lacks static; docker.io/library/debian:12"), "{error}");
    }

    #[test]
    fn a_lock_of_another_static_or_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut lock = Lock { static_base: Some(oci_layout::Digest::of(b"x")), ..Lock::default() };
        write(&directory.join(FILE), &lock).unwrap();
        for frozen in [true, false] {
            assert!(matches!(open(directory, "base: static", frozen), Err(LockError::Static { .. })));
        }
        assert!(open(directory, "base: scratch", true).is_ok());
        lock.format = FORMAT + 1;
        write(&directory.join(FILE), &lock).unwrap();
        assert!(matches!(open(directory, "base: scratch", true), Err(LockError::Format { .. })));
        assert!(open(directory, "base: scratch", false).is_ok());
    }

    #[test]
    fn a_plain_build_adds_and_a_frozen_one_never_writes() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let path = directory.join(FILE);
        assert!(open(directory, "", false).unwrap().add_static(directory).unwrap().is_empty());
        assert!(!path.exists());
        write(&path, &Lock::default()).unwrap();
        let book = open(directory, "", false).unwrap();
        assert_eq!(book.add_static(directory).unwrap(), ["static"]);
        assert!(book.add_static(directory).unwrap().is_empty());
        assert_eq!(read(&path).unwrap().unwrap().static_base, embedded::digest());
        let before = std::fs::read(&path).unwrap();
        assert!(open(directory, "", true).unwrap().add_static(directory).unwrap().is_empty());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
