//! Config and manifest of one platform's image.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use oci_layout::document::{ContainerConfig, History, ImageConfig, ImageManifest};
use oci_layout::layer::Tree;
use oci_layout::layer::facts::NodeKind;
use oci_layout::media_type::{OCI_CONFIG, OCI_MANIFEST};
use oci_layout::{Descriptor, Digest, ImagePath, json};

use super::content::{ContentError, Layers};
use super::layers::NewLayer;
use crate::base::PlatformBase;
use crate::result::StepResult;
use crate::spec::accounts::Accounts;
use crate::spec::annotation::manifest_annotations;
use crate::spec::container::{Surroundings, container_config};
use crate::spec::model::{BuildSpec, Id, Owner};
use crate::spec::{Diagnostic, Placed, Variables, render_file};
use crate::target::TargetPlatform;

/// Annotation that says how many of an image's layers are its base's.
pub const BASE_LAYERS: &str = "mab.base.layers";

/// One platform's image, but for its layers' bytes.
pub(crate) struct Finished {
    /// The platform.
    pub platform: TargetPlatform,
    /// Of the config.
    pub config: Descriptor,
    /// The config.
    pub config_bytes: Bytes,
    /// Of the manifest, as the index has it.
    pub manifest: Descriptor,
    /// The manifest.
    pub manifest_bytes: Bytes,
    /// The base's layers.
    pub base_layers: Vec<Descriptor>,
    /// The new layers.
    pub new_layers: Vec<Arc<NewLayer>>,
    /// The commands that were run on it.
    pub steps: Vec<StepResult>,
}

/// What finishing needs beside the layers.
pub(crate) struct Around<'a> {
    /// The platform.
    pub platform: TargetPlatform,
    /// What it stands on; none for `scratch`.
    pub base: Option<&'a PlatformBase>,
    /// As annotations name the base.
    pub base_name: Option<&'a str>,
    /// What is known by itself.
    pub inferred: &'a BTreeMap<String, String>,
    /// RFC 3339 date.
    pub created: &'a str,
    /// The build file or its caller says the date, so it is worth telling.
    pub created_said: bool,
}

/// How a container of the image runs. With `any_user`, a user that the image does not have stays
/// as it is named.
pub(crate) fn container(
    spec: &BuildSpec,
    values: &Variables<'_>,
    around: &Around<'_>,
    accounts: &Accounts,
    any_user: bool,
) -> Result<ContainerConfig, ContentError> {
    let nothing = ContainerConfig::default();
    let base_config = around.base.map_or(&nothing, |base| &base.config.config);
    let inherited = base_config.user.as_deref().filter(|user| !user.is_empty() && spec.inherit.user);
    let user = match (&spec.config.user, inherited) {
        (Some(owner), _) => Some(match accounts.resolve(owner) {
            Err(_) if any_user => owner.value.to_string(),
            resolved => resolved.map_err(|problem| user_hint(*problem))?.to_string(),
        }),
        (None, Some(text)) => Some(match base_user(text, accounts) {
            Err(_) if any_user => text.to_owned(),
            resolved => resolved.map_err(|problem| user_hint(*problem))?,
        }),
        (None, None) => None,
    };
    let first_binary = match spec.binaries.first() {
        Some(binary) => Some(render_file(&binary.value.to, values)?.to_string()),
        None => None,
    };
    let surroundings = Surroundings { base: base_config, user, first_binary, inferred: around.inferred };
    container_config(spec, &surroundings, values).map_err(ContentError::Spec)
}

/// Makes config and manifest, and checks that what is to start is there.
pub(crate) fn finish(
    spec: &BuildSpec,
    values: &Variables<'_>,
    around: &Around<'_>,
    container: ContainerConfig,
    layers: &Layers,
) -> Result<Finished, ContentError> {
    let platform = around.platform.platform();
    let mut config = ImageConfig::new(&platform);
    config.created = Some(around.created.to_owned());
    config.config = container;
    let mut base_layers = Vec::new();
    if let Some(base) = around.base {
        config.os_version.clone_from(&base.config.os_version);
        config.os_features.clone_from(&base.config.os_features);
        config.rootfs.diff_ids.clone_from(&base.config.rootfs.diff_ids);
        config.history.clone_from(&base.config.history);
        base_layers.clone_from(&base.manifest.layers);
    }
    for (layer, created_by) in layers {
        config.rootfs.diff_ids.push(layer.written.diff_id);
        config.history.push(History {
            created: Some(around.created.to_owned()),
            created_by: Some(created_by.clone()),
            ..History::default()
        });
    }
    let config_bytes = document(&config)?;
    let config = Descriptor::of(OCI_CONFIG, &config_bytes);
    let new_layers: Vec<Arc<NewLayer>> = layers.iter().map(|(layer, _)| Arc::clone(layer)).collect();
    let mut stack: Vec<Descriptor> =
        base_layers.iter().map(|layer| Descriptor { media_type: layer.media_type.to_oci(), ..layer.clone() }).collect();
    stack.extend(new_layers.iter().map(|layer| layer.written.descriptor.clone()));

    let added = base_annotations(
        around.base_name,
        around.base.map(|base| base.digest),
        Some(base_layers.len()),
        around.created_said.then_some(around.created),
    );
    let nothing = BTreeMap::new();
    let from_base = around.base.map_or(&nothing, |base| &base.manifest.annotations);
    let annotations =
        manifest_annotations(spec, from_base, around.inferred, &added, values).map_err(ContentError::Spec)?;
    let manifest_bytes = document(&ImageManifest::new(config.clone(), stack, annotations.manifest))?;
    let mut manifest = Descriptor::of(OCI_MANIFEST, &manifest_bytes).with_platform(platform);
    manifest.annotations = annotations.descriptor;
    let platform = around.platform;
    Ok(Finished {
        platform,
        config,
        config_bytes,
        manifest,
        manifest_bytes,
        base_layers,
        new_layers,
        steps: Vec::new(),
    })
}

/// What is said of base and date (image-spec, annotations.md).
pub(crate) fn base_annotations(
    name: Option<&str>,
    digest: Option<Digest>,
    layers: Option<usize>,
    created: Option<&str>,
) -> BTreeMap<String, String> {
    let digest = digest.map(|digest| digest.to_string());
    let layers = layers.filter(|_| digest.is_some()).map(|count| count.to_string());
    [
        ("org.opencontainers.image.base.name", name.filter(|_| digest.is_some()).map(str::to_owned)),
        ("org.opencontainers.image.base.digest", digest.clone()),
        (BASE_LAYERS, layers),
        ("org.opencontainers.image.created", created.map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
}

pub(crate) fn document<T: serde::Serialize>(document: &T) -> Result<Bytes, ContentError> {
    json::to_bytes(document).map(Bytes::from).map_err(|error| {
        ContentError::Spec(vec![Diagnostic::error("document", format!("a document cannot be written: {error}"), None)])
    })
}

fn user_hint(problem: Diagnostic) -> ContentError {
    ContentError::Spec(vec![problem.hint("or let it through with `--allow user`")])
}

/// The base's user in numbers. One that its own passwd does not have could not start anyway.
fn base_user(text: &str, accounts: &Accounts) -> Result<String, Box<Diagnostic>> {
    let mut parts = text.splitn(2, ':').map(|part| match part.parse() {
        Ok(number) => Id::Number(number),
        Err(_) => Id::Name(part.to_owned()),
    });
    let owner = Owner { user: parts.next(), group: parts.next() };
    // A number that nobody has belongs to group 0, as every runtime does it.
    accounts.resolve(&Placed::implied(owner)).map(|numbers| numbers.to_string())
}

/// The entrypoint, where it is a path, is there and can be executed: what can be said before its
/// program is compiled. The gate says the rest.
pub(crate) fn check_entrypoint(
    spec: &BuildSpec,
    container: &ContainerConfig,
    tree: &Tree,
    platform: TargetPlatform,
) -> Result<(), Box<Diagnostic>> {
    let words = container.entrypoint.as_ref().or(container.cmd.as_ref());
    let Some(program) = words.and_then(|words| words.first()).filter(|program| program.starts_with('/')) else {
        return Ok(());
    };
    let place = spec.config.entrypoint.as_ref().and_then(|words| words.first()).and_then(|word| word.place);
    let fail = |why: &str| {
        let message = format!("{program}, which {platform} is to start, {why}");
        Box::new(
            Diagnostic::error("entrypoint", message, place)
                .hint("name a program that the image has")
                .hint("`--allow entrypoint` lets it through"),
        )
    };
    let Ok(path) = program.parse::<ImagePath>() else { return Err(fail("is no path of an image")) };
    let node = tree.resolve(&path, true).ok().and_then(|path| tree.get(&path));
    match node {
        None => Err(fail("is not in the image")),
        Some(node) if !matches!(node.kind, NodeKind::File { .. }) => Err(fail("is not a file")),
        Some(node) if node.mode & 0o111 == 0 => Err(fail("may not be executed by anyone")),
        Some(_) => Ok(()),
    }
}
