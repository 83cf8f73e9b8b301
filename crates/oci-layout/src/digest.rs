//! Content digests: parsing, computing and checking them.
//!
//! Grammar and algorithms: image-spec, descriptor.md, "Digests". Only the two registered
//! algorithms are accepted, and only their canonical lower-case form, so that a digest can be
//! used in a path or a URL without another look (fault row R45).

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the one that everything uses.
    Sha256,
    /// SHA-512, allowed by the spec.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon, which is also the directory below `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the raw digest in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of some content. Can only be made from valid text or by hashing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The first `algorithm.size()` bytes count, the rest is zero.
    bytes: [u8; 64],
}

impl Digest {
    /// SHA-256 of `content`.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(content);
        hasher.finish()
    }

    /// The algorithm it was made with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.size()]
    }

    /// The part after the colon, in lower-case hexadecimal.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.bytes().iter().fold(String::with_capacity(2 * self.algorithm.size()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The first twelve digits of [`Digest::hex`], for people.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// No colon between algorithm and digits.
    #[error("`{0}` is not a digest: expected `sha256:` and 64 hexadecimal digits")]
    NoAlgorithm(String),
    /// An algorithm that is neither sha256 nor sha512.
    #[error("digest algorithm `{0}` is not supported (sha256 and sha512 are)")]
    UnknownAlgorithm(String),
    /// Another number of digits than the algorithm has.
    #[error("a {algorithm} digest has {expected} digits, this one has {found}")]
    Length {
        /// The algorithm named in the text.
        algorithm: &'static str,
        /// Digits expected.
        expected: usize,
        /// Digits found.
        found: usize,
    },
    /// A character that is not a lower-case hexadecimal digit.
    #[error("a digest has lower-case hexadecimal digits only, found {0:?}")]
    Character(char),
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let clipped = || text.chars().take(96).collect::<String>();
        let (name, digits) = text.split_once(':').ok_or_else(|| ParseDigestError::NoAlgorithm(clipped()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(ParseDigestError::UnknownAlgorithm(name.chars().take(32).collect())),
        };
        let digit = |c: char| match c {
            '0'..='9' => Ok(c as u8 - b'0'),
            'a'..='f' => Ok(c as u8 - b'a' + 10),
            _ => Err(ParseDigestError::Character(c)),
        };
        let values = digits.chars().take(2 * 64 + 1).map(digit).collect::<Result<Vec<_>, _>>()?;
        if values.len() != 2 * algorithm.size() || digits.len() != values.len() {
            return Err(ParseDigestError::Length {
                algorithm: algorithm.name(),
                expected: 2 * algorithm.size(),
                found: digits.len(),
            });
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(values.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self { algorithm, bytes })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest piece by piece.
#[derive(Clone)]
pub enum Hasher {
    /// State of SHA-256.
    Sha256(sha2::Sha256),
    /// State of SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// An empty state for `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of everything that was added.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let algorithm = match self {
            Self::Sha256(state) => {
                bytes[..32].copy_from_slice(&state.finalize());
                Algorithm::Sha256
            }
            Self::Sha512(state) => {
                bytes.copy_from_slice(&state.finalize());
                Algorithm::Sha512
            }
        };
        Digest { algorithm, bytes }
    }
}

/// How content differs from what its descriptor says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Fewer bytes than declared.
    #[error("{digest} ends after {found} of {expected} bytes")]
    Short {
        /// What was to be read.
        digest: Digest,
        /// Declared size in bytes.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// More bytes than declared; reading stopped at the first surplus byte.
    #[error("{digest} has more than the {expected} bytes that its descriptor declares")]
    Surplus {
        /// What was to be read.
        digest: Digest,
        /// Declared size in bytes.
        expected: u64,
    },
    /// The right number of bytes, but others.
    #[error("content has digest {found}, not {expected}")]
    Digest {
        /// What was to be read.
        expected: Digest,
        /// What was read.
        found: Digest,
    },
}

/// Checks content against digest and size as it goes by.
///
/// Never lets more than `size` bytes pass: a body without end is cut at size + 1 (row R15).
pub struct Verifier {
    expected: Digest,
    size: u64,
    seen: u64,
    hasher: Hasher,
}

impl Verifier {
    /// Expects `size` bytes with digest `expected`.
    pub fn new(expected: Digest, size: u64) -> Self {
        Self { expected, size, seen: 0, hasher: Hasher::new(expected.algorithm()) }
    }

    /// Bytes seen so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the next piece; an error as soon as there is more than declared.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > self.size {
            return Err(VerifyError::Surplus { digest: self.expected, expected: self.size });
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// All content has been seen: was it the right one?
    pub fn finish(self) -> Result<(), VerifyError> {
        if self.seen < self.size {
            return Err(VerifyError::Short { digest: self.expected, expected: self.size, found: self.seen });
        }
        let found = self.hasher.finish();
        if found != self.expected {
            return Err(VerifyError::Digest { expected: self.expected, found });
        }
        Ok(())
    }
}

/// A reader that passes bytes on and fails, at the latest at its end, when they are not the right ones.
pub struct VerifyingReader<R> {
    inner: R,
    verifier: Option<Verifier>,
}

impl<R: Read> VerifyingReader<R> {
    /// Reads `inner`, which must hold `size` bytes with digest `expected`.
    pub fn new(inner: R, expected: Digest, size: u64) -> Self {
        Self { inner, verifier: Some(Verifier::new(expected, size)) }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        let Some(verifier) = &mut self.verifier else { return Ok(0) };
        let outcome = if count == 0 {
            self.verifier.take().map_or(Ok(()), Verifier::finish)
        } else {
            verifier.update(&buffer[..count])
        };
        outcome.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn rejects(text: &str) {
        assert!(text.parse::<Digest>().is_err(), "{text} was accepted");
    }

    #[test]
    fn text_round_trips() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        let long = format!("sha512:{}", "0a".repeat(64));
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
    }

    #[test]
    fn r45_only_canonical_digests_parse() {
        rejects("");
        rejects("sha256");
        rejects("sha256:");
        rejects("sha256:../x");
        rejects(&EMPTY.to_uppercase());
        rejects(&EMPTY.replace("sha256:e3b0c", "sha256:E3B0C"));
        rejects(&format!("{EMPTY}0"));
        rejects(&EMPTY[..EMPTY.len() - 1]);
        rejects(&format!("md5:{}", "0".repeat(32)));
        rejects(&format!("sha512:{}", "0".repeat(64)));
        rejects(&format!("sha256:{}é", "0".repeat(62)));
    }

    #[track_caller]
    fn read(content: &[u8], digest: Digest, size: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        VerifyingReader::new(content, digest, size)
            .read_to_end(&mut out)
            .map(|_| out)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn reading_verifies_size_and_digest() {
        let digest = Digest::of(b"content");
        assert_eq!(read(b"content", digest, 7).unwrap(), b"content");
        assert!(read(b"conten", digest, 7).unwrap_err().contains("ends after 6 of 7"));
        assert!(read(b"contents", digest, 7).unwrap_err().contains("more than the 7"));
        assert!(read(b"kontent", digest, 7).unwrap_err().contains("not sha256:"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived_and_what_parses_reads_back(text in "sha(256|512):([0-9a-f]{64}){1,2}|\\PC{0,80}") {
            if let Ok(digest) = text.parse::<Digest>() {
                proptest::prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
