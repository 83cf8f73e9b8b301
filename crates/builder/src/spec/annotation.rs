//! The annotations of an image's documents: what is known, and what the file says over it.

use std::collections::BTreeMap;

use super::container::Renderer;
use super::diagnostic::Diagnostic;
use super::model::{BuildSpec, Infer};
use super::variable::Variables;

/// Before the names that the image-spec defines.
const DEFINED: &str = "org.opencontainers.image.";

/// Annotations of a manifest and of its descriptor in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestAnnotations {
    /// Of the manifest itself.
    pub manifest: BTreeMap<String, String>,
    /// Of its descriptor.
    pub descriptor: BTreeMap<String, String>,
}

/// Annotations of the index. `known` is what was inferred, and what the plan adds of its own
/// (base name and digest, date); what the file says goes over it.
pub fn index_annotations(
    spec: &BuildSpec,
    inferred: &BTreeMap<String, String>,
    added: &BTreeMap<String, String>,
    values: &Variables<'_>,
) -> Result<BTreeMap<String, String>, Vec<Diagnostic>> {
    let mut renderer = Renderer { values, problems: Vec::new() };
    let said = renderer.table(&spec.annotations.index);
    let annotations = joined(spec, inferred, added, said);
    if renderer.problems.is_empty() { Ok(annotations) } else { Err(renderer.problems) }
}

/// Annotations of one platform's manifest. `spec` is that of the platform ([`BuildSpec::of`]);
/// `from_base` are those of the base's manifest, taken over where `inherit` says so.
pub fn manifest_annotations(
    spec: &BuildSpec,
    from_base: &BTreeMap<String, String>,
    inferred: &BTreeMap<String, String>,
    added: &BTreeMap<String, String>,
    values: &Variables<'_>,
) -> Result<ManifestAnnotations, Vec<Diagnostic>> {
    let mut renderer = Renderer { values, problems: Vec::new() };
    let said = renderer.table(&spec.annotations.manifest);
    let descriptor = renderer.table(&spec.annotations.descriptor);
    let mut manifest = if spec.inherit.annotations { from_base.clone() } else { BTreeMap::new() };
    manifest.extend(joined(spec, inferred, added, BTreeMap::new()));
    put_over(&mut manifest, said);
    if renderer.problems.is_empty() { Ok(ManifestAnnotations { manifest, descriptor }) } else { Err(renderer.problems) }
}

fn joined(
    spec: &BuildSpec,
    inferred: &BTreeMap<String, String>,
    added: &BTreeMap<String, String>,
    said: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = if spec.infer == Infer::Off { BTreeMap::new() } else { inferred.clone() };
    all.extend(added.clone());
    put_over(&mut all, said);
    all
}

/// Puts `said` over `known`. A defined name with an empty text is left out: that is how a file
/// says that it does not want it.
pub(super) fn put_over(known: &mut BTreeMap<String, String>, said: BTreeMap<String, String>) {
    for (name, value) in said {
        if value.is_empty() && name.starts_with(DEFINED) {
            known.remove(&name);
        } else {
            known.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::{Facts, Overrides, parse};

    fn map(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const TITLE: &str = "org.opencontainers.image.title";
    const BASE: &str = "org.opencontainers.image.base.name";

    #[track_caller]
    fn check(text: &str, index: &[(&str, &str)], manifest: &[(&str, &str)], descriptor: &[(&str, &str)]) {
        let spec = parse(Path::new("f"), &format!("version: 1\n{text}\n"), &Overrides::default()).unwrap();
        let facts = Facts::default();
        let (inferred, added, from_base) = (map(&[(TITLE, "app")]), map(&[(BASE, "debian")]), map(&[("vendor", "x")]));
        let platform = "linux/s390x".parse().ok();
        let values = Variables { platform: None, facts: &facts };
        assert_eq!(index_annotations(&spec, &inferred, &added, &values).unwrap(), map(index));
        let values = Variables { platform, facts: &facts };
        let got = manifest_annotations(&spec, &from_base, &inferred, &added, &values).unwrap();
        assert_eq!((got.manifest, got.descriptor), (map(manifest), map(descriptor)));
    }

    #[test]
    fn what_the_file_says_goes_over_what_is_known() {
        check("", &[(TITLE, "app"), (BASE, "debian")], &[(TITLE, "app"), (BASE, "debian")], &[]);
        check("infer: none", &[(BASE, "debian")], &[(BASE, "debian")], &[]);
        check(
            &format!(
                "annotations: {{{TITLE}: mine, {BASE}: '', 'manifest:p': '${{platform.arch}}', 'descriptor:d': x}}"
            ),
            &[(TITLE, "mine")],
            &[(TITLE, "mine"), ("p", "s390x")],
            &[("d", "x")],
        );
        check(
            "inherit: {annotations: true}\nannotations: {p: '${platform}', empty: ''}",
            &[(TITLE, "app"), (BASE, "debian"), ("empty", "")],
            &[(TITLE, "app"), (BASE, "debian"), ("p", "linux/s390x"), ("empty", ""), ("vendor", "x")],
            &[],
        );
    }
}
