//! What refers to the images of a layout: signatures, SBOMs, attestations.
//!
//! A layout has no API to list them. mab writes each as an untagged entry of `index.json`; others
//! (oras, regctl) keep the fallback of distribution-spec in it, an index under a tag that is made of
//! the subject's digest. Both are read.

use std::collections::BTreeMap;

use super::REF_NAME;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::document::{Document, ImageIndex};

/// What refers to which digest, by the entries of `index`, whose documents `read` gives.
///
/// Descriptors are as lists of referrers have them: with the artifact's type and annotations.
///
/// # Errors
///
/// What `read` fails with.
pub fn referrers<E>(
    index: &ImageIndex,
    mut read: impl FnMut(&Descriptor) -> Result<Document, E>,
) -> Result<BTreeMap<Digest, Vec<Descriptor>>, E> {
    let mut found: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
    let mut add = |subject: Digest, entry: Descriptor| {
        let list = found.entry(subject).or_default();
        if entry.digest != subject && !list.iter().any(|known| known.digest == entry.digest) {
            list.push(entry);
        }
    };
    for entry in &index.manifests {
        if !entry.media_type.is_manifest() && !entry.media_type.is_index() {
            continue;
        }
        let of_tag = entry.annotations.get(REF_NAME).and_then(|name| subject_of_tag(name));
        match (read(entry)?, of_tag) {
            (Document::Index(list), Some(subject)) => {
                list.manifests.into_iter().for_each(|entry| add(subject, entry));
            }
            (document, _) => {
                if let Some((subject, described)) = describe(entry, &document) {
                    add(subject, described);
                }
            }
        }
    }
    Ok(found)
}

/// The subject of a document, and the document as lists of referrers describe it.
fn describe(entry: &Descriptor, document: &Document) -> Option<(Digest, Descriptor)> {
    let (subject, kind, annotations) = match document {
        Document::Manifest(manifest) => {
            let kind = manifest.artifact_type.clone().unwrap_or_else(|| manifest.config.media_type.0.clone());
            (manifest.subject.as_ref()?, Some(kind), &manifest.annotations)
        }
        Document::Index(index) => (index.subject.as_ref()?, index.artifact_type.clone(), &index.annotations),
    };
    let mut described = Descriptor::new(entry.media_type.clone(), entry.digest, entry.size);
    described.artifact_type = kind;
    described.annotations.clone_from(annotations);
    Some((subject.digest, described))
}

/// Whether `name` is a fallback tag: it lists what refers to an image, and is none.
pub fn is_fallback_tag(name: &str) -> bool {
    subject_of_tag(name).is_some()
}

/// The subject that a fallback tag speaks of: `sha256-` and the digits.
pub(super) fn subject_of_tag(name: &str) -> Option<Digest> {
    name.replacen('-', ":", 1).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::ImageManifest;
    use crate::media_type::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};

    #[test]
    fn untagged_entries_and_fallback_tags_are_found() {
        let subject = Descriptor::of(OCI_MANIFEST, b"subject");
        let mut manifest = ImageManifest::new(Descriptor::of(OCI_EMPTY, b"{}"), Vec::new(), BTreeMap::new());
        manifest.artifact_type = Some("application/x-sbom".to_owned());
        manifest.annotations.insert("a".to_owned(), "b".to_owned());
        manifest.subject = Some(subject.clone());
        let entry = Descriptor::of(OCI_MANIFEST, b"sbom");
        let signature = Descriptor::of(OCI_MANIFEST, b"signature");
        let list = ImageIndex::new(vec![signature.clone(), subject.clone()], BTreeMap::new());
        let mut tagged = Descriptor::of(OCI_INDEX, b"list");
        tagged.annotations.insert(REF_NAME.to_owned(), subject.digest.to_string().replace(':', "-"));
        let index = ImageIndex::new(vec![entry.clone(), tagged.clone(), entry.clone()], BTreeMap::new());
        let found = referrers::<()>(&index, |wanted| {
            Ok(if wanted.digest == tagged.digest {
                Document::Index(list.clone())
            } else {
                Document::Manifest(manifest.clone())
            })
        });
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        let of_subject = &found[&subject.digest];
        assert_eq!(of_subject.len(), 2, "each once, and never the subject itself: {of_subject:?}");
        assert_eq!(of_subject[0].artifact_type.as_deref(), Some("application/x-sbom"));
        assert_eq!(of_subject[0].annotations["a"], "b");
        assert_eq!(of_subject[1], signature);
    }
}
