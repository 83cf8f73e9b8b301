//! Names of images: registry, repository, tag and digest.
//!
//! Grammar: distribution's `reference` package, whose short forms (`debian`, `me/app`) everyone
//! types. A name is parsed once; every value of these types can be put into a URL as it stands.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use oci_layout::Digest;
use oci_layout::digest::ParseDigestError;

/// The registry that a name without one means.
pub const DOCKER_HUB: &str = "docker.io";
/// Longest name of a repository with its registry, in bytes.
const MAX_NAME: usize = 255;

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Nothing there.
    #[error("the reference is empty")]
    Empty,
    /// Not a host with an optional port.
    #[error("`{0}` is not a registry: write host or host:port")]
    Registry(String),
    /// Not a path of lower-case components.
    #[error(
        "`{0}` is not a repository: write lower-case letters and digits, separated by `/`, `.`, `_`, `__` or dashes"
    )]
    Repository(String),
    /// Upper case, the commonest mistake, named for itself.
    #[error("`{0}` is not a repository: its name must be lower-case")]
    UpperCase(String),
    /// Not a tag.
    #[error("`{0}` is not a tag: write up to 128 letters, digits, `_`, `.` or `-`, not beginning with `.` or `-`")]
    Tag(String),
    /// The part after `@`.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
    /// Longer than registries accept.
    #[error("the name has {0} bytes, more than {MAX_NAME}")]
    TooLong(usize),
    /// A scheme in front.
    #[error("`{0}` has a scheme: write the reference without `://`")]
    Scheme(String),
}

/// Text for an error, cut where it gets long.
fn clipped(text: &str) -> String {
    text.chars().take(96).flat_map(char::escape_default).collect()
}

/// A registry: a host with an optional port. Kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry {
    /// Host name, IPv4 address, or IPv6 address in brackets.
    host: String,
    port: Option<u16>,
}

impl Registry {
    /// Docker Hub.
    pub fn docker_hub() -> Self {
        Self { host: DOCKER_HUB.to_owned(), port: None }
    }

    /// The host without its port; an IPv6 address has its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.host == DOCKER_HUB && self.port.is_none()
    }

    /// Whether the host is this machine itself, where plain http shows nothing to anyone.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }

    /// Where the API is: host and port as they stand in a URL.
    pub fn api_authority(&self) -> String {
        if self.is_docker_hub() { "registry-1.docker.io".to_owned() } else { self.to_string() }
    }
}

/// `localhost`, anything below it, 127.0.0.0/8 and ::1.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = host.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl FromStr for Registry {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let error = || ParseReferenceError::Registry(clipped(text));
        if text.len() > MAX_NAME {
            return Err(ParseReferenceError::TooLong(text.len()));
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, after) = rest.split_once(']').ok_or_else(error)?;
            let address: Ipv6Addr = address.parse().map_err(|_| error())?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or_else(error)?),
            };
            (format!("[{address}]"), port)
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            if !host.split('.').all(is_host_label) {
                return Err(error());
            }
            // A number in the last place, in hexadecimal too, makes URLs read the whole as an IPv4
            // address: then it must be one, written as they are (URL standard, "ends in a number").
            let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
            let is_number = match last.strip_prefix("0x") {
                Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
                None => last.bytes().all(|b| b.is_ascii_digit()),
            };
            if is_number && host.parse::<std::net::Ipv4Addr>().is_err() {
                return Err(error());
            }
            (host.to_ascii_lowercase(), port)
        };
        let port = match port {
            None => None,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port != 0).ok_or_else(error)?)
            }
            Some(_) => return Err(error()),
        };
        let host = match host.as_str() {
            "index.docker.io" | "registry-1.docker.io" if port.is_none() => DOCKER_HUB.to_owned(),
            _ => host,
        };
        Ok(Self { host, port })
    }
}

fn is_host_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A repository in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: Registry,
    path: String,
}

impl Repository {
    /// The repository `path` in `registry`.
    pub fn new(registry: Registry, path: &str) -> Result<Self, ParseReferenceError> {
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseReferenceError::UpperCase(clipped(path)));
        }
        if !path.split('/').all(is_path_component) {
            return Err(ParseReferenceError::Repository(clipped(path)));
        }
        let path =
            if registry.is_docker_hub() && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        let repository = Self { registry, path };
        match repository.to_string().len() {
            length if length > MAX_NAME => Err(ParseReferenceError::TooLong(length)),
            _ => Ok(repository),
        }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The name inside the registry, such as `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The reference to `tag` here.
    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    /// The reference to `digest` here.
    pub fn at(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl FromStr for Repository {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        if text.is_empty() {
            return Err(ParseReferenceError::Empty);
        }
        if text.contains("://") {
            return Err(ParseReferenceError::Scheme(clipped(text)));
        }
        if text.len() > MAX_NAME {
            return Err(ParseReferenceError::TooLong(text.len()));
        }
        match text.split_once('/') {
            Some((first, rest)) if names_a_registry(first) => Self::new(first.parse()?, rest),
            _ => Self::new(Registry::docker_hub(), text),
        }
    }
}

/// Whether the first component is a registry: only those have a dot or a colon, or are `localhost`.
///
/// Docker takes upper case for a sign of a registry, too; in lower case, as it would be written
/// from then on, such a name is a repository of Docker Hub, so here it is an error.
fn names_a_registry(first: &str) -> bool {
    first.contains(['.', ':', '[']) || first.eq_ignore_ascii_case("localhost")
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag that a name without one means.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if text.is_empty() || text.len() > 128 || !text.bytes().all(valid) || text.starts_with(['.', '-']) {
            return Err(ParseReferenceError::Tag(clipped(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What names a manifest inside a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagOrDigest {
    /// By a name that can move.
    Tag(Tag),
    /// By its content.
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for TagOrDigest {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for TagOrDigest {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// A repository with a tag, a digest, both or neither.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Where.
    pub repository: Repository,
    /// The name that can move.
    pub tag: Option<Tag>,
    /// The content.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What to ask the registry for: the digest where there is one, else the tag, else `latest`.
    pub fn target(&self) -> TagOrDigest {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => TagOrDigest::Digest(*digest),
            (None, Some(tag)) => TagOrDigest::Tag(tag.clone()),
            (None, None) => TagOrDigest::Tag(Tag::latest()),
        }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        self.repository.registry()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to a port.
        let after_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[after_slash..].split_once(':') {
            // `host:5000` alone is a repository `host` with the tag 5000, as Docker reads it.
            Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag.parse()?)),
            None => (name, None),
        };
        Ok(Self { repository: name.parse()?, tag, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, canonical: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), canonical);
        assert_eq!(canonical.parse::<Reference>().unwrap(), reference, "canonical text reads back");
    }

    #[track_caller]
    fn fails(text: &str, expect: &str) {
        let error = text.parse::<Reference>().unwrap_err().to_string();
        assert!(error.contains(expect), "{text}: {error}");
    }

    #[test]
    fn short_forms_mean_docker_hub() {
        reads("debian", "docker.io/library/debian");
        reads("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim");
        reads("me/app", "docker.io/me/app");
        reads("docker.io/debian", "docker.io/library/debian");
        reads("index.docker.io/library/debian", "docker.io/library/debian");
        reads("host:5000", "docker.io/library/host:5000");
    }

    #[test]
    fn registries_have_ports_and_addresses() {
        reads("localhost/app", "localhost/app");
        reads("LocalHost/app", "localhost/app");
        reads("localhost:5000/a/b/c:1", "localhost:5000/a/b/c:1");
        reads("Registry.Example.com/app", "registry.example.com/app");
        reads("127.0.0.1:5000/app", "127.0.0.1:5000/app");
        reads("[::1]:5000/app:x", "[::1]:5000/app:x");
        reads("[2001:DB8::1]/app", "[2001:db8::1]/app");
        reads("my_host.example/app", "my_host.example/app");
        let port = |text: &str| text.parse::<Reference>().unwrap().repository.registry().port();
        assert_eq!([port("localhost:5000/a"), port("[::1]:81/a"), port("r.example/a")], [Some(5000), Some(81), None]);
    }

    #[test]
    fn tag_and_digest_stand_together() {
        let digest = Digest::of(b"");
        reads(&format!("r.example/a:t@{digest}"), &format!("r.example/a:t@{digest}"));
        reads(&format!("r.example/a@{digest}"), &format!("r.example/a@{digest}"));
        let long = format!("sha512:{}", "ab".repeat(64));
        reads(&format!("r.example:1/a@{long}"), &format!("r.example:1/a@{long}"));
    }

    #[test]
    fn targets_prefer_the_digest() {
        let digest = Digest::of(b"");
        let target = |text: &str| text.parse::<Reference>().unwrap().target().to_string();
        assert_eq!(target("a"), "latest");
        assert_eq!(target("a:b"), "b");
        assert_eq!(target(&format!("a:b@{digest}")), digest.to_string());
    }

    #[test]
    fn components_have_separators_only_inside() {
        reads("r.example/a.b_c__d---e/f1", "r.example/a.b_c__d---e/f1");
        for bad in ["a..b", "a___b", "a._b", ".a", "a.", "-a", "a-", "_a", "a//b", "a/", "/a", "a b", "é"] {
            assert!(format!("r.example/{bad}").parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        fails("", "empty");
        fails("r.example/App", "lower-case");
        fails("App/x", "lower-case");
        fails("https://r.example/app", "scheme");
        fails("r.example/a:", "not a tag");
        fails("r.example/a:-x", "`-x` is not a tag");
        let longest = format!("r.example/a:{}", "x".repeat(128));
        reads(&longest, &longest);
        fails(&format!("r.example/a:{}", "x".repeat(129)), "not a tag");
        fails("r.example:0/a", "not a registry");
        fails("r.example:99999/a", "not a registry");
        fails("r.example:x/a", "not a registry");
        fails("r.example:+5/a", "`r.example:+5` is not a registry");
        fails("[::1/a", "not a registry");
        fails("[::1]x/a", "not a registry");
        fails("-r.example/a", "not a registry");
        fails("1.2.3/a", "not a registry");
        fails("1.0x7f/a", "not a registry");
        fails("0XA9FEA9FE:80/a", "not a registry");
        fails(&format!("r.example/{}", "a/".repeat(200)), "more than 255");
        let host = |labels: usize| format!("{}a", "a.".repeat(labels)).parse::<Registry>();
        assert_eq!(host(127).unwrap().host().len(), 255);
        assert_eq!(host(128), Err(ParseReferenceError::TooLong(257)));
    }

    #[test]
    fn r45_bad_digests_never_become_references() {
        for bad in ["sha256:../x", "sha256:", "SHA256:00", "md5:00", "sha256:zz"] {
            assert!(format!("r.example/a@{bad}").parse::<Reference>().is_err(), "{bad}");
        }
        fails(&format!("r.example/a@{}", Digest::of(b"").to_string().to_uppercase()), "SHA256");
    }

    #[test]
    fn loopback_is_known_by_name_and_number() {
        for (text, expect) in [
            ("localhost", true),
            ("a.localhost:1", true),
            ("127.9.9.9", true),
            ("[::1]:5", true),
            ("[::ffff:127.0.0.1]:5", true),
            ("localhost.example", false),
            ("128.0.0.1", false),
            ("127.0.0.1.example", false),
        ] {
            assert_eq!(text.parse::<Registry>().unwrap().is_loopback(), expect, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived_and_what_parses_reads_back(
            text: String,
            soup in "[a-z0-9A-Z:/@._\\[\\]-]{0,40}",
            likely in "([a-z0-9.]{1,9}(:[0-9]{1,5})?/)?[a-z0-9]{1,5}([/._-][a-z0-9]{1,5}){0,3}(:[a-z0-9._-]{1,9})?",
        ) {
            for text in [text, soup, likely] {
                let Ok(reference) = text.parse::<Reference>() else { continue };
                let canonical = reference.to_string();
                proptest::prop_assert_eq!(canonical.parse::<Reference>(), Ok(reference.clone()), "{}", text);
                // What parsed can stand in a URL as it is.
                let url = format!("https://{}/v2/{}/manifests/{}", reference.registry().api_authority(),
                    reference.repository.path(), reference.target());
                proptest::prop_assert_eq!(url::Url::parse(&url).map(String::from), Ok(url.replace(":443/", "/")));
            }
        }
    }
}
