//! Bearer tokens: asked for once however many tasks want one, reused as long as they last.
//!
//! Protocol: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
//! A token is kept under its server, service, credential and scopes; one whose scopes cover more
//! than is wanted serves too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use url::Url;

use super::scope::Scopes;
use crate::credentials::Found;
use crate::error::Answer;
use crate::secret::Secret;

/// How long a token lasts whose server does not say (distribution, "Token Response Fields").
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Longest life that is believed.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What a token is kept under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
    pub(crate) credential: Option<Found>,
    pub(crate) scopes: Scopes,
}

impl Key {
    fn serves(&self, wanted: &Self) -> bool {
        self.realm == wanted.realm
            && self.service == wanted.service
            && self.credential == wanted.credential
            && self.scopes.covers(&wanted.scopes)
    }
}

/// A token that can be sent.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    /// Tells this token from the one fetched before it.
    pub(crate) serial: u64,
    good_until: Instant,
}

/// A refusal that everyone gets who waited for it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    at: Instant,
    pub(crate) answer: Answer,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) token: Option<Token>,
    pub(crate) refusal: Option<Refusal>,
}

impl Slot {
    /// The token, unless it is about to expire or is the one that was just refused.
    pub(crate) fn usable(&self, rejected: Option<u64>) -> Option<Token> {
        self.token.clone().filter(|token| Some(token.serial) != rejected && Instant::now() < token.good_until)
    }

    /// A refusal that came while the caller waited, since `since`.
    pub(crate) fn refused_since(&self, since: Instant) -> Option<Answer> {
        self.refusal.as_ref().filter(|refusal| refusal.at >= since).map(|refusal| refusal.answer.clone())
    }

    pub(crate) fn accept(&mut self, grant: Grant, serial: u64) -> Token {
        let life = grant.life();
        // Leave early: a token must still be good when the request arrives.
        let margin = (life / 10).min(Duration::from_secs(10));
        let token = Token { value: grant.token, serial, good_until: Instant::now() + life - margin };
        *self = Self { token: Some(token.clone()), refusal: None };
        token
    }

    pub(crate) fn refuse(&mut self, answer: Answer) {
        *self = Self { token: None, refusal: Some(Refusal { at: Instant::now(), answer }) };
    }
}

/// All tokens of a client.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    slots: Mutex<Vec<(Key, Arc<tokio::sync::Mutex<Slot>>)>>,
}

impl Tokens {
    /// A token at hand that serves `wanted`, perhaps with wider scopes.
    pub(crate) fn at_hand(&self, wanted: &Key, rejected: Option<u64>) -> Option<Token> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut serving = slots.iter().filter(|(key, _)| key.serves(wanted));
        serving.find_map(|(_, slot)| slot.try_lock().ok()?.usable(rejected))
    }

    /// The place of the token for exactly `wanted`: who locks it may fetch one.
    pub(crate) fn slot(&self, wanted: &Key) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = slots.iter().find(|(key, _)| key == wanted) {
            return Arc::clone(slot);
        }
        let slot = Arc::default();
        slots.push((wanted.clone(), Arc::clone(&slot)));
        slot
    }
}

/// A token server's answer.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) token: Secret,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct RawGrant {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<serde_json::Value>,
}

impl Grant {
    /// Reads the answer; the error says what is wrong with it without quoting it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let raw: RawGrant = serde_json::from_slice(body).map_err(|_| "the token server's answer is not JSON")?;
        let given = |secret: Option<Secret>| secret.filter(|secret| !secret.is_empty());
        let token = given(raw.token).or(given(raw.access_token)).ok_or("the token server's answer holds no token")?;
        // RFC 6750, section 2.1: visible characters only. Others could end the header.
        if !token.expose().bytes().all(|b| (0x21..0x7f).contains(&b)) {
            return Err("the token holds characters that cannot be sent");
        }
        // Some servers quote the number.
        let expires_in = raw.expires_in.and_then(|value| match value {
            serde_json::Value::String(text) => text.parse::<f64>().ok(),
            other => other.as_f64(),
        });
        let expires_in = expires_in.filter(|seconds| *seconds >= 1.0).map(|seconds| seconds as u64);
        Ok(Self { token, expires_in })
    }

    fn life(&self) -> Duration {
        self.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_leniently_but_tokens_strictly() {
        let life = |text: &str| Grant::parse(text.as_bytes()).unwrap().life().as_secs();
        assert_eq!(life(r#"{"token":"a"}"#), 60);
        assert_eq!(life(r#"{"access_token":"a","expires_in":300}"#), 300);
        assert_eq!(life(r#"{"token":"a","expires_in":"299"}"#), 299);
        assert_eq!(life(r#"{"token":"a","expires_in":0}"#), 60);
        assert_eq!(life(r#"{"token":"a","expires_in":1e300}"#), 24 * 3600);
        for bad in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":"a b"}"#, r#"{"token":5}"#, "[]"] {
            assert!(Grant::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wider_token_serves() {
        let key = |scopes: &str| Key {
            realm: Url::parse("https://a.example/token").unwrap(),
            service: None,
            credential: None,
            scopes: Scopes::parse(scopes),
        };
        let tokens = Tokens::default();
        let wide = tokens.slot(&key("repository:a:pull,push repository:b:pull"));
        assert!(tokens.at_hand(&key("repository:b:pull"), None).is_none(), "nothing there yet");
        wide.try_lock().unwrap().accept(Grant::parse(br#"{"token":"x"}"#).unwrap(), 7);
        assert_eq!(tokens.at_hand(&key("repository:b:pull"), None).map(|token| token.serial), Some(7));
        assert!(tokens.at_hand(&key("repository:b:pull"), Some(7)).is_none(), "the one that was refused");
        assert!(tokens.at_hand(&key("repository:b:push"), None).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_survived(body: Vec<u8>, token: String, life: f64) {
            let _ = Grant::parse(&body);
            let text = serde_json::json!({"token": token, "expires_in": life}).to_string();
            if let Ok(grant) = Grant::parse(text.as_bytes()) {
                proptest::prop_assert!(http::HeaderValue::from_str(grant.token.expose()).is_ok());
                proptest::prop_assert!(grant.life() <= LONGEST_LIFE);
            }
        }
    }
}
