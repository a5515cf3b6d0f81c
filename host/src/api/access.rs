//! Who may ask: whoever has the daemon's token.

use axum::{
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use utoipa::{
    Modify,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use super::{flows::ACTOR, problem::Problem};
use crate::app::{Action, AuditEntry, Daemon};

/// The fewest characters of a token that somebody chooses.
const FEWEST: usize = 16;

/// What requests must carry.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

impl Token {
    /// A new one that nobody can guess.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self(hex::encode(bytes).into()))
    }

    /// One that somebody has chosen.
    ///
    /// # Errors
    /// It is too short to be secret.
    pub fn chosen(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.chars().count() < FEWEST {
            return Err(format!("a token has at least {FEWEST} characters"));
        }
        Ok(Self(text.to_owned().into()))
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Compares digests: how long that takes says nothing about the token.
    fn is(&self, other: &str) -> bool {
        Sha256::digest(self.expose()) == Sha256::digest(other)
    }
}

/// Lets a request with the token through, and puts every other one on record. The same one again is counted there, and
/// what is refused pushes out nothing that an operator did.
pub(super) async fn check(
    State((token, daemon)): State<(Token, Daemon)>,
    request: Request,
    next: Next,
) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
    if given.is_some_and(|given| token.is(given)) {
        return next.run(request).await;
    }
    let tried = if given.is_some() {
        "another token"
    } else {
        "no token"
    };
    let target = format!("{} {}", request.method(), request.uri().path());
    daemon.note(
        AuditEntry::new(Action::AccessRefused, ACTOR)
            .target(target)
            .detail(tried),
    );
    Problem::unauthorized().into_response()
}

/// Says in the API's description that a token is needed.
pub(super) struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        openapi.security = Some(vec![SecurityRequirement::new(
            "token",
            Vec::<String>::new(),
        )]);
    }
}
