//! Platforms of images: the one spelling that is put out, and how one is found in an index.
//!
//! Fields: image-spec, image-index.md, "platform". Spellings follow containerd's normalization
//! (`x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`), so that what a registry, a
//! runtime and a person write mean the same. Nothing here looks at the machine it runs on.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The platform of a descriptor or config.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture in Go's words, such as `arm64`.
    pub architecture: String,
    /// Operating system in Go's words, such as `linux`.
    pub os: String,
    /// Version of the operating system (Windows uses it).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features that the operating system must have.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::json::null_is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the CPU, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What else the document says.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Platform {
    /// A platform in its canonical spelling.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = canonical(architecture, variant.unwrap_or_default());
        Self {
            architecture,
            os: os.to_ascii_lowercase(),
            os_version: None,
            os_features: Vec::new(),
            variant,
            extra: BTreeMap::new(),
        }
    }

    /// The same platform in the spelling in which platforms are compared.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) = canonical(&self.architecture, self.variant.as_deref().unwrap_or_default());
        Self { architecture, variant, os: self.os.to_ascii_lowercase(), ..self.clone() }
    }

    /// `unknown/unknown`: BuildKit marks attestation manifests so. Never a platform to run on.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// Whether an image for `self` is the image for `wanted`: equal once both are normalized,
    /// whatever version of the operating system is named.
    pub fn is_same(&self, wanted: &Platform) -> bool {
        let (ours, theirs) = (self.normalized(), wanted.normalized());
        ours.os == theirs.os && ours.architecture == theirs.architecture && ours.variant == theirs.variant
    }

    /// The platforms of a base that can carry programs for `self`, best first: itself, and for
    /// amd64 levels the base's plain amd64. ARM never falls back, because v5 is another float ABI
    /// and v6 on a v7 base could not start on a v6 machine.
    pub fn base_candidates(&self) -> Vec<Platform> {
        let exact = self.normalized();
        let mut candidates = vec![exact.clone()];
        if exact.architecture == "amd64" && exact.variant.is_some() {
            candidates.push(Platform { variant: None, ..exact });
        }
        candidates
    }

    /// Order in an index: operating system, architecture, then variant with the baseline first,
    /// because readers take the first entry that fits.
    pub fn index_order(&self, other: &Self) -> Ordering {
        let key = |platform: &Self| {
            let normal = platform.normalized();
            (normal.os, normal.architecture, normal.variant)
        };
        key(self).cmp(&key(other)).then_with(|| self.os_version.cmp(&other.os_version))
    }
}

/// Canonical architecture and variant, after containerd's `normalizeArch`.
fn canonical(architecture: &str, variant: &str) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let pair = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("amd64" | "x86_64" | "x86-64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", other) => ("amd64", other),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64", other) => ("arm64", other),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (other, variant) => (other, variant),
    };
    (pair.0.to_owned(), (!pair.1.is_empty()).then(|| pair.1.to_owned()))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: write os/architecture or os/architecture/variant, such as linux/arm/v7")]
pub struct ParsePlatformError(String);

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let error = || ParsePlatformError(text.chars().take(64).collect());
        let valid = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(valid) {
            return Err(error());
        }
        match parts[..] {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_become_one() {
        for (input, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("Linux/ARM64", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("linux/s390x", "linux/s390x"),
        ] {
            assert_eq!(platform(input).to_string(), expected, "{input}");
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux/arm/../x"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_base_serves_its_own_platform_and_plain_amd64_its_levels() {
        let candidates = |text| platform(text).base_candidates().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(candidates("linux/amd64/v3"), ["linux/amd64/v3", "linux/amd64"]);
        assert_eq!(candidates("linux/arm/v6"), ["linux/arm/v6"]);
        assert_eq!(candidates("linux/arm64/v8"), ["linux/arm64"]);
    }

    #[test]
    fn the_baseline_comes_first() {
        let mut list = ["linux/arm64", "linux/amd64/v3", "linux/arm/v7", "linux/amd64", "linux/arm/v6"].map(platform);
        list.sort_by(Platform::index_order);
        assert_eq!(
            list.map(|p| p.to_string()),
            ["linux/amd64", "linux/amd64/v3", "linux/arm/v6", "linux/arm/v7", "linux/arm64"]
        );
    }
}
