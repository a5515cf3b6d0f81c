//! Tokens of OAuth 2: got once, used until shortly before they expire, renewed by one request for all who wait. Who was
//! refused is not sent again for a while.

use std::{sync::PoisonError, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Response, SendError,
    auth::{Credential, basic, sensitive},
    client::{Call, Http, count, shown},
    conceal::Hidden,
    issued::{Issued, MAX_QUIET, MIN_QUIET, Pace},
    retry::{self, Failure, Policy},
    secret::Secret,
    spec::{AuthStyle, ClientCredentialsSpec, PasswordSpec, TokenBody},
};
use crate::flow::Budget;

/// Tokens are renewed this long before they expire, or a tenth of their life when that is shorter.
const MAX_SKEW: Duration = Duration::from_mins(1);
/// No answer with a token is larger.
const MAX_TOKEN_RESPONSE: u64 = 1 << 20;
/// Longer texts of a token endpoint are cut when they are shown.
const MAX_SHOWN: usize = 200;

/// How a token is asked for.
pub(super) enum Grant {
    Password(PasswordSpec),
    Client(ClientCredentialsSpec),
}

/// Gets tokens and keeps the last one.
pub(super) struct TokenSource {
    url: Url,
    grant: Grant,
    /// The connection, for messages.
    place: String,
    state: Mutex<State>,
    /// The tokens of both kinds that may be good. Not in `state`, which is locked while one is asked for.
    issued: std::sync::Mutex<Issued>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Counts tokens, so that a refused one is told from its successor.
    generation: u64,
    /// The last failure: those who waited for it share it, and a refusal counts for all who ask soon after it.
    failure: Option<Failed>,
    /// How often there may be a new one.
    pace: Pace,
}

/// Why there was no token.
struct Failed {
    at: Instant,
    error: SendError,
    /// Nothing is sent before this time has passed. Zero when it was no refusal.
    quiet: Duration,
}

impl Failed {
    /// The same for somebody who asks later.
    fn quietly(&self, left: Duration) -> SendError {
        let SendError::Unauthenticated(why) = &self.error else {
            return self.error.clone();
        };
        let seconds = left.as_secs() + 1;
        SendError::Unauthenticated(format!(
            "{why} (so that nobody is locked out it is not asked again for {seconds} s)"
        ))
    }
}

struct Token {
    header: HeaderValue,
    refresh: Option<Secret>,
    renew_at: Option<Instant>,
    /// As the server says.
    life: Option<Duration>,
    /// That of the refresh token.
    refresh_life: Option<Duration>,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    refresh_token: Option<String>,
    /// Seconds. Some servers send a text.
    expires_in: Option<serde_json::Value>,
    /// The same for the refresh token, by one of the names that are in use.
    #[serde(alias = "refresh_token_expires_in")]
    refresh_expires_in: Option<serde_json::Value>,
}

/// Why there is no token.
enum Refusal {
    /// The endpoint does not accept who asks.
    Refused(u16, String),
    Other(SendError),
}

impl TokenSource {
    pub(super) fn new(url: Url, grant: Grant, place: &str) -> Self {
        Self {
            url,
            grant,
            place: place.to_owned(),
            state: Mutex::default(),
            issued: std::sync::Mutex::default(),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// What requests for a token carry, and the last tokens. Not to come back to a plugin, from a page that shows the last
    /// requests, say.
    pub(super) fn secrets(&self) -> Vec<Vec<u8>> {
        let plain = |secret: &Secret| secret.expose().as_bytes().to_vec();
        let (client_id, client_secret) = match &self.grant {
            Grant::Password(spec) => (&spec.client_id, &spec.client_secret),
            Grant::Client(spec) => (&spec.client_id, &spec.client_secret),
        };
        let mut all = basic(client_id, client_secret).secrets();
        all.push(plain(client_secret));
        if let Grant::Password(spec) = &self.grant {
            all.push(plain(&spec.password));
        }
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(issued.secrets().map(plain));
        all
    }

    /// Keeps a token in mind, and says for how long at most.
    fn issue(&self, token: &Token) -> Duration {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let access = token.header.to_str().unwrap_or_default();
        let access = access.strip_prefix("Bearer ").unwrap_or(access);
        let kept = issued.keep(Secret::new(access), token.life);
        let refresh = token.refresh.clone();
        let refresh_kept = refresh.map(|refresh| issued.keep_refresh(refresh, token.refresh_life));
        kept.max(refresh_kept.unwrap_or_default())
    }

    /// A token that was new was refused for the request that the one before it was refused for: the reason is another
    /// one, and a third token would not help.
    pub(super) async fn refused_again(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.pace.was_useless(generation);
        }
    }

    /// A token that is probably good. `refused` is one that was not. Cancel safe: the next caller asks again.
    pub(super) async fn credential(
        &self,
        http: &Http,
        policy: Policy,
        timeout: Duration,
        refused: Option<&Credential>,
    ) -> Result<Credential, SendError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        let is_refused = matches!(refused, Some(Credential::Token(_, generation)) if *generation == state.generation);
        if let Some(token) = &state.token
            && !is_refused
            && token.renew_at.is_none_or(|at| Instant::now() < at)
        {
            return Ok(Credential::Token(token.header.clone(), state.generation));
        }
        // Who may not renew it now makes do with the one at hand.
        if let Some(token) = &state.token
            && !state.pace.allows(is_refused)
        {
            return Ok(Credential::Token(token.header.clone(), state.generation));
        }
        if let Some(failed) = &state.failure {
            if failed.at >= asked {
                return Err(failed.error.clone());
            }
            let left = failed.quiet.saturating_sub(failed.at.elapsed());
            if !left.is_zero() {
                return Err(failed.quietly(left));
            }
        }
        let refresh = state.token.as_ref().and_then(|token| token.refresh.clone());
        match self.fetch(http, policy, timeout, refresh).await {
            Ok(token) => {
                count(&http.tally.tokens, 1);
                let kept = self.issue(&token);
                state.pace.renewed(kept, token.life);
                state.generation += 1;
                state.failure = None;
                let credential = Credential::Token(token.header.clone(), state.generation);
                state.token = Some(token);
                Ok(credential)
            }
            Err(error) => {
                let quiet = match (&error, &state.failure) {
                    (SendError::Unauthenticated(_), Some(before)) => {
                        (before.quiet * 2).clamp(MIN_QUIET, MAX_QUIET)
                    }
                    (SendError::Unauthenticated(_), None) => MIN_QUIET,
                    _ => Duration::ZERO,
                };
                state.failure = Some(Failed {
                    at: Instant::now(),
                    error: error.clone(),
                    quiet,
                });
                Err(error)
            }
        }
    }

    /// Asks for a token: with the refresh token when there is one, and with everything when that does not work.
    async fn fetch(
        &self,
        http: &Http,
        policy: Policy,
        timeout: Duration,
        refresh: Option<Secret>,
    ) -> Result<Token, SendError> {
        if let Some(refresh) = refresh {
            match self.ask(http, policy, timeout, Some(&refresh)).await {
                Ok(token) => return Ok(token),
                Err(Refusal::Other(error)) => return Err(error),
                // Refresh tokens expire, too.
                Err(Refusal::Refused(..)) => {}
            }
        }
        self.ask(http, policy, timeout, None)
            .await
            .map_err(|refusal| match refusal {
                Refusal::Other(error) => error,
                Refusal::Refused(status, said) => SendError::Unauthenticated(format!(
                    "{} refused to give a token (status {status}{said}); in {}, {}",
                    shown(&self.url),
                    self.place,
                    self.advice(&said)
                )),
            })
    }

    async fn ask(
        &self,
        http: &Http,
        policy: Policy,
        timeout: Duration,
        refresh: Option<&Secret>,
    ) -> Result<Token, Refusal> {
        let (call, credential) = self.request(timeout, refresh);
        // A request for a token may be sent twice: at worst one token is never used.
        let outcome = retry::run(
            policy,
            true,
            || http.exchange(&call, &credential),
            |retry| {
                count(&http.tally.retries, 1);
                let reason = self.discreet(retry.reason.clone());
                tracing::warn!(
                    connection = self.place,
                    wait = ?retry.wait,
                    "no token yet, will ask again: {reason}"
                );
            },
        )
        .await;
        let response = outcome.map_err(|failure| Refusal::Other(self.unreachable(failure)))?;
        let said = self.said(&response);
        match response.status {
            200..300 => self.token(&response, refresh).map_err(Refusal::Other),
            429 | 500.. => Err(Refusal::Other(SendError::Unreachable(format!(
                "{} gives no token (status {}{said})",
                shown(&self.url),
                response.status
            )))),
            status => Err(Refusal::Refused(status, said)),
        }
    }

    fn unreachable(&self, failure: Failure) -> SendError {
        let context = format!("no token for {}", self.place);
        match failure {
            Failure::Denied(message) => SendError::Denied(format!("{context}: {message}")),
            Failure::Unreachable { message, .. }
            | Failure::Untrusted(message)
            | Failure::TooLarge(message)
            | Failure::NoRoom(message) => SendError::Unreachable(format!("{context}: {message}")),
        }
    }

    /// The request for a token.
    fn request(&self, timeout: Duration, refresh: Option<&Secret>) -> (Call, Credential) {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        let (credential, body) = match &self.grant {
            Grant::Password(spec) => {
                match refresh {
                    Some(refresh) => {
                        fields.extend([
                            ("grant_type", "refresh_token"),
                            ("refresh_token", refresh.expose()),
                        ]);
                    }
                    None => fields.extend([
                        ("grant_type", "password"),
                        ("username", &spec.username),
                        ("password", spec.password.expose()),
                    ]),
                }
                (basic(&spec.client_id, &spec.client_secret), spec.body)
            }
            Grant::Client(spec) => {
                match refresh {
                    Some(refresh) => {
                        fields.extend([
                            ("grant_type", "refresh_token"),
                            ("refresh_token", refresh.expose()),
                        ]);
                    }
                    None => fields.push(("grant_type", "client_credentials")),
                }
                fields.extend(spec.scope.as_deref().map(|scope| ("scope", scope)));
                let credential = match spec.auth_style {
                    AuthStyle::Basic => basic(&spec.client_id, &spec.client_secret),
                    AuthStyle::Body => {
                        fields.extend([
                            ("client_id", spec.client_id.as_str()),
                            ("client_secret", spec.client_secret.expose()),
                        ]);
                        Credential::None
                    }
                };
                (credential, TokenBody::Form)
            }
        };
        let (content_type, body) = encode(body, &fields);
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        let call = Call {
            method: Method::POST,
            url: self.url.clone(),
            named: self.url.clone(),
            headers,
            body: Bytes::from(body),
            timeout,
            max_response: MAX_TOKEN_RESPONSE,
            budget: Budget::default(),
        };
        (call, credential)
    }

    fn token(&self, response: &Response, refresh: Option<&Secret>) -> Result<Token, SendError> {
        let unusable = |why: &str| {
            SendError::Unauthenticated(format!(
                "{} answered with status {} but {why}; check the token URL in {}",
                shown(&self.url),
                response.status,
                self.place
            ))
        };
        let granted: Granted = serde_json::from_slice(&response.body)
            .map_err(|_| unusable("without an `access_token` in JSON"))?;
        let header = sensitive(&format!("Bearer {}", granted.access_token))
            .ok_or_else(|| unusable("with a malformed token"))?;
        let life = granted.expires_in.as_ref().and_then(seconds);
        Ok(Token {
            header,
            // A server that rotates no refresh tokens lets the old one live.
            refresh: granted
                .refresh_token
                .map(Secret::new)
                .or_else(|| refresh.cloned()),
            renew_at: life.and_then(|life| {
                Instant::now().checked_add(life.saturating_sub(MAX_SKEW.min(life / 10)))
            }),
            life,
            refresh_life: granted.refresh_expires_in.as_ref().and_then(seconds),
        })
    }

    /// A text without what requests for a token carry.
    fn discreet(&self, text: String) -> String {
        Hidden::of(self.secrets()).text(text).0
    }

    /// What the endpoint said about an error, for a person, without secrets that it may have repeated.
    fn said(&self, response: &Response) -> String {
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&response.body) else {
            return String::new();
        };
        let texts = ["error", "error_description", "message"]
            .iter()
            .filter_map(|name| answer.get(name)?.as_str());
        let text = texts.collect::<Vec<_>>().join(": ");
        // Searched as it is shown, and before it is cut: half a secret is found by nobody.
        let clean: String = text.chars().filter(|letter| !letter.is_control()).collect();
        let text: String = self.discreet(clean).chars().take(MAX_SHOWN).collect();
        if text.is_empty() {
            text
        } else {
            format!(", {text}")
        }
    }

    fn advice(&self, said: &str) -> &'static str {
        match &self.grant {
            Grant::Password(_) if said.contains("invalid_client") => {
                "check `client-id` and `client-secret` under `auth.oauth2-password`"
            }
            Grant::Password(_) => {
                "check `username`, `password`, `client-id` and `client-secret` under `auth.oauth2-password`, and `body`"
            }
            Grant::Client(_) => {
                "check `client-id`, `client-secret` and `scope` under `auth.oauth2-client-credentials`, and `auth-style`"
            }
        }
    }
}

/// A time in an answer.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let seconds = match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Duration::try_from_secs_f64(seconds?.max(0.0)).ok()
}

fn encode(body: TokenBody, fields: &[(&str, &str)]) -> (&'static str, String) {
    match body {
        TokenBody::Form => {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            ("application/x-www-form-urlencoded", form)
        }
        TokenBody::Json => {
            let object: serde_json::Map<_, _> = fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).into()))
                .collect();
            (
                "application/json",
                serde_json::Value::Object(object).to_string(),
            )
        }
    }
}
