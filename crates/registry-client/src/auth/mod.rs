//! How a request gets its `Authorization`.
//!
//! 1. The first request to a registry goes out bare: many need nothing.
//! 2. A 401 names the ways in ([`challenge`]); bearer is preferred, then basic.
//! 3. For bearer, the token server that the registry itself named is asked for exactly the scopes
//!    of the request ([`scope`], [`token`]); one request, however many tasks wait.
//! 4. From then on every request to that registry carries what it needs from the start.
//! 5. A 401 in spite of that gets one fresh token, then it is an error (row R27).
//!
//! Credentials go to the registry's own origin or to its token server, never elsewhere.

pub(crate) mod challenge;
mod realm;
pub(crate) mod scope;
mod token;

use std::sync::PoisonError;
use std::time::Instant;

use base64::Engine as _;
use http::HeaderValue;
use url::Url;

pub(crate) use scope::Scopes;
pub(crate) use token::Tokens;

use crate::Client;
use crate::credentials::{Credential, Found};
use crate::error::{Error, Known, Place};
use crate::reference::{Registry, Repository};
use crate::secret::Secret;
use crate::transport::Host;
use challenge::Challenge;
use token::{Key, Token};

/// The way into a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// What goes into a request's `Authorization`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorization {
    pub(crate) header: Option<HeaderValue>,
    /// Everything secret about it, to be taken out of what the server says.
    pub(crate) secrets: Vec<Secret>,
    /// Which token, where it is one.
    serial: Option<u64>,
    scopes: Scopes,
    known: Option<Known>,
}

impl Authorization {
    /// What was known when a registry refused.
    pub(crate) fn known(&self) -> Known {
        self.known.clone().unwrap_or(Known::Nothing)
    }

    /// Whether `challenges` name scopes that were not asked for.
    pub(crate) fn lacks_scopes_of(&self, challenges: &[Challenge]) -> bool {
        let scopes = challenges.iter().filter(|challenge| challenge.scheme == "bearer").filter_map(|c| c.get("scope"));
        scopes.map(Scopes::parse).any(|asked| !self.scopes.covers(&asked))
    }
}

impl Client {
    /// What to send to `host` from the start. Nothing, as long as it has not asked.
    pub(crate) async fn authorization(
        &self,
        host: &Host,
        repository: Option<&Repository>,
        scopes: &Scopes,
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<Authorization, Error> {
        let scheme = host.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match scheme {
            None => Ok(Authorization::default()),
            Some(scheme) => self.authorize(host, repository, &scheme, scopes, None, place).await,
        }
    }

    /// What to send after a 401 with `challenges`. `refused` is what was sent before.
    pub(crate) async fn answer_challenge(
        &self,
        host: &Host,
        repository: Option<&Repository>,
        scopes: &Scopes,
        challenges: &[Challenge],
        refused: &Authorization,
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<Authorization, Error> {
        let (scheme, asked) = self.choose(host, challenges, place)?;
        *host.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheme.clone());
        let scopes = scopes.clone().union(&asked);
        self.authorize(host, repository, &scheme, &scopes, Some(refused), place).await
    }

    /// The best of several challenges, with the scopes it names.
    fn choose(
        &self,
        host: &Host,
        challenges: &[Challenge],
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<(Scheme, Scopes), Error> {
        let mut first_error = None;
        for challenge in challenges.iter().filter(|challenge| challenge.scheme == "bearer") {
            let Some(realm) = challenge.get("realm") else { continue };
            match realm::check(realm, &host.base(), &self.inner.config) {
                Ok(realm) => {
                    let asked = challenge.get("scope").map(Scopes::parse).unwrap_or_default();
                    let service = challenge.get("service").map(str::to_owned);
                    return Ok((Scheme::Bearer { realm, service }, asked));
                }
                Err((realm, reason)) => {
                    first_error.get_or_insert(Error::Realm { place: Box::new(place()), realm, reason });
                }
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        if challenges.iter().any(|challenge| challenge.scheme == "basic") {
            return Ok((Scheme::Basic, Scopes::none()));
        }
        let names: Vec<&str> = challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
        let problem = match names.as_slice() {
            [] => "401 without a challenge that says how to log in".to_owned(),
            names => format!("it offers only {} to log in", crate::redact::shown_text(&names.join(", "), &[])),
        };
        Err(Error::Protocol { place: Box::new(place()), problem })
    }

    async fn authorize(
        &self,
        host: &Host,
        repository: Option<&Repository>,
        scheme: &Scheme,
        scopes: &Scopes,
        refused: Option<&Authorization>,
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<Authorization, Error> {
        let found = self.credential(&host.registry, repository, place).await?;
        let known = match &found {
            Some(found) => Known::From { origin: found.origin.clone() },
            None => Known::Nothing,
        };
        let unauthorized =
            |known: &Known| Error::Unauthorized { place: Box::new(place()), known: known.clone(), answer: None };
        let sent_something = refused.is_some_and(|refused| refused.header.is_some());
        match (scheme, &found) {
            (Scheme::Basic, None) if refused.is_some() => Err(unauthorized(&known)),
            (Scheme::Basic, None) => Ok(Authorization::default()),
            (Scheme::Basic, Some(Found { credential: Credential::Password { username, password }, .. })) => {
                if sent_something {
                    return Err(unauthorized(&known));
                }
                let text = basic(username, password);
                let header = sensitive(&format!("Basic {}", text.expose())).ok_or_else(|| unauthorized(&known))?;
                let secrets = vec![text, password.clone()];
                Ok(Authorization {
                    header: Some(header),
                    secrets,
                    serial: None,
                    scopes: Scopes::none(),
                    known: Some(known),
                })
            }
            (Scheme::Basic, Some(_)) => Err(Error::Protocol {
                place: Box::new(place()),
                problem: "it wants a name and a password, but only a token is known".to_owned(),
            }),
            (Scheme::Bearer { .. }, Some(Found { credential: Credential::Bearer(token), .. })) => {
                if sent_something {
                    return Err(unauthorized(&known));
                }
                let header = sensitive(&format!("Bearer {}", token.expose())).ok_or_else(|| unauthorized(&known))?;
                Ok(Authorization {
                    header: Some(header),
                    secrets: vec![token.clone()],
                    serial: None,
                    scopes: Scopes::none(),
                    known: Some(known),
                })
            }
            (Scheme::Bearer { realm, service }, _) => {
                let key = Key {
                    realm: realm.clone(),
                    service: service.clone(),
                    credential: found.clone(),
                    scopes: scopes.clone(),
                };
                let rejected = refused.and_then(|refused| refused.serial);
                let token = self.token(host, key, rejected, &known, place).await?;
                let header =
                    sensitive(&format!("Bearer {}", token.value.expose())).ok_or_else(|| unauthorized(&known))?;
                let secrets = vec![token.value];
                Ok(Authorization {
                    header: Some(header),
                    secrets,
                    serial: Some(token.serial),
                    scopes: scopes.clone(),
                    known: Some(known),
                })
            }
        }
    }

    /// The credential for `repository`, looked up once.
    async fn credential(
        &self,
        registry: &Registry,
        repository: Option<&Repository>,
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<Option<Found>, Error> {
        let key = crate::credentials::keys(registry, repository).swap_remove(0);
        let mut cache = self.inner.credentials.lock().await;
        if let Some(found) = cache.get(&key) {
            return Ok(found.clone());
        }
        let (inner, registry, repository) = (self.inner.clone(), registry.clone(), repository.cloned());
        // A helper may take its time; other requests of this client wait for the same answer.
        let looked_up =
            tokio::task::spawn_blocking(move || inner.config.credentials.lookup(&registry, repository.as_ref())).await;
        let found = match looked_up {
            Ok(found) => found.map_err(|source| Error::Credentials { place: Box::new(place()), source })?,
            Err(_) => None,
        };
        cache.insert(key, found.clone());
        Ok(found)
    }

    /// A token for `key` that is not `rejected`: kept, waited for or fetched.
    async fn token(
        &self,
        host: &Host,
        key: Key,
        rejected: Option<u64>,
        known: &Known,
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<Token, Error> {
        let since = Instant::now();
        if let Some(token) = self.inner.tokens.at_hand(&key, rejected) {
            return Ok(token);
        }
        let slot = self.inner.tokens.slot(&key);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.usable(rejected) {
            return Ok(token);
        }
        let refusal = |answer| Error::Unauthorized {
            place: Box::new(place()),
            known: known.clone(),
            answer: Some(Box::new(answer)),
        };
        if let Some(answer) = slot.refused_since(since) {
            return Err(refusal(answer));
        }
        match self.fetch_token(host, &key, place).await? {
            Ok(grant) => {
                let serial = self.inner.serial.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(slot.accept(grant, serial))
            }
            Err(answer) => {
                slot.refuse(answer.clone());
                Err(refusal(answer))
            }
        }
    }
}

fn basic(username: &str, password: &Secret) -> Secret {
    let text = format!("{username}:{}", password.expose());
    Secret::new(base64::engine::general_purpose::STANDARD.encode(text))
}

/// A header value that `Debug` does not print; `None` for text that cannot stand in a header.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
