//! Bytes that nobody is to see.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret that a command may read. It is shown nowhere, and travels in memory alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(content: Vec<u8>) -> Self {
        Self(content)
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", Secret::new(b"canary".to_vec()));
        assert_eq!(shown, "Secret(…)");
    }
}
