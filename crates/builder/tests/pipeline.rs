//! Whole builds against a registry in memory, with compilers that do what the test wants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use builder::build::{BuildError, BuildOutcome, BuildRequest, Output, Sandbox, SmokeMode, build};
use builder::event::{Event, Outcome, Reporter, Silent};
use builder::lock::update::{LockRequest, Moves, lock};
use builder::process::{Children, Environment};
use builder::spec::{Overrides, parse};
use oci_layout::Layout;
use registry_client::{Client, Config};
use test_registry::{Answer, Fault, TestRegistry};

struct Bench {
    directory: tempfile::TempDir,
    registry: TestRegistry,
}

impl Bench {
    /// A build file, whose `REGISTRY` is the test's, beside two programs that are finished.
    fn new(text: &str) -> Self {
        let (directory, registry) = (tempfile::tempdir().unwrap(), TestRegistry::start());
        let bench = Self { directory, registry };
        bench.write("build.yaml", &text.replace("REGISTRY", &bench.registry.host()));
        for (name, machine) in [("amd64", 62), ("arm64", 183)] {
            let mut program = b"\x7fELF\x02\x01\x01".to_vec();
            program.resize(64, 0);
            program[16..20].copy_from_slice(&[2, 0, machine, 0]);
            program[20] = 1;
            program[52] = 64;
            program.extend(name.repeat(20_000).bytes());
            std::fs::write(bench.path(name), program).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn request(&self, outputs: &[Output]) -> BuildRequest {
        let file = self.path("build.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let env = [("PATH", path.as_str()), ("HOME", self.directory.path().to_str().unwrap())];
        BuildRequest {
            specs: vec![parse(&file, &text, &Overrides::default()).unwrap()],
            outputs: outputs.to_vec(),
            cache: Some(self.path("cache")),
            env: Environment::new(env.map(|(name, value)| (name.into(), value.into()))),
            jobs: 2,
            allow: Default::default(),
            locked: false,
            locked_compilers: false,
            offline: false,
            bundles: Vec::new(),
            colour: false,
            rustc_wrapper: PathBuf::from("/nowhere"),
            sandbox: Sandbox { executable: PathBuf::from("/nowhere"), overlay: true },
            no_cache: false,
            smoke: SmokeMode::default(),
            source_date_epoch: None,
        }
    }

    async fn build(&self, outputs: &[Output]) -> Result<BuildOutcome, BuildError> {
        let client = Client::new(Config::default()).unwrap();
        let built = build(self.request(outputs), &client, Arc::new(Children::new()), Arc::new(Silent)).await;
        built.map(|mut outcomes| outcomes.remove(0))
    }

    /// Locks the bases, as `mab lock` does.
    async fn lock(&self) {
        let request = LockRequest {
            specs: self.request(&[]).specs,
            moves: Moves::Nothing,
            facts: false,
            compilers: Default::default(),
            cache: Some(self.path("cache")),
            scratch: self.path("scratch"),
            jobs: 1,
        };
        lock(request, &Client::new(Config::default()).unwrap()).await.unwrap();
    }

    /// Lines of the registry's log that begin so.
    fn log(&self, start: &str) -> Vec<String> {
        self.registry.log().into_iter().filter(|line| line.starts_with(start)).collect()
    }

    /// What the cache holds, without its bookkeeping.
    fn cached_blobs(&self) -> Vec<PathBuf> {
        let directory = self.path("cache/blobs/sha256");
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn executable(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const FINISHED: &str = "version: 1
image: REGISTRY/app
base: scratch
platforms: [linux/amd64, linux/arm64]
binaries: [{file: '${platform.arch}', to: /app}]
";

/// A Go program whose compiler does `first`, a shell script in which `HERE` is the bench's directory, and then
/// gives the platform's finished program.
fn compiled_after(first: &str) -> Bench {
    let bench = Bench::new(&FINISHED.replace("{file: '${platform.arch}', to: /app}", "{go: ., to: /app}"));
    bench.write("main.go", "package main\n");
    bench.write("go.mod", "module x\n");
    let script = format!(
        "#!/bin/sh
case $1 in build) ;; *) echo main main; exit ;; esac
while [ \"$1\" != -o ]; do shift; done
{first}
cp HERE/$GOARCH $2
"
    );
    executable(&bench.path("bin/go"), &script.replace("HERE", bench.directory.path().to_str().unwrap()));
    bench
}

/// The compiler for arm64 waits until a blob of amd64's image has gone out.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_travel_while_another_platform_compiles() {
    let bench = compiled_after(
        "if [ $GOARCH = arm64 ]; then
    tries=0
    until [ -e HERE/sent ]; do
        sleep 0.05
        tries=$((tries + 1))
        [ $tries -lt 400 ] || { echo nothing was sent >&2; exit 1; }
    done
fi",
    );
    let watched = async {
        loop {
            let blobs = bench.log("PUT ");
            if !blobs.is_empty() {
                assert!(blobs.iter().all(|line| line.contains("/blobs/")), "{blobs:?}");
                bench.write("sent", "");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (built, ()) = tokio::join!(bench.build(&[Output::Push]), watched);
    assert_eq!(built.unwrap().manifests.len(), 2);
}

/// The compiler waits for the file `enough`, a minute at most, and leaves the file `ended` when nobody has
/// stopped it.
fn slow() -> Bench {
    compiled_after(
        "tries=0
until [ -e HERE/enough ] || [ $tries -ge 1200 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
: >HERE/ended",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_not_allowed_ends_the_build_while_it_compiles() {
    let bench = slow();
    bench.registry.fault(Fault::on("POST", "/blobs/uploads/").always().error(403, "DENIED"));
    let (client, told) = (Client::new(Config::default()).unwrap(), Arc::new(Told::default()));
    let reporter = Arc::clone(&told);
    let built = build(bench.request(&[Output::Push]), &client, Arc::new(Children::new()), reporter).await;
    let error = built.unwrap_err();
    // The compilers did not fail.
    let outcomes = told.outcomes.lock().unwrap().clone();
    assert!(outcomes.contains(&Outcome::Stopped) && !outcomes.contains(&Outcome::Failed), "{outcomes:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("{}/app: cannot upload an image", bench.registry.host())), "{text}");
    assert!(text.contains("DENIED"), "{text}");
    assert!(!bench.path("ended").exists(), "the compiler was waited for");
    assert_eq!(bench.registry.log(), ["POST /v2/app/blobs/uploads/ 403"]);

    let bench = slow();
    let refused = Answer::error(401, "UNAUTHORIZED", "log in").header("WWW-Authenticate", "Basic realm=\"x\"");
    bench.registry.fault(Fault::on("POST", "/blobs/uploads/").always().answer(refused));
    let error = bench.build(&[Output::Push]).await.unwrap_err();
    let hints = error.hints();
    assert!(hints[0].contains(&format!("`mab login {}`", bench.registry.host())), "{error}: {hints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_in_trouble_is_asked_again_when_there_is_something_to_push() {
    let trouble = Fault::on("POST", "/blobs/uploads/").times(2);
    warned_of(trouble.clone().status(503), "503").await;
    // What is behind it is said too.
    warned_of(trouble.drop_unanswered(), "connection closed").await;
}

async fn warned_of(trouble: Fault, wanted: &str) {
    let bench = slow();
    let mut config = Config::default();
    (config.retry.attempts, config.retry.first_pause) = (2, Duration::from_millis(1));
    bench.registry.fault(trouble);
    let warned = Arc::new(Told::default());
    let told = {
        let (warned, enough) = (Arc::clone(&warned), bench.path("enough"));
        async move {
            while warned.warnings.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::fs::write(enough, "").unwrap();
        }
    };
    let client = Client::new(config).unwrap();
    let reporter = Arc::clone(&warned);
    let work = build(bench.request(&[Output::Push]), &client, Arc::new(Children::new()), reporter);
    let (built, ()) = tokio::join!(work, told);
    let index = built.unwrap().remove(0).index;
    assert_eq!(bench.registry.tag("app", "latest"), Some(index.digest));
    let warned = warned.warnings.lock().unwrap();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains(wanted) && warned[0].contains("the build goes on"), "{warned:?}");
}

#[derive(Default)]
struct Told {
    warnings: Mutex<Vec<String>>,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Reporter for Told {
    fn report(&self, event: Event) {
        match event {
            Event::Warning { message } => self.warnings.lock().unwrap().push(message),
            Event::Finished { outcome, .. } => self.outcomes.lock().unwrap().push(outcome),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unchanged_is_neither_compressed_nor_sent() {
    let bench = Bench::new(FINISHED);
    let first = bench.build(&[Output::Push]).await.unwrap();
    let blobs = bench.cached_blobs();
    assert_eq!(blobs.len(), 2, "one layer for each platform");
    // Without the blobs: nobody needs them.
    for blob in blobs {
        std::fs::remove_file(blob).unwrap();
    }
    bench.registry.clear_log();
    let text = std::fs::read_to_string(bench.path("build.yaml")).unwrap();
    bench.write("build.yaml", &format!("{text}tags: [other]\n"));
    let again = bench.build(&[Output::Push]).await.unwrap();
    assert_eq!(again.index, first.index);
    assert!(bench.cached_blobs().is_empty());
    let log = bench.registry.log();
    assert!(log.iter().all(|line| !line.contains("/blobs/")), "{log:#?}");
    assert_eq!(log.iter().filter(|line| line.starts_with("PUT ")).count(), 1, "the tag: {log:#?}");
    // Elsewhere the bytes are wanted after all, and are the same.
    bench.write("build.yaml", &text.replace("/app\nbase", "/elsewhere\nbase"));
    let elsewhere = bench.build(&[Output::Push, Output::Layout(Some(bench.path("oci")))]).await.unwrap();
    assert_eq!(elsewhere.manifests, first.manifests);
    assert_eq!(Layout::open(bench.path("oci")).unwrap().verify(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_the_tag_names_already_takes_one_request() {
    let bench = Bench::new(&FINISHED.replace("/app\nbase", "/base\nbase"));
    // The base is of the same registry, and named by its digest.
    let base = bench.build(&[Output::Push]).await.unwrap();
    let text = FINISHED.replace("to: /app", "to: /other").replace("scratch", &base.references[0]);
    bench.write("build.yaml", &text.replace("REGISTRY", &bench.registry.host()));
    bench.lock().await;
    let first = bench.build(&[Output::Push]).await.unwrap();
    bench.registry.clear_log();
    let again = bench.build(&[Output::Push]).await.unwrap();
    assert_eq!(again.index, first.index);
    assert_eq!(bench.registry.log(), ["HEAD /v2/app/manifests/latest 200"]);

    // All is there under another name: each document is looked for, and the tag is set.
    let text = std::fs::read_to_string(bench.path("build.yaml")).unwrap();
    bench.write("build.yaml", &format!("{text}tags: [other]\n"));
    bench.registry.clear_log();
    bench.build(&[Output::Push]).await.unwrap();
    let mut log = bench.registry.log();
    assert_eq!(log.remove(0), "HEAD /v2/app/manifests/other 404");
    assert_eq!(log.pop().unwrap(), "PUT /v2/app/manifests/other 201");
    let documents = again.manifests.iter().chain([&again.index]);
    // The log has the first digits of a digest.
    let digits = documents.map(|document| document.digest.to_string()[7..13].to_owned());
    let mut looks: Vec<String> = digits.map(|digits| format!("HEAD /v2/app/manifests/#{digits} 200")).collect();
    looks.sort();
    log.sort();
    assert_eq!(log, looks);
}

/// What went ahead of the rest and what waited for it are the same image in the end.
#[tokio::test(flavor = "multi_thread")]
async fn one_new_platform_beside_one_that_is_as_before() {
    let bench = Bench::new(FINISHED);
    bench.build(&[Output::Push]).await.unwrap();
    let program = std::fs::read(bench.path("arm64")).unwrap();
    std::fs::write(bench.path("arm64"), [program, b"more".to_vec()].concat()).unwrap();
    let text = std::fs::read_to_string(bench.path("build.yaml")).unwrap();
    bench.write("build.yaml", &text.replace("/app\nbase", "/elsewhere\nbase"));
    let outputs = [Output::Push, Output::Layout(Some(bench.path("oci")))];
    let built = bench.build(&outputs).await.unwrap();
    assert_eq!(bench.registry.tag("elsewhere", "latest"), Some(built.index.digest));
    for manifest in &built.manifests {
        assert!(bench.registry.manifest("elsewhere", &manifest.digest.to_string()).is_some());
    }
    let sent = bench.log("PUT /v2/elsewhere/blobs/uploads/");
    assert_eq!(sent.len(), 4, "two configs and two layers, each once: {sent:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_a_cached_layer_with_wrong_bytes_is_made_again() {
    let bench = Bench::new(FINISHED);
    bench.build(&[Output::Push]).await.unwrap();
    for blob in bench.cached_blobs() {
        let length = std::fs::metadata(&blob).unwrap().len();
        std::fs::write(&blob, vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
    let outputs = [Output::Layout(Some(bench.path("oci"))), Output::OciArchive(bench.path("all.tar"))];
    bench.build(&outputs).await.unwrap();
    assert_eq!(Layout::open(bench.path("oci")).unwrap().verify(), []);
    assert_eq!(oci_layout::archive::Archive::open(&bench.path("all.tar")).unwrap().verify(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_output_has_the_same_image() {
    let bench = Bench::new(&FINISHED.replace("linux/amd64, linux/arm64", "linux/arm64"));
    let outputs = [
        Output::Push,
        Output::Layout(Some(bench.path("one"))),
        Output::Layout(Some(bench.path("two"))),
        Output::OciArchive(bench.path("all.tar")),
        Output::DockerArchive(bench.path("docker.tar")),
    ];
    let built = bench.build(&outputs).await.unwrap();
    assert_eq!(built.references.len(), 5);
    let digest = built.index.digest.to_string();
    assert!(built.references.iter().all(|reference| reference.ends_with(&digest)), "{:?}", built.references);
    for name in ["one", "two"] {
        let layout = Layout::open(bench.path(name)).unwrap();
        assert_eq!(layout.verify(), []);
        assert_eq!(layout.index().unwrap().manifests[0].digest, built.index.digest);
    }
    for name in ["all.tar", "docker.tar"] {
        assert_eq!(oci_layout::archive::Archive::open(&bench.path(name)).unwrap().verify(), [], "{name}");
    }
    let mode = std::fs::metadata(bench.path("all.tar")).unwrap().permissions().mode();
    assert_ne!(mode & 0o044, 0, "others may read it as far as the umask lets them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_archive_of_two_platforms_fails_before_anything_is_done() {
    let bench = Bench::new(FINISHED);
    let error = bench.build(&[Output::Push, Output::DockerArchive(bench.path("x.tar"))]).await.unwrap_err();
    assert!(matches!(error.class(), builder::build::ErrorClass::Usage), "{error}");
    assert!(error.hints()[0].contains("--platform"));
    assert_eq!(bench.registry.log(), [""; 0]);
    assert!(!bench.path("x.tar").exists());
}
