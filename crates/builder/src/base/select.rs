//! Which manifest of an index a platform's image stands on.

use oci_layout::document::ImageIndex;
use oci_layout::{Descriptor, MediaType, Platform};

/// The entry for `wanted`: the first that is the same platform, then whatever else can carry it
/// (see [`Platform::base_candidates`]). Attestations and other artifacts are never taken.
pub fn select<'a>(index: &'a ImageIndex, wanted: &Platform) -> Option<&'a Descriptor> {
    wanted.base_candidates().iter().find_map(|candidate| {
        runnable(index).find(|(_, platform)| platform.is_same(candidate)).map(|(descriptor, _)| descriptor)
    })
}

/// What an index has, in its order and canonical spelling, without doubles: for messages.
pub fn available(index: &ImageIndex) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for (_, platform) in runnable(index) {
        let text = platform.normalized().to_string();
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list
}

pub(crate) fn runnable(index: &ImageIndex) -> impl Iterator<Item = (&Descriptor, &Platform)> {
    index.manifests.iter().filter_map(|descriptor| {
        let platform = descriptor.platform.as_ref()?;
        (is_image(descriptor) && !platform.is_unknown()).then_some((descriptor, platform))
    })
}

/// Images whose platform the index leaves to their configs, as Docker's archives and older tools do.
pub(crate) fn silent(index: &ImageIndex) -> impl Iterator<Item = &Descriptor> {
    index.manifests.iter().filter(|descriptor| descriptor.platform.is_none() && is_image(descriptor))
}

fn is_image(descriptor: &Descriptor) -> bool {
    // Some tools repeat the config's type as the artifact's; an image stays one.
    let artifact = descriptor.artifact_type.as_deref().filter(|kind| !kind.is_empty());
    let is_artifact = artifact.is_some_and(|kind| !MediaType::from(kind).is_image_config());
    // What BuildKit attests about an image, where its platform got lost.
    let is_attestation = descriptor.annotations.contains_key("vnd.docker.reference.type");
    descriptor.media_type.is_manifest() && !is_artifact && !is_attestation
}

#[cfg(test)]
mod tests {
    use oci_layout::Digest;
    use oci_layout::media_type::{DOCKER_MANIFEST, OCI_MANIFEST};

    use super::*;

    fn index(platforms: &[&str]) -> ImageIndex {
        let entry = |(number, text): (usize, &&str)| {
            let mut parts = text.split('/');
            // Written as another tool might have: not normalized.
            let mut platform = Platform::new("linux", "amd64", None);
            platform.os = parts.next().unwrap().to_owned();
            platform.architecture = parts.next().unwrap().to_owned();
            platform.variant = parts.next().map(str::to_owned);
            let kind = if number % 2 == 0 { OCI_MANIFEST } else { DOCKER_MANIFEST };
            Descriptor::new(kind, Digest::of(text.as_bytes()), 1).with_platform(platform)
        };
        ImageIndex::new(platforms.iter().enumerate().map(entry).collect(), Default::default())
    }

    #[track_caller]
    fn check(platforms: &[&str], wanted: &str, expect: Option<&str>) {
        let index = index(platforms);
        let found = select(&index, &wanted.parse().unwrap()).map(|d| d.digest);
        assert_eq!(found, expect.map(|text| Digest::of(text.as_bytes())), "{wanted}");
    }

    #[test]
    fn a_platform_is_found_by_what_it_is() {
        let debian = [
            "linux/amd64",
            "unknown/unknown",
            "linux/arm/v5",
            "linux/arm/v7",
            "linux/arm64/v8",
            "linux/386",
            "linux/s390x",
        ];
        check(&debian, "linux/amd64", Some("linux/amd64"));
        check(&debian, "linux/arm64", Some("linux/arm64/v8"));
        check(&debian, "linux/arm/v7", Some("linux/arm/v7"));
        check(&debian, "linux/arm/v5", Some("linux/arm/v5"));
        check(&debian, "linux/amd64/v3", Some("linux/amd64"));
        // From hard to soft float there is no way, nor from v6 to v7.
        check(&debian, "linux/arm/v6", None);
        check(&debian, "linux/riscv64", None);
        // `arm` alone means v7.
        check(&["linux/arm"], "linux/arm/v7", Some("linux/arm"));
        check(&["linux/amd64", "linux/amd64/v3"], "linux/amd64/v3", Some("linux/amd64/v3"));
    }

    #[test]
    fn attestations_are_not_platforms() {
        assert_eq!(
            available(&index(&["unknown/unknown", "linux/arm64/v8", "linux/arm64", "linux/arm/v6"])),
            ["linux/arm64", "linux/arm/v6"]
        );
        let mut artifact = index(&["linux/amd64"]);
        artifact.manifests[0].artifact_type = Some("application/x".to_owned());
        assert!(select(&artifact, &"linux/amd64".parse().unwrap()).is_none());
        // crane writes this for every image.
        artifact.manifests[0].artifact_type = Some("application/vnd.oci.image.config.v1+json".to_owned());
        assert!(select(&artifact, &"linux/amd64".parse().unwrap()).is_some());
        // Copied by a tool that knows no platform of its own, it stays what it is.
        artifact.manifests[0].platform = None;
        assert_eq!(silent(&artifact).count(), 1);
        artifact.manifests[0]
            .annotations
            .insert("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
        assert_eq!(silent(&artifact).count(), 0);
    }
}
