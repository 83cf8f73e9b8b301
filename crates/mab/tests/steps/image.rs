//! An image with this machine's shell, and steps on it.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use builder::sandbox::step::{Limits, StepError, StepMount, StepOutcome, StepRequest, run_step};
use builder::sandbox::{Container, Ending, Execution, Network, Request, SandboxError, Streams};
use oci_layout::cache::StepScratch;
use oci_layout::layer::{
    Content, Entry, EntryKind, LayerFacts, LayerOptions, LayerPlan, Pool, Tree, UnpackLimits, read, unpack,
};
use oci_layout::media_type::Compression;
use oci_layout::{BlobStore, Cache, Digest};

/// The programs that scripts use.
const PROGRAMS: &[&str] = &[
    "cat", "chgrp", "chmod", "chown", "cp", "env", "id", "install", "ln", "ls", "mkdir", "mkfifo", "mknod", "mv", "rm",
    "rmdir", "sed", "setpriv", "sleep", "stat", "sync", "touch",
];

/// One for all tests; its scratch directories are counted, so only one uses it at a time.
pub(crate) struct Image {
    directory: tempfile::TempDir,
    cache: Cache,
    layers: Vec<PathBuf>,
    tree: Tree,
    execution: Execution,
}

/// How a step runs.
pub(crate) struct Run {
    pub(crate) mounts: Vec<StepMount>,
    pub(crate) network: Network,
    pub(crate) directory: String,
    pub(crate) user: String,
    pub(crate) limits: Limits,
    pub(crate) time_limit: Option<Duration>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            mounts: Vec::new(),
            network: Network::None,
            directory: "/".to_owned(),
            user: String::new(),
            limits: Limits::default(),
            time_limit: None,
        }
    }
}

/// What came of one.
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    pub(crate) entries: Vec<Entry>,
    pub(crate) stdout: String,
    /// The entries' contents.
    _scratch: StepScratch,
}

fn unpack_into(cache: &Cache, blob: File, compression: Compression, diff_id: Digest) -> PathBuf {
    let unpacking = cache.unpack(&diff_id).unwrap();
    let root = File::open(unpacking.root()).unwrap();
    unpack(blob, compression, diff_id, root.as_fd(), &UnpackLimits::default()).unwrap();
    unpacking.finish().unwrap()
}

fn entry(path: &str, kind: EntryKind, mode: u32, owner: (u32, u32)) -> Entry {
    Entry::new(path.parse().unwrap(), kind, mode).owned_by(owner.0, owner.1)
}

fn text(text: &str) -> EntryKind {
    EntryKind::File(Content::Bytes(text.as_bytes().into()))
}

impl Image {
    /// None where there is nothing to see, which is told.
    pub(crate) fn get() -> Option<MutexGuard<'static, Self>> {
        static IMAGE: OnceLock<Option<Mutex<Image>>> = OnceLock::new();
        let image = IMAGE.get_or_init(|| {
            let image = Self::make();
            match image.run("true", true, &Run::default()) {
                Err(StepError::Sandbox(error @ SandboxError::Forbidden { .. })) => {
                    eprintln!("SKIPPED: users cannot make sandboxes here: {error}");
                    None
                }
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
                Ok(_) => Some(Mutex::new(image)),
            }
        });
        Some(image.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path().join("cache")).unwrap();
        fs::create_dir(directory.path().join("blobs")).unwrap();
        let execution = Execution::Native;
        let mut image = Self { directory, cache, layers: Vec::new(), tree: Tree::default(), execution };
        let (low, high) = (programs(), files());
        image.add(&low);
        image.add(&high);
        image
    }

    /// An image of one layer, which is this file.
    pub(crate) fn of_layer(blob: &Path, execution: Execution) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path().join("cache")).unwrap();
        let open = || File::open(blob).unwrap();
        let (facts, diff_id) = LayerFacts::scan(open(), Compression::Gzip, &read::Limits::default()).unwrap();
        let layers = vec![unpack_into(&cache, open(), Compression::Gzip, diff_id)];
        Self { directory, cache, layers, tree: Tree::of([&facts]), execution }
    }

    /// This one with the layer that a step has made.
    pub(crate) fn after(&self, ran: &Ran) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path().join("cache")).unwrap();
        fs::create_dir(directory.path().join("blobs")).unwrap();
        let (layers, tree, execution) = (self.layers.clone(), self.tree.clone(), self.execution.clone());
        let mut image = Self { directory, cache, layers, tree, execution };
        image.add(&ran.entries);
        image
    }

    fn add(&mut self, entries: &[Entry]) {
        let store = BlobStore::new(self.directory.path().join("blobs"));
        let plan = LayerPlan::new(entries.to_vec(), LayerOptions::default()).unwrap();
        let (written, _) = plan.write(&Pool::new(1).unwrap(), &store).unwrap();
        let blob = || File::open(store.path(&written.descriptor.digest)).unwrap();
        let (facts, _) = LayerFacts::scan(blob(), Compression::Gzip, &read::Limits::default()).unwrap();
        self.tree.lay_over(&facts, u32::try_from(self.layers.len()).unwrap());
        self.layers.push(unpack_into(&self.cache, blob(), Compression::Gzip, written.diff_id));
    }

    fn request<'a>(&'a self, script: &str, overlay: bool, run: &Run, scratch: &'a Path) -> StepRequest<'a> {
        let container = Container {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: vec![("PATH".to_owned(), "/usr/sbin:/usr/bin:/bin".to_owned())],
            directory: run.directory.clone(),
            user: run.user.clone(),
            terminal: false,
        };
        let request = Request {
            executable: Path::new(env!("CARGO_BIN_EXE_mab")),
            mount_point: self.cache.mount_point().unwrap(),
            layers: self.layers.clone(),
            overlay,
            network: run.network,
            execution: self.execution.clone(),
            time_limit: run.time_limit,
            container,
        };
        StepRequest { request, below: &self.tree, scratch, mounts: run.mounts.clone(), limits: run.limits }
    }

    fn streams(&self) -> (PathBuf, Streams) {
        let path = self.directory.path().join("stdout");
        let stdout = Stdio::from(File::create(&path).unwrap());
        (path, Streams { stdin: Stdio::null(), stdout, stderr: Stdio::inherit() })
    }

    pub(crate) fn run(&self, script: &str, overlay: bool, run: &Run) -> Result<Ran, StepError> {
        let scratch = self.cache.step_scratch().unwrap();
        let (stdout, streams) = self.streams();
        let outcome = run_step(self.request(script, overlay, run, scratch.path()), streams)?.wait()?;
        let StepOutcome { ending, entries, .. } = outcome;
        Ok(Ran { ending, entries, stdout: fs::read_to_string(stdout).unwrap(), _scratch: scratch })
    }

    /// On an overlay, and on a copy, with the same layer.
    #[track_caller]
    pub(crate) fn both(&self, script: &str, run: &Run) -> Ran {
        let [one, other] = [true, false].map(|overlay| {
            let ran = self.run(script, overlay, run).unwrap_or_else(|error| {
                panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))
            });
            assert_eq!(ran.ending, Ending::Exited(0), "{}", ran.stdout);
            ran
        });
        assert_eq!(one.lines(), other.lines());
        assert_eq!(one.diff_id(), other.diff_id());
        assert_eq!(one.stdout, other.stdout);
        one
    }

    #[track_caller]
    pub(crate) fn changes(&self, script: &str, expected: &[&str]) {
        self.both(script, &Run::default()).has_changed(expected);
    }

    /// Killed when it has begun.
    pub(crate) fn killed(&self, script: &str, overlay: bool) -> StepOutcome {
        let scratch = self.cache.step_scratch().unwrap();
        let run = Run::default();
        let running = run_step(self.request(script, overlay, &run, scratch.path()), self.streams().1).unwrap();
        let control = running.control().unwrap();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            control.kill();
        });
        let outcome = running.wait().unwrap();
        killer.join().unwrap();
        outcome
    }

    /// How many steps have something on disk.
    pub(crate) fn scratch_count(&self) -> usize {
        fs::read_dir(self.cache.root().join("steps")).unwrap().count()
    }

    /// Whether some file below the cache has this text in it.
    pub(crate) fn disk_holds(&self, text: &str) -> bool {
        let mut waiting = vec![self.directory.path().to_owned()];
        while let Some(directory) = waiting.pop() {
            // The kernel's own are closed.
            for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    waiting.push(entry.path());
                } else if kind.is_file() && entry.file_name() != "stdout" {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                        return true;
                    }
                }
            }
        }
        false
    }
}

impl Ran {
    /// The digest of the layer that comes of it.
    pub(crate) fn diff_id(&self) -> Digest {
        LayerPlan::new(self.entries.clone(), LayerOptions::default()).unwrap().diff_id().unwrap().0
    }

    /// A line for each entry.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.entries.iter().map(line).collect()
    }

    #[track_caller]
    pub(crate) fn has_changed(&self, expected: &[&str]) {
        assert_eq!(self.lines(), expected);
    }
}

fn line(entry: &Entry) -> String {
    let Entry { path, mode, uid, gid, .. } = entry;
    match &entry.kind {
        EntryKind::File(Content::File { path: at, size }) => {
            let content = fs::read(at).unwrap();
            assert_eq!(content.len() as u64, *size);
            format!("{path} f {mode:o} {uid}:{gid} `{}`", String::from_utf8_lossy(&content))
        }
        EntryKind::File(Content::Bytes(_)) => panic!("contents are on disk"),
        EntryKind::Directory => format!("{path} d {mode:o} {uid}:{gid}"),
        EntryKind::Symlink { target } => format!("{path} -> {target} {uid}:{gid}"),
        EntryKind::HardLink { to } => format!("{path} = {to}"),
        EntryKind::Fifo => format!("{path} pipe {mode:o} {uid}:{gid}"),
        EntryKind::Device { block, major, minor } => {
            format!("{path} {} {major} {minor} {mode:o} {uid}:{gid}", if *block { "block" } else { "character" })
        }
        EntryKind::Whiteout => format!("{path} whiteout"),
        EntryKind::Opaque => format!("{path} opaque"),
    }
}

/// The shell and what scripts use, with their libraries.
fn programs() -> Vec<Entry> {
    let found = |name: &str| {
        ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(name)).into_iter().find(|path| path.exists())
    };
    let mut files: Vec<(PathBuf, PathBuf)> = PROGRAMS
        .iter()
        .filter_map(|name| Some((found(name)?, Path::new("/usr/bin").join(name))))
        .chain([(PathBuf::from("/bin/sh"), PathBuf::from("/bin/sh"))])
        .collect();
    for (program, _) in files.clone() {
        let listed = Command::new("ldd").arg(program).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        files.extend(
            listed.split_whitespace().filter(|word| word.starts_with('/')).map(|word| (word.into(), word.into())),
        );
    }
    files.sort();
    files.dedup_by(|one, other| one.1 == other.1);
    let mut entries = Vec::new();
    for (from, to) in files {
        let from = fs::canonicalize(from).unwrap();
        let size = from.metadata().unwrap().len();
        entries.push(entry(
            to.to_str().unwrap(),
            EntryKind::File(Content::File { path: from.into(), size }),
            0o755,
            (0, 0),
        ));
    }
    entries
}

fn files() -> Vec<Entry> {
    let directory = |path: &str, mode, owner| entry(path, EntryKind::Directory, mode, owner);
    let link =
        |path: &str, target: &str, owner| entry(path, EntryKind::Symlink { target: target.to_owned() }, 0o777, owner);
    vec![
        directory("/", 0o755, (0, 0)),
        directory("/data", 0o755, (0, 0)),
        entry("/data/closed", text("closed\n"), 0, (0, 0)),
        entry("/data/file", text("content\n"), 0o644, (0, 0)),
        link("/data/link", "file", (0, 0)),
        entry("/data/linked", text("linked\n"), 0o644, (0, 0)),
        entry("/data/linked-too", EntryKind::HardLink { to: "/data/linked".parse().unwrap() }, 0o644, (0, 0)),
        entry("/data/mode", text("mode\n"), 0o644, (0, 0)),
        entry("/data/other", text("other\n"), 0o640, (0, 42)),
        entry("/data/set-id", text("set-id\n"), 0o4755, (0, 0)),
        directory("/etc", 0o755, (0, 0)),
        entry("/etc/group", text("root:x:0:\napp:x:1000:\n"), 0o644, (0, 0)),
        entry("/etc/passwd", text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"), 0o644, (0, 0)),
        link("/link", "/data", (0, 0)),
        directory("/owned", 0o750, (33, 33)),
        entry("/owned/file", text("owned\n"), 0o600, (33, 33)),
        link("/owned/link", "file", (33, 33)),
        directory("/srv", 0o755, (0, 0)),
        directory("/tree", 0o2775, (0, 8)),
        directory("/tree/a", 0o755, (0, 0)),
        entry("/tree/a/one", text("1"), 0o644, (0, 0)),
        entry("/tree/a/two", text("2"), 0o644, (33, 33)),
        directory("/tree/b", 0o755, (0, 0)),
        entry("/tree/b/three", text("3"), 0o644, (0, 0)),
    ]
}
