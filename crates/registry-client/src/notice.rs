//! What happens by the way and may be said to the user: it is no error, and nothing stops for it.

use std::fmt;
use std::time::Duration;

use oci_layout::Digest;

use crate::redact::ShownUrl;
use crate::reference::Registry;

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A pause before the next try. Worth a line when it was the server that asked for it.
    Waiting {
        /// Who is waited for.
        registry: Registry,
        /// For how long.
        pause: Duration,
        /// The server's own wish, rather than our backoff.
        asked: bool,
        /// What went wrong.
        reason: String,
    },
    /// Credentials go to a token server on another host, which the registry named (row R23).
    TokenServer {
        /// The registry.
        registry: Registry,
        /// Its token server.
        realm: ShownUrl,
    },
    /// The registry claims a digest that its content does not have; ours decides (row R17).
    DigestHeader {
        /// The registry.
        registry: Registry,
        /// What it claims, cleaned.
        claimed: String,
        /// What it is.
        found: Digest,
    },
    /// A mirror served what was asked of `registry`.
    Mirror {
        /// What the user named.
        registry: Registry,
        /// Who served it.
        mirror: String,
    },
    /// A mirror could not, and the next one is asked.
    MirrorFailed {
        /// What the user named.
        registry: Registry,
        /// Who failed.
        mirror: String,
        /// Why.
        reason: String,
    },
}

impl Notice {
    /// Whether a user should see it without having asked for more words.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Waiting { asked, .. } => *asked,
            Self::DigestHeader { .. } => true,
            Self::TokenServer { .. } | Self::Mirror { .. } | Self::MirrorFailed { .. } => false,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { registry, pause, asked, reason } => {
                let who =
                    if *asked { format!("{registry} asks to wait") } else { format!("{registry}: trying again in") };
                write!(f, "{who} {:.1} s: {reason}", pause.as_secs_f64())
            }
            Self::TokenServer { registry, realm } => write!(f, "{registry} has its tokens from {realm}"),
            Self::DigestHeader { registry, claimed, found } => {
                write!(f, "{registry} claims digest {claimed} for content that has {found}; going by the content")
            }
            Self::Mirror { registry, mirror } => write!(f, "{registry}: served by mirror {mirror}"),
            Self::MirrorFailed { registry, mirror, reason } => {
                write!(f, "{registry}: mirror {mirror} failed ({reason}), asking the next")
            }
        }
    }
}
