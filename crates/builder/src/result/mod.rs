//! What became of a build, for programs: one document for each image.
//!
//! Version 1: later releases of mab may add keys; they never take one away or change what it
//! means. [`join()`] makes one index of what several machines have built.

mod join;

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_layout::document::ImageIndex;
use oci_layout::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

pub use join::{JoinError, Joined, join};

use crate::image::FORMAT;
use crate::spec::{BuildSpec, Facts, Variable};
use crate::target::TargetPlatform;

/// Version of the document.
pub const VERSION: u32 = 1;

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageResult {
    /// [`VERSION`].
    pub version: u32,
    /// The build file, as it was named.
    pub file: String,
    /// The repository, where there is one.
    pub image: Option<String>,
    /// The tags, in order.
    pub tags: Vec<String>,
    /// Where the image is, by digest.
    pub references: Vec<String>,
    /// The index over what was made here.
    pub index: Descriptor,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// All platforms of the image in the index's order, also those that were not made here.
    pub platforms: Vec<TargetPlatform>,
    /// What was made here, in the index's order.
    pub manifests: Vec<ManifestResult>,
    /// What it was made from.
    pub inputs: Inputs,
    /// The version of mab that made it; empty in documents of those that did not say.
    #[serde(default)]
    pub mab: String,
    /// What compiled it; of a build of several images, all of theirs.
    #[serde(default)]
    pub compilers: Vec<CompilerResult>,
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestResult {
    /// The platform.
    pub platform: TargetPlatform,
    /// The manifest, as the index has it.
    pub descriptor: Descriptor,
    /// The config.
    pub config: Descriptor,
    /// All layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// What it stands on; nothing for `scratch`.
    pub base: Option<BaseResult>,
    /// The commands that were run on it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepResult>,
    /// What came of its trial runs, in the order of the build file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smoke: Vec<SmokeResult>,
}

/// A command that was run on a platform's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it could reach nothing that changes from day to day: no network.
    pub reproducible: bool,
}

/// A trial run of a platform's image. Where one has failed there is no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmokeResult {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: SmokeOutcome,
}

/// What came of a trial run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum SmokeOutcome {
    /// The program did what the build file says.
    Passed,
    /// It was not started.
    Skipped {
        /// Why not.
        reason: String,
    },
}

/// The base of a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaseResult {
    /// Its name; nothing for a layout, whose path is one machine's own.
    pub name: Option<String>,
    /// What the name resolved to.
    pub digest: Digest,
    /// The platform's own manifest.
    pub manifest: Digest,
}

/// What an image was made from, beside sources and compilers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// Over everything below, and the values of `${env.…}`, `${cargo.…}` and `${go.…}`.
    pub digest: Digest,
    /// Over what the build file and `--set` say, whatever their comments and order.
    pub build_file: Digest,
    /// Over the lock, where there is one.
    pub lock: Option<Digest>,
    /// What layers and documents depend on beside their content.
    pub format: u32,
    /// The image's date.
    pub created: String,
    /// The commit that was checked out, where the build file is in a repository.
    pub git: Option<GitInput>,
}

/// What was checked out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitInput {
    /// The commit.
    pub commit: String,
    /// Its tag.
    pub tag: Option<String>,
    /// Tracked files differed from it.
    pub dirty: bool,
}

/// A compiler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompilerResult {
    /// `rust` or `go`.
    pub language: String,
    /// As it says itself.
    pub version: String,
}

impl Inputs {
    /// Those of a build.
    pub fn of(spec: &BuildSpec, facts: &Facts, created: &str) -> Self {
        let git = facts.git.as_ref();
        let mut inputs = Self {
            digest: Digest::of(&[]),
            build_file: Digest::of(spec.canonical.as_bytes()),
            lock: None,
            format: FORMAT,
            created: created.to_owned(),
            git: git.map(|git| GitInput { commit: git.commit.clone(), tag: git.tag.clone(), dirty: git.dirty }),
        };
        inputs.digest = inputs.seal(spec, facts);
        inputs
    }

    /// The same with a lock.
    #[must_use]
    pub fn locked(mut self, lock: Digest, spec: &BuildSpec, facts: &Facts) -> Self {
        self.lock = Some(lock);
        self.digest = self.seal(spec, facts);
        self
    }

    /// Values of the environment stand in it as a digest alone, and those that no text of the build file has
    /// not at all: a command's secrets could be guessed from one.
    fn seal(&self, spec: &BuildSpec, facts: &Facts) -> Digest {
        let Self { build_file, lock, format, created, .. } = self;
        let Facts { git, env, cargo, go } = facts;
        let in_texts = |name: &String| spec.variables.contains(&Variable::Env(name.clone()));
        let env: BTreeMap<_, _> = env.iter().filter(|(name, _)| in_texts(name)).collect();
        // Where a repository comes from may differ from machine to machine, and is in no text.
        let git = git.as_ref().map(|git| (&git.commit, &git.tag, &git.describe, &git.branch, &git.date, git.dirty));
        Digest::of(
            format!("1\0{build_file}\0{lock:?}\0{format}\0{created}\0{git:?}\0{env:?}\0{cargo:?}\0{go:?}").as_bytes(),
        )
    }
}

/// The bytes of an index over `manifests`, which are in their order.
pub(crate) fn index_bytes(
    manifests: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Result<Bytes, serde_json::Error> {
    oci_layout::json::to_bytes(&ImageIndex::new(manifests, annotations)).map(Bytes::from)
}

/// What `--metadata-file` holds of one image: buildx's keys, and the document under `mab`.
pub fn metadata(result: &ImageResult) -> serde_json::Value {
    let mut metadata = serde_json::json!({
        "containerimage.descriptor": result.index,
        "containerimage.digest": result.index.digest,
        "mab": result,
    });
    if let [only] = result.manifests.as_slice() {
        metadata["containerimage.config.digest"] = serde_json::json!(only.config.digest);
    }
    if let Some(image) = &result.image {
        let names: Vec<String> = result.tags.iter().map(|tag| format!("{image}:{tag}")).collect();
        metadata["image.name"] = serde_json::json!(names.join(","));
    }
    metadata
}

/// What `--metadata-file` holds of a build: of one image its own keys, of several a map by image,
/// as `docker buildx bake` has it. An image without a name, or with that of another, goes by its
/// build file.
pub fn metadata_file(results: &[ImageResult]) -> serde_json::Value {
    if let [only] = results {
        return metadata(only);
    }
    let name = |result: &ImageResult| {
        let of = |other: &ImageResult| other.image == result.image;
        let unique = results.iter().filter(|other| of(other)).count() == 1;
        result.image.clone().filter(|_| unique).unwrap_or_else(|| result.file.clone())
    };
    results.iter().map(|result| (name(result), metadata(result))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::{Overrides, parse};

    #[test]
    fn a_secret_of_a_command_is_in_no_digest() {
        let text = "version: 1\nenv: [TOKEN, B]\nlabels: {b: '${env.B}'}\n\
            run: [{command: x, mounts: [{secret-env: TOKEN, to: /run/token}]}]\n";
        let spec = parse(Path::new("f"), text, &Overrides::default()).unwrap();
        let digest = |token: &str, b: &str| {
            let env = [("TOKEN", token), ("B", b)].map(|(name, value)| (name.to_owned(), value.to_owned()));
            let facts = Facts { env: env.into(), ..Facts::default() };
            let inputs = Inputs::of(&spec, &facts, "");
            [inputs.digest, inputs.locked(Digest::of(b""), &spec, &facts).digest]
        };
        assert_eq!(digest("one", "b"), digest("two", "b"));
        assert_ne!(digest("one", "b")[0], digest("one", "c")[0]);
        assert_ne!(digest("one", "b")[1], digest("one", "c")[1]);
    }
}
