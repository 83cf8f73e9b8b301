use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::document::ImageIndex;
use crate::layer::{Content, Entry, EntryKind, LayerOptions, Pool, write_layer};
use crate::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST};
use crate::platform::Platform;

/// What a test may bend before it is written.
struct Image {
    config: ImageConfig,
    layers: Vec<Descriptor>,
}

/// A layout with an index of two platforms, whose parts `bend` can change.
struct Bench {
    _directory: tempfile::TempDir,
    layout: Layout,
}

fn put<T: Serialize>(layout: &Layout, media_type: &str, document: &T) -> Descriptor {
    layout.store().put_document(media_type, &crate::json::to_bytes(document).unwrap()).unwrap()
}

impl Bench {
    fn new(
        bend_image: impl Fn(&mut Image),
        bend_manifest: impl Fn(&mut ImageManifest),
        bend_index: impl Fn(&mut ImageIndex),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create_or_open(directory.path()).unwrap();
        let pool = Pool::new(1).unwrap();
        let mut manifests = Vec::new();
        for (number, platform) in ["linux/amd64", "linux/arm64"].iter().enumerate() {
            let platform: Platform = platform.parse().unwrap();
            let mut image = Image { config: ImageConfig::new(&platform), layers: Vec::new() };
            for layer in ["common", &format!("own {number}")] {
                let kind = EntryKind::File(Content::Bytes(Arc::from(layer.repeat(50).as_bytes())));
                let entries = [Entry::new("/file".parse().unwrap(), kind, 0o644)];
                let layer = write_layer(&entries, &LayerOptions::default(), &pool, layout.store()).unwrap();
                image.config.rootfs.diff_ids.push(layer.diff_id);
                image.layers.push(layer.descriptor);
            }
            if number == 0 {
                bend_image(&mut image);
            }
            let config = put(&layout, OCI_CONFIG, &image.config);
            let mut manifest = ImageManifest::new(config, image.layers, Default::default());
            if number == 0 {
                bend_manifest(&mut manifest);
            }
            manifests.push(put(&layout, OCI_MANIFEST, &manifest).with_platform(platform));
        }
        let mut index = ImageIndex::new(manifests, Default::default());
        bend_index(&mut index);
        let mut entry = put(&layout, OCI_INDEX, &index);
        entry.annotations.insert(REF_NAME.to_owned(), "latest".to_owned());
        let bench = Self { _directory: directory, layout };
        bench.write_index(&ImageIndex::new(vec![entry], Default::default()));
        bench
    }

    fn whole() -> Self {
        Self::new(|_| {}, |_| {}, |_| {})
    }

    /// Written around the layout's own checks.
    fn write_index(&self, index: &ImageIndex) {
        std::fs::write(self.layout.root().join("index.json"), crate::json::to_bytes(index).unwrap()).unwrap();
    }

    fn reached(&self) -> Vec<Descriptor> {
        let entry = self.layout.index().unwrap().manifests.remove(0);
        self.layout.reach(&entry).unwrap().into_iter().map(|reached| reached.descriptor).collect()
    }

    fn blob(&self, media_type: &str) -> std::path::PathBuf {
        let descriptor = self.reached().into_iter().find(|d| d.media_type.as_str() == media_type).unwrap();
        self.layout.store().path(&descriptor.digest)
    }

    #[track_caller]
    fn finds(&self, problem: Problem) {
        let findings = self.layout.verify();
        assert!(findings.iter().any(|finding| finding.problem == problem), "{findings:#?}");
        assert!(findings.iter().all(|finding| !finding.message.is_empty()));
    }
}

#[test]
fn a_whole_layout_has_no_findings() {
    assert_eq!(Bench::whole().layout.verify(), []);
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_blobs_are_found() {
    for media_type in [OCI_INDEX, OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP] {
        for damage in ["flip first", "flip last", "cut", "longer", "empty", "gone", "symlink", "fifo", "directory"] {
            let bench = Bench::whole();
            let path = bench.blob(media_type);
            let bytes = std::fs::read(&path).unwrap();
            let aside = bench.layout.root().join("aside");
            let mut expect = Problem::Content;
            match damage {
                "flip first" => flip(&path, 0),
                "flip last" => flip(&path, bytes.len() - 1),
                "cut" => std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
                "longer" => std::fs::write(&path, [&bytes[..], b"x"].concat()).unwrap(),
                "empty" => std::fs::write(&path, b"").unwrap(),
                "gone" => {
                    std::fs::remove_file(&path).unwrap();
                    expect = Problem::Missing;
                }
                "symlink" => {
                    std::fs::rename(&path, &aside).unwrap();
                    std::os::unix::fs::symlink(&aside, &path).unwrap();
                    expect = Problem::Unreadable;
                }
                "fifo" => {
                    std::fs::remove_file(&path).unwrap();
                    let mode = rustix::fs::Mode::RUSR;
                    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
                    expect = Problem::Unreadable;
                }
                _ => {
                    std::fs::remove_file(&path).unwrap();
                    std::fs::create_dir(&path).unwrap();
                    expect = Problem::Unreadable;
                }
            }
            bench.finds(expect);
        }
    }
}

#[test]
fn i20_wrong_documents_are_found() {
    let manifest = |bend: fn(&mut ImageManifest)| Bench::new(|_| {}, bend, |_| {});
    let image = |bend: fn(&mut Image)| Bench::new(bend, |_| {}, |_| {});
    let index = |bend: fn(&mut ImageIndex)| Bench::new(|_| {}, |_| {}, bend);
    manifest(|m| m.layers[0].size += 1).finds(Problem::Content);
    manifest(|m| m.layers[1].size -= 1).finds(Problem::Content);
    manifest(|m| m.config.size += 1).finds(Problem::Content);
    manifest(|m| m.config.size = MAX_DOCUMENT + 1).finds(Problem::Content);
    manifest(|m| m.layers[0].data = Some("AAAA".to_owned())).finds(Problem::Content);
    manifest(|m| m.layers[0].media_type = OCI_LAYER_ZSTD.into()).finds(Problem::Layer);
    manifest(|m| m.layers[0].media_type = crate::media_type::OCI_LAYER_TAR.into()).finds(Problem::Layer);
    manifest(|m| m.layers[0].media_type = "application/x".into()).finds(Problem::MediaType);
    manifest(|m| m.media_type = Some(OCI_INDEX.into())).finds(Problem::MediaType);
    manifest(|m| drop(m.extra.insert("manifests".to_owned(), serde_json::json!([])))).finds(Problem::Document);
    manifest(|m| m.schema_version = 1).finds(Problem::Document);
    manifest(|m| drop(m.layers.pop())).finds(Problem::Count);
    manifest(|m| m.layers.swap(0, 1)).finds(Problem::DiffId);
    image(|i| i.config.rootfs.diff_ids.truncate(1)).finds(Problem::Count);
    image(|i| i.config.rootfs.diff_ids[1] = Digest::of(b"other")).finds(Problem::DiffId);
    image(|i| i.config.rootfs.diff_ids.swap(0, 1)).finds(Problem::DiffId);
    image(|i| i.config.architecture = "s390x".to_owned()).finds(Problem::Platform);
    index(|i| {
        let other = i.manifests[1].platform.clone();
        i.manifests[1].platform = i.manifests[0].platform.clone();
        i.manifests[0].platform = other;
    })
    .finds(Problem::Platform);
    index(|i| i.manifests[0].digest = Digest::of(b"absent")).finds(Problem::Missing);
    index(|i| i.manifests[0].media_type = crate::media_type::DOCKER_MANIFEST.into()).finds(Problem::MediaType);
    index(|i| drop(i.extra.insert("config".to_owned(), serde_json::json!({})))).finds(Problem::Document);
}

#[test]
fn wrong_layouts_are_found() {
    let bench = Bench::whole();
    let path = bench.layout.root().join("index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 9]).unwrap();
    bench.finds(Problem::Layout);
    std::fs::write(&path, text.replacen('{', r#"{"schemaVersion":2,"#, 1)).unwrap();
    bench.finds(Problem::Layout);
    std::fs::write(&path, text.replace("+json\",\"digest", "+xml\",\"digest")).unwrap();
    bench.finds(Problem::MediaType);
    std::fs::write(&path, &text).unwrap();
    bench.layout.store().put_bytes(b"nobody's").unwrap();
    bench.finds(Problem::Unreachable);
    std::fs::write(bench.layout.root().join("blobs/sha256/stray"), b"").unwrap();
    bench.finds(Problem::Stray);

    let bench = Bench::whole();
    let mut index = bench.layout.index().unwrap();
    index.manifests.push(index.manifests[0].clone());
    bench.write_index(&index);
    bench.finds(Problem::Duplicate);

    // An index that names itself: the bytes cannot have that digest.
    let bench = Bench::whole();
    let digest = Digest::of(b"loop");
    let text =
        format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI_INDEX}","digest":"{digest}","size":1}}]}}"#);
    std::fs::write(bench.layout.store().path(&digest), &text).unwrap();
    let entry = Descriptor::new(OCI_INDEX, digest, text.len() as u64);
    bench.write_index(&ImageIndex::new(vec![entry], Default::default()));
    bench.finds(Problem::Content);

    let bench = Bench::whole();
    let mut top = bench.layout.index().unwrap().manifests.remove(0);
    for _ in 0..=MAX_DEPTH {
        top = put(&bench.layout, OCI_INDEX, &ImageIndex::new(vec![top], Default::default()));
    }
    bench.write_index(&ImageIndex::new(vec![top], Default::default()));
    bench.finds(Problem::Depth);
}

#[test]
fn findings_are_json_with_stable_words() {
    let bench = Bench::new(|_| {}, |manifest| manifest.layers[0].size += 1, |_| {});
    let findings = serde_json::to_value(bench.layout.verify()).unwrap();
    assert_eq!(findings[0]["problem"], "content");
    assert!(findings[0]["at"].as_str().unwrap().ends_with("(linux/amd64) › layer 1"), "{findings}");
}
