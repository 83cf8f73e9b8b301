//! Making, moving and checking locks: what asks registries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use oci_layout::document::ImageConfig;
use oci_layout::layer::Pool;
use oci_layout::{BlobStore, Cache, Descriptor, Digest};
use registry_client::{Client, Reference};

use super::book::{self, Wants};
use super::{Compilers, Content, FACTS_FILE, Lock, LockError, LockedBase, LockedFacts, LockedPlatform, Name};
use crate::base::{self, BaseError, Source, embedded};
use crate::error::BuildError;
use crate::image::FORMAT;
use crate::spec::BuildSpec;
use crate::target::TargetPlatform;

/// What may move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Moves {
    /// Nothing: what is missing is added.
    #[default]
    Nothing,
    /// Everything, whatever the old lock says.
    All,
    /// These bases.
    Only(BTreeSet<Named>),
}

/// A base as it is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// The one that mab carries.
    Static,
    /// One of a registry.
    Registry(Name),
}

impl std::str::FromStr for Named {
    type Err = registry_client::reference::ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "static" => Ok(Self::Static),
            _ => Ok(Self::Registry(Name::new(&text.parse::<Reference>()?))),
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Static => f.write_str("static"),
            Self::Registry(name) => name.fmt(f),
        }
    }
}

/// What is to be locked.
pub struct LockRequest {
    /// The build files.
    pub specs: Vec<BuildSpec>,
    /// What may move.
    pub moves: Moves,
    /// The layers' facts are kept beside the lock.
    pub facts: bool,
    /// Versions of the compilers that are here.
    pub compilers: Compilers,
    /// mab's cache directory.
    pub cache: Option<PathBuf>,
    /// A directory for what is under way.
    pub scratch: PathBuf,
    /// Threads that compress.
    pub jobs: usize,
}

/// A base as it was or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its index.
    pub digest: Digest,
    /// When the image of its first platform was made, if that can be found out.
    pub created: Option<String>,
    /// Labels of that image.
    pub labels: BTreeMap<String, String>,
}

/// Something that is different in a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added(String),
    /// It has another content now.
    Moved {
        /// The base.
        base: String,
        /// What it was.
        from: Box<Version>,
        /// What it is.
        to: Box<Version>,
    },
    /// A platform that the base has no longer and no build file wants.
    Dropped {
        /// The base.
        base: String,
        /// The platform.
        platform: TargetPlatform,
    },
    /// The old lock could not be read, and was left behind.
    Replaced(String),
}

/// A lock that was looked after.
#[derive(Debug)]
pub struct Locked {
    /// Its file.
    pub path: PathBuf,
    /// What it says now.
    pub lock: Lock,
    /// What is different.
    pub changes: Vec<Change>,
}

/// Makes or extends the locks of the build files, and moves what may move.
pub async fn lock(request: LockRequest, client: &Client) -> Result<Vec<Locked>, BuildError> {
    let cache = request.cache.as_deref().and_then(|root| Cache::open(root).ok());
    let all = Wants::by_directory(&request.specs);
    if let Moves::Only(names) = &request.moves {
        let known = |named: &Named| match named {
            Named::Static => all.values().any(|wants| wants.is_static),
            Named::Registry(name) => all.values().any(|wants| wants.bases.contains_key(name)),
        };
        if let Some(unknown) = names.iter().find(|named| !known(named)) {
            return Err(BuildError::UnknownBase { base: unknown.to_string() });
        }
    }
    let mut done = Vec::new();
    for (directory, wants) in all {
        let path = book::path_in(&directory);
        let locked = one(&request, client, cache.as_ref(), path, wants).await?;
        done.push(locked);
    }
    Ok(done)
}

async fn one(
    request: &LockRequest,
    client: &Client,
    cache: Option<&Cache>,
    path: PathBuf,
    wants: Wants,
) -> Result<Locked, BuildError> {
    let mut changes = Vec::new();
    let old = match book::read(&path) {
        Ok(old) => old,
        Err(error @ LockError::Io { .. }) => return Err(error.into()),
        Err(error) if request.moves == Moves::All => {
            changes.push(Change::Replaced(error.to_string()));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let mut lock = old.clone().unwrap_or_default();
    if lock.format != FORMAT {
        if request.moves != Moves::All {
            return Err(LockError::Format { path, format: lock.format }.into());
        }
        lock.format = FORMAT;
    }
    let may_move = |named: &Named| match &request.moves {
        Moves::Nothing => false,
        Moves::All => true,
        Moves::Only(names) => names.contains(named),
    };
    if let Some(own) = embedded::digest().filter(|_| wants.is_static) {
        match lock.static_base {
            Some(locked) if locked == own => {}
            Some(locked) if !may_move(&Named::Static) => return Err(LockError::Static { path, locked, own }.into()),
            Some(locked) => {
                let version = |digest| Box::new(Version { digest, created: None, labels: BTreeMap::new() });
                changes.push(Change::Moved { base: "static".to_owned(), from: version(locked), to: version(own) });
            }
            None => changes.push(Change::Added("static".to_owned())),
        }
        lock.static_base = Some(own);
    }
    let mut names: BTreeMap<Name, Vec<TargetPlatform>> = wants.bases;
    if request.moves == Moves::All {
        for name in lock.bases.keys() {
            names.entry(name.clone()).or_default();
        }
    }
    let looks = names.iter().map(|(name, platforms)| {
        let moves = may_move(&Named::Registry(name.clone())) && !name.is_pinned();
        look(client, name, platforms, lock.bases.get(name), moves)
    });
    for looked in try_join_all(looks).await? {
        changes.extend(looked.changes);
        lock.bases.insert(looked.name, looked.base);
    }
    lock.compilers.extend(request.compilers.clone());
    let facts = path.with_file_name(FACTS_FILE);
    if request.facts || facts.exists() {
        keep_facts(request, client, cache, &mut lock, &facts).await?;
    }
    book::write(&path, &lock)?;
    Ok(Locked { path, lock, changes })
}

struct Looked {
    name: Name,
    base: LockedBase,
    changes: Vec<Change>,
}

/// One base: as it is in the lock, with what it lacks; or as the registry has it now.
async fn look(
    client: &Client,
    name: &Name,
    wanted: &[TargetPlatform],
    old: Option<&LockedBase>,
    moves: bool,
) -> Result<Looked, BuildError> {
    let shown = name.to_string();
    let failed = |source: BaseError| BuildError::Base { base: shown.clone(), source };
    let repository = &name.reference().repository;
    let source = Arc::new(Source::Registry { client: client.clone(), repository: repository.clone() });
    let target = match old {
        Some(old) if !moves && old.lacks(wanted).is_empty() => {
            return Ok(Looked { name: name.clone(), base: old.clone(), changes: Vec::new() });
        }
        Some(old) if !moves => old.root.digest.into(),
        _ => name.target(),
    };
    let fetched = client.manifest(repository, &target).await.map_err(|error| failed(error.into()))?;
    let root = Content::of(&fetched.descriptor);
    let same = old.filter(|old| old.root.digest == root.digest);
    let mut base = LockedBase { root, platforms: BTreeMap::new() };
    let mut changes = Vec::new();
    // What nobody wants by now may go with the base's old content.
    let others = old.iter().flat_map(|old| old.platforms.keys()).filter(|platform| !wanted.contains(platform));
    for platform in wanted.iter().chain(others) {
        if let Some(known) = same.and_then(|same| same.platforms.get(platform)) {
            base.platforms.insert(*platform, known.clone());
            continue;
        }
        let found =
            base::locate(&shown, &source, &fetched.descriptor, &fetched.bytes, std::slice::from_ref(platform), None)
                .await;
        match found {
            Ok(found) => base.platforms.extend(
                found.iter().map(|(at, own)| (*at, LockedPlatform { manifest: Content::of(own), facts: None })),
            ),
            Err(BaseError::NoPlatform { .. }) if !wanted.contains(platform) => {
                changes.push(Change::Dropped { base: shown.clone(), platform: *platform });
            }
            Err(error) => return Err(failed(error)),
        }
        if same.is_some() {
            changes.push(Change::Added(format!("{platform} of {shown}")));
        }
    }
    match (old, same) {
        (None, _) => changes.push(Change::Added(shown.clone())),
        (Some(old), None) => {
            let from = Box::new(version(&source, old).await);
            let to = Box::new(version(&source, &base).await);
            changes.insert(0, Change::Moved { base: shown.clone(), from, to });
        }
        _ => {}
    }
    Ok(Looked { name: name.clone(), base, changes })
}

/// What can be found out about a base; its old content may be gone from the registry.
async fn version(source: &Arc<Source>, base: &LockedBase) -> Version {
    let config: Option<ImageConfig> = match base.platforms.values().next() {
        Some(own) => base::documents(source, &own.manifest.descriptor(), None).await.ok().map(|(_, config)| config),
        None => None,
    };
    let (created, labels) = config.map(|config| (config.created, config.config.labels)).unwrap_or_default();
    Version { digest: base.root.digest, created, labels }
}

/// Reads the layers whose facts are not known, and writes all of them beside the lock.
async fn keep_facts(
    request: &LockRequest,
    client: &Client,
    cache: Option<&Cache>,
    lock: &mut Lock,
    path: &Path,
) -> Result<(), BuildError> {
    let mut wanted: Vec<(Name, TargetPlatform, Descriptor)> = Vec::new();
    for (name, base) in &lock.bases {
        let own = base.platforms.iter().map(|(platform, own)| (name.clone(), *platform, own.manifest.descriptor()));
        wanted.extend(own);
    }
    let reads = wanted.iter().map(|(name, _, manifest)| async move {
        let repository = name.reference().repository.clone();
        let source = Arc::new(Source::Registry { client: client.clone(), repository });
        let read = base::layer_facts(&source, manifest, cache).await;
        read.map_err(|source| BuildError::Base { base: name.to_string(), source })
    });
    let mut kept = LockedFacts::default();
    for ((name, platform, manifest), facts) in wanted.iter().zip(try_join_all(reads).await?) {
        let seal = kept.insert(manifest.digest, &facts).map_err(|error| BuildError::Internal(error.to_string()))?;
        if let Some(own) = lock.bases.get_mut(name).and_then(|base| base.platforms.get_mut(platform)) {
            own.facts = Some(seal);
        }
    }
    let pool = Pool::new(request.jobs)?;
    let packed = kept.pack(&pool, &BlobStore::new(&request.scratch));
    let bytes = packed.map_err(|error| BuildError::Internal(error.to_string()))?;
    std::fs::write(path, bytes).map_err(|source| LockError::Io { action: "write", path: path.to_owned(), source })?;
    Ok(())
}

/// How a base of a lock stands to its registry.
#[derive(Debug)]
pub struct Checked {
    /// The base.
    pub name: Name,
    /// What the lock says.
    pub locked: Digest,
    /// What the registry says; none where it has no such name any more.
    pub now: Result<Option<Digest>, registry_client::Error>,
}

impl Checked {
    /// Whether the registry names something else.
    pub fn has_moved(&self) -> bool {
        matches!(&self.now, Ok(now) if *now != Some(self.locked))
    }
}

/// Asks for every base of `lock` that has a moving name, side by side, with one HEAD each.
pub async fn check(lock: &Lock, client: &Client) -> Vec<Checked> {
    let names = lock.bases.iter().filter(|(name, _)| !name.is_pinned());
    let asks = names.map(|(name, base)| async move {
        let now = client.head_manifest(&name.reference().repository, &name.target()).await;
        let now = now.map(|descriptor| descriptor.map(|descriptor| descriptor.digest));
        Checked { name: name.clone(), locked: base.root.digest, now }
    });
    join_all(asks).await
}
