//! Destinations that cannot both be there (fault row I11), as far as the file alone says: what a
//! copied directory holds is only known when it is read, and looked at again then.

use std::collections::BTreeMap;

use oci_layout::ImagePath;

use super::path::destination;
use crate::spec::diagnostic::Sink;
use crate::spec::model::BuildSpec;
use crate::spec::place::{Place, Placed};
use crate::spec::problem::Problem;
use crate::spec::template::Template;

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Binary,
    Link,
    Directory,
}

pub(super) fn check(spec: &BuildSpec, sink: &mut Sink) {
    let mut taken: BTreeMap<ImagePath, (What, Option<Place>)> = BTreeMap::new();
    let binaries = spec.binaries.iter().map(|it| (What::Binary, &it.value.to));
    let links = spec.links.iter().map(|it| (What::Link, &it.value.path));
    let directories = spec.directories.iter().map(|it| (What::Directory, &it.value.path));
    for (what, template) in binaries.chain(links).chain(directories) {
        let Some(path) = path_of(template) else { continue };
        match taken.get(&path) {
            Some((_, first)) => {
                let problem = Problem::PathTwice { path: path.to_string(), first: *first };
                sink.problem(problem, template.place);
            }
            None => {
                taken.insert(path, (what, template.place));
            }
        }
    }
    let files = spec.files.iter().map(|it| &it.value.to);
    let written: Vec<_> = taken.iter().map(|(path, (_, place))| (path.clone(), path.ancestors(), *place)).collect();
    let copied = files.filter_map(|to| {
        let path = path_of(to)?;
        let mut above = path.ancestors();
        // What is copied goes to the path or below it; a file there is in the way of the latter.
        above.extend(to.value.text().ends_with('/').then(|| path.clone()));
        Some((path, above, to.place))
    });
    for (path, above, place) in written.into_iter().chain(copied) {
        let file = above.into_iter().find(|above| matches!(taken.get(above), Some((What::Binary, _))));
        if let Some(file) = file {
            let first = taken.get(&file).and_then(|(_, place)| *place);
            let (path, file) = (path.to_string(), file.to_string());
            sink.problem(Problem::PathBelowFile { path, file, kind: "a file", first }, place);
        }
    }
}

/// The path, where it is the same for all platforms.
fn path_of(template: &Placed<Template>) -> Option<ImagePath> {
    destination(template.value.constant()?).ok().map(|(path, _)| path)
}
