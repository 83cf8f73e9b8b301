//! The new layers of one platform's image, in the order of the design: directories, links, users
//! and files first, then the programs, which change most often.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_layout::ImagePath;
use oci_layout::layer::{Content, Entry, EntryKind, LayerError, LayerOptions, LayerPlan, Tree};

use super::context::{Context, Found};
use super::layers::{LayerMaker, NewLayer};
use super::tree::{Growing, Item};
use crate::spec::accounts::{Accounts, Numbers};
use crate::spec::model::{BinarySpec, BuildSpec, Capabilities, Compression, FileSpec, Grouping};
use crate::spec::{Destination, Diagnostic, Variables, render_destination, render_file};

/// The new layers, lowest first, each with what made it.
pub(crate) type Layers = Vec<(Arc<NewLayer>, String)>;

/// Why there are no layers.
pub(crate) enum ContentError {
    /// What the build file says does not fit.
    Spec(Vec<Diagnostic>),
    /// A layer cannot be written.
    Layer(LayerError),
}

impl From<Box<Diagnostic>> for ContentError {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Self::Spec(vec![*diagnostic])
    }
}

impl From<LayerError> for ContentError {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// What the new layers of one platform will hold: decided, but nothing written.
pub(crate) struct Draft {
    /// The layers, lowest first.
    pub groups: Vec<Group>,
    /// All files of the image.
    pub tree: Tree,
    /// Its users.
    pub accounts: Accounts,
    /// Where each program really is, in the order of the build file.
    pub programs: Vec<ImagePath>,
}

impl Draft {
    /// What the layers will have.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(|group| &group.entries)
    }
}

/// A layer that is to be.
#[derive(Clone)]
pub(crate) struct Group {
    /// What is in it, sorted.
    pub entries: Vec<Entry>,
    /// What its history says.
    pub created_by: String,
    /// A program in it is not compiled yet: its entry is empty.
    pub awaits: bool,
}

/// Decides what the new layers of one platform hold, on what is below them. `spec` is the
/// platform's, `sources` where its files are; `programs` are its binaries, as far as they are there
/// already; with `hide`, files of the base may be replaced. All that does not fit is told at once.
pub(crate) fn draft(
    spec: &BuildSpec,
    sources: &Context,
    values: &Variables<'_>,
    base: Tree,
    programs: &[Option<PathBuf>],
    hide: bool,
) -> Result<Draft, ContentError> {
    Ground::lay(spec, sources, values, base, hide).draft(spec, values, programs)
}

/// What programs are put on: all else that a build file puts into an image. Platforms that share
/// settings and base share it too, unless [`BuildSpec::content_varies`].
#[derive(Clone)]
pub(crate) struct Ground {
    growing: Growing,
    accounts: Accounts,
    layer: Group,
    problems: Vec<Diagnostic>,
}

impl Ground {
    /// See [`draft`].
    pub(crate) fn lay(spec: &BuildSpec, sources: &Context, values: &Variables<'_>, base: Tree, hide: bool) -> Self {
        let mut accounts = accounts(&base);
        let problems = accounts.add(&spec.users, values);
        let growing = Growing::new(base, hide);
        let mut drafting = Drafting { spec, values, accounts: &accounts, growing, problems };
        drafting.directories();
        drafting.homes();
        drafting.links();
        drafting.account_files();
        drafting.copied(sources);
        let said = [
            ("directories", spec.directories.is_empty()),
            ("links", spec.links.is_empty()),
            ("users", spec.users.is_empty()),
            ("files", spec.files.is_empty()),
        ];
        let said: Vec<&str> = said.iter().filter(|(_, empty)| !empty).map(|(name, _)| *name).collect();
        let created_by = format!("mab: {}", said.join(", "));
        let layer = Group { entries: drafting.growing.take(), created_by, awaits: false };
        let Drafting { growing, problems, .. } = drafting;
        Self { growing, accounts, layer, problems }
    }

    /// Puts the programs on it.
    pub(crate) fn draft(
        self,
        spec: &BuildSpec,
        values: &Variables<'_>,
        programs: &[Option<PathBuf>],
    ) -> Result<Draft, ContentError> {
        let Self { growing, accounts, layer, problems } = self;
        let mut drafting = Drafting { spec, values, accounts: &accounts, growing, problems };
        let mut groups = vec![layer];
        let mut places = Vec::new();
        for (number, binary) in spec.binaries.iter().enumerate() {
            let program = programs.get(number).and_then(Option::as_deref);
            if let Some((path, place)) = drafting.program(&binary.value, program)? {
                let created_by = format!("mab: {path}");
                places.push(place);
                groups.push(Group { entries: drafting.growing.take(), created_by, awaits: program.is_none() });
            }
        }
        let Drafting { growing, problems, .. } = drafting;
        if !problems.is_empty() {
            return Err(ContentError::Spec(problems));
        }
        Ok(Draft {
            groups: grouped(groups, spec.layers.grouping),
            tree: growing.into_tree(),
            accounts,
            programs: places,
        })
    }
}

/// Makes the layers of a draft whose programs are all there.
pub(crate) fn make_layers(draft: Draft, spec: &BuildSpec, maker: &Arc<LayerMaker>) -> Result<Layers, ContentError> {
    let options = LayerOptions {
        compression: match spec.layers.compression {
            Compression::Gzip => oci_layout::media_type::Compression::Gzip,
            Compression::Zstd => oci_layout::media_type::Compression::Zstd,
            Compression::Off => oci_layout::media_type::Compression::None,
        },
        ..LayerOptions::default()
    };
    let mut made = Vec::new();
    for group in draft.groups {
        let plan = LayerPlan::new(group.entries, options.clone())?;
        made.push((maker.make(plan)?, group.created_by));
    }
    Ok(made)
}

/// Users and groups of a base.
pub(crate) fn accounts(base: &Tree) -> Accounts {
    let text = |path: &str| path.parse::<ImagePath>().ok().and_then(|path| base.text(&path));
    Accounts::of_base(text("/etc/passwd"), text("/etc/group"), text("/etc/shadow"))
}

fn grouped(groups: Vec<Group>, grouping: Grouping) -> Vec<Group> {
    let mut layers: Vec<Group> = Vec::new();
    for (number, group) in groups.into_iter().enumerate() {
        let joins = match grouping {
            Grouping::Binary => false,
            Grouping::Kind => number > 1,
            Grouping::Single => true,
        };
        match layers.last_mut().filter(|_| joins) {
            _ if group.entries.is_empty() => {}
            Some(last) => {
                last.entries.extend(group.entries);
                last.entries.sort_by(|a, b| a.path.cmp(&b.path));
                last.entries.dedup_by(|later, earlier| later.path == earlier.path);
                last.created_by.push_str(&group.created_by.replacen("mab:", ",", 1));
                last.awaits |= group.awaits;
            }
            None => layers.push(group),
        }
    }
    layers
}

/// A draft while it is made.
struct Drafting<'a> {
    spec: &'a BuildSpec,
    values: &'a Variables<'a>,
    accounts: &'a Accounts,
    growing: Growing,
    problems: Vec<Diagnostic>,
}

impl Drafting<'_> {
    fn keep<T>(&mut self, result: Result<T, Box<Diagnostic>>) -> Option<T> {
        result.map_err(|problem| self.problems.push(*problem)).ok()
    }

    fn put(&mut self, item: Item) {
        let put = self.growing.put(item);
        self.keep(put);
    }

    fn directories(&mut self) {
        for directory in &self.spec.directories {
            let path = self.keep(render_destination(&directory.value.path, self.values));
            let owner = self.keep(self.accounts.resolve(&directory.value.owner));
            let (Some(destination), Some(owner)) = (path, owner) else { continue };
            self.put(Item {
                path: destination.path,
                kind: EntryKind::Directory,
                mode: directory.value.mode,
                owner,
                xattrs: BTreeMap::new(),
                replace: false,
                place: directory.value.path.place,
            });
        }
    }

    fn homes(&mut self) {
        for user in &self.spec.users {
            let Some(home) = &user.value.home else { continue };
            // A home that cannot be rendered was told with the user.
            let Ok(destination) = render_destination(home, self.values) else { continue };
            let path = destination.path;
            if path.is_root() || self.growing.tree().get(&path).is_some() {
                continue;
            }
            self.put(Item {
                path,
                kind: EntryKind::Directory,
                mode: 0o755,
                owner: Numbers { uid: user.value.uid, gid: user.value.gid },
                xattrs: BTreeMap::new(),
                replace: false,
                place: home.place,
            });
        }
    }

    /// The files that users stand in.
    fn account_files(&mut self) {
        let accounts = self.accounts;
        let files = [
            ("/etc/passwd", accounts.passwd(), 0o644),
            ("/etc/group", accounts.group(), 0o644),
            ("/etc/shadow", accounts.shadow(), 0o600),
        ];
        for (path, text, mode) in files {
            let (Some(text), Ok(path)) = (text, path.parse::<ImagePath>()) else { continue };
            let (mode, owner) = self.growing.file(&path).unwrap_or((mode, Numbers::default()));
            self.put(Item {
                path: self.growing.tree().resolve(&path, true).unwrap_or(path),
                kind: EntryKind::File(Content::Bytes(text.as_bytes().into())),
                mode,
                owner,
                xattrs: BTreeMap::new(),
                replace: true,
                place: self.spec.users.first().and_then(|user| user.place),
            });
        }
    }

    fn links(&mut self) {
        for link in &self.spec.links {
            let path = self.keep(render_file(&link.value.path, self.values));
            let target = self.keep(crate::spec::render(&link.value.to, self.values));
            let (Some(path), Some(target)) = (path, target) else { continue };
            self.put(Item {
                path,
                kind: EntryKind::Symlink { target },
                mode: 0o777,
                owner: Numbers::default(),
                xattrs: BTreeMap::new(),
                replace: link.value.replace,
                place: link.value.path.place,
            });
        }
    }

    fn copied(&mut self, sources: &Context) {
        for file in &self.spec.files {
            let file = &file.value;
            let owner = self.keep(self.accounts.resolve(&file.owner));
            let to = self.keep(render_destination(&file.to, self.values));
            let found = self.keep(sources.find(file, self.values));
            let (Some(owner), Some(to), Some(found)) = (owner, to, found) else { continue };
            for found in found.iter() {
                let path = self.keep(destination(file, &to, found));
                if let Some(path) = path {
                    self.copy(file, path, owner, found);
                }
            }
        }
    }

    fn copy(&mut self, file: &FileSpec, path: ImagePath, owner: Numbers, found: &Found) {
        let is_directory = matches!(found.kind, EntryKind::Directory);
        // A directory that the image has keeps its mode and owner.
        let there = is_directory
            && (path.is_root()
                || self
                    .growing
                    .tree()
                    .resolve(&path, true)
                    .is_ok_and(|path| self.growing.tree().get(&path).is_some_and(|node| node.is_directory())));
        if there {
            return;
        }
        let mode = match (is_directory, file.mode, file.directory_mode) {
            // Nobody looks at a link's; this is what everybody writes.
            _ if matches!(found.kind, EntryKind::Symlink { .. }) => 0o777,
            (true, _, mode) => mode.unwrap_or(0o755),
            (false, Some(mode), _) => mode,
            (false, None, _) if found.executable => 0o755,
            (false, None, _) => 0o644,
        };
        let plain = matches!(found.kind, EntryKind::File(_));
        self.put(Item {
            path,
            kind: found.kind.clone(),
            mode,
            owner,
            xattrs: if plain { xattrs(file.capabilities) } else { BTreeMap::new() },
            replace: file.replace,
            place: file.to.place,
        });
    }

    /// Puts a program in: the path that the build file gives it, and where that really is.
    fn program(
        &mut self,
        binary: &BinarySpec,
        program: Option<&Path>,
    ) -> Result<Option<(ImagePath, ImagePath)>, ContentError> {
        let path = self.keep(render_file(&binary.to, self.values));
        let owner = self.keep(self.accounts.resolve(&binary.owner));
        let (Some(path), Some(owner)) = (path, owner) else { return Ok(None) };
        let content = match program {
            None => Content::Bytes(Default::default()),
            Some(program) => {
                let size = std::fs::metadata(program)
                    .map_err(|source| LayerError::Source { path: program.to_owned(), source })?
                    .len();
                Content::File { path: program.to_owned(), size }
            }
        };
        let put = self.growing.put(Item {
            path: path.clone(),
            kind: EntryKind::File(content),
            mode: binary.mode,
            owner,
            xattrs: xattrs(binary.capabilities),
            replace: binary.replace,
            place: binary.to.place,
        });
        Ok(self.keep(put).map(|place| (path, place)))
    }
}

/// Where something that was found goes.
fn destination(file: &FileSpec, to: &Destination, found: &Found) -> Result<ImagePath, Box<Diagnostic>> {
    let below = match (found.below.as_str(), &found.kind) {
        ("", EntryKind::Directory) => return Ok(to.path.clone()),
        ("", _) if to.below => found.name.as_deref().unwrap_or_default(),
        ("", _) => return Ok(to.path.clone()),
        (below, _) => below,
    };
    to.path.join(below).map_err(|error| Box::new(Diagnostic::error("destination", error.to_string(), file.to.place)))
}

/// The directory that sources are below.
pub(crate) fn context(spec: &BuildSpec) -> &Path {
    if spec.directory.as_os_str().is_empty() { Path::new(".") } else { &spec.directory }
}

/// The directory of a program's sources, without `.` parts: one directory has one name.
pub(crate) fn source_directory(context: &Path, path: &Path) -> PathBuf {
    context.join(path).components().collect()
}

/// `security.capability`, version 2: permitted and effective (linux/capability.h, `vfs_cap_data`).
fn xattrs(capabilities: Capabilities) -> BTreeMap<String, Vec<u8>> {
    let set = capabilities.0;
    if set == 0 {
        return BTreeMap::new();
    }
    const REVISION_2: u32 = 0x0200_0000;
    const EFFECTIVE: u32 = 1;
    let (low, high) = (set as u32, (set >> 32) as u32);
    let value = [REVISION_2 | EFFECTIVE, low, 0, high, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    BTreeMap::from([("security.capability".to_owned(), value)])
}
