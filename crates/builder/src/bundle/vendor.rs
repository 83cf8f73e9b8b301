//! Making a bundle: what the build files need from outside, put into one file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use oci_layout::layer::Pool;
use oci_layout::{Digest, Layout, Selector};
use registry_client::{Client, Reference};
use tokio::task::spawn_blocking;

use super::crates::Packing;
use super::images::{Manifests, Wanted};
use super::write::{Origins, WriteError};
use super::{Bundles, Contents, crates, images, locked_crates, modules, write};
use crate::base::{BaseError, Source};
use crate::error::BuildError;
use crate::event::{Event, Reporter};
use crate::lock::book::{Book, Wants};
use crate::process::{Children, Environment};
use crate::spec::BuildSpec;
use crate::spec::model::BinarySource;
use crate::target::TargetPlatform;

/// What goes into a bundle.
pub struct VendorRequest {
    /// The build files; their locks name the bases.
    pub specs: Vec<BuildSpec>,
    /// Other images.
    pub images: Vec<ExtraImage>,
    /// The platforms of those; all that they have where none is named.
    pub platforms: Vec<TargetPlatform>,
    /// Earlier bundles, whose contents need not be here again.
    pub since: Vec<PathBuf>,
    /// Where it goes.
    pub output: Output,
    /// The user's environment.
    pub env: Environment,
    /// A directory for what is under way.
    pub scratch: PathBuf,
    /// Threads that compress.
    pub jobs: usize,
}

/// A bundle's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// One file.
    Tar(PathBuf),
    /// A directory.
    Directory(PathBuf),
}

/// An image beside the bases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtraImage {
    /// Of a registry.
    Registry(Reference),
    /// Of a layout: `oci:DIR[:TAG|@DIGEST]`.
    Layout {
        /// The layout.
        directory: PathBuf,
        /// Its name or digest; none where it is the only one.
        select: Option<String>,
    },
}

impl std::str::FromStr for ExtraImage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("oci:") else {
            return text.parse().map(Self::Registry).map_err(|error| format!("{error}"));
        };
        let (directory, select) = match (rest.rsplit_once('@'), rest.rsplit_once(':')) {
            (Some((directory, digest)), _) => (directory, Some(digest)),
            (None, Some((directory, tag))) if !tag.contains('/') => (directory, Some(tag)),
            _ => (rest, None),
        };
        if directory.is_empty() || select == Some("") {
            return Err("write oci:DIR, oci:DIR:TAG or oci:DIR@DIGEST".to_owned());
        }
        Ok(Self::Layout { directory: directory.into(), select: select.map(str::to_owned) })
    }
}

/// A bundle that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Vendored {
    /// Its digest.
    pub digest: Digest,
    /// What is in it.
    pub contents: Contents,
    /// Bytes of its blobs.
    pub size: u64,
}

/// Gathers everything and writes the bundle.
pub async fn vendor(
    request: VendorRequest,
    client: &Client,
    children: Arc<Children>,
    reporter: &dyn Reporter,
) -> Result<Vendored, BuildError> {
    let request = Arc::new(request);
    let book = Book::open(&request.specs, true)?;
    let since = Bundles::open(&request.since)?;
    let say = |message: String| reporter.report(Event::Note { message });
    let layout = Layout::create_or_open(request.scratch.join("staging"))?;
    let staging = (layout.clone(), Arc::new(Source::Layout(layout)));
    let (mut contents, mut origins) = (Contents::new(), Origins::new());
    for wanted in bases(&request, &book, client).into_iter().chain(extras(&request, client).await?) {
        say(format!("image {}", wanted.name));
        let name = wanted.name.clone();
        let taken = images::take(wanted, &staging, &mut contents, &mut origins).await;
        taken.map_err(|error| failed(error, &name))?;
    }
    // Compilers' own tools, on a thread for blocking work.
    let work = {
        let (request, store) = (Arc::clone(&request), staging.0.store().clone());
        spawn_blocking(move || -> Result<Contents, BuildError> {
            let pool = Pool::new(request.jobs)?;
            let (env, scratch) = (&request.env, request.scratch.as_path());
            let packing = Packing { env, children: &children, pool: &pool, store: &store, scratch };
            for (lock, own) in cargo_locks(&request.specs)? {
                crates::take(&lock, &own, &packing, &mut contents)?;
            }
            modules::take(&go_programs(&request.specs), env, &children, scratch, &store, &mut contents)?;
            Ok(contents)
        })
    };
    let mut contents = work.await.map_err(|error| BuildError::Internal(error.to_string()))??;
    let own = contents.crates.iter().map(|own| own.blob.digest);
    let own = own.chain(contents.modules.iter().flat_map(|own| own.files.values().map(|file| file.digest)));
    origins.extend(own.map(|digest| (digest, Arc::clone(&staging.1))));
    for bundle in since.iter() {
        contents.since.push(bundle.digest);
    }
    let earlier: BTreeSet<Digest> = contents.all_blobs().into_keys().filter(|it| since.find(it).is_some()).collect();
    contents.earlier = earlier;
    contents.arrange();
    let written = match &request.output {
        Output::Tar(path) => write::tar(path, &contents, &origins).await,
        Output::Directory(path) => write::directory(path, &contents, &origins).await,
    };
    let digest = written.map_err(|error| failed(error, "of the bundle"))?;
    let size = contents.blobs().values().map(|blob| blob.size).sum();
    Ok(Vendored { digest, contents, size })
}

fn failed(error: WriteError, base: &str) -> BuildError {
    match error {
        WriteError::Bundle(error) | WriteError::Base(BaseError::Bundle(error)) => error.into(),
        WriteError::Base(source) => BuildError::Base { base: base.to_owned(), source },
    }
}

/// The bases that the locks name, for the platforms of the build files. `static` is in mab.
fn bases(request: &VendorRequest, book: &Book, client: &Client) -> Vec<Wanted> {
    let mut wanted: BTreeMap<(String, Digest), Wanted> = BTreeMap::new();
    for (directory, wants) in Wants::by_directory(&request.specs) {
        for (name, platforms) in wants.bases {
            let Some(locked) = book.base(&directory, name.reference()) else { continue };
            let repository = name.reference().repository.clone();
            let own = platforms.iter().filter_map(|at| Some((*at, locked.platforms.get(at)?.manifest.descriptor())));
            let entry = wanted.entry((name.to_string(), locked.root.digest)).or_insert_with(|| Wanted {
                name: name.to_string(),
                source: Arc::new(Source::Registry { client: client.clone(), repository }),
                root: locked.root.descriptor(),
                manifests: Manifests::Known(BTreeMap::new()),
                extra: false,
            });
            if let Manifests::Known(known) = &mut entry.manifests {
                known.extend(own);
            }
        }
    }
    wanted.into_values().collect()
}

async fn extras(request: &VendorRequest, client: &Client) -> Result<Vec<Wanted>, BuildError> {
    let mut wanted = Vec::new();
    for image in &request.images {
        let manifests = Manifests::Of(request.platforms.clone());
        wanted.push(match image {
            ExtraImage::Registry(reference) => {
                let fetched = client.manifest(&reference.repository, &reference.target()).await?;
                let repository = reference.repository.clone();
                let source = Arc::new(Source::Registry { client: client.clone(), repository });
                Wanted { name: reference.to_string(), source, root: fetched.descriptor, manifests, extra: true }
            }
            ExtraImage::Layout { directory, select } => {
                let layout = Layout::open(directory.clone())?;
                let selector = match select.as_deref() {
                    None => Selector::Only,
                    Some(text) => text.parse().map_or(Selector::Name(text), Selector::Digest),
                };
                let root = layout.resolve(selector)?;
                let short = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let name = select.as_ref().map_or_else(|| short.clone(), |select| format!("{short}:{select}"));
                Wanted { name, source: Arc::new(Source::Layout(layout)), root, manifests, extra: true }
            }
        });
    }
    Ok(wanted)
}

/// The lock files of the Rust programs, each once, with what they name from outside.
fn cargo_locks(specs: &[BuildSpec]) -> Result<BTreeMap<PathBuf, Vec<super::LockedCrate>>, BuildError> {
    let mut locks = BTreeMap::new();
    for directory in rust_directories(specs) {
        if let Some((path, crates)) = locked_crates(&directory)?
            && !crates.is_empty()
        {
            locks.insert(path, crates);
        }
    }
    Ok(locks)
}

/// The directories of the Rust programs, absolute.
pub(crate) fn rust_directories(specs: &[BuildSpec]) -> BTreeSet<PathBuf> {
    let each = programs(specs).filter_map(|(context, _, source)| match source {
        BinarySource::Rust(rust) => Some(crate::image::source_directory(&context, &rust.path.value)),
        _ => None,
    });
    each.collect()
}

pub(crate) fn go_programs(specs: &[BuildSpec]) -> BTreeSet<modules::Wanted> {
    let each = programs(specs).filter_map(|(context, platform, source)| match source {
        BinarySource::Go(go) => {
            let directory = crate::image::source_directory(&context, &go.path.value);
            Some(modules::Wanted { directory, tags: go.tags.clone(), platform })
        }
        _ => None,
    });
    each.collect()
}

fn programs(specs: &[BuildSpec]) -> impl Iterator<Item = (PathBuf, TargetPlatform, &BinarySource)> {
    specs.iter().flat_map(|spec| {
        let context = std::path::absolute(crate::image_context(spec)).unwrap_or_default();
        spec.platforms.iter().flat_map(move |platform| {
            let context = context.clone();
            let binaries = &spec.of(platform.value).binaries;
            binaries.iter().map(move |binary| (context.clone(), platform.value, &binary.value.source))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_images_are_of_registries_or_layouts() {
        let layout = |directory: &str, select: Option<&str>| {
            Ok(ExtraImage::Layout { directory: directory.into(), select: select.map(str::to_owned) })
        };
        assert_eq!("oci:a/b:v1".parse(), layout("a/b", Some("v1")));
        assert_eq!("oci:a".parse(), layout("a", None));
        assert_eq!("oci:/x:5/a".parse(), layout("/x:5/a", None));
        assert!(matches!("debian:12".parse(), Ok(ExtraImage::Registry(_))));
        assert!("oci:".parse::<ExtraImage>().is_err() && "UPPER/x".parse::<ExtraImage>().is_err());
    }
}
