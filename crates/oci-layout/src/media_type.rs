//! The media types that images are made of.
//!
//! Names: image-spec, media-types.md; Docker's: distribution's "Image Manifest V 2, Schema 2".
//! A media type is kept as the text it came as: a type nobody here has heard of can be carried.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type, as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(pub String);

/// How the bytes of a layer are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A bare tar.
    None,
    /// One or more gzip members.
    Gzip,
    /// Zstandard frames.
    Zstd,
}

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
    };
}

media_types! {
    /// OCI image index.
    OCI_INDEX = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image config.
    OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, bare tar.
    OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, tar in gzip.
    OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, tar in zstd.
    OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// The empty config of artifacts, `{}`.
    OCI_EMPTY = "application/vnd.oci.empty.v1+json";
    /// Docker's manifest list.
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest, schema 2.
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's image config.
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer, tar in gzip.
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's layer, tar in zstd, as containerd names it.
    DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// Docker's layer, bare tar.
    DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar";
}

impl MediaType {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An OCI index or a Docker manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// An OCI or Docker image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// An OCI or Docker image config.
    pub fn is_image_config(&self) -> bool {
        matches!(self.as_str(), OCI_CONFIG | DOCKER_CONFIG)
    }

    /// How a layer of this type is compressed, or `None` for what is not a file-system layer.
    /// The foreign and non-distributable types count too.
    pub fn layer_compression(&self) -> Option<Compression> {
        let text = self
            .as_str()
            .replace("layer.nondistributable.v1", "layer.v1")
            .replace("rootfs.foreign.diff", "rootfs.diff");
        match text.as_str() {
            OCI_LAYER_TAR | DOCKER_LAYER_TAR => Some(Compression::None),
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => Some(Compression::Gzip),
            OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The OCI name of the same content, where there is one. Registries such as Quay reject
    /// Docker's manifests inside an OCI index.
    #[must_use]
    pub fn to_oci(&self) -> Self {
        let text = match self.as_str() {
            DOCKER_LIST => OCI_INDEX,
            DOCKER_MANIFEST => OCI_MANIFEST,
            DOCKER_CONFIG => OCI_CONFIG,
            DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
            DOCKER_LAYER_ZSTD => OCI_LAYER_ZSTD,
            DOCKER_LAYER_TAR => OCI_LAYER_TAR,
            other => other,
        };
        Self(text.to_owned())
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_types_have_oci_names() {
        for (docker, oci) in [
            (DOCKER_LIST, OCI_INDEX),
            (DOCKER_MANIFEST, OCI_MANIFEST),
            (DOCKER_CONFIG, OCI_CONFIG),
            (DOCKER_LAYER_GZIP, OCI_LAYER_GZIP),
            ("application/x-other", "application/x-other"),
        ] {
            assert_eq!(MediaType::from(docker).to_oci().as_str(), oci);
        }
    }

    #[test]
    fn foreign_layers_are_layers() {
        let foreign = MediaType::from("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert_eq!(foreign.layer_compression(), Some(Compression::Gzip));
        assert_eq!(MediaType::from("application/json").layer_compression(), None);
    }
}
