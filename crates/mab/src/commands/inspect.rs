//! `mab inspect`: what an image holds for each platform.

use std::path::Path;

use futures_util::StreamExt as _;
use oci_layout::document::{Document, ImageConfig, ImageManifest};
use oci_layout::{Descriptor, Layout, Selector};
use registry_client::{Client, Reference};
use serde::Serialize;

use crate::cli::{Inspect, Registries};
use crate::diagnostics::Look;
use crate::{environment, errors, exit, text};

/// What is shown of an image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    image: String,
    digest: String,
    media_type: String,
    platforms: Vec<Row>,
}

/// One platform.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    platform: String,
    /// Bytes of manifest, config and layers, as they are stored.
    size: u64,
    digest: String,
    layers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_digest: Option<String>,
}

/// What went wrong, with its exit code.
struct Failure(String, u8);

pub(crate) fn run(arguments: &Inspect) -> u8 {
    let look = Look { width: environment::width(), colour: environment::colour() };
    if let Some(path) = arguments.image.strip_prefix("bundle:") {
        return super::inspect_bundle::run(Path::new(path), arguments.json, look);
    }
    let shown = match arguments.image.strip_prefix("oci:") {
        Some(location) => layout(location, look),
        None => registry(&arguments.image, &arguments.registries, look),
    };
    match shown {
        Ok(shown) if arguments.json => {
            text::result_line(&serde_json::to_string_pretty(&shown).unwrap_or_default());
            exit::SUCCESS
        }
        Ok(shown) => {
            for line in table(&shown) {
                if !text::result_line(&line) {
                    break;
                }
            }
            exit::SUCCESS
        }
        Err(Failure(message, code)) => {
            text::error_line(&message);
            code
        }
    }
}

fn layout(location: &str, look: Look) -> Result<Shown, Failure> {
    let fail = |error: oci_layout::LayoutError| {
        let hints = match error {
            oci_layout::LayoutError::NotLayout { .. } => vec!["`mab build` writes one".to_owned()],
            _ => Vec::new(),
        };
        Failure(errors::draw(&error, &hints, look), exit::OUTPUT)
    };
    let (directory, selector) = split(location);
    let layout = Layout::open(directory).map_err(fail)?;
    let selector = match &selector {
        None => Selector::Only,
        Some(Select::Tag(tag)) => Selector::Name(tag),
        Some(Select::Digest(digest)) => Selector::Digest(*digest),
    };
    let root = layout.resolve(selector).map_err(fail)?;
    let (_, document) = layout.document(&root).map_err(fail)?;
    let read = |descriptor: &Descriptor| match layout.document(descriptor).map_err(fail)?.1 {
        Document::Manifest(manifest) => Ok(Some(manifest)),
        Document::Index(_) => Ok(None),
    };
    let mut rows = Vec::new();
    match document {
        Document::Index(index) => {
            for entry in &index.manifests {
                if let Some(manifest) = read(entry)? {
                    let platform = match &entry.platform {
                        Some(platform) => platform.to_string(),
                        None => config_platform(&layout, &manifest),
                    };
                    rows.push(row(platform, entry, &manifest));
                }
            }
        }
        Document::Manifest(manifest) => rows.push(row(config_platform(&layout, &manifest), &root, &manifest)),
    }
    Ok(shown(format!("oci:{location}"), &root, rows))
}

fn config_platform(layout: &Layout, manifest: &ImageManifest) -> String {
    let config = layout.store().read(&manifest.config, 4 << 20).ok();
    let config = config.and_then(|bytes| oci_layout::json::parse::<ImageConfig>(&bytes).ok());
    config.map_or_else(|| "unknown".to_owned(), |config| config.platform().to_string())
}

enum Select {
    Tag(String),
    Digest(oci_layout::Digest),
}

/// Directory, and what is picked of it. A directory of that very name goes before a tag.
fn split(location: &str) -> (&Path, Option<Select>) {
    if let Some((directory, digest)) = location.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return (Path::new(directory), Some(Select::Digest(digest)));
    }
    match location.rsplit_once(':') {
        Some((directory, tag)) if !tag.contains('/') && !Path::new(location).exists() => {
            (Path::new(directory), Some(Select::Tag(tag.to_owned())))
        }
        _ => (Path::new(location), None),
    }
}

fn registry(image: &str, registries: &Registries, look: Look) -> Result<Shown, Failure> {
    let reference: Reference =
        image.parse().map_err(|error| Failure(errors::draw_not_a_reference(image, &error, look), exit::USAGE))?;
    let fail = |error: registry_client::Error| {
        let code = exit::of_registry(&error);
        Failure(errors::draw_registry(error, look), code)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure(errors::draw(&error, &[], look), exit::OTHER))?;
    let (mut settings, warnings) = environment::registries(&environment::of_process()).map_err(fail)?;
    for message in warnings {
        text::error_line(&format!("warning: {message}"));
    }
    settings.auth_realm = registries.auth_realm.clone();
    let client = Client::new(settings).map_err(fail)?;
    let nodes = runtime.block_on(client.read_tree(&reference.repository, &reference.target())).map_err(fail)?;
    let Some(root) = nodes.last() else { return Err(Failure("error: there is nothing".to_owned(), exit::REGISTRY)) };
    let mut rows = Vec::new();
    for node in &nodes {
        let Document::Manifest(manifest) = &node.document else { continue };
        let platform = match &node.descriptor.platform {
            Some(platform) => platform.to_string(),
            None => {
                let config = runtime.block_on(config(&client, &reference, manifest)).map_err(fail)?;
                config.map_or_else(|| "unknown".to_owned(), |config| config.platform().to_string())
            }
        };
        rows.push(row(platform, &node.descriptor, manifest));
    }
    Ok(shown(reference.to_string(), &root.descriptor, rows))
}

async fn config(
    client: &Client,
    reference: &Reference,
    manifest: &ImageManifest,
) -> Result<Option<ImageConfig>, registry_client::Error> {
    use registry_client::{RemoteSource, UploadSource as _};
    if !manifest.config.media_type.is_image_config() || manifest.config.size > 4 << 20 {
        return Ok(None);
    }
    let source = RemoteSource::new(client.clone(), reference.repository.clone(), manifest.config.clone());
    let mut stream = source.open(0).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(oci_layout::json::parse(&bytes).ok())
}

fn shown(image: String, root: &Descriptor, platforms: Vec<Row>) -> Shown {
    Shown { image, digest: root.digest.to_string(), media_type: root.media_type.to_string(), platforms }
}

fn row(platform: String, descriptor: &Descriptor, manifest: &ImageManifest) -> Row {
    let annotation = |name: &str| manifest.annotations.get(&format!("org.opencontainers.image.{name}")).cloned();
    let layers: u64 = manifest.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
    Row {
        platform,
        size: layers.saturating_add(manifest.config.size).saturating_add(descriptor.size),
        digest: descriptor.digest.to_string(),
        layers: manifest.layers.len(),
        base_name: annotation("base.name"),
        base_digest: annotation("base.digest"),
    }
}

fn table(shown: &Shown) -> Vec<String> {
    let base = |row: &Row| {
        let digest = row.base_digest.as_deref().map(|digest| digest.chars().take(19).collect::<String>());
        match (&row.base_name, digest) {
            (Some(name), Some(digest)) => format!("{name}@{digest}"),
            (None, Some(digest)) => digest,
            _ => "none".to_owned(),
        }
    };
    let mut cells = vec![["PLATFORM", "SIZE", "LAYERS", "DIGEST", "BASE"].map(str::to_owned)];
    for row in &shown.platforms {
        let (size, layers) = (text::size(row.size), row.layers.to_string());
        cells.push([row.platform.clone(), size, layers, row.digest.clone(), base(row)]);
    }
    let mut lines = vec![format!("{} {}", text::tame(&shown.image), shown.digest), String::new()];
    lines.extend(text::columns(&cells));
    lines
}
