use std::path::Path;

use super::*;
use crate::result::{BaseResult, Inputs, ManifestResult};
use crate::spec::{Facts, Overrides, parse};

const ALL: [&str; 4] = ["linux/amd64", "linux/amd64/v3", "linux/arm64", "linux/s390x"];

/// What a machine says that has built `platforms`, each from bytes that say `content`.
fn result(platforms: &[&str], content: &str) -> ImageResult {
    let text = format!("version: 1\nimage: example.com/a\nplatforms: [{}]\n", ALL.join(", "));
    let spec = parse(Path::new("build.yaml"), &text, &Overrides::default()).unwrap();
    let descriptor = |kind: &str, platform: &str| Descriptor::of(kind, format!("{content} {platform}").as_bytes());
    let manifests = platforms.iter().map(|name| {
        let platform: TargetPlatform = name.parse().unwrap();
        let manifest = descriptor(oci_layout::media_type::OCI_MANIFEST, name);
        let digest = manifest.digest;
        ManifestResult {
            platform,
            descriptor: manifest.with_platform(platform.platform()),
            config: descriptor(oci_layout::media_type::OCI_CONFIG, name),
            layers: Vec::new(),
            base: Some(BaseResult { name: Some("example.com/base:1".to_owned()), digest, manifest: digest }),
            steps: Vec::new(),
            smoke: Vec::new(),
        }
    });
    let manifests: Vec<ManifestResult> = manifests.collect();
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let listed = manifests.iter().map(|manifest| manifest.descriptor.clone()).collect();
    let index = Descriptor::of(OCI_INDEX, &index_bytes(listed, annotations.clone()).unwrap());
    ImageResult {
        version: VERSION,
        file: "build.yaml".to_owned(),
        image: Some("example.com/a".to_owned()),
        tags: vec!["latest".to_owned()],
        references: Vec::new(),
        index,
        annotations,
        platforms: spec.all_platforms.clone(),
        manifests,
        inputs: Inputs::of(&spec, &Facts::default(), crate::image::CREATED),
        mab: String::new(),
        compilers: Vec::new(),
    }
}

#[test]
fn the_joined_index_is_that_of_one_machine_byte_for_byte() {
    let whole = result(&ALL, "x");
    // Whatever machine comes first, and where two have built the same.
    for parts in [
        [result(&ALL[..2], "x"), result(&ALL[2..], "x")],
        [result(&ALL[3..], "x"), result(&ALL[..3], "x")],
        [result(&ALL[1..], "x"), result(&ALL[..3], "x")],
    ] {
        let joined = join(&parts).unwrap();
        assert_eq!(joined.index, whole.index);
        assert_eq!(Digest::of(&joined.bytes), whole.index.digest);
        assert_eq!(
            (joined.image.as_deref(), joined.tags.as_slice()),
            (Some("example.com/a"), &["latest".to_owned()][..])
        );
    }
    assert_eq!(join(std::slice::from_ref(&whole)).unwrap().index, whole.index);
}

#[test]
fn a_document_survives_its_json() {
    let whole = result(&ALL, "x");
    let json = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<ImageResult>(&json).unwrap(), whole);
    assert!(serde_json::from_str::<ImageResult>(&json.replace("linux/s390x", "linux/s390y")).is_err());
}

#[track_caller]
fn refused(results: &[ImageResult], expect: &str) {
    assert_eq!(join(results).unwrap_err().to_string(), expect);
}

#[test]
fn what_does_not_belong_together_is_not_joined() {
    refused(&[], "there are no results to join");
    let (first, rest) = (result(&ALL[..2], "x"), result(&ALL[2..], "x"));
    refused(std::slice::from_ref(&first), "nobody has built linux/arm64, linux/s390x");
    let twice = join(&[result(&ALL, "x"), result(&ALL[2..], "y")]).unwrap_err();
    assert!(matches!(twice, JoinError::Twice { platform, .. } if platform.to_string() == "linux/arm64"));
    refused(&[first.clone(), ImageResult { version: 2, ..rest.clone() }], "a result is of version 2; this mab knows 1");
    type Change = fn(&mut ImageResult);
    let differing: [(&str, Change); 6] = [
        ("the list of tags", |it| it.tags.push("v1".to_owned())),
        ("the image", |it| it.image = None),
        ("the date", |it| it.inputs.created = "2020-01-01T00:00:00Z".to_owned()),
        ("the format", |it| it.inputs.format += 1),
        ("an input", |it| it.inputs.digest = Digest::of(b"other")),
        ("the list of annotations", |it| it.annotations.clear()),
    ];
    for (what, change) in differing {
        let mut other = rest.clone();
        change(&mut other);
        let error = join(&[first.clone(), other]).unwrap_err().to_string();
        assert!(error.contains(&format!("cannot be joined: {what} differs")), "{error}");
        assert!(
            error.starts_with("the results of linux/amd64, linux/amd64/v3 and linux/arm64, linux/s390x"),
            "{error}"
        );
    }
    let mut foreign = rest.clone();
    foreign.platforms.retain(|platform| platform.to_string() != "linux/s390x");
    refused(&[foreign], "linux/s390x is no platform of the image");
}
