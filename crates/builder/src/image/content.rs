//! The new layers of one platform's image, in the order of the design: directories, links, users
//! and files first, then the programs, which change most often.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_layout::ImagePath;
use oci_layout::layer::{Content, Entry, EntryKind, LayerError, LayerFacts, LayerOptions, LayerPlan, Tree, Xattrs};

use super::context::{Context, Source, ToCopy};
use super::layers::{LayerMaker, NewLayer};
use super::tree::{Growing, Item, OWN_LAYERS};
use crate::spec::accounts::{Accounts, Numbers};
use crate::spec::model::{
    BinarySpec, BuildSpec, Capabilities, Compression, ContentRange, FileSpec, Grouping, Owner, Part, UserSpec,
};
use crate::spec::{Destination, Diagnostic, Placed, Variables, render_destination, render_file};

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
    /// Commands run on the image whose outcome is not in it: all else may be otherwise then.
    pub open: bool,
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
    /// It is of programs.
    pub of_programs: bool,
    /// A program in it is not compiled yet: its entry is empty.
    pub awaits: bool,
}

/// Decides what the new layers of one platform hold, on what is below them. `spec` is the
/// platform's, `sources` where its files are; `programs` are its binaries, as far as they are there
/// already; with `hide`, files of the base may be replaced. All that does not fit is told at once.
#[cfg(test)]
pub(crate) fn draft(
    spec: &BuildSpec,
    sources: &Context,
    values: &Variables<'_>,
    base: Tree,
    programs: &[Option<PathBuf>],
    hide: bool,
) -> Result<Draft, ContentError> {
    Ground::lay(spec, sources, values, base, hide).draft(spec, sources, values, programs)
}

/// What the first programs are put on, and the first commands are run on. Platforms that share settings
/// and base share it too, unless [`BuildSpec::content_varies`].
#[derive(Clone)]
pub(crate) struct Ground {
    growth: Growth,
    /// How many parts it is made of.
    parts: usize,
}

impl Ground {
    /// Lays the parts before the first programs and commands.
    pub(crate) fn lay(spec: &BuildSpec, sources: &Context, values: &Variables<'_>, base: Tree, hide: bool) -> Self {
        let mut growth = Growth::new(base, hide);
        let mut parts = 0;
        for part in &spec.parts {
            let Part::Content(range) = part else { break };
            growth.content(spec, sources, values, range);
            parts += 1;
        }
        Self { growth, parts }
    }

    /// Puts the rest on it, up to the first command: what comes of one is not known before it has run.
    pub(crate) fn draft(
        self,
        spec: &BuildSpec,
        sources: &Context,
        values: &Variables<'_>,
        programs: &[Option<PathBuf>],
    ) -> Result<Draft, ContentError> {
        let Self { mut growth, parts } = self;
        let mut open = false;
        for part in spec.parts.iter().skip(parts) {
            match part {
                Part::Content(range) => growth.content(spec, sources, values, range),
                Part::Binaries(range) => growth.binaries(spec, values, range, programs)?,
                Part::Runs(_) => {
                    open = true;
                    break;
                }
            }
        }
        growth.fits()?;
        Ok(Draft { open, ..growth.finish(spec.layers.grouping) })
    }
}

/// The new layers while they come about, part by part.
#[derive(Clone)]
pub(crate) struct Growth {
    growing: Growing,
    accounts: Accounts,
    /// What is not in a layer yet.
    groups: Vec<Group>,
    programs: Vec<ImagePath>,
    problems: Vec<Diagnostic>,
    /// The number of the next layer.
    layers: u32,
}

impl Growth {
    /// On a base; with `hide`, its files may be replaced.
    pub(crate) fn new(base: Tree, hide: bool) -> Self {
        Self {
            accounts: accounts(&base),
            growing: Growing::new(base, hide),
            groups: Vec::new(),
            programs: Vec::new(),
            problems: Vec::new(),
            layers: OWN_LAYERS,
        }
    }

    /// All files so far.
    pub(crate) fn tree(&self) -> &Tree {
        self.growing.tree()
    }

    /// All users so far.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Puts directories, users, links and files in.
    pub(crate) fn content(
        &mut self,
        spec: &BuildSpec,
        sources: &Context,
        values: &Variables<'_>,
        range: &ContentRange,
    ) {
        if !range.users.is_empty() {
            // A command may have added some.
            self.accounts = accounts(self.growing.tree());
        }
        let users = spec.users.get(range.users.clone()).unwrap_or_default();
        self.problems.extend(self.accounts.add(users, values));
        let mut drafting = Drafting { spec, values, growth: self };
        drafting.directories(range);
        drafting.homes(users);
        drafting.links(range);
        if !users.is_empty() {
            drafting.account_files(users);
        }
        drafting.copied(range, sources);
        let said = [
            ("directories", range.directories.is_empty()),
            ("links", range.links.is_empty()),
            ("users", range.users.is_empty()),
            ("files", range.files.is_empty()),
        ];
        let said: Vec<&str> = said.iter().filter(|(_, empty)| !empty).map(|(name, _)| *name).collect();
        let created_by = format!("mab: {}", said.join(", "));
        let entries = self.growing.take();
        self.groups.push(Group { entries, created_by, of_programs: false, awaits: false });
    }

    /// Puts programs in. `programs` are all of the image's, as far as they are there already.
    pub(crate) fn binaries(
        &mut self,
        spec: &BuildSpec,
        values: &Variables<'_>,
        range: &Range<usize>,
        programs: &[Option<PathBuf>],
    ) -> Result<(), ContentError> {
        for number in range.clone() {
            let Some(binary) = spec.binaries.get(number) else { continue };
            let program = programs.get(number).and_then(Option::as_deref);
            let put = Drafting { spec, values, growth: self }.program(&binary.value, program)?;
            if let Some((path, place)) = put {
                self.programs.push(place);
                let entries = self.growing.take();
                let created_by = format!("mab: {path}");
                self.groups.push(Group { entries, created_by, of_programs: true, awaits: program.is_none() });
            }
        }
        Ok(())
    }

    /// Whether all that was put in so far fits.
    pub(crate) fn fits(&mut self) -> Result<(), ContentError> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(ContentError::Spec(std::mem::take(&mut self.problems))),
        }
    }

    /// Ends what was put in since the last call, because a command runs on it: the layers that it becomes.
    pub(crate) fn seal(&mut self, grouping: Grouping) -> Vec<Group> {
        let groups = grouped(std::mem::take(&mut self.groups), grouping);
        self.growing.seal(self.layers);
        groups
    }

    /// Lays over it a layer that has been made.
    pub(crate) fn lay_over(&mut self, facts: &LayerFacts) {
        self.growing.lay_over(facts, self.layers);
        self.layers += 1;
        self.accounts = accounts(self.growing.tree());
    }

    /// What there is in the end; in its groups, what was put in since it was sealed last.
    pub(crate) fn finish(self, grouping: Grouping) -> Draft {
        Draft {
            groups: grouped(self.groups, grouping),
            tree: self.growing.into_tree(),
            accounts: self.accounts,
            programs: self.programs,
            open: false,
        }
    }
}

/// Makes the layers of groups whose programs are all there.
pub(crate) fn make_layers(
    groups: Vec<Group>,
    spec: &BuildSpec,
    maker: &Arc<LayerMaker>,
) -> Result<Layers, ContentError> {
    let options = layer_options(spec);
    let mut made = Vec::new();
    for group in groups {
        let plan = LayerPlan::new(group.entries, options.clone())?;
        made.push((maker.make(plan)?, group.created_by));
    }
    Ok(made)
}

/// How the layers of an image are written.
pub(crate) fn layer_options(spec: &BuildSpec) -> LayerOptions {
    LayerOptions {
        compression: match spec.layers.compression {
            Compression::Gzip => oci_layout::media_type::Compression::Gzip,
            Compression::Zstd => oci_layout::media_type::Compression::Zstd,
            Compression::Off => oci_layout::media_type::Compression::None,
        },
        ..LayerOptions::default()
    }
}

/// Users and groups of a base.
pub(crate) fn accounts(base: &Tree) -> Accounts {
    let text = |path: &str| path.parse::<ImagePath>().ok().and_then(|path| base.text(&path));
    Accounts::of_base(text("/etc/passwd"), text("/etc/group"), text("/etc/shadow"))
}

fn grouped(groups: Vec<Group>, grouping: Grouping) -> Vec<Group> {
    let mut layers: Vec<Group> = Vec::new();
    for group in groups {
        let joins = |last: &&mut Group| match grouping {
            Grouping::Binary => false,
            Grouping::Kind => group.of_programs && last.of_programs,
            Grouping::Single => true,
        };
        match layers.last_mut().filter(joins) {
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

/// A part while it is put in.
struct Drafting<'a> {
    spec: &'a BuildSpec,
    values: &'a Variables<'a>,
    growth: &'a mut Growth,
}

impl Drafting<'_> {
    fn keep<T>(&mut self, result: Result<T, Box<Diagnostic>>) -> Option<T> {
        result.map_err(|problem| self.growth.problems.push(*problem)).ok()
    }

    fn put(&mut self, item: Item) {
        let put = self.growth.growing.put(item);
        self.keep(put);
    }

    fn owner(&mut self, owner: &Placed<Owner>) -> Option<Numbers> {
        let owner = self.growth.accounts.resolve(owner);
        self.keep(owner)
    }

    fn directories(&mut self, range: &ContentRange) {
        for directory in self.spec.directories.get(range.directories.clone()).unwrap_or_default() {
            let path = self.keep(render_destination(&directory.value.path, self.values));
            let owner = self.owner(&directory.value.owner);
            let (Some(destination), Some(owner)) = (path, owner) else { continue };
            self.put(Item {
                path: destination.path,
                kind: EntryKind::Directory,
                mode: directory.value.mode,
                owner,
                xattrs: Xattrs::default(),
                replace: false,
                place: directory.value.path.place,
            });
        }
    }

    fn homes(&mut self, users: &[Placed<UserSpec>]) {
        for user in users {
            let Some(home) = &user.value.home else { continue };
            // A home that cannot be rendered was told with the user.
            let Ok(destination) = render_destination(home, self.values) else { continue };
            let path = destination.path;
            if path.is_root() || self.growth.growing.tree().get(&path).is_some() {
                continue;
            }
            self.put(Item {
                path,
                kind: EntryKind::Directory,
                mode: 0o755,
                owner: Numbers { uid: user.value.uid, gid: user.value.gid },
                xattrs: Xattrs::default(),
                replace: false,
                place: home.place,
            });
        }
    }

    /// The files that users stand in.
    fn account_files(&mut self, users: &[Placed<UserSpec>]) {
        let accounts = &self.growth.accounts;
        let text = |text: Option<&str>| text.map(|text| Arc::<[u8]>::from(text.as_bytes()));
        let files = [
            ("/etc/passwd", text(accounts.passwd()), 0o644),
            ("/etc/group", text(accounts.group()), 0o644),
            ("/etc/shadow", text(accounts.shadow()), 0o600),
        ];
        for (path, text, mode) in files {
            let (Some(text), Ok(path)) = (text, path.parse::<ImagePath>()) else { continue };
            let (mode, owner) = self.growth.growing.file(&path).unwrap_or((mode, Numbers::default()));
            self.put(Item {
                path: self.growth.growing.tree().resolve(&path, true).unwrap_or(path),
                kind: EntryKind::File(Content::Bytes(text)),
                mode,
                owner,
                xattrs: Xattrs::default(),
                replace: true,
                place: users.first().and_then(|user| user.place),
            });
        }
    }

    fn links(&mut self, range: &ContentRange) {
        for link in self.spec.links.get(range.links.clone()).unwrap_or_default() {
            let path = self.keep(render_file(&link.value.path, self.values));
            let target = self.keep(crate::spec::render(&link.value.to, self.values));
            let (Some(path), Some(target)) = (path, target) else { continue };
            self.put(Item {
                path,
                kind: EntryKind::Symlink { target },
                mode: 0o777,
                owner: Numbers::default(),
                xattrs: Xattrs::default(),
                replace: link.value.replace,
                place: link.value.path.place,
            });
        }
    }

    fn copied(&mut self, range: &ContentRange, sources: &Context) {
        for file in self.spec.files.get(range.files.clone()).unwrap_or_default() {
            let file = &file.value;
            let owner = self.owner(&file.owner);
            let to = self.keep(render_destination(&file.to, self.values));
            let source = self.keep(sources.find(file, self.values));
            let (Some(owner), Some(to), Some(source)) = (owner, to, source) else { continue };
            for item in source.to_copy() {
                let path = self.keep(destination(file, &to, &source, &item));
                if let Some(path) = path {
                    self.copy(file, path, owner, item);
                }
            }
        }
    }

    fn copy(&mut self, file: &FileSpec, path: ImagePath, owner: Numbers, item: ToCopy<'_>) {
        let is_directory = matches!(item.kind, EntryKind::Directory);
        // A directory that the image has keeps its mode and owner.
        let there =
            is_directory
                && (path.is_root()
                    || self.growth.growing.tree().resolve(&path, true).is_ok_and(|path| {
                        self.growth.growing.tree().get(&path).is_some_and(|node| node.is_directory())
                    }));
        if there {
            return;
        }
        let mode = match (is_directory, file.mode, file.directory_mode) {
            // Nobody looks at a link's; this is what everybody writes.
            _ if matches!(item.kind, EntryKind::Symlink { .. }) => 0o777,
            (true, _, mode) => mode.unwrap_or(0o755),
            (false, Some(mode), _) => mode,
            (false, None, _) if item.executable => 0o755,
            (false, None, _) => 0o644,
        };
        let plain = matches!(item.kind, EntryKind::File(_));
        self.put(Item {
            path,
            kind: item.kind,
            mode,
            owner,
            xattrs: if plain { xattrs(file.capabilities) } else { Xattrs::default() },
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
        let owner = self.owner(&binary.owner);
        let (Some(path), Some(owner)) = (path, owner) else { return Ok(None) };
        let content = match program {
            None => Content::Bytes(Default::default()),
            Some(program) => {
                let size = std::fs::metadata(program)
                    .map_err(|source| LayerError::Source { path: program.to_owned(), source })?
                    .len();
                Content::File { path: program.into(), size }
            }
        };
        let put = self.growth.growing.put(Item {
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
fn destination(
    file: &FileSpec,
    to: &Destination,
    source: &Source,
    item: &ToCopy<'_>,
) -> Result<ImagePath, Box<Diagnostic>> {
    let below = match (item.below, &item.kind) {
        ("", EntryKind::Directory) => return Ok(to.path.clone()),
        ("", _) if to.below => source.name().unwrap_or_default(),
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
fn xattrs(capabilities: Capabilities) -> Xattrs {
    let set = capabilities.0;
    if set == 0 {
        return Xattrs::default();
    }
    const REVISION_2: u32 = 0x0200_0000;
    const EFFECTIVE: u32 = 1;
    let (low, high) = (set as u32, (set >> 32) as u32);
    let value = [REVISION_2 | EFFECTIVE, low, 0, high, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    Xattrs::from_iter([("security.capability".to_owned(), value)])
}
