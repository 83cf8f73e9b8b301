//! Who may do what: nobody asks, basic, or tokens from a server of the registry's own at `/token`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::api::rights;
use crate::http::{Answer, Request, decode_form};

/// Who may do what.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Everyone, everything.
    Open,
    /// This name with this password, everything.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// Whoever has a token.
    Token(TokenAuth),
}

/// A registry with a token server.
#[derive(Clone, Debug)]
pub struct TokenAuth {
    /// The one user's name.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Its refresh token, for OAuth2.
    pub identity: String,
    /// Whether someone without credentials gets tokens that read.
    pub anonymous_pull: bool,
    /// `expires_in`, where it is said.
    pub expires_in: Option<u64>,
    /// The challenge's realm; `None` for the registry's own `/token`.
    pub realm: Option<String>,
    /// The challenge's service.
    pub service: String,
}

impl Default for TokenAuth {
    fn default() -> Self {
        Self {
            username: "builder".to_owned(),
            password: "canary-password".to_owned(),
            identity: "canary-identity".to_owned(),
            anonymous_pull: false,
            expires_in: Some(300),
            realm: None,
            service: "test".to_owned(),
        }
    }
}

impl TokenAuth {
    /// The same with a token server elsewhere.
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = Some(realm.into());
        self
    }
}

/// The tokens that are good, with the rights of each.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    tokens: BTreeMap<String, Vec<(String, Vec<String>)>>,
    count: u64,
}

impl Issued {
    pub(crate) fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// Whether `request` may be done at all; else the answer to it.
    pub(crate) fn check(&self, auth: &Auth, request: &Request, base: &str) -> Result<(), Answer> {
        match auth {
            Auth::Open => Ok(()),
            Auth::Basic { username, password } => {
                let wanted = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
                if request.header("authorization") == Some(&wanted) {
                    return Ok(());
                }
                Err(Answer::error(401, "UNAUTHORIZED", "authentication required")
                    .header("WWW-Authenticate", "Basic realm=\"test registry\""))
            }
            Auth::Token(settings) => self.check_token(settings, request, base),
        }
    }

    fn check_token(&self, settings: &TokenAuth, request: &Request, base: &str) -> Result<(), Answer> {
        let needed = rights(request);
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let granted = token.and_then(|token| self.tokens.get(token));
        let enough = match (&needed, granted) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some((name, action)), Some(rights)) => rights
                .iter()
                .any(|(held, actions)| held == name && actions.iter().any(|held| held == action || held == "*")),
        };
        if enough {
            return Ok(());
        }
        let realm = settings.realm.clone().unwrap_or_else(|| format!("{base}/token"));
        let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{}\"", settings.service);
        if let Some((name, action)) = needed {
            let actions = if action == "push" { "pull,push" } else { action };
            challenge.push_str(&format!(",scope=\"repository:{name}:{actions}\""));
        }
        if granted.is_some() {
            challenge.push_str(",error=\"insufficient_scope\"");
        }
        Err(Answer::error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge))
    }

    /// The token server.
    pub(crate) fn answer(&mut self, auth: &Auth, request: &Request) -> Answer {
        let Auth::Token(settings) = auth else { return Answer::new(404) };
        let refused = |status, details: &str| {
            Answer::new(status).header("Content-Type", "application/json").body(json!({"details": details}).to_string())
        };
        let (service, scopes, known) = if request.method == "POST" {
            let form = decode_form(&String::from_utf8_lossy(&request.body));
            let get = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            if get("grant_type").as_deref() != Some("refresh_token") || get("client_id").is_none() {
                return refused(400, "unsupported grant");
            }
            if get("refresh_token").as_deref() != Some(&settings.identity) {
                return refused(401, "bad refresh token");
            }
            let scopes = get("scope").unwrap_or_default().split(' ').map(str::to_owned).collect();
            (get("service"), scopes, true)
        } else {
            let wanted = format!("Basic {}", STANDARD.encode(format!("{}:{}", settings.username, settings.password)));
            let known = match request.header("authorization") {
                Some(value) if value == wanted => true,
                Some(_) => return refused(403, "PAT expired"),
                None => false,
            };
            (request.query("service"), request.queries("scope"), known)
        };
        if service.as_deref() != Some(&settings.service) {
            return refused(400, "another service");
        }
        if !known && !settings.anonymous_pull {
            return refused(401, "who are you?");
        }
        let mut granted = Vec::new();
        for scope in scopes {
            let Some((resource, actions)) = scope.rsplit_once(':') else { continue };
            let Some(name) = resource.strip_prefix("repository:") else { continue };
            let actions: Vec<String> =
                actions.split(',').filter(|action| known || *action == "pull").map(str::to_owned).collect();
            granted.push((name.to_owned(), actions));
        }
        self.count += 1;
        let token = format!("canary-token-{}", self.count);
        self.tokens.insert(token.clone(), granted);
        let mut body = json!({ "token": token });
        if let Some(seconds) = settings.expires_in {
            body["expires_in"] = seconds.into();
        }
        Answer::new(200).header("Content-Type", "application/json").body(body.to_string())
    }
}
