//! What the outcome of a command depends on, as one digest.

use std::io;

use oci_layout::Digest;
use oci_layout::digest::{Algorithm, Hasher};
use oci_layout::layer::{Content, EntryKind};
use serde::Serialize;

use super::*;
use crate::spec::model::{FileSource, FileSpec, MountKind, Owner};

/// Counts up when commands of the same words come to have another outcome.
const FORMAT: u32 = 1;

/// What an outcome depends on.
#[derive(Serialize)]
struct Key<'a> {
    format: u32,
    platform: String,
    /// Diff IDs, lowest first.
    below: &'a [Digest],
    container: &'a Container,
    network: Network,
    mounts: Vec<(String, &'static str, Option<Digest>)>,
    compression: String,
}

impl Stack<'_> {
    pub(super) fn key(&self, run: &Placed<RunSpec>, container: &Container) -> Result<Digest, BuildError> {
        let base = self.assembly.bases.of(&self.assembly.spec, self.platform);
        let own = base.and_then(|base| base.platforms.get(&self.platform));
        let mut below = own.map(|own| own.config.rootfs.diff_ids.clone()).unwrap_or_default();
        below.extend(self.layers.iter().map(|(layer, _)| layer.written.diff_id));
        let mut mounts = Vec::new();
        for mount in &run.value.mounts {
            let fault = |problem: Box<Diagnostic>| at_fault(self.spec(), vec![*problem]);
            let to = render_destination(&mount.value.to, &self.values).map_err(fault)?.path.to_string();
            let (kind, digest) = match &mount.value.kind {
                MountKind::Cache(_) => ("cache", None),
                MountKind::Bind(source) => ("bind", Some(self.digest(source)?)),
                MountKind::Tmpfs => ("tmpfs", None),
                // Who has another password wants the same image.
                MountKind::Secret(_) | MountKind::SecretEnv(_) => ("secret", None),
            };
            mounts.push((to, kind, digest));
        }
        let key = Key {
            format: FORMAT,
            platform: self.platform.to_string(),
            below: &below,
            container,
            network: run.value.network,
            mounts,
            compression: format!("{:?} {}", self.spec().layers.compression, crate::image::FORMAT),
        };
        let key = serde_json::to_vec(&key).map_err(|error| BuildError::Internal(error.to_string()))?;
        Ok(Digest::of(&key))
    }

    /// Over what a source holds.
    fn digest(&self, source: &Placed<Template>) -> Result<Digest, BuildError> {
        let spec = FileSpec {
            from: FileSource::Path(source.clone()),
            to: Placed::implied(Template::literal("/")),
            mode: None,
            directory_mode: None,
            owner: Placed::implied(Owner::default()),
            exclude: Vec::new(),
            capabilities: Default::default(),
            replace: false,
        };
        let source = self.sources.find(&spec, &self.values);
        let source = source.map_err(|problem| at_fault(self.spec(), vec![*problem]))?;
        let mut text = String::new();
        for item in source.to_copy() {
            let what = match item.kind {
                EntryKind::File(Content::File { path, .. }) => {
                    let mut hasher = Hasher::new(Algorithm::Sha256);
                    let mut file = fs_err::File::open(&*path)?;
                    let mut bytes = vec![0; 64 << 10];
                    loop {
                        match io::Read::read(&mut file, &mut bytes)? {
                            0 => break hasher.finish().to_string(),
                            count => hasher.update(bytes.get(..count).unwrap_or_default()),
                        }
                    }
                }
                EntryKind::Symlink { target } => target,
                _ => String::new(),
            };
            text.push_str(&format!("{:?} {} {:?}\n", item.below, item.executable, what));
        }
        Ok(Digest::of(text.as_bytes()))
    }
}
