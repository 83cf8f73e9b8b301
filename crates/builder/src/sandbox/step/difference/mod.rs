//! What a step has changed, as the entries of a layer.
//!
//! The directory that the step has written to is compared with the layers below, file by file: what is as it
//! was is left out, also where it was written anew or an overlay has copied it. Of an overlay, only what is in
//! its upper directory has to be looked at, and what a directory there does not have is as it was; a copy of
//! the layers is looked at as a whole, and what it does not have is gone. All else is the same for both, and so
//! is what comes out.

mod disk;
mod lower;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use oci_layout::ImagePath;
use oci_layout::layer::facts::{Node, NodeKind};
use oci_layout::layer::{Content, Entry, EntryKind, Tree};

use self::disk::{Kind, OnDisk};
use self::lower::{Below, Lower};
use super::owners::UNCHANGED;
use super::record::FileId;
use super::{Record, Root, StepError};
use crate::sandbox::Files;
use crate::spec::accounts::Numbers;

/// Most directories inside each other: more could not be unpacked again.
const DEPTH: usize = 256;

/// What that takes, with much to spare.
const STACK: usize = 32 << 20;

/// How much a step may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries.
    pub entries: usize,
    /// Most bytes of all files.
    pub bytes: u64,
}

impl Default for Limits {
    /// A million entries, 64 GiB.
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 64 << 30 }
    }
}

/// What is compared with what.
pub(super) struct Source<'a> {
    /// The directory that was written to.
    pub(super) written: PathBuf,
    pub(super) files: Files,
    /// The layers below, unpacked, lowest first.
    pub(super) layers: Vec<PathBuf>,
    /// What they hold.
    pub(super) below: &'a Tree,
    /// What the root directory was given.
    pub(super) root: Root,
    /// The step's user, who owns what it has made.
    pub(super) user: Numbers,
    pub(super) record: Record,
}

/// The entries of a layer that changes the layers below into what was written.
pub(super) fn entries(source: &Source<'_>, limits: &Limits) -> Result<Vec<Entry>, StepError> {
    let paths = |list: &[String]| list.iter().map(|path| path.clone().into_bytes()).collect();
    let mut left_out: HashSet<Vec<u8>> = paths(&source.record.traces.left_out);
    left_out.extend([b"/proc".to_vec(), b"/dev".to_vec()]);
    let mut comparison = Comparison {
        source,
        limits,
        left_out,
        made: paths(&source.record.traces.made),
        owners: source.record.owners.iter().map(|(id, uid, gid)| (*id, (*uid, *gid))).collect(),
        links: HashMap::new(),
        entries: Vec::new(),
        bytes: 0,
        path: Vec::new(),
        depth: 0,
    };
    // Directories inside each other are gone through by as many calls inside each other.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("difference".to_owned()).stack_size(STACK);
        let compared = thread.spawn_scoped(scope, || comparison.root().map(|()| comparison.entries));
        let compared = compared.map_err(StepError::io("start a thread for", &source.written))?;
        compared.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Permission bits and owner, as the image has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Attributes {
    /// With another owner, as far as it was given away.
    fn owned_by(self, (uid, gid): (u32, u32)) -> Self {
        let given = |id: u32, otherwise: u32| if id == UNCHANGED { otherwise } else { id };
        Self { uid: given(uid, self.uid), gid: given(gid, self.gid), ..self }
    }
}

/// A directory that is gone through.
struct Directory<'d> {
    at: &'d Path,
    lower: &'d Lower,
    /// Whether what is not in it is gone.
    complete: bool,
    /// Its own mode and owner.
    attributes: Attributes,
}

struct Comparison<'a> {
    source: &'a Source<'a>,
    limits: &'a Limits,
    left_out: HashSet<Vec<u8>>,
    made: HashSet<Vec<u8>>,
    owners: HashMap<FileId, (u32, u32)>,
    /// Files with several names: what was found under the first, and that name if it is in the layer.
    links: HashMap<(u64, u64), (OnDisk, Option<ImagePath>)>,
    entries: Vec<Entry>,
    bytes: u64,
    /// The path in the image; empty for the root.
    path: Vec<u8>,
    depth: usize,
}

impl Comparison<'_> {
    fn root(&mut self) -> Result<(), StepError> {
        let at = self.source.written.clone();
        let found = OnDisk::open(&at)?;
        let Root { mode, uid, gid } = self.source.root;
        let before = Attributes { mode, uid, gid };
        let given = self.source.root.given();
        let after = Attributes {
            mode: if found.mode == given { mode } else { found.true_mode() },
            ..found.owner.map_or(before, |owner| before.owned_by(owner))
        };
        let lower = Lower::of(&self.source.layers);
        let complete = self.source.files == Files::Copy;
        let directory = Directory { at: &at, lower: &lower, complete, attributes: after };
        if after != before || !found.xattrs.is_empty() {
            let mut entry = Entry::new(ImagePath::root(), EntryKind::Directory, after.mode);
            entry.xattrs = found.xattrs.into();
            self.push(entry.owned_by(after.uid, after.gid))?;
        }
        self.inside(&directory)
    }

    /// Compares what is in a directory, by name.
    fn inside(&mut self, directory: &Directory<'_>) -> Result<(), StepError> {
        let failed = |error| StepError::io("list", directory.at)(error);
        let mut present = BTreeMap::new();
        let mut deleted = BTreeSet::new();
        for entry in std::fs::read_dir(directory.at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (name, metadata) = (entry.file_name(), entry.metadata().map_err(failed)?);
            if self.left_out.contains(&self.named(&name)) {
                continue;
            }
            if disk::is_whiteout(&entry.path(), &metadata) {
                deleted.insert(name);
            } else if !disk::is_socket(&metadata) {
                present.insert(name, metadata);
            } else {
                // Nobody answers at it any more.
                deleted.insert(name);
            }
        }
        let is_root = self.path.is_empty();
        let mut gone = BTreeSet::new();
        if directory.complete || !deleted.is_empty() {
            let names = directory.lower.names().map_err(failed)?;
            let own = names.iter().any(|name| self.left_out.contains(&self.named(name)));
            let is_gone =
                |name: &&OsString| deleted.contains(*name) || directory.complete && !present.contains_key(*name);
            gone = names
                .iter()
                .filter(is_gone)
                .filter(|name| !self.left_out.contains(&self.named(name)))
                .cloned()
                .collect();
            // A mark of the root is one that not all readers look at.
            if gone.len() > 1 && gone.len() == names.len() && !own && !is_root {
                let path = self.image_path()?;
                self.push(Entry::new(path, EntryKind::Opaque, 0))?;
                gone.clear();
            }
        }
        let names: BTreeSet<&OsString> = present.keys().chain(&gone).collect();
        for name in names {
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.as_bytes());
            self.depth += 1;
            match present.get(name) {
                Some(metadata) => self.entry(directory, name, metadata)?,
                None => {
                    let path = self.image_path()?;
                    self.push(Entry::new(path, EntryKind::Whiteout, 0))?;
                }
            }
            self.depth -= 1;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, parent: &Directory<'_>, name: &OsStr, metadata: &std::fs::Metadata) -> Result<(), StepError> {
        let at = parent.at.join(name);
        let below = parent.lower.look(name).map_err(StepError::io("look below", &at))?;
        let number = disk::number(metadata);
        let known = disk::has_other_names(metadata).then(|| self.links.get(&number).cloned()).flatten();
        let (found, first) = match known {
            Some((found, first)) => (found, first),
            None => (OnDisk::read(&at, metadata)?, None),
        };
        let before = match &below {
            Below::Nothing => None,
            Below::Directory(lower) if found.kind == Kind::Directory => {
                lower.top().map(OnDisk::open_lower).transpose()?
            }
            Below::Other(path, metadata) => Some(OnDisk::read_lower(path, metadata)?),
            Below::Directory(_) => None,
        };
        let before = before.filter(|before| before.kind.is_like(&found.kind));
        let (was, is) = self.attributes(parent, &found, before.as_ref());
        if found.kind == Kind::Directory {
            let empty = Lower::default();
            let lower = match &below {
                Below::Directory(lower) => lower,
                _ => &empty,
            };
            return self.directory(&at, found, before.as_ref().map(|before| (before, was)), is, lower, parent.complete);
        }
        let is_same = match (&before, &below) {
            (Some(before), Below::Other(path, _)) => {
                was == is && before.xattrs == found.xattrs && found.same_content(&at, before, path)?
            }
            _ => false,
        };
        let links = disk::has_other_names(metadata);
        if is_same {
            if links {
                self.links.entry(number).or_insert((found, None));
            }
            return Ok(());
        }
        let path = self.image_path()?;
        let kind = match (&found.kind, first) {
            (Kind::File, Some(to)) => EntryKind::HardLink { to },
            (Kind::File, None) => EntryKind::File(Content::File { path: at.into(), size: found.size }),
            (Kind::Symlink(target), _) => EntryKind::Symlink { target: self.utf8(target, "the text of a link")? },
            (Kind::Fifo, _) => EntryKind::Fifo,
            (Kind::Device { block, major, minor }, _) => {
                EntryKind::Device { block: *block, major: *major, minor: *minor }
            }
            (Kind::Directory | Kind::Unknown, _) => return Err(self.unfit("it is of an unknown type")),
        };
        if matches!(kind, EntryKind::File(_)) {
            self.bytes = self.bytes.saturating_add(found.size);
            if self.bytes > self.limits.bytes {
                return Err(StepError::TooLarge { limit: self.limits.bytes });
            }
            if links {
                self.links.insert(number, (found.clone(), Some(path.clone())));
            }
        }
        let mode = if matches!(kind, EntryKind::Symlink { .. }) { 0o777 } else { is.mode };
        let mut entry = Entry::new(path, kind, mode).owned_by(is.uid, is.gid);
        if !matches!(entry.kind, EntryKind::HardLink { .. }) {
            entry.xattrs = found.xattrs.into();
        }
        self.push(entry)
    }

    /// A directory is written if it has changed or something in it has.
    fn directory(
        &mut self,
        at: &Path,
        found: OnDisk,
        before: Option<(&OnDisk, Attributes)>,
        is: Attributes,
        lower: &Lower,
        above_is_complete: bool,
    ) -> Result<(), StepError> {
        if self.depth > DEPTH {
            return Err(self.unfit(&format!("it is more than {DEPTH} directories deep")));
        }
        let own = self.made.contains(&self.path) && found.is_plain_directory();
        let changed = match before {
            Some((before, was)) => was != is || before.xattrs != found.xattrs,
            None => !own,
        };
        let complete = above_is_complete || found.opaque;
        // An untouched part of a copy need not have a name that layers can hold.
        let (count, path) = (self.entries.len(), self.image_path());
        if let Ok(path) = &path {
            let mut entry = Entry::new(path.clone(), EntryKind::Directory, is.mode).owned_by(is.uid, is.gid);
            entry.xattrs = found.xattrs.into();
            self.push(entry)?;
        }
        self.inside(&Directory { at, lower, complete, attributes: is })?;
        if !changed && self.entries.len() == count + usize::from(path.is_ok()) {
            self.entries.truncate(count);
            return Ok(());
        }
        path.map(drop)
    }

    /// Mode and owner of a file before and after, as the image has them.
    fn attributes(&self, parent: &Directory<'_>, found: &OnDisk, before: Option<&OnDisk>) -> (Attributes, Attributes) {
        let is_like = |node: &&Node| match node.kind {
            NodeKind::File { .. } => found.kind == Kind::File,
            NodeKind::Directory => found.kind == Kind::Directory,
            NodeKind::Symlink { .. } => matches!(found.kind, Kind::Symlink(_)),
            NodeKind::Other => found.kind == Kind::Fifo,
        };
        // What the layers say, where they say it; a directory that is made on the way is in none of them.
        let was = before.map(|before| {
            let node = self.image_path().ok().and_then(|path| self.source.below.get(&path).filter(is_like));
            let noted = before.owner.unwrap_or((0, 0));
            let on_disk = Attributes { mode: before.true_mode(), uid: noted.0, gid: noted.1 };
            node.map_or(on_disk, |node| Attributes { mode: node.mode, uid: node.owner().0, gid: node.owner().1 })
        });
        let new = Attributes {
            mode: found.true_mode(),
            uid: self.source.user.uid,
            // As systems do it in a directory whose group is inherited.
            gid: if parent.attributes.mode & 0o2000 == 0 { self.source.user.gid } else { parent.attributes.gid },
        };
        let recorded = found.owner.or_else(|| self.owners.get(&found.id).copied());
        let is = match (before, was) {
            (Some(before), Some(was)) => {
                let same_mode = (found.mode, found.noted_mode) == (before.mode, before.noted_mode);
                let owned = match (recorded, before.owner) {
                    (Some(owner), Some(noted)) if owner == noted => was,
                    (Some(owner), _) => was.owned_by(owner),
                    // It was replaced, or it would still have its note.
                    (None, Some(_)) => new,
                    (None, None) => was,
                };
                Attributes { mode: if same_mode { was.mode } else { new.mode }, ..owned }
            }
            _ => recorded.map_or(new, |owner| new.owned_by(owner)),
        };
        let was = was.unwrap_or(is);
        if matches!(found.kind, Kind::Symlink(_)) {
            // Of no meaning.
            return (Attributes { mode: 0o777, ..was }, Attributes { mode: 0o777, ..is });
        }
        (was, is)
    }

    fn named(&self, name: &OsStr) -> Vec<u8> {
        [&self.path, b"/".as_slice(), name.as_bytes()].concat()
    }

    fn image_path(&self) -> Result<ImagePath, StepError> {
        if self.path.is_empty() {
            return Ok(ImagePath::root());
        }
        let text = std::str::from_utf8(&self.path).map_err(|_| self.unfit("its name is not UTF-8"))?;
        text.parse().map_err(|error: oci_layout::path::ParsePathError| self.unfit(&error.to_string()))
    }

    fn utf8(&self, text: &OsStr, what: &str) -> Result<String, StepError> {
        text.to_str().map(str::to_owned).ok_or_else(|| self.unfit(&format!("{what} is not UTF-8")))
    }

    fn unfit(&self, why: &str) -> StepError {
        let path = String::from_utf8_lossy(&self.path);
        let shown: String = path.chars().take(200).flat_map(char::escape_debug).collect();
        StepError::Unfit { path: shown, why: why.to_owned() }
    }

    fn push(&mut self, entry: Entry) -> Result<(), StepError> {
        if self.entries.len() >= self.limits.entries {
            return Err(StepError::TooMany { limit: self.limits.entries });
        }
        self.entries.push(entry);
        Ok(())
    }
}
