//! What can go wrong, as data: front ends choose exit codes and hints by [`Error::kind`].

use std::fmt;
use std::time::Duration;

use oci_layout::digest::VerifyError;
use oci_layout::document::DocumentError;
use oci_layout::{Digest, MediaType};

use crate::redact::ShownUrl;
use crate::reference::{ParseReferenceError, Registry, Repository};

/// Which family an error belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The registry does not have it.
    NotFound,
    /// The registry wants credentials and none are known, or it refused those that are.
    Unauthorized,
    /// The credentials are good, but not for this.
    Denied,
    /// No answer: name, connection, TLS, time.
    Network,
    /// The registry answered with an error of its own.
    Server,
    /// The registry breaks the protocol, or its content is not what its digest says.
    Invalid,
    /// What was asked for cannot be: a bad name, a blocked registry.
    Usage,
    /// A file or a helper on this machine: certificates, credentials, blob to upload.
    Local,
}

/// What was being done, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The registry that was asked.
    pub registry: Registry,
    /// The repository, where the request was about one.
    pub repository: Option<Repository>,
    /// In a few words, such as `read manifest latest`.
    pub operation: String,
    /// The last URL that was asked, where one was.
    pub url: Option<ShownUrl>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repository {
            Some(repository) => write!(f, "{repository}: cannot {}", self.operation),
            None => write!(f, "{}: cannot {}", self.registry, self.operation),
        }
    }
}

/// An entry of the `errors` list that registries send (distribution-spec, "Error Codes").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryMessage {
    /// The code.
    pub code: Code,
    /// The registry's words, cleaned and cut.
    pub message: String,
    /// More, as JSON text, cleaned and cut.
    pub detail: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Codes of the distribution-spec; what is not in it is kept as text.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// A code of the registry's own.
            Other(String),
        }

        impl Code {
            pub(crate) fn new(text: &str) -> Self {
                match text.to_ascii_uppercase().as_str() {
                    $($text => Self::$name,)*
                    _ => Self::Other(crate::redact::shown_text(text, &[])),
                }
            }
        }

        impl fmt::Display for Code {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($text),)*
                    Self::Other(text) => f.write_str(text),
                }
            }
        }
    };
}

codes! {
    /// The blob is not there.
    BlobUnknown = "BLOB_UNKNOWN",
    /// The upload session makes no sense to the registry.
    BlobUploadInvalid = "BLOB_UPLOAD_INVALID",
    /// The upload session is gone.
    BlobUploadUnknown = "BLOB_UPLOAD_UNKNOWN",
    /// The content has another digest.
    DigestInvalid = "DIGEST_INVALID",
    /// A blob or manifest that the manifest names is not there.
    ManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN",
    /// The manifest is rejected.
    ManifestInvalid = "MANIFEST_INVALID",
    /// The manifest is not there.
    ManifestUnknown = "MANIFEST_UNKNOWN",
    /// The repository's name is rejected.
    NameInvalid = "NAME_INVALID",
    /// The repository is not there.
    NameUnknown = "NAME_UNKNOWN",
    /// The size is not what was announced.
    SizeInvalid = "SIZE_INVALID",
    /// The tag is rejected.
    TagInvalid = "TAG_INVALID",
    /// Not logged in.
    Unauthorized = "UNAUTHORIZED",
    /// Logged in, but not allowed.
    Denied = "DENIED",
    /// The registry does not do that.
    Unsupported = "UNSUPPORTED",
    /// Too much at once.
    TooManyRequests = "TOOMANYREQUESTS",
}

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The registry's own error list.
    pub messages: Vec<RegistryMessage>,
    /// The body's text where it is not that list; cleaned and cut.
    pub text: String,
    /// How long the registry asks to wait.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Whether the registry named `code`.
    pub fn has(&self, code: &Code) -> bool {
        self.messages.iter().any(|message| message.code == *code)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        write!(f, "{} {}", self.status, reason.unwrap_or("unknown status"))?;
        for (at, message) in self.messages.iter().take(3).enumerate() {
            f.write_str(if at == 0 { " (" } else { "; " })?;
            match message.message.as_str() {
                "" => write!(f, "{}", message.code)?,
                text => write!(f, "{}: {text}", message.code)?,
            }
        }
        if !self.messages.is_empty() {
            f.write_str(")")
        } else if !self.text.is_empty() {
            write!(f, " ({})", self.text)
        } else {
            Ok(())
        }
    }
}

/// What was known about credentials when a registry refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing for this registry.
    Nothing,
    /// These were sent.
    From {
        /// Where they were found, such as a file's path.
        origin: String,
    },
}

/// Why talking to a registry failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is not one.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// The registry answered with an error.
    #[error("{place}: {answer}")]
    Status {
        /// Where.
        place: Box<Place>,
        /// What it said.
        answer: Box<Answer>,
    },
    /// 401, or 403 where that is what is meant by it.
    #[error("{place}: {}{}", refused(&place.registry, known), said(answer))]
    Unauthorized {
        /// Where.
        place: Box<Place>,
        /// What was tried.
        known: Known,
        /// What the registry or its token server said.
        answer: Option<Box<Answer>>,
    },
    /// 403.
    #[error("{place}: not allowed {}{}", with(known), said(&Some(answer.clone())))]
    Denied {
        /// Where.
        place: Box<Place>,
        /// What was tried.
        known: Known,
        /// What the registry said.
        answer: Box<Answer>,
    },
    /// The connection failed.
    #[error("{place}: no usable answer")]
    Network {
        /// Where.
        place: Box<Place>,
        /// The cause, without URLs.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing came, or nothing could be sent, for too long.
    #[error("{place}: nothing moved for {} s", seconds(after))]
    Timeout {
        /// Where.
        place: Box<Place>,
        /// For how long nothing moved.
        after: Duration,
    },
    /// An answer that makes no sense.
    #[error("{place}: the registry breaks the protocol: {problem}")]
    Protocol {
        /// Where.
        place: Box<Place>,
        /// What is wrong with it.
        problem: String,
    },
    /// A redirect that is not followed.
    #[error("{place}: the redirect to {target} is refused: {reason}")]
    Redirect {
        /// Where.
        place: Box<Place>,
        /// Where it led.
        target: ShownUrl,
        /// Why not.
        reason: &'static str,
    },
    /// A token server that does not get the credentials.
    #[error("{place}: no credentials are sent to the token server {realm}: {reason}")]
    Realm {
        /// Where.
        place: Box<Place>,
        /// What the challenge named.
        realm: ShownUrl,
        /// Why not.
        reason: &'static str,
    },
    /// The content is not what its digest says.
    #[error("{place}: wrong content")]
    Content {
        /// Where.
        place: Box<Place>,
        /// How it differs.
        source: Box<VerifyError>,
    },
    /// More bytes than a document may have.
    #[error("{place}: the answer has more than {limit} bytes")]
    TooLarge {
        /// Where.
        place: Box<Place>,
        /// The limit in bytes.
        limit: u64,
    },
    /// An index or manifest that is not one.
    #[error("{place}: not a usable document")]
    Document {
        /// Where.
        place: Box<Place>,
        /// Why.
        source: DocumentError,
    },
    /// A manifest of a type that was not asked for.
    #[error("{place}: the registry sent {found}")]
    MediaType {
        /// Where.
        place: Box<Place>,
        /// What came.
        found: MediaType,
    },
    /// What is to be uploaded cannot be read.
    #[error("cannot read {digest} for the upload")]
    Source {
        /// What was to be read.
        digest: Digest,
        /// Why not.
        source: std::io::Error,
    },
    /// The registry is blocked by the configuration.
    #[error("{registry} is blocked by {origin}")]
    Blocked {
        /// The registry.
        registry: Registry,
        /// What says so.
        origin: String,
    },
    /// The tag exists, cannot be moved, and names something else.
    #[error("{place}: the tag cannot be moved and names {existing}{}", said(&Some(answer.clone())))]
    Immutable {
        /// Where.
        place: Box<Place>,
        /// What the tag names.
        existing: Digest,
        /// What the registry said.
        answer: Box<Answer>,
    },
    /// Credentials on this machine that cannot be used.
    #[error("{place}: credentials cannot be read")]
    Credentials {
        /// Where they were for.
        place: Box<Place>,
        /// Why.
        source: crate::credentials::CredentialsError,
    },
    /// A setting that cannot be used.
    #[error("{what}: {reason}")]
    Config {
        /// Which setting, such as a file's path.
        what: String,
        /// Why.
        reason: String,
    },
}

fn refused(registry: &Registry, known: &Known) -> String {
    match known {
        Known::Nothing => format!("no credentials for {registry} are known"),
        Known::From { origin } => format!("{registry} refuses the credentials from {origin}"),
    }
}

fn with(known: &Known) -> String {
    match known {
        Known::Nothing => "without credentials".to_owned(),
        Known::From { origin } => format!("with the credentials from {origin}"),
    }
}

fn said(answer: &Option<Box<Answer>>) -> String {
    answer.as_ref().map(|answer| format!("; it says {answer}")).unwrap_or_default()
}

fn seconds(duration: &Duration) -> String {
    match duration.as_secs_f64() {
        whole if whole >= 10.0 => format!("{whole:.0}"),
        part => format!("{part:.1}"),
    }
}

impl Error {
    /// The family, for exit codes and hints.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Reference(_) | Self::Blocked { .. } | Self::Config { .. } => ErrorKind::Usage,
            Self::Status { answer, .. } => match answer.status {
                404 => ErrorKind::NotFound,
                401 => ErrorKind::Unauthorized,
                403 => ErrorKind::Denied,
                _ => ErrorKind::Server,
            },
            Self::Unauthorized { .. } | Self::Realm { .. } => ErrorKind::Unauthorized,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::Network { .. } | Self::Timeout { .. } => ErrorKind::Network,
            Self::Protocol { .. }
            | Self::Redirect { .. }
            | Self::Content { .. }
            | Self::TooLarge { .. }
            | Self::Document { .. }
            | Self::MediaType { .. } => ErrorKind::Invalid,
            Self::Source { .. } | Self::Credentials { .. } => ErrorKind::Local,
            Self::Immutable { .. } => ErrorKind::Denied,
        }
    }

    /// What was being done, where the error came from a registry.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Status { place, .. }
            | Self::Unauthorized { place, .. }
            | Self::Denied { place, .. }
            | Self::Network { place, .. }
            | Self::Timeout { place, .. }
            | Self::Protocol { place, .. }
            | Self::Redirect { place, .. }
            | Self::Realm { place, .. }
            | Self::Content { place, .. }
            | Self::TooLarge { place, .. }
            | Self::Document { place, .. }
            | Self::MediaType { place, .. }
            | Self::Immutable { place, .. }
            | Self::Credentials { place, .. } => Some(place),
            Self::Reference(_) | Self::Source { .. } | Self::Blocked { .. } | Self::Config { .. } => None,
        }
    }

    /// The registry's answer, where it gave one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Status { answer, .. } | Self::Denied { answer, .. } | Self::Immutable { answer, .. } => Some(answer),
            Self::Unauthorized { answer, .. } => answer.as_deref(),
            _ => None,
        }
    }

    /// The answer's status, where there was one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.answer().map(|answer| answer.status)
    }

    /// Whether trying once more may help (rows R07 to R10).
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Network { source, .. } => !crate::transport::is_lasting(source.as_ref()),
            Self::Timeout { .. } => true,
            _ => self.status().is_some_and(is_passing_status),
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Statuses that go away by themselves.
pub(crate) fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Reads an error body: the spec's list where it is one, else text.
pub(crate) fn parse_answer(
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
    secrets: &[&crate::Secret],
) -> Answer {
    let clean = |text: &str| crate::redact::shown_text(text, secrets);
    let value: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let list = value.as_ref().and_then(|value| value.get("errors")).and_then(|errors| errors.as_array());
    let text_of = |value: Option<&serde_json::Value>| match value {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => clean(text),
        Some(other) => clean(&other.to_string()),
    };
    let messages: Vec<_> = list
        .into_iter()
        .flatten()
        .take(20)
        .map(|entry| RegistryMessage {
            code: Code::new(&text_of(entry.get("code"))),
            message: text_of(entry.get("message")),
            detail: text_of(entry.get("detail")),
        })
        .collect();
    let text = if !messages.is_empty() {
        String::new()
    } else if let Some(value) = &value {
        // Token servers and proxies say it under other names.
        let named = ["details", "message", "error_description", "error"].iter().find_map(|key| value.get(key));
        text_of(named.or(Some(value)))
    } else {
        clean(&String::from_utf8_lossy(body))
    };
    Answer { status, messages, text, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_lists_text_or_html() {
        let answer = parse_answer(
            404,
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag","detail":{"Tag":"x"}},{"code":"own"}]}"#,
            None,
            &[],
        );
        assert_eq!(answer.to_string(), "404 Not Found (MANIFEST_UNKNOWN: no such tag; own)");
        assert!(answer.has(&Code::ManifestUnknown));
        assert_eq!(answer.messages[1].code, Code::Other("own".to_owned()));
        let html = parse_answer(502, b"<html>\x1b[31m bad", None, &[]);
        assert_eq!(html.to_string(), "502 Bad Gateway (<html>\\u{1b}[31m bad)");
        let token = parse_answer(403, br#"{"details":"PAT expired"}"#, None, &[]);
        assert_eq!(token.to_string(), "403 Forbidden (PAT expired)");
        assert_eq!(parse_answer(799, b"", None, &[]).to_string(), "799 unknown status");
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_survived_and_shown_in_one_line(status: u16, body: Vec<u8>, text: String) {
            let listed = serde_json::json!({"errors": [{"code": text, "message": text, "detail": [text]}, 5, null]});
            for body in [body, listed.to_string().into_bytes(), text.into_bytes()] {
                let shown = parse_answer(status, &body, None, &[]).to_string();
                proptest::prop_assert!(!shown.chars().any(char::is_control), "{:?}", shown);
                proptest::prop_assert!(shown.chars().count() < 6000);
            }
        }
    }
}
