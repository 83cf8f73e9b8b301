//! New layers: known from an earlier build, or written now; and their blobs, made when somebody
//! wants the bytes.
//!
//! Of a layer that is known from before, nobody may ever want them: a registry or layout that has
//! the blob is told its digest alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use oci_layout::cache::Origin;
use oci_layout::layer::{LayerError, LayerPlan, Pool, SourceStates, WrittenLayer};
use oci_layout::{BlobSource, BlobStore, Cache, Descriptor, Digest};

/// What layers are made with, and where their blobs go.
pub(crate) struct LayerMaker {
    /// Threads that compress.
    pub pool: Arc<Pool>,
    cache: Option<Arc<Cache>>,
    /// Takes new blobs.
    pub store: BlobStore,
    trusted: BTreeSet<Digest>,
    /// The layers of this build, which their images hold.
    made: Mutex<BTreeMap<PlanState, Arc<Mutex<Weak<NewLayer>>>>>,
}

/// A plan's shape, and the digest of the states of its files.
type PlanState = (Digest, Digest);

impl LayerMaker {
    /// Makes layers with `pool`; their blobs go into `store`, in which those that `trusted` names
    /// are known to be whole.
    pub(crate) fn new(pool: Arc<Pool>, cache: Option<Arc<Cache>>, store: BlobStore, trusted: BTreeSet<Digest>) -> Self {
        Self { pool, cache, store, trusted, made: Mutex::default() }
    }

    /// The layer of `plan`, compressed only if it is new. Platforms that have the same layer wait
    /// for the first of them, and share it.
    pub(crate) fn make(self: &Arc<Self>, plan: LayerPlan) -> Result<Arc<NewLayer>, LayerError> {
        let states = plan.look()?;
        let key = (plan.shape(), states.digest());
        let slot = Arc::clone(self.made.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = slot.upgrade() {
            return Ok(layer);
        }
        let (written, origin) = self.find_or_write(&plan, &states)?;
        let blob = match origin {
            Origin::Written => Blob::At(self.store.path(&written.descriptor.digest)),
            Origin::Unchanged | Origin::SameContent => Blob::Planned(plan),
        };
        let layer = Arc::new(NewLayer { written, origin, maker: Arc::clone(self), blob: Mutex::new(blob) });
        *slot = Arc::downgrade(&layer);
        Ok(layer)
    }

    fn find_or_write(&self, plan: &LayerPlan, states: &SourceStates) -> Result<(WrittenLayer, Origin), LayerError> {
        if let Some(cache) = &self.cache
            && let Some(found) = cache.find_layer(plan, states)?
        {
            return Ok(found);
        }
        let _turn = self.pool.turn();
        let written = match &self.cache {
            Some(cache) => cache.write_layer(plan, &self.pool, &self.store)?,
            None => plan.write(&self.pool, &self.store)?.0,
        };
        Ok((written, Origin::Written))
    }

    /// The layer's blob from where an earlier build has left it, or written again.
    fn blob(&self, plan: &LayerPlan, expected: &WrittenLayer) -> Result<PathBuf, LayerError> {
        let descriptor = &expected.descriptor;
        let path = self.store.path(&descriptor.digest);
        if self.trusted.contains(&descriptor.digest) && self.store.blob(descriptor).is_ok() {
            return Ok(path);
        }
        if let Some(cached) = self.cache.as_ref().and_then(|cache| cache.verified_blob(descriptor)) {
            if cached != path {
                self.store.import(descriptor, &cached)?;
            }
            return Ok(path);
        }
        let _turn = self.pool.turn();
        let (written, _) = plan.write(&self.pool, &self.store)?;
        if written.descriptor == *descriptor {
            Ok(path)
        } else {
            // Nobody else knows the blob that came out.
            Err(LayerError::Changed { expected: expected.diff_id, found: written.diff_id })
        }
    }

    /// A layer that no plan makes again: what a command has changed, whose blob is at `path` for good.
    pub(crate) fn kept(self: &Arc<Self>, written: WrittenLayer, origin: Origin, path: PathBuf) -> Arc<NewLayer> {
        Arc::new(NewLayer { written, origin, maker: Arc::clone(self), blob: Mutex::new(Blob::At(path)) })
    }
}

/// A layer of the image that is being built.
pub(crate) struct NewLayer {
    /// What is known of it.
    pub written: WrittenLayer,
    /// How it came about.
    pub origin: Origin,
    maker: Arc<LayerMaker>,
    blob: Mutex<Blob>,
}

enum Blob {
    At(PathBuf),
    Planned(LayerPlan),
}

impl NewLayer {
    /// Where its blob is; it is made if it is nowhere yet. Takes as long as compressing takes.
    pub(crate) fn path(&self) -> Result<PathBuf, LayerError> {
        let mut blob = self.blob.lock().unwrap_or_else(PoisonError::into_inner);
        let path = match &*blob {
            Blob::At(path) => return Ok(path.clone()),
            Blob::Planned(plan) => self.maker.blob(plan, &self.written)?,
        };
        *blob = Blob::At(path.clone());
        Ok(path)
    }
}

impl BlobSource for NewLayer {
    fn descriptor(&self) -> &Descriptor {
        &self.written.descriptor
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = std::fs::File::open(self.path().map_err(io::Error::other)?)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions};

    use super::*;

    fn plan(directory: &std::path::Path) -> LayerPlan {
        let path = directory.join("file");
        std::fs::write(&path, "content").unwrap();
        let kind = EntryKind::File(Content::File { path: path.into(), size: 7 });
        LayerPlan::new(vec![Entry::new("/file".parse().unwrap(), kind, 0o644)], LayerOptions::default()).unwrap()
    }

    fn maker(directory: &std::path::Path, store: &str) -> Arc<LayerMaker> {
        let store = directory.join(store);
        std::fs::create_dir_all(&store).unwrap();
        let cache = Some(Arc::new(Cache::open(directory.join("cache")).unwrap()));
        let pool = Arc::new(Pool::new(1).unwrap());
        Arc::new(LayerMaker::new(pool, cache, BlobStore::new(store), BTreeSet::new()))
    }

    fn text(layer: &NewLayer) -> Vec<u8> {
        let mut bytes = Vec::new();
        layer.open_at(0).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn platforms_that_have_the_same_layer_make_it_once() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan(directory.path());
        std::fs::create_dir(directory.path().join("store")).unwrap();
        let store = BlobStore::new(directory.path().join("store"));
        let maker = Arc::new(LayerMaker::new(Arc::new(Pool::new(1).unwrap()), None, store, BTreeSet::new()));
        let layer = maker.make(plan.clone()).unwrap();
        let blob = layer.path().unwrap();
        let first = std::fs::metadata(&blob).unwrap();
        let paths: Vec<_> = std::thread::scope(|scope| {
            let makes: Vec<_> =
                (0..4).map(|_| scope.spawn(|| maker.make(plan.clone()).unwrap().path().unwrap())).collect();
            makes.into_iter().map(|make| make.join().unwrap()).collect()
        });
        assert!(paths.iter().all(|path| *path == blob));
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(std::fs::metadata(&blob).unwrap().ino(), first.ino(), "not written again");
    }

    #[test]
    fn a_known_layer_is_made_again_only_when_its_bytes_are_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan(directory.path());
        let first = maker(directory.path(), "one").make(plan.clone()).unwrap();
        assert_eq!(first.origin, Origin::Written);
        let bytes = text(&first);
        let elsewhere = maker(directory.path(), "two");
        let again = elsewhere.make(plan.clone()).unwrap();
        assert_ne!(again.origin, Origin::Written);
        assert_eq!(elsewhere.store.list().unwrap(), []);
        assert_eq!(text(&again), bytes);
        // A blob with other bytes, as a power cut may leave it, is not taken for it.
        std::fs::write(elsewhere.store.path(&again.written.descriptor.digest), vec![0; bytes.len()]).unwrap();
        assert_eq!(text(&maker(directory.path(), "two").make(plan.clone()).unwrap()), bytes);
        // What changed after it was looked at is another layer.
        let last = maker(directory.path(), "three").make(plan).unwrap();
        std::fs::write(directory.path().join("file"), "changed").unwrap();
        assert!(matches!(last.path(), Err(LayerError::Changed { .. })));
    }
}
