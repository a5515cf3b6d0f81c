//! Tokens: the password and refresh grants, and who holds a valid one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Credentials;
use super::error::ApiError;

/// The tokens given out.
pub(super) struct Tokens {
    credentials: Credentials,
    life: Duration,
    refresh_life: Duration,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    access: HashMap<String, Instant>,
    refresh: HashMap<String, Instant>,
}

impl Tokens {
    pub(super) fn new(credentials: Credentials, life: Duration, refresh_life: Duration) -> Self {
        Self {
            credentials,
            life,
            refresh_life,
            given: Mutex::default(),
        }
    }

    /// Answers `POST /api/oauth/v1/token`.
    pub(super) fn grant(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
        let fields = fields(headers, body)?;
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        if !self.is_client(headers) {
            let message = r#"Parameter "client_id" is missing or does not match any client, or secret is invalid"#;
            return Err(ApiError::unprocessable(message));
        }
        match field("grant_type") {
            "password" => {
                let known = field("username") == self.credentials.username
                    && field("password") == self.credentials.password;
                if !known {
                    return Err(ApiError::unprocessable(
                        "No user found for the given username and password",
                    ));
                }
            }
            "refresh_token" => {
                // A refresh token is good for one refresh.
                let until = self.lock().refresh.remove(field("refresh_token"));
                if until.is_none_or(|until| until <= Instant::now()) {
                    return Err(ApiError::unprocessable(
                        "Refresh token is invalid or has expired",
                    ));
                }
            }
            _ => {
                return Err(ApiError::unprocessable(
                    r#"Parameter "grant_type" is missing or invalid"#,
                ));
            }
        }
        Ok(self.give())
    }

    fn give(&self) -> Value {
        let (access, refresh) = (random(), random());
        let now = Instant::now();
        let mut given = self.lock();
        // Expired tokens are kept for a while, so that "expired" and "invalid" can be told apart.
        given
            .access
            .retain(|_, until| now.saturating_duration_since(*until) < Duration::from_mins(10));
        given.refresh.retain(|_, until| *until > now);
        given.access.insert(access.clone(), now + self.life);
        given
            .refresh
            .insert(refresh.clone(), now + self.refresh_life);
        json!({"access_token": access, "expires_in": self.life.as_secs(), "token_type": "bearer", "scope": null,
            "refresh_token": refresh})
    }

    /// Lets a request with a valid token pass.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let token = text(headers, header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| ApiError::unauthorized("Authentication is required"))?;
        match self.lock().access.get(token) {
            None => Err(ApiError::unauthorized(
                "The access token provided is invalid.",
            )),
            Some(until) if *until <= Instant::now() => Err(ApiError::unauthorized(
                "The access token provided has expired.",
            )),
            Some(_) => Ok(()),
        }
    }

    /// Makes every access token given so far an expired one.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        self.lock()
            .access
            .values_mut()
            .for_each(|until| *until = now);
    }

    /// Makes every refresh token given so far invalid.
    pub(super) fn revoke_refresh(&self) {
        self.lock().refresh.clear();
    }

    fn is_client(&self, headers: &HeaderMap) -> bool {
        let given = text(headers, header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, pair)| STANDARD.decode(pair.trim()).ok());
        given
            == Some(
                format!("{}:{}", self.credentials.client_id, self.credentials.secret).into_bytes(),
            )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn fields(headers: &HeaderMap, body: &[u8]) -> Result<HashMap<String, String>, ApiError> {
    let kind = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/json" => {
            let object: HashMap<String, Value> = serde_json::from_slice(body)
                .map_err(|_| ApiError::bad_request("Invalid json message received"))?;
            Ok(object
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
                .collect())
        }
        "application/x-www-form-urlencoded" => {
            Ok(url::form_urlencoded::parse(body).into_owned().collect())
        }
        other => {
            let message = format!(
                "'{other}' in 'Content-type' header is not valid. Only 'application/json' is allowed."
            );
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

fn random() -> String {
    // Each RandomState has fresh keys: good enough for tokens that only tests see.
    let mut token = String::new();
    for n in 0..4 {
        // Writing to a String cannot fail.
        let _ = write!(token, "{:016x}", RandomState::new().hash_one(n));
    }
    token
}
