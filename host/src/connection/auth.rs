//! What is added to a request so that the other side knows who asks.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};

use super::{
    SendError,
    client::Http,
    retry::Policy,
    secret::Secret,
    spec::{ApiKeySpec, AuthSpec},
    target::Base,
    token::{Grant, TokenSource},
};

/// How a connection authenticates.
pub(super) enum Auth {
    /// The same with each request.
    Fixed(Credential),
    /// A token that is got and renewed.
    Token(Box<TokenSource>),
}

/// What is added to one request.
#[derive(Clone)]
pub(super) enum Credential {
    None,
    /// The value is marked as sensitive, so that nothing shows it.
    Header(HeaderName, HeaderValue),
    Query(String, Secret),
    /// A token and which one it is.
    Token(HeaderValue, u64),
}

/// A problem of a connection's definition: JSON pointer in its file, message, advice.
pub(super) type Problem = (&'static str, String, String);

impl Auth {
    /// Checks a definition.
    pub(super) fn new(spec: &AuthSpec, base: &Base, place: &str) -> Result<Self, Problem> {
        let token = |pointer, url: &str, grant| {
            let url = token_url(base, url).ok_or_else(|| {
                (
                    pointer,
                    "is no path below the base URL and no http(s) URL".to_owned(),
                    String::new(),
                )
            })?;
            Ok(Self::Token(Box::new(TokenSource::new(url, grant, place))))
        };
        match spec {
            AuthSpec::None => Ok(Self::Fixed(Credential::None)),
            AuthSpec::Basic(spec) => {
                if spec.username.contains(':') {
                    let advice =
                        "basic authentication separates name and password with it".to_owned();
                    return Err((
                        "/auth/basic/username",
                        "must not contain a colon".to_owned(),
                        advice,
                    ));
                }
                Ok(Self::Fixed(basic(&spec.username, &spec.password)))
            }
            AuthSpec::Bearer(spec) => match sensitive(&format!("Bearer {}", spec.token.expose())) {
                Some(value) => Ok(Self::Fixed(Credential::Header(AUTHORIZATION, value))),
                None => Err(unprintable("/auth/bearer/token")),
            },
            AuthSpec::ApiKey(spec) => api_key(spec).map(Self::Fixed),
            AuthSpec::OAuth2Password(spec) => token(
                "/auth/oauth2-password/token-url",
                &spec.token_url,
                Grant::Password(spec.clone()),
            ),
            AuthSpec::OAuth2ClientCredentials(spec) => {
                let pointer = "/auth/oauth2-client-credentials/token-url";
                token(pointer, &spec.token_url, Grant::Client(spec.clone()))
            }
        }
    }

    /// The header that plugins may not set, because it carries the credential.
    pub(super) fn header(&self) -> Option<HeaderName> {
        match self {
            Self::Fixed(Credential::Header(name, _)) => Some(name.clone()),
            Self::Fixed(_) => None,
            Self::Token(_) => Some(AUTHORIZATION),
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Fixed(Credential::None))
    }

    /// Whether a secret is part of URLs.
    pub(super) fn is_in_query(&self) -> bool {
        matches!(self, Self::Fixed(Credential::Query(..)))
    }

    /// Where tokens come from.
    pub(super) fn token_url(&self) -> Option<&Url> {
        match self {
            Self::Fixed(_) => None,
            Self::Token(source) => Some(source.url()),
        }
    }

    /// What to add now. `refused` is a credential that the server did not take.
    pub(super) async fn credential(
        &self,
        http: &Http,
        policy: Policy,
        timeout: Duration,
        refused: Option<&Credential>,
    ) -> Result<Credential, SendError> {
        match self {
            Self::Fixed(credential) => Ok(credential.clone()),
            Self::Token(source) => source.credential(http, policy, timeout, refused).await,
        }
    }

    /// A credential that was new was refused, for the very request that the one before it was refused for.
    pub(super) async fn refused_again(&self, credential: &Credential) {
        if let (Self::Token(source), Credential::Token(_, generation)) = (self, credential) {
            source.refused_again(*generation).await;
        }
    }

    /// What is behind the tokens, which a server might repeat from the request for one.
    pub(super) fn secrets(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Token(source) => source.secrets(),
        }
    }

    /// Which fields of the definition to look at when the server refuses.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Fixed(Credential::None) => "it asks for authentication: add `auth`",
            Self::Fixed(Credential::Query(..)) => {
                "check `auth.api-key.value` and `auth.api-key.query`"
            }
            Self::Fixed(Credential::Header(name, _)) if *name != AUTHORIZATION => {
                "check `auth.api-key.value` and `auth.api-key.header`"
            }
            Self::Fixed(_) => "check the user name, password or token under `auth`",
            Self::Token(_) => {
                "a new token was refused, too: check what the user or client may do there"
            }
        }
    }
}

impl Credential {
    /// Whether both are the same token of a connection.
    pub(super) fn is_same_token(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Token(_, one), Self::Token(_, two)) if one == two)
    }

    /// The bytes that must not come back to a plugin: the secret as it is sent, and what is in it.
    pub(super) fn secrets(&self) -> Vec<Vec<u8>> {
        match self {
            Self::None => Vec::new(),
            Self::Header(_, value) | Self::Token(value, _) => within(value.as_bytes()),
            Self::Query(_, value) => within(value.expose().as_bytes()),
        }
    }

    /// Adds it to a request.
    pub(super) fn apply(&self, request: &mut reqwest::Request) {
        match self {
            Self::None => {}
            Self::Header(name, value) => {
                request.headers_mut().insert(name.clone(), value.clone());
            }
            Self::Token(value, _) => {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            Self::Query(name, value) => set_query(request.url_mut(), name, value),
        }
    }
}

/// First words of header values that say how to read the rest. They are no secrets, and stand in many texts.
const SCHEMES: [&str; 8] = [
    "basic",
    "bearer",
    "digest",
    "token",
    "apikey",
    "api-key",
    "negotiate",
    "signature",
];

/// A header's secrets: the whole value, or what follows the scheme when it has one, every part of it (a cookie has several;
/// their names are none), and the password when it is name and password.
pub(super) fn within(value: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = value;
    if let Some(at) = value.iter().position(|byte| *byte == b' ') {
        let is_scheme = |scheme: &str| value[..at].eq_ignore_ascii_case(scheme.as_bytes());
        if SCHEMES.iter().any(|scheme| is_scheme(scheme)) {
            rest = value[at..].trim_ascii();
        }
    }
    let mut all = vec![rest.to_vec()];
    for part in rest.split(|byte| b" \t;,\"".contains(byte)) {
        // What is behind a text in Base64 makes no name of it.
        let padding = part.iter().rev().take_while(|byte| **byte == b'=').count();
        let unpadded = &part[..part.len() - padding];
        let named = unpadded.iter().position(|byte| *byte == b'=');
        let from = named.map_or(0, |at| at + 1);
        all.extend([part[from..].to_vec(), unpadded[from..].to_vec()]);
    }
    all.retain(|part| !part.is_empty());
    if value.len() > rest.len()
        && let Ok(pair) = STANDARD.decode(rest)
        && let Some(at) = pair.iter().position(|byte| *byte == b':')
    {
        all.push(pair[at + 1..].to_vec());
    }
    all
}

/// Sets a query parameter and leaves the text of the others as it is.
fn set_query(url: &mut Url, name: &str, value: &Secret) {
    let is_other = |pair: &&str| {
        let first = pair.split('=').next().unwrap_or_default();
        url::form_urlencoded::parse(first.as_bytes())
            .next()
            .is_none_or(|(found, _)| found != name)
    };
    let others: Vec<&str> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(is_other)
        .collect();
    let mut query = others.join("&");
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(
        &url::form_urlencoded::Serializer::new(String::new())
            .append_pair(name, value.expose())
            .finish(),
    );
    url.set_query(Some(&query));
}

/// `Authorization: Basic ...`
pub(super) fn basic(username: &str, password: &Secret) -> Credential {
    let encoded = STANDARD.encode(format!("{username}:{}", password.expose()));
    match sensitive(&format!("Basic {encoded}")) {
        Some(value) => Credential::Header(AUTHORIZATION, value),
        // Base64 is always a valid header value.
        None => Credential::None,
    }
}

/// A header value that nothing shows; `None` when the text cannot be one.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn unprintable(pointer: &'static str) -> Problem {
    (
        pointer,
        "has a line break or control character in it".to_owned(),
        "check for a trailing line break".to_owned(),
    )
}

fn api_key(spec: &ApiKeySpec) -> Result<Credential, Problem> {
    match (&spec.header, &spec.query) {
        (Some(name), None) => {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                return Err((
                    "/auth/api-key/header",
                    format!("`{}` is no header name", name.escape_debug()),
                    String::new(),
                ));
            };
            match sensitive(spec.value.expose()) {
                Some(value) => Ok(Credential::Header(name, value)),
                None => Err(unprintable("/auth/api-key/value")),
            }
        }
        (None, Some(name)) if !name.is_empty() => {
            Ok(Credential::Query(name.clone(), spec.value.clone()))
        }
        _ => Err((
            "/auth/api-key",
            "needs either `header` or `query`".to_owned(),
            String::new(),
        )),
    }
}

/// A path below the base or an absolute URL, which may be at another host: the operator wrote it.
fn token_url(base: &Base, text: &str) -> Option<Url> {
    if text.starts_with("http://") || text.starts_with("https://") {
        let url = Url::parse(text).ok()?;
        return (url.has_host() && url.username().is_empty() && url.password().is_none())
            .then_some(url);
    }
    base.resolve(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_header_is_looked_for() {
        let of = |value: &str| -> Vec<String> {
            let parts = within(value.as_bytes()).into_iter();
            parts
                .map(|part| String::from_utf8_lossy(&part).into_owned())
                .collect()
        };
        assert!(of("plain-key").iter().all(|part| part == "plain-key"));
        let cookie = of("session=s3cr3t-s3cr3t; lang=en");
        for part in ["session=s3cr3t-s3cr3t; lang=en", "s3cr3t-s3cr3t", "en"] {
            assert!(cookie.contains(&part.to_owned()), "{part}: {cookie:?}");
        }
        // A word that is no secret would be taken out of texts about sessions.
        assert!(!cookie.contains(&"session".to_owned()), "{cookie:?}");
        let padded = of("k=abc.def==");
        assert!(padded.contains(&"abc.def==".to_owned()) && padded.contains(&"abc.def".to_owned()));
        let spaced = of("correct horse ab");
        assert!(spaced.contains(&"correct horse ab".to_owned()));
        assert!(spaced.contains(&"correct".to_owned()));
        let bearer = of("Bearer abc.def=");
        assert!(bearer.contains(&"abc.def=".to_owned()) && bearer.contains(&"abc.def".to_owned()));
        assert!(!bearer.contains(&"Bearer".to_owned()), "{bearer:?}");
        let named = of("Basic YW5uOmh1bnRlcjItZ2VoZWlt");
        assert!(named.contains(&"hunter2-geheim".to_owned()), "{named:?}");
        assert!(of("Bearer ").is_empty() && of("").is_empty());
    }

    #[test]
    fn a_key_in_the_query_replaces_only_its_own() {
        let set = |url: &str| {
            let mut url = Url::parse(url).unwrap();
            set_query(&mut url, "api key", &Secret::new("s&e=1"));
            url.query().unwrap().to_owned()
        };
        assert_eq!(set("https://a/x"), "api+key=s%26e%3D1");
        assert_eq!(set("https://a/x?"), "api+key=s%26e%3D1");
        assert_eq!(
            set("https://a/x?a=%20b&c&api%20key=evil&api+key"),
            "a=%20b&c&api+key=s%26e%3D1"
        );
    }
}
