//! The token server: which is trusted, and how it is asked.

use http::{HeaderMap, Method, header};
use url::Url;

use super::token::{Grant, Key};
use super::{basic, sensitive};
use crate::Client;
use crate::config::Config;
use crate::credentials::Credential;
use crate::error::{Answer, Error, Place, is_passing_status};
use crate::notice::Notice;
use crate::redact::ShownUrl;
use crate::transport::{Host, Payload, Raw, Tries, is_link_local_host, plain_http_allowed, same_origin};

/// Whether credentials may go to `realm`, which the registry at `base` named (rows R23, R24).
pub(super) fn check(realm: &str, base: &Url, config: &Config) -> Result<Url, (ShownUrl, &'static str)> {
    let shown = || ShownUrl::of_text(realm);
    let url = Url::parse(realm).map_err(|_| (shown(), "it is not a URL"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err((shown(), "its scheme is neither https nor http"));
    }
    let Some(name) = url.host_str() else { return Err((shown(), "it names no host")) };
    if url.scheme() == "http" {
        if base.scheme() == "https" {
            return Err((shown(), "it is http, the registry itself is https"));
        }
        if !same_origin(&url, base) && !plain_http_allowed(&url, config) {
            return Err((shown(), "it is http on another host"));
        }
    }
    if is_link_local_host(&url) && base.host_str() != Some(name) {
        return Err((shown(), "its address is link-local"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err((shown(), "it holds credentials itself"));
    }
    if let Some(pin) = &config.auth_realm
        && !(same_origin(pin, &url) && pin.path() == url.path())
    {
        return Err((shown(), "another one is pinned"));
    }
    Ok(url)
}

impl Client {
    /// Asks the token server. `Ok(Err(_))` is its refusal.
    pub(super) async fn fetch_token(
        &self,
        host: &Host,
        key: &Key,
        place: &(dyn Fn() -> Place + Sync),
    ) -> Result<Result<Grant, Answer>, Error> {
        if key.realm.host_str() != host.base().host_str() {
            let notice = Notice::TokenServer { registry: host.registry.clone(), realm: ShownUrl::new(&key.realm) };
            self.inner.config.notices.send(notice);
        }
        let token_place = || {
            let mut place = place();
            place.operation = format!("{} (getting a token from {})", place.operation, ShownUrl::new(&key.realm));
            place.url = Some(ShownUrl::new(&key.realm));
            place
        };
        let mut tries = Tries::of(self);
        loop {
            let outcome = self.ask_realm(key, &token_place).await;
            let (passing, retry_after, reason) = match &outcome {
                Ok((answer, _)) => (is_passing_status(answer.status), answer.retry_after, answer.to_string()),
                Err(error) => (error.is_passing(), None, error.to_string()),
            };
            if !passing || !self.pause(&host.registry, &mut tries, retry_after, &reason).await {
                let (answer, body) = outcome?;
                return match answer.status {
                    200 => match Grant::parse(&body) {
                        Ok(grant) => Ok(Ok(grant)),
                        Err(problem) => {
                            Err(Error::Protocol { place: Box::new(token_place()), problem: problem.to_owned() })
                        }
                    },
                    300..400 => Err(Error::Realm {
                        place: Box::new(place()),
                        realm: ShownUrl::new(&key.realm),
                        reason: "it redirects elsewhere",
                    }),
                    400 | 401 | 403 => Ok(Err(answer)),
                    _ => Err(Error::Status { place: Box::new(token_place()), answer: Box::new(answer) }),
                };
            }
        }
    }

    async fn ask_realm(&self, key: &Key, place: &(dyn Fn() -> Place + Sync)) -> Result<(Answer, Vec<u8>), Error> {
        let mut url = key.realm.clone();
        let mut headers = HeaderMap::new();
        let mut secrets = Vec::new();
        let credential = key.credential.as_ref().map(|found| &found.credential);
        let (method, payload) = match credential {
            Some(Credential::Identity(refresh)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("client_id", "mab");
                form.append_pair("service", key.service.as_deref().unwrap_or_default());
                form.append_pair("scope", &key.scopes.to_string());
                form.append_pair("refresh_token", refresh.expose());
                secrets.push(refresh.clone());
                headers
                    .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-www-form-urlencoded"));
                (Method::POST, Payload::Bytes(form.finish().into()))
            }
            other => {
                let mut query = url.query_pairs_mut();
                if let Some(service) = &key.service {
                    query.append_pair("service", service);
                }
                for scope in key.scopes.each() {
                    query.append_pair("scope", &scope);
                }
                if let Some(Credential::Password { username, password }) = other {
                    query.append_pair("account", username);
                    let text = basic(username, password);
                    if let Some(value) = sensitive(&format!("Basic {}", text.expose())) {
                        headers.insert(header::AUTHORIZATION, value);
                    }
                    secrets.extend([text, password.clone()]);
                }
                drop(query);
                (Method::GET, Payload::Empty)
            }
        };
        let raw = Raw { method, url, headers, wait: self.inner.config.timeouts.headers };
        let mut response = self.send(raw, payload, secrets, place).await?;
        let body = response.read_up_to(self.inner.config.limits.token_body).await?;
        let Some(body) = body else {
            let limit = self.inner.config.limits.token_body;
            return Err(Error::TooLarge { place: Box::new(place()), limit });
        };
        let answer = response.answer_with(if response.status() == 200 { &[] } else { &body });
        Ok((answer, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_realm(realm: &str, base: &str, expect: Result<(), &str>) {
        let config = Config { insecure: vec!["plain.example:5001".to_owned()], ..Config::default() };
        let found = check(realm, &Url::parse(base).unwrap(), &config);
        assert_eq!(found.map(drop).map_err(|(_, reason)| reason), expect, "{realm}");
    }

    #[test]
    fn r24_realms_must_be_as_safe_as_the_registry() {
        let https = "https://r.example/";
        check_realm("https://auth.example/token", https, Ok(()));
        check_realm("http://auth.example/token", https, Err("it is http, the registry itself is https"));
        check_realm("http://r.example/token", https, Err("it is http, the registry itself is https"));
        check_realm("null://", https, Err("its scheme is neither https nor http"));
        check_realm("file:///etc/passwd", https, Err("its scheme is neither https nor http"));
        check_realm("token", https, Err("it is not a URL"));
        check_realm("https://169.254.169.254/token", https, Err("its address is link-local"));
        check_realm("https://me:pw@auth.example/", https, Err("it holds credentials itself"));
    }

    #[test]
    fn plain_registries_may_name_plain_realms_only_where_that_is_allowed() {
        let http = "http://localhost:5000/";
        check_realm("http://localhost:5000/token", http, Ok(()));
        check_realm("http://127.0.0.1:5001/token", http, Ok(()));
        check_realm("http://plain.example:5001/token", http, Ok(()));
        check_realm("http://other.example/token", http, Err("it is http on another host"));
        check_realm("https://other.example/token", http, Ok(()));
    }

    #[test]
    fn a_pinned_realm_is_the_only_one() {
        let pin = Url::parse("https://auth.example/token").unwrap();
        let config = Config { auth_realm: Some(pin), ..Config::default() };
        let base = Url::parse("https://r.example/").unwrap();
        assert!(check("https://auth.example/token", &base, &config).is_ok());
        assert!(check("https://auth.example/other", &base, &config).is_err());
        assert!(check("https://evil.example/token", &base, &config).is_err());
    }
}
