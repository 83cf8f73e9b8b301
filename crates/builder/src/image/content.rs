//! The new layers of one platform's image, in the order of the design: directories, links, users
//! and files first, then the programs, which change most often.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_layout::ImagePath;
use oci_layout::layer::{Content as Bytes, Entry, EntryKind, LayerError, LayerOptions, LayerPlan, Tree};

use super::files;
use super::layers::{LayerMaker, NewLayer};
use super::tree::{Growing, Item};
use crate::spec::accounts::{Accounts, Numbers};
use crate::spec::model::{BuildSpec, Capabilities, Compression, Grouping};
use crate::spec::{Diagnostic, Variables, render_destination, render_file};

/// What is added to the base, before a byte of it is written.
pub(crate) struct Content {
    /// Entries of the layers to be, lowest first, each with what made it.
    groups: Vec<(Vec<Entry>, String)>,
    /// All files of the image.
    pub tree: Tree,
    /// Its users.
    pub accounts: Accounts,
    /// Where each program really is, in the order of the build file.
    pub programs: Vec<ImagePath>,
}

impl Content {
    /// What the layers to be have.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(|(entries, _)| entries)
    }
}

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

/// Finds what the new layers of one platform hold. `spec` is the platform's; with `hide`, files of
/// the base may be replaced.
pub(crate) fn plan(
    spec: &BuildSpec,
    values: &Variables<'_>,
    base: Tree,
    programs: &[PathBuf],
    hide: bool,
) -> Result<Content, ContentError> {
    let mut accounts = accounts(&base);
    let problems = accounts.add(&spec.users, values);
    if !problems.is_empty() {
        return Err(ContentError::Spec(problems));
    }
    let mut growing = Growing::new(base, hide);
    let mut groups: Vec<(Vec<Entry>, String)> = Vec::new();
    directories(spec, values, &accounts, &mut growing)?;
    copied(spec, values, &accounts, &mut growing)?;
    let said = [
        ("directories", spec.directories.is_empty()),
        ("links", spec.links.is_empty()),
        ("users", spec.users.is_empty()),
        ("files", spec.files.is_empty()),
    ];
    let said: Vec<&str> = said.iter().filter(|(_, empty)| !empty).map(|(name, _)| *name).collect();
    groups.push((growing.take(), format!("mab: {}", said.join(", "))));
    let mut places = Vec::new();
    for (binary, program) in spec.binaries.iter().zip(programs) {
        let path = render_file(&binary.value.to, values)?;
        let size =
            std::fs::metadata(program).map_err(|source| LayerError::Source { path: program.clone(), source })?.len();
        places.push(growing.put(Item {
            path: path.clone(),
            kind: EntryKind::File(Bytes::File { path: program.clone(), size }),
            mode: binary.value.mode,
            owner: accounts.resolve(&binary.value.owner)?,
            xattrs: xattrs(binary.value.capabilities),
            replace: binary.value.replace,
            place: binary.value.to.place,
        })?);
        groups.push((growing.take(), format!("mab: {path}")));
    }
    let groups = grouped(groups, spec.layers.grouping);
    Ok(Content { groups, tree: growing.into_tree(), accounts, programs: places })
}

/// Makes the new layers.
pub(crate) fn make_layers(content: Content, spec: &BuildSpec, maker: &Arc<LayerMaker>) -> Result<Layers, ContentError> {
    let options = LayerOptions {
        compression: match spec.layers.compression {
            Compression::Gzip => oci_layout::media_type::Compression::Gzip,
            Compression::Zstd => oci_layout::media_type::Compression::Zstd,
            Compression::Off => oci_layout::media_type::Compression::None,
        },
        ..LayerOptions::default()
    };
    let mut made = Vec::new();
    for (entries, created_by) in content.groups {
        let plan = LayerPlan::new(entries, options.clone())?;
        made.push((maker.make(plan)?, created_by));
    }
    Ok(made)
}

/// Users and groups of a base.
pub(crate) fn accounts(base: &Tree) -> Accounts {
    let text = |path: &str| path.parse::<ImagePath>().ok().and_then(|path| base.text(&path));
    Accounts::of_base(text("/etc/passwd"), text("/etc/group"), text("/etc/shadow"))
}

fn grouped(groups: Vec<(Vec<Entry>, String)>, grouping: Grouping) -> Vec<(Vec<Entry>, String)> {
    let mut layers: Vec<(Vec<Entry>, String)> = Vec::new();
    for (number, (entries, created_by)) in groups.into_iter().enumerate() {
        let joins = match grouping {
            Grouping::Binary => false,
            Grouping::Kind => number > 1,
            Grouping::Single => true,
        };
        match layers.last_mut().filter(|_| joins) {
            _ if entries.is_empty() => {}
            Some((last, name)) => {
                last.extend(entries);
                name.push_str(&created_by.replacen("mab:", ",", 1));
            }
            None => layers.push((entries, created_by)),
        }
    }
    layers
}

fn directories(
    spec: &BuildSpec,
    values: &Variables<'_>,
    accounts: &Accounts,
    growing: &mut Growing,
) -> Result<(), ContentError> {
    for directory in &spec.directories {
        growing.put(Item {
            path: render_destination(&directory.value.path, values)?.path,
            kind: EntryKind::Directory,
            mode: directory.value.mode,
            owner: accounts.resolve(&directory.value.owner)?,
            xattrs: BTreeMap::new(),
            replace: false,
            place: directory.value.path.place,
        })?;
    }
    for user in &spec.users {
        let Some(home) = &user.value.home else { continue };
        let path = render_destination(home, values)?.path;
        if path.is_root() || growing.tree().get(&path).is_some() {
            continue;
        }
        growing.put(Item {
            path,
            kind: EntryKind::Directory,
            mode: 0o755,
            owner: Numbers { uid: user.value.uid, gid: user.value.gid },
            xattrs: BTreeMap::new(),
            replace: false,
            place: home.place,
        })?;
    }
    for link in &spec.links {
        growing.put(Item {
            path: render_file(&link.value.path, values)?,
            kind: EntryKind::Symlink { target: crate::spec::render(&link.value.to, values)? },
            mode: 0o777,
            owner: Numbers::default(),
            xattrs: BTreeMap::new(),
            replace: link.value.replace,
            place: link.value.path.place,
        })?;
    }
    let texts = [
        ("/etc/passwd", accounts.passwd(), 0o644),
        ("/etc/group", accounts.group(), 0o644),
        ("/etc/shadow", accounts.shadow(), 0o640),
    ];
    for (path, text, mode) in texts {
        let (Some(text), Ok(path)) = (text, path.parse::<ImagePath>()) else { continue };
        let (mode, owner) = growing.file(&path).unwrap_or((mode, Numbers::default()));
        growing.put(Item {
            path: growing.tree().resolve(&path, true).unwrap_or(path),
            kind: EntryKind::File(Bytes::Bytes(text.as_bytes().into())),
            mode,
            owner,
            xattrs: BTreeMap::new(),
            replace: true,
            place: spec.users.first().and_then(|user| user.place),
        })?;
    }
    Ok(())
}

fn copied(
    spec: &BuildSpec,
    values: &Variables<'_>,
    accounts: &Accounts,
    growing: &mut Growing,
) -> Result<(), ContentError> {
    for file in &spec.files {
        let file = &file.value;
        let owner = accounts.resolve(&file.owner)?;
        let to = render_destination(&file.to, values)?;
        for found in files::find(file, context(spec), values)? {
            let bad = |error: oci_layout::path::ParsePathError| {
                Box::new(Diagnostic::error("destination", error.to_string(), file.to.place))
            };
            let path = match (&found.below, &found.kind) {
                (below, EntryKind::Directory) if below.is_empty() => to.path.clone(),
                (below, _) if below.is_empty() && to.below => {
                    to.path.join(found.name.as_deref().unwrap_or_default()).map_err(bad)?
                }
                (below, _) if below.is_empty() => to.path.clone(),
                (below, _) => to.path.join(below).map_err(bad)?,
            };
            let is_directory = matches!(found.kind, EntryKind::Directory);
            // A directory that the image has keeps its mode and owner.
            let there = is_directory
                && (path.is_root()
                    || growing
                        .tree()
                        .resolve(&path, true)
                        .is_ok_and(|path| growing.tree().get(&path).is_some_and(|node| node.is_directory())));
            if there {
                continue;
            }
            let mode = match (is_directory, file.mode, file.directory_mode) {
                (true, _, mode) => mode.unwrap_or(0o755),
                (false, Some(mode), _) => mode,
                (false, None, _) => {
                    if found.executable {
                        0o755
                    } else {
                        0o644
                    }
                }
            };
            let plain = matches!(found.kind, EntryKind::File(_));
            growing.put(Item {
                path,
                kind: found.kind,
                mode,
                owner,
                xattrs: if plain { xattrs(file.capabilities) } else { BTreeMap::new() },
                replace: file.replace,
                place: file.to.place,
            })?;
        }
    }
    Ok(())
}

/// The directory that sources are below.
pub(crate) fn context(spec: &BuildSpec) -> &Path {
    if spec.directory.as_os_str().is_empty() { Path::new(".") } else { &spec.directory }
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
