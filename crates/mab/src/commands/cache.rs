//! `mab cache`: where it is, how much is in it, and less of it.

use std::collections::BTreeMap;
use std::path::Path;

use oci_layout::Cache as Directory;
use serde_json::json;

use super::session::Session;
use crate::cli::{Cache, CacheCommand};
use crate::{environment, exit, text};

pub(crate) fn run(arguments: &Cache) -> u8 {
    let session = Session::new();
    let Some(root) = environment::cache_directory(&session.env) else {
        text::error_line("error: there is no cache directory\n\nhint: set HOME, XDG_CACHE_HOME or MAB_CACHE_DIR");
        return exit::OTHER;
    };
    if matches!(arguments.command, CacheCommand::Dir) {
        text::result_line(&root.display().to_string());
        return exit::SUCCESS;
    }
    let mut cache = match Directory::open(&root) {
        Ok(cache) => cache,
        Err(error) => return session.fail(&error, &[], exit::OUTPUT),
    };
    let lines = match &arguments.command {
        CacheCommand::Dir => Ok(vec![root.display().to_string()]),
        CacheCommand::Size { json } => cache.summary().map(|sums| size(&root, sums, *json)),
        CacheCommand::Prune { keep } => match cache.prune(*keep) {
            Ok(pruned) if pruned.busy => {
                let hint = "try again when it has ended";
                text::error_line(&format!("error: a build uses the cache, so nothing was removed\n\nhint: {hint}"));
                return exit::OTHER;
            }
            outcome => outcome.map(|pruned| {
                let (bytes, left) = (text::size(pruned.bytes), text::size(pruned.left));
                vec![format!("{} files removed, {bytes}; {left} left", pruned.files)]
            }),
        },
    };
    match lines {
        Ok(lines) => {
            for line in lines {
                if !text::result_line(&line) {
                    break;
                }
            }
            exit::SUCCESS
        }
        Err(error) => session.fail(&error, &[], exit::OUTPUT),
    }
}

fn size(root: &Path, sums: BTreeMap<String, (u64, u64)>, as_json: bool) -> Vec<String> {
    let total: u64 = sums.values().map(|(_, bytes)| bytes).sum();
    if as_json {
        let kind = |(kind, (files, bytes))| (kind, json!({ "files": files, "bytes": bytes }));
        let kinds: serde_json::Map<_, _> = sums.into_iter().map(kind).collect();
        let report = json!({ "directory": root.display().to_string(), "bytes": total, "kinds": kinds });
        return vec![serde_json::to_string_pretty(&report).unwrap_or_default()];
    }
    let mut rows = vec![["KIND", "FILES", "SIZE"].map(str::to_owned)];
    rows.extend(sums.into_iter().map(|(kind, (files, bytes))| [kind, files.to_string(), text::size(bytes)]));
    rows.push(["total".to_owned(), String::new(), text::size(total)]);
    text::columns(&rows)
}
