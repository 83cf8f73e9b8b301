use std::path::PathBuf;

use super::*;
use crate::blob::BlobSource as _;
use crate::layout::tests::image;
use crate::layout::{Layout, Selector};
use crate::media_type::OCI_INDEX;

struct Bench {
    directory: tempfile::TempDir,
    layout: Layout,
    index: Descriptor,
    manifests: Vec<Descriptor>,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create_or_open(directory.path().join("oci")).unwrap();
    let manifests: Vec<Descriptor> = ["one", "two"].iter().map(|text| image(&layout, text)).collect();
    let list = manifests
        .iter()
        .zip(["linux/amd64", "linux/arm64"])
        .map(|(manifest, platform)| manifest.clone().with_platform(platform.parse().unwrap()))
        .collect();
    let index = json(&ImageIndex::new(list, BTreeMap::new())).unwrap();
    let index = layout.store().put_document(OCI_INDEX, &index).unwrap();
    Bench { directory, layout, index, manifests }
}

fn name(tag: &str) -> ImageName {
    ImageName { full: Some(format!("localhost:5000/app:{tag}")), tag: tag.to_owned() }
}

impl Bench {
    fn keep(&self, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join("archive.tar");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn an_oci_archive_holds_all_platforms_and_reads_back() {
    let bench = bench();
    let mut first = Vec::new();
    write_oci_archive(&mut first, &bench.layout, &bench.index, &[name("1"), name("latest")]).unwrap();
    let mut again = Vec::new();
    write_oci_archive(&mut again, &bench.layout, &bench.index, &[name("1"), name("latest")]).unwrap();
    assert!(first == again);
    let archive = Archive::open(&bench.keep(&first)).unwrap();
    assert_eq!(
        crate::verify::verify(&archive, &archive.index().manifests, "archive")
            .iter()
            .filter(|finding| finding.problem != crate::verify::Problem::Layer
                && finding.problem != crate::verify::Problem::Platform)
            .count(),
        0
    );
    for selector in [Selector::Only, Selector::Name("latest"), Selector::Name("localhost:5000/app:1")] {
        assert_eq!(archive.resolve(selector).unwrap().digest, bench.index.digest);
    }
    assert_eq!(archive.resolve(Selector::Digest(bench.manifests[1].digest)).unwrap().digest, bench.manifests[1].digest);
    assert!(archive.resolve(Selector::Name("2")).unwrap_err().to_string().contains("it has 1, latest"));
    let mut text = String::new();
    let blob = archive.blob(&Descriptor::of("x", b"two")).unwrap();
    blob.open_at(1).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "wo");
    assert!(archive.blob(&Descriptor::new("x", Digest::of(b"two"), 4)).is_err());
}

#[test]
fn a_docker_archive_holds_exactly_one_platform() {
    let bench = bench();
    let error = write_docker_archive(io::sink(), &bench.layout, &bench.index, &[name("1")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a docker-archive holds exactly one platform, but the image has linux/amd64, linux/arm64"
    );
    let mut bytes = Vec::new();
    write_docker_archive(&mut bytes, &bench.layout, &bench.manifests[0], &[name("1"), name("2")]).unwrap();
    let archive = Archive::open(&bench.keep(&bytes)).unwrap();
    assert_eq!(archive.resolve(Selector::Name("2")).unwrap().digest, bench.manifests[0].digest);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains(r#""RepoTags":["localhost:5000/app:1","localhost:5000/app:2"],"Layers":["blobs/sha256/"#));
}

#[test]
fn what_docker_save_once_wrote_is_read() {
    let bench = bench();
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let mut tar = TarFile::new(Vec::new());
    tar.file("abc.json", config).unwrap();
    tar.file("1/layer.tar", b"one").unwrap();
    tar.file("2/layer.tar", &[0x1f, 0x8b, 8, 0]).unwrap();
    let manifest = r#"[{"Config":"abc.json","RepoTags":["app:x"],"Layers":["1/layer.tar","2/layer.tar"]}]"#;
    tar.file("manifest.json", manifest.as_bytes()).unwrap();
    let mut bytes = tar.out;
    bytes.extend([0; 1024]);
    let archive = Archive::open(&bench.keep(&bytes)).unwrap();
    let entry = archive.resolve(Selector::Name("app:x")).unwrap();
    let (_, Document::Manifest(manifest)) = archive.document(&entry).unwrap() else { panic!("no manifest") };
    assert_eq!(manifest.config.digest, Digest::of(config));
    let types: Vec<_> = manifest.layers.iter().map(|layer| layer.media_type.as_str()).collect();
    assert_eq!(types, [crate::media_type::DOCKER_LAYER_TAR, crate::media_type::DOCKER_LAYER_GZIP]);
}

#[test]
fn what_is_no_archive_fails() {
    let bench = bench();
    assert!(matches!(Archive::open(&bench.keep(b"not a tar at all").clone()), Err(ArchiveError::Tar(_))));
    assert!(matches!(Archive::open(&bench.keep(&[0; 1024])), Err(ArchiveError::NoImage)));
    let mut tar = TarFile::new(Vec::new());
    tar.file("manifest.json", br#"[{"Config":"x","Layers":[]}]"#).unwrap();
    assert!(matches!(Archive::open(&bench.keep(&tar.out)), Err(ArchiveError::DockerManifest(_))));
    let mut tar = TarFile::new(Vec::new());
    tar.file("index.json", br#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#).unwrap();
    assert!(matches!(Archive::open(&bench.keep(&tar.out)), Err(ArchiveError::Document { .. })));
}

#[test]
fn damaged_blobs_do_not_get_into_archives() {
    let bench = bench();
    std::fs::write(bench.layout.store().path(&Digest::of(b"one")), b"ONE").unwrap();
    let error = write_oci_archive(io::sink(), &bench.layout, &bench.index, &[]).unwrap_err();
    assert!(matches!(error, ArchiveError::Blob { .. }), "{error}");
}
