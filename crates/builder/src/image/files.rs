//! Files and trees of the context, found and classified without following links out of it.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use oci_layout::layer::{Content, EntryKind};

use crate::spec::model::{FileSource, FileSpec};
use crate::spec::{Diagnostic, Place, Placed, Template, Variables, render_source};

/// Something to copy.
pub(super) struct Found {
    /// Path below the source, with slashes; empty for the source itself.
    pub below: String,
    /// Name of the source itself.
    pub name: Option<String>,
    /// What it is.
    pub kind: EntryKind,
    /// The owner may execute it.
    pub executable: bool,
}

/// Finds what `spec` copies from `context`, sorted by path.
pub(super) fn find(spec: &FileSpec, context: &Path, values: &Variables<'_>) -> Result<Vec<Found>, Box<Diagnostic>> {
    let excluded = patterns(&spec.exclude)?;
    match &spec.from {
        FileSource::CaCertificates(_) => {
            let bytes = crate::base::embedded::certificates().into_bytes();
            let kind = EntryKind::File(Content::Bytes(bytes.into()));
            Ok(vec![Found {
                below: String::new(),
                name: Some("ca-certificates.crt".to_owned()),
                kind,
                executable: false,
            }])
        }
        FileSource::Path(template) => {
            let path = open(context, template, values)?;
            let mut found = Vec::new();
            walk(&path, String::new(), &excluded, template.place, &mut found)?;
            Ok(found)
        }
        FileSource::Pattern(template) => {
            let text = render_source(template, values)?;
            let text = text.to_string_lossy().into_owned();
            let sign = text.find(FileSource::PATTERN).unwrap_or(text.len());
            let top = text[..sign].rfind('/').map_or("", |slash| &text[..slash]);
            let pattern = patterns(&[Placed {
                value: text[top.len()..].trim_start_matches('/').to_owned(),
                place: template.place,
            }])?;
            let directory = inside(context, &context.join(top), template.place)?;
            let mut found = Vec::new();
            walk(&directory, String::new(), &excluded, template.place, &mut found)?;
            found.retain(|item| !matches!(item.kind, EntryKind::Directory) && pattern.is_match(&item.below));
            if found.is_empty() {
                return Err(Box::new(Diagnostic::error("no-match", format!("nothing matches {text}"), template.place)));
            }
            Ok(found)
        }
    }
}

/// The path of a source, which must be there and inside the context whatever links say (row I04).
pub(crate) fn open(
    context: &Path,
    template: &Placed<Template>,
    values: &Variables<'_>,
) -> Result<PathBuf, Box<Diagnostic>> {
    let path = render_source(template, values)?;
    inside(context, &context.join(path), template.place)
}

fn inside(context: &Path, path: &Path, place: Option<Place>) -> Result<PathBuf, Box<Diagnostic>> {
    let missing = |error: std::io::Error| {
        let reason = error.to_string();
        let message = format!("cannot read {}: {reason}", path.display());
        Box::new(Diagnostic::error("source", message, place))
    };
    let real = std::fs::canonicalize(path).map_err(missing)?;
    let top = std::fs::canonicalize(context).map_err(missing)?;
    if real.starts_with(&top) {
        Ok(real)
    } else {
        let message = format!("{} leads out of the build file's directory, to {}", path.display(), real.display());
        Err(Box::new(Diagnostic::error("source-outside", message, place)))
    }
}

fn walk(
    path: &Path,
    below: String,
    excluded: &GlobSet,
    place: Option<Place>,
    found: &mut Vec<Found>,
) -> Result<(), Box<Diagnostic>> {
    let fail = |message: String| Box::new(Diagnostic::error("source", message, place));
    let unreadable = |error: std::io::Error| fail(format!("cannot read {}: {error}", path.display()));
    let metadata = std::fs::symlink_metadata(path).map_err(unreadable)?;
    let kind = metadata.file_type();
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    if !below.is_empty() && excluded.is_match(&below) {
        return Ok(());
    }
    if kind.is_dir() {
        found.push(Found { below: below.clone(), name, kind: EntryKind::Directory, executable: true });
        let mut children = std::fs::read_dir(path)
            .and_then(|list| list.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
            .map_err(unreadable)?;
        children.sort();
        for child in children {
            let Some(name) = child.file_name().and_then(|name| name.to_str()) else {
                return Err(fail(format!("the name of {} is not UTF-8", child.display())));
            };
            let below = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            walk(&child, below, excluded, place, found)?;
        }
        return Ok(());
    }
    let entry = if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(unreadable)?;
        let Some(target) = target.to_str() else {
            return Err(fail(format!("the link {} has a target that is not UTF-8", path.display())));
        };
        EntryKind::Symlink { target: target.to_owned() }
    } else if kind.is_file() {
        EntryKind::File(Content::File { path: path.to_owned(), size: metadata.len() })
    } else {
        return Err(fail(format!("{} is neither file, directory nor link", path.display())));
    };
    let executable = {
        use std::os::unix::fs::PermissionsExt as _;
        metadata.permissions().mode() & 0o100 != 0
    };
    found.push(Found { below, name, kind: entry, executable });
    Ok(())
}

fn patterns(list: &[Placed<String>]) -> Result<GlobSet, Box<Diagnostic>> {
    let mut set = GlobSetBuilder::new();
    for pattern in list {
        let bad = |error: globset::Error| Box::new(Diagnostic::error("glob", error.to_string(), pattern.place));
        // A pattern without a slash means files of that name wherever they are, as in .dockerignore's kin.
        let text = if pattern.value.contains('/') { pattern.value.clone() } else { format!("**/{}", pattern.value) };
        set.add(GlobBuilder::new(&text).literal_separator(true).build().map_err(bad)?);
    }
    set.build().map_err(|error| Box::new(Diagnostic::error("glob", error.to_string(), None)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::spec::{Facts, Overrides, parse};

    /// What `from` finds in `context`: paths below it, or the message.
    fn found(context: &Path, from: &str) -> Result<Vec<String>, String> {
        let text = format!("version: 1\nbase: scratch\nfiles: [{{from: '{from}', to: /x/}}]\n");
        let spec = parse(&context.join("build.yaml"), &text, &Overrides::default()).unwrap();
        let facts = Facts::default();
        let values = Variables { platform: "linux/amd64".parse().ok(), facts: &facts };
        match find(&spec.files[0].value, context, &values) {
            Ok(found) => Ok(found.into_iter().map(|found| found.below).collect()),
            Err(diagnostic) => Err(diagnostic.message.clone()),
        }
    }

    #[track_caller]
    fn fails(context: &Path, from: &str, says: &str) {
        let message = found(context, from).unwrap_err();
        assert!(message.contains(says), "{message}");
    }

    #[test]
    fn i04_no_link_leads_out_of_the_context() {
        let directory = tempfile::tempdir().unwrap();
        let (context, outside) = (directory.path().join("context"), directory.path().join("outside"));
        for path in [&context.join("tree"), &outside] {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
        }
        symlink(&outside, context.join("there")).unwrap();
        symlink("../outside/file", context.join("link")).unwrap();
        symlink(outside.join("file"), context.join("tree/link")).unwrap();
        fails(&context, "there", "leads out of");
        fails(&context, "there/file", "leads out of");
        fails(&context, "there/*", "leads out of");
        fails(&context, "link", "leads out of");
        // A link inside a tree is a link in the image too: it is not followed here.
        assert_eq!(found(&context, "tree").unwrap(), ["", "file", "link"]);
        // One that stays inside may be a source.
        symlink("tree/file", context.join("inside")).unwrap();
        assert_eq!(found(&context, "inside").unwrap(), [""]);
    }

    #[test]
    fn i09_a_name_that_is_not_utf8_fails_and_is_named() {
        let context = tempfile::tempdir().unwrap();
        let name = std::ffi::OsString::from_vec(b"tree/caf\xe9".to_vec());
        std::fs::create_dir(context.path().join("tree")).unwrap();
        std::fs::write(context.path().join(name), "").unwrap();
        fails(context.path(), "tree", "caf\u{fffd} is not UTF-8");
        std::fs::remove_dir_all(context.path().join("tree")).unwrap();
        std::fs::create_dir(context.path().join("tree")).unwrap();
        symlink(std::ffi::OsString::from_vec(b"caf\xe9".to_vec()), context.path().join("tree/link")).unwrap();
        fails(context.path(), "tree", "has a target that is not UTF-8");
    }

    #[test]
    fn i06_what_is_no_file_fails_at_once() {
        let context = tempfile::tempdir().unwrap();
        let fifo = context.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        fails(context.path(), "fifo", "neither file, directory nor link");
    }
}
