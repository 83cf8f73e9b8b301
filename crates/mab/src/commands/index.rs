//! `mab index`: images that are there already, joined into an index, and such an index changed.

use std::sync::Arc;

use builder::event::Reporter;
use builder::index::{Change, Input, Pick, annotate, join, remove};
use builder::transfer::{
    Arrived, CopyRequest, Location, Sink, Source, TransferError, Tree, copy, deliver, push, read_root,
};
use oci_layout::document::{Document, ImageIndex};
use registry_client::Client;

use super::transfer::run as transfer;
use crate::cli::{Annotate, Create, Index, IndexCommand, InspectIndex, PushIndex, Remove};
use crate::text;

pub(crate) fn run(arguments: &Index) -> u8 {
    match &arguments.command {
        IndexCommand::Create(arguments) => transfer(&arguments.talk, None, async |client, reporter, arrived| {
            arrived.push(create(arguments, &client, &reporter).await?);
            Ok(())
        }),
        IndexCommand::Annotate(arguments) => transfer(&arguments.talk, None, async |client, reporter, arrived| {
            let Annotate { platform, digest, annotations, set_platform, .. } = arguments.as_ref();
            let platform = platform.clone().map(Pick::Platform);
            let pick = platform.or_else(|| digest.map(Pick::Digest));
            let value = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
            let change = Change {
                annotations: annotations.iter().map(|(key, text)| (key.clone(), value(text))).collect(),
                platform: set_platform.clone(),
            };
            let annotated = in_place(&arguments.index, &client, &reporter, async |tree, shown| {
                annotate(tree, shown, pick.as_ref(), &change).await
            });
            arrived.push(annotated.await?);
            Ok(())
        }),
        IndexCommand::Rm(arguments) => transfer(&arguments.talk, None, async |client, reporter, arrived| {
            let Remove { platforms, digests, .. } = arguments;
            let platforms = platforms.iter().cloned().map(Pick::Platform);
            let picks: Vec<Pick> = platforms.chain(digests.iter().copied().map(Pick::Digest)).collect();
            let removed =
                in_place(&arguments.index, &client, &reporter, async |tree, shown| remove(tree, shown, &picks));
            arrived.push(removed.await?);
            Ok(())
        }),
        IndexCommand::Inspect(arguments) => {
            transfer(&arguments.talk, None, async |client, _, _| inspect(arguments, &client).await)
        }
        IndexCommand::Push(arguments) => transfer(&arguments.talk, None, async |client, reporter, arrived| {
            push_index(arguments, &client, &reporter, arrived).await
        }),
    }
}

async fn create(arguments: &Create, client: &Client, reporter: &Arc<dyn Reporter>) -> Result<Arrived, TransferError> {
    let mut inputs = Vec::new();
    for from in &arguments.from {
        let source = Arc::new(Source::open(from, client).await?);
        inputs.push(Input { shown: from.to_string(), tree: Tree::read(&source, from).await? });
    }
    let tree = join(&inputs, arguments.annotations.iter().cloned().collect()).await?;
    let sink = Sink::open(&arguments.to, &arguments.to, client)?;
    let from = inputs.iter().map(|input| input.shown.as_str()).collect::<Vec<_>>().join(" ");
    deliver(&tree, false, &sink, (from, format!("index {}", arguments.to)), reporter).await
}

/// Reads an index, changes it, and puts the result in its place.
async fn in_place(
    index: &Location,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
    change: impl AsyncFnOnce(Tree, &str) -> Result<Tree, TransferError>,
) -> Result<Arrived, TransferError> {
    let shown = index.to_string();
    let source = Arc::new(Source::open(index, client).await?);
    let tree = Tree::read(&source, index).await?;
    let digest = tree.root.digest();
    let tree = change(tree, &shown).await?;
    let sink = Sink::replacing(index, digest, client)?;
    let what = format!("index {shown}");
    deliver(&tree, false, &sink, (shown, what), reporter).await
}

async fn push_index(
    arguments: &PushIndex,
    client: &Client,
    reporter: &Arc<dyn Reporter>,
    arrived: &mut Vec<Arrived>,
) -> Result<(), TransferError> {
    let source = Arc::new(Source::open(&arguments.from, client).await?);
    index_of(&read_root(&source, &arguments.from).await?.document).ok_or_else(|| no_index(&arguments.from))?;
    if !matches!(arguments.from, Location::Registry(_)) {
        return push(&arguments.from, &arguments.targets, true, client, reporter, arrived).await;
    }
    for target in &arguments.targets {
        let (from, to) = (arguments.from.clone(), Location::Registry(target.clone()));
        let request = CopyRequest { from, to, platforms: Vec::new(), referrers: true };
        arrived.push(copy(&request, client, reporter).await?);
    }
    Ok(())
}

fn index_of(document: &Document) -> Option<&ImageIndex> {
    match document {
        Document::Index(index) => Some(index),
        Document::Manifest(_) => None,
    }
}

fn no_index(location: &Location) -> TransferError {
    TransferError::NotIndex { image: location.to_string() }
}

async fn inspect(arguments: &InspectIndex, client: &Client) -> Result<(), TransferError> {
    let source = Arc::new(Source::open(&arguments.index, client).await?);
    let root = read_root(&source, &arguments.index).await?;
    let index = index_of(&root.document).ok_or_else(|| no_index(&arguments.index))?;
    if arguments.raw {
        text::result_bytes(&root.bytes);
        return Ok(());
    }
    let descriptor = &root.descriptor;
    let mut rows = vec![["PLATFORM", "SIZE", "DIGEST", "TYPE"].map(str::to_owned)];
    for entry in &index.manifests {
        let platform = entry.platform.as_ref().map_or_else(
            || "none".to_owned(),
            |platform| {
                let version = platform.os_version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                format!("{platform}{version}")
            },
        );
        let size = text::size(entry.size);
        rows.push([platform, size, entry.digest.to_string(), entry.media_type.to_string()]);
    }
    let mut lines = vec![format!("{} {} {}", arguments.index, descriptor.digest, descriptor.media_type)];
    lines.extend(index.annotations.iter().map(|(key, value)| text::tame(&format!("  {key}={value}"))));
    lines.push(String::new());
    lines.extend(text::columns(&rows));
    for line in lines {
        if !text::result_line(&line) {
            break;
        }
    }
    Ok(())
}
