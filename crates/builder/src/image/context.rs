//! The build context: the directory that sources are below, with what was found in it.
//!
//! Nothing is followed out of it, whatever links say (row I04).

use std::collections::HashMap;
use std::fs::Metadata;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use oci_layout::layer::{Content, EntryKind};

use crate::spec::model::{FileSource, FileSpec};
use crate::spec::{BuildSpec, Diagnostic, Place, Placed, Template, Variables, render_source};

/// A source and all that is below it that is to be copied.
#[derive(Clone)]
pub(crate) struct Source {
    /// Where it is.
    path: PathBuf,
    /// Sorted by path.
    found: Vec<Found>,
    /// Texts of symbolic links.
    links: Vec<String>,
    /// What mab has with it, where that is the source.
    own: Option<Arc<[u8]>>,
}

/// Something to copy. There can be millions.
#[derive(Clone)]
pub(crate) struct Found {
    path: Arc<Path>,
    /// Bytes of `path` before what is below the source.
    above: u32,
    what: What,
    executable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Directory,
    /// A symbolic link, with the number of its text.
    Link(u32),
    /// A file, with its size.
    File(u64),
    /// A file that mab has with it.
    Own,
}

/// Something to copy, as it is to be in the image.
pub(crate) struct ToCopy<'a> {
    /// Path below the source, with slashes; empty for the source itself.
    pub below: &'a str,
    /// What it becomes.
    pub kind: EntryKind,
    /// The owner may execute it.
    pub executable: bool,
}

impl Source {
    /// Its name, if that is a text.
    pub(crate) fn name(&self) -> Option<&str> {
        self.path.file_name()?.to_str()
    }

    /// All of it, parents first.
    pub(crate) fn to_copy(&self) -> impl Iterator<Item = ToCopy<'_>> {
        self.found.iter().map(|found| {
            let kind = match found.what {
                What::Directory => EntryKind::Directory,
                What::Link(number) => {
                    EntryKind::Symlink { target: self.links.get(number as usize).cloned().unwrap_or_default() }
                }
                What::File(size) => EntryKind::File(Content::File { path: Arc::clone(&found.path), size }),
                What::Own => EntryKind::File(Content::Bytes(self.own.clone().unwrap_or_default())),
            };
            ToCopy { below: found.below(), kind, executable: found.executable }
        })
    }
}

impl Found {
    /// Path below the source.
    fn below(&self) -> &str {
        // That it is a text was seen when it was found.
        let bytes = self.path.as_os_str().as_encoded_bytes().get(self.above as usize..).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// What was found; many may want it.
type Tree = Arc<Source>;

/// The context as it is seen at one time: what was looked at once is not looked at again, for
/// most platforms want the same.
pub(crate) struct Context {
    /// Absolute.
    directory: PathBuf,
    seen: RwLock<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Directories by the names they were asked for, and what they really are.
    directories: HashMap<PathBuf, Arc<Path>>,
    /// Sources by the texts they were asked for.
    sources: HashMap<String, Result<PathBuf, Problem>>,
    /// What is below sources, by their texts, for each list of what is excluded.
    trees: HashMap<String, Vec<(Vec<String>, Tree)>>,
}

/// A diagnostic without its place.
#[derive(Clone)]
struct Problem {
    code: &'static str,
    message: String,
}

impl Problem {
    fn at(self, place: Option<Place>) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(self.code, self.message, place))
    }
}

impl Context {
    /// The directory of a build file.
    pub(crate) fn of(spec: &BuildSpec) -> std::io::Result<Self> {
        Ok(Self { directory: std::path::absolute(super::context(spec))?, seen: RwLock::default() })
    }

    /// Absolute.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a source, which must be there and inside the context.
    pub(crate) fn open(&self, template: &Placed<Template>, values: &Variables<'_>) -> Result<PathBuf, Box<Diagnostic>> {
        let text = render_source(template, values)?;
        self.inside(&text).map_err(|problem| problem.at(template.place))
    }

    /// Finds what `spec` copies, sorted by path.
    pub(crate) fn find(&self, spec: &FileSpec, values: &Variables<'_>) -> Result<Tree, Box<Diagnostic>> {
        match &spec.from {
            FileSource::CaCertificates(_) => {
                let bytes = crate::base::embedded::certificates().into_bytes();
                let path = PathBuf::from("ca-certificates.crt");
                let above = path.as_os_str().len() as u32;
                let found = vec![Found { path: path.as_path().into(), above, what: What::Own, executable: false }];
                Ok(Arc::new(Source { path, found, links: Vec::new(), own: Some(bytes.into()) }))
            }
            FileSource::Path(template) => self.tree(&render_source(template, values)?, spec, template.place),
            FileSource::Pattern(template) => {
                let text = render_source(template, values)?;
                let sign = text.find(FileSource::PATTERN).unwrap_or(text.len());
                let top = text[..sign].rfind('/').map_or("", |slash| &text[..slash]);
                let pattern = patterns(&[Placed {
                    value: text[top.len()..].trim_start_matches('/').to_owned(),
                    place: template.place,
                }])?;
                let tree = self.tree(top, spec, template.place)?;
                let matches = |item: &&Found| item.what != What::Directory && pattern.is_match(item.below());
                let found: Vec<Found> = tree.found.iter().filter(matches).cloned().collect();
                if found.is_empty() {
                    let message = format!("nothing matches {text}");
                    return Err(Box::new(Diagnostic::error("no-match", message, template.place)));
                }
                Ok(Arc::new(Source { path: tree.path.clone(), found, links: tree.links.clone(), own: None }))
            }
        }
    }

    fn tree(&self, source: &str, spec: &FileSpec, place: Option<Place>) -> Result<Tree, Box<Diagnostic>> {
        let excluded = spec.exclude.iter().map(|pattern| pattern.value.as_str());
        if let Some(trees) = self.read().trees.get(source)
            && let Some((_, known)) = trees.iter().find(|(list, _)| excluded.clone().eq(list))
        {
            return Ok(Arc::clone(known));
        }
        let Looked { path, metadata } = self.look(source).map_err(|problem| problem.at(place))?;
        let excluding = patterns(&spec.exclude)?;
        let above = u32::try_from(path.as_os_str().len()).unwrap_or(u32::MAX);
        let mut walk =
            Walk { above, excluded: &excluding, place, is_whole: true, found: Vec::new(), links: Vec::new() };
        walk.add(&path, metadata)?;
        let Walk { mut found, links, .. } = walk;
        found.shrink_to_fit();
        let found = Arc::new(Source { path, found, links, own: None });
        let excluded = excluded.map(str::to_owned).collect();
        self.write().trees.entry(source.to_owned()).or_default().push((excluded, Arc::clone(&found)));
        Ok(found)
    }

    // Both are held for no longer than it takes to look something up: what is asked of the file
    // system is asked by many at a time.
    fn read(&self) -> RwLockReadGuard<'_, Seen> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Seen> {
        self.seen.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn inside(&self, source: &str) -> Result<PathBuf, Problem> {
        if let Some(known) = self.read().sources.get(source) {
            return known.clone();
        }
        let looked = self.look(source).map(|looked| looked.path);
        self.write().sources.insert(source.to_owned(), looked.clone());
        looked
    }

    fn look(&self, source: &str) -> Result<Looked, Problem> {
        let path = self.directory.join(source);
        let missing = |error: std::io::Error| Problem {
            code: "source",
            message: format!("cannot read {}: {error}", path.display()),
        };
        let real = self.real(&path).map_err(missing)?;
        let top = self.real_directory(&self.directory).map_err(missing)?;
        if real.path.starts_with(&*top) {
            return Ok(real);
        }
        let message = format!("{} leads out of the build file's directory, to {}", path.display(), real.path.display());
        Err(Problem { code: "source-outside", message })
    }

    /// What `path` really is, as `canonicalize` has it; its directory is resolved once for all in it.
    fn real(&self, path: &Path) -> std::io::Result<Looked> {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let plain = self.real_directory(parent)?.join(name);
            let metadata = std::fs::symlink_metadata(&plain)?;
            if !metadata.is_symlink() {
                return Ok(Looked { path: plain, metadata });
            }
        }
        let path = std::fs::canonicalize(path)?;
        let metadata = std::fs::symlink_metadata(&path)?;
        Ok(Looked { path, metadata })
    }

    fn real_directory(&self, path: &Path) -> std::io::Result<Arc<Path>> {
        if let Some(known) = self.read().directories.get(path) {
            return Ok(Arc::clone(known));
        }
        let real: Arc<Path> = std::fs::canonicalize(path)?.into();
        self.write().directories.insert(path.to_owned(), Arc::clone(&real));
        Ok(real)
    }
}

/// A source: what it really is.
struct Looked {
    path: PathBuf,
    metadata: Metadata,
}

/// Finds all that is below a source.
struct Walk<'a> {
    /// Bytes of the source's own path.
    above: u32,
    excluded: &'a GlobSet,
    place: Option<Place>,
    /// It is not a part that a thread of its own walks.
    is_whole: bool,
    found: Vec<Found>,
    links: Vec<String>,
}

/// A directory with fewer entries is not worth a thread.
const MANY: usize = 32;

impl Walk<'_> {
    /// Adds what is in a directory; of a large one, parts side by side.
    fn add_all(&mut self, children: &[PathBuf]) -> Result<(), Box<Diagnostic>> {
        // Asking how many there are takes longer than most directories.
        let threads = match self.is_whole && children.len() >= MANY {
            true => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            false => 1,
        };
        if threads < 2 {
            return children.iter().try_for_each(|child| self.add_child(child));
        }
        let part = || Walk { is_whole: false, found: Vec::new(), links: Vec::new(), ..*self };
        let parts = std::thread::scope(|scope| {
            let walk = |children| {
                let mut part = part();
                scope.spawn(move || part.add_all(children).map(|()| part))
            };
            let parts: Vec<_> = children.chunks(children.len().div_ceil(threads)).map(walk).collect();
            let joined = parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            joined.collect::<Result<Vec<_>, _>>()
        })?;
        for part in parts {
            let before = self.links.len() as u32;
            self.found.extend(part.found.into_iter().map(|mut found| {
                if let What::Link(number) = &mut found.what {
                    *number += before;
                }
                found
            }));
            self.links.extend(part.links);
        }
        Ok(())
    }

    fn add_child(&mut self, child: &Path) -> Result<(), Box<Diagnostic>> {
        let fail = |message: String| Box::new(Diagnostic::error("source", message, self.place));
        if child.file_name().and_then(|name| name.to_str()).is_none() {
            return Err(fail(format!("the name of {} is not UTF-8", child.display())));
        }
        let metadata = std::fs::symlink_metadata(child)
            .map_err(|error| fail(format!("cannot read {}: {error}", child.display())))?;
        self.add(child, metadata)
    }

    fn add(&mut self, path: &Path, metadata: Metadata) -> Result<(), Box<Diagnostic>> {
        let place = self.place;
        let fail = |message: String| Box::new(Diagnostic::error("source", message, place));
        let unreadable = |error: std::io::Error| fail(format!("cannot read {}: {error}", path.display()));
        let kind = metadata.file_type();
        let is_source = path.as_os_str().len() == self.above as usize;
        let above = if is_source { self.above } else { self.above + 1 };
        let mut found = Found { path: path.into(), above, what: What::Directory, executable: kind.is_dir() };
        if !is_source && self.excluded.is_match(found.below()) {
            return Ok(());
        }
        if kind.is_dir() {
            self.found.push(found);
            let mut children = std::fs::read_dir(path)
                .and_then(|list| list.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
                .map_err(unreadable)?;
            children.sort();
            return self.add_all(&children);
        }
        if kind.is_symlink() {
            let target = std::fs::read_link(path).map_err(unreadable)?;
            let Some(target) = target.to_str() else {
                return Err(fail(format!("the link {} has a target that is not UTF-8", path.display())));
            };
            found.what = What::Link(self.links.len() as u32);
            self.links.push(target.to_owned());
        } else if kind.is_file() {
            found.what = What::File(metadata.len());
        } else {
            return Err(fail(format!("{} is neither file, directory nor link", path.display())));
        }
        found.executable = {
            use std::os::unix::fs::PermissionsExt as _;
            metadata.permissions().mode() & 0o100 != 0
        };
        self.found.push(found);
        Ok(())
    }
}

fn patterns(list: &[Placed<String>]) -> Result<GlobSet, Box<Diagnostic>> {
    let mut set = GlobSetBuilder::new();
    for pattern in list {
        let bad = |error: globset::Error| Box::new(Diagnostic::error("glob", error.to_string(), pattern.place));
        // A pattern without a slash means files of that name wherever they are, as in .dockerignore's kin.
        let text = if pattern.value.contains('/') { pattern.value.clone() } else { format!("**/{}", pattern.value) };
        set.add(GlobBuilder::new(&text).literal_separator(true).build().map_err(bad)?);
    }
    set.build().map_err(|error| Box::new(Diagnostic::error("glob", error.to_string(), None)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::spec::{Facts, Overrides, parse};

    /// What `from` finds in `context`: paths below it, or the message.
    fn found(context: &Path, from: &str) -> Result<Vec<String>, String> {
        let text = format!("version: 1\nbase: scratch\nfiles: [{{from: '{from}', to: /x/}}]\n");
        let spec = parse(&context.join("build.yaml"), &text, &Overrides::default()).unwrap();
        let facts = Facts::default();
        let values = Variables { platform: "linux/amd64".parse().ok(), facts: &facts };
        match Context::of(&spec).unwrap().find(&spec.files[0].value, &values) {
            Ok(source) => Ok(source.to_copy().map(|item| item.below.to_owned()).collect()),
            Err(diagnostic) => Err(diagnostic.message.clone()),
        }
    }

    #[track_caller]
    fn fails(context: &Path, from: &str, says: &str) {
        let message = found(context, from).unwrap_err();
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn i04_no_link_leads_out_of_the_context() {
        let directory = tempfile::tempdir().unwrap();
        let (context, outside) = (directory.path().join("context"), directory.path().join("outside"));
        for path in [&context.join("tree"), &outside] {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
        }
        symlink(&outside, context.join("there")).unwrap();
        symlink("../outside/file", context.join("link")).unwrap();
        symlink(outside.join("file"), context.join("tree/link")).unwrap();
        fails(&context, "there", "leads out of");
        fails(&context, "there/file", "leads out of");
        fails(&context, "there/*", "leads out of");
        fails(&context, "link", "leads out of");
        // A link inside a tree is a link in the image too: it is not followed here.
        assert_eq!(found(&context, "tree").unwrap(), ["", "file", "link"]);
        // One that stays inside may be a source.
        symlink("tree/file", context.join("inside")).unwrap();
        assert_eq!(found(&context, "inside").unwrap(), [""]);
    }

    #[test]
    fn a_large_directory_is_found_in_its_order_with_its_links() {
        let context = tempfile::tempdir().unwrap();
        let tree = context.path().join("tree");
        let mut expected = vec![(String::new(), String::new())];
        for number in 0..200 {
            let (name, target) = (format!("{number:03}"), format!("to {number}"));
            let directory = tree.join(&name);
            std::fs::create_dir_all(&directory).unwrap();
            symlink(&target, directory.join("link")).unwrap();
            std::fs::write(directory.join("z"), &name).unwrap();
            expected.push((name.clone(), String::new()));
            expected.push((format!("{name}/link"), target));
            expected.push((format!("{name}/z"), tree.join(&name).join("z").display().to_string()));
        }
        let text = "version: 1\nbase: scratch\nfiles: [{from: tree, to: /x/}]\n";
        let spec = parse(&context.path().join("build.yaml"), text, &Overrides::default()).unwrap();
        let facts = Facts::default();
        let values = Variables { platform: "linux/amd64".parse().ok(), facts: &facts };
        let source = Context::of(&spec).unwrap().find(&spec.files[0].value, &values).unwrap();
        let found: Vec<_> = source
            .to_copy()
            .map(|item| {
                let is = match item.kind {
                    EntryKind::Symlink { target } => target,
                    EntryKind::File(Content::File { path, .. }) => path.display().to_string(),
                    _ => String::new(),
                };
                (item.below.to_owned(), is)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn i09_a_name_that_is_not_utf8_fails_and_is_named() {
        let context = tempfile::tempdir().unwrap();
        let name = std::ffi::OsString::from_vec(b"tree/caf\xe9".to_vec());
        std::fs::create_dir(context.path().join("tree")).unwrap();
        std::fs::write(context.path().join(name), "").unwrap();
        fails(context.path(), "tree", "caf\u{fffd} is not UTF-8");
        std::fs::remove_dir_all(context.path().join("tree")).unwrap();
        std::fs::create_dir(context.path().join("tree")).unwrap();
        symlink(std::ffi::OsString::from_vec(b"caf\xe9".to_vec()), context.path().join("tree/link")).unwrap();
        fails(context.path(), "tree", "has a target that is not UTF-8");
    }

    #[test]
    fn i06_what_is_no_file_fails_at_once() {
        let context = tempfile::tempdir().unwrap();
        let fifo = context.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        fails(context.path(), "fifo", "neither file, directory nor link");
    }
}
