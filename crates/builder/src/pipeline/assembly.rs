//! An image on its way: what its build file, its bases and its sources have come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry_client::Tag;

use super::*;
use crate::image::{Around, Context};
use crate::plan::BasePlan;
use crate::result::{BaseResult, CompilerResult, ImageResult, Inputs, ManifestResult};

/// What assembling an image needs.
pub(super) struct Assembly {
    pub(super) spec: Arc<BuildSpec>,
    /// The build file's directory, absolute.
    pub(super) context: Context,
    pub(super) facts: Arc<Facts>,
    pub(super) bases: Arc<Bases>,
    pub(super) inferred: BTreeMap<String, String>,
    pub(super) tags: Vec<Tag>,
    pub(super) created: Date,
    pub(super) maker: Arc<LayerMaker>,
    /// Where the image goes: each platform's blobs as soon as they are there.
    pub(super) sinks: Vec<Sink>,
}

/// Date of an image.
pub(super) struct Date {
    /// In RFC 3339.
    pub(super) text: String,
    /// The build file or SOURCE_DATE_EPOCH says it.
    pub(super) said: bool,
}

impl Assembly {
    /// The platforms whose base is known.
    pub(super) fn known_platforms(&self) -> impl Iterator<Item = TargetPlatform> {
        let platforms = self.spec.platforms.iter().map(|platform| platform.value);
        platforms.filter(|&platform| self.bases.knows(&self.spec, platform))
    }

    /// The layouts that it is written to.
    pub(super) fn layouts(&self) -> impl Iterator<Item = &Layout> {
        self.sinks.iter().filter_map(Sink::layout).map(|sink| sink.layout())
    }

    /// What the index says beside what is inferred: of its base, and its date where it was said.
    pub(super) fn added(&self) -> BTreeMap<String, String> {
        let base = self.bases.of_index(&self.spec);
        crate::image::base_annotations(
            base.and_then(|base| base.name.as_deref()),
            base.map(|base| base.digest),
            None,
            self.created.said.then_some(self.created.text.as_str()),
        )
    }

    /// How programs are linked, by what the base has: every file of it is looked at.
    pub(super) fn linkage(&self, platform: TargetPlatform) -> Linkage {
        let Some(tree) = self.bases.tree(&self.spec, platform) else { return Linkage::Static };
        let mut gnu = false;
        for (path, _) in tree.iter() {
            match path.file_name() {
                Some(name) if name.starts_with("ld-musl-") => return Linkage::Dynamic(Libc::Musl),
                Some(name) if name.starts_with("ld-linux") || name.starts_with("ld64.so.") || name == "ld.so.1" => {
                    gnu = true
                }
                _ => {}
            }
        }
        if gnu { Linkage::Dynamic(Libc::Gnu) } else { Linkage::Static }
    }

    pub(super) fn around(&self, platform: TargetPlatform) -> Around<'_> {
        let base = self.bases.of(&self.spec, platform);
        Around {
            platform,
            base: base.and_then(|base| base.platforms.get(&platform)),
            base_name: base.and_then(|base| base.name.as_deref()),
            inferred: &self.inferred,
            created: &self.created.text,
            created_said: self.created.said,
        }
    }

    /// What is to be told of the finished image.
    pub(super) fn result(
        &self,
        shared: &Shared,
        images: &[Arc<Finished>],
        index: Descriptor,
        annotations: BTreeMap<String, String>,
        references: Vec<String>,
        compilers: Vec<CompilerResult>,
    ) -> ImageResult {
        let spec = &self.spec;
        let inputs = Inputs::of(spec, &self.facts, &self.created.text);
        let inputs = match shared.book.checksum(crate::image_context(spec)) {
            Some(lock) => inputs.locked(lock, spec, &self.facts),
            None => inputs,
        };
        ImageResult {
            version: crate::result::VERSION,
            file: spec.file.display().to_string(),
            image: spec.image.as_ref().map(|image| image.value.to_string()),
            tags: self.tags.iter().map(ToString::to_string).collect(),
            references,
            index,
            platforms: spec.all_platforms.clone(),
            annotations,
            manifests: images.iter().map(|image| self.manifest_result(image)).collect(),
            inputs,
            mab: env!("CARGO_PKG_VERSION").to_owned(),
            compilers,
        }
    }

    pub(super) fn base_plan(&self, platform: TargetPlatform) -> Option<BasePlan> {
        let source = &self.spec.of(platform).base.of(platform).value;
        let base = self.bases.of(&self.spec, platform);
        let own = base.and_then(|base| base.platforms.get(&platform));
        (*source != BaseSource::Scratch).then(|| BasePlan {
            reference: shown(source),
            digest: base.map(|base| base.digest),
            manifest: own.map(|own| own.digest),
            layers: own.map_or(0, |own| own.manifest.layers.len()),
        })
    }

    fn manifest_result(&self, image: &Finished) -> ManifestResult {
        let base = self.bases.of(&self.spec, image.platform);
        let new_layers = image.new_layers.iter().map(|layer| layer.written.descriptor.clone());
        ManifestResult {
            platform: image.platform,
            descriptor: image.manifest.clone(),
            config: image.config.clone(),
            layers: image.base_layers.iter().cloned().chain(new_layers).collect(),
            base: base.and_then(|base| {
                let own = base.platforms.get(&image.platform)?;
                Some(BaseResult { name: base.name.clone(), digest: base.digest, manifest: own.digest })
            }),
            steps: image.steps.clone(),
            smoke: Vec::new(),
        }
    }
}
