//! Who we are to a registry: the challenge that it gives, and what answers it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{
    RegistryError,
    credential::{self, Credential},
    http::{Ask, Http, refused, said},
};

/// A larger answer is no token.
const MAX_TOKEN: u64 = 256 << 10;

/// What is to be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    /// Looking.
    Pull,
    /// Writing.
    Push,
    /// Looking which repositories there are.
    List,
}

/// What a registry said no to.
pub(super) struct Refused<'a> {
    /// What it said: the challenge is in there.
    pub(super) headers: &'a HeaderMap,
    /// And the reason, perhaps.
    pub(super) body: &'a [u8],
    /// The repository's own address.
    pub(super) base: &'a Url,
    /// What could not be done.
    pub(super) what: &'a str,
    /// Where the credentials are, when not in the usual place.
    pub(super) credentials: Option<&'a Path>,
}

/// A challenge in words: `Bearer realm="https://...",service="...",scope="..."`.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: String },
}

/// The tokens that were got so far, by host, repository and access.
#[derive(Default)]
pub(super) struct Sessions {
    headers: Mutex<HashMap<(String, String, Access), HeaderValue>>,
}

impl Sessions {
    pub(super) fn get(&self, host: &str, path: &str, access: Access) -> Option<HeaderValue> {
        let headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers
            .get(&(host.to_owned(), path.to_owned(), access))
            .cloned()
    }

    fn put(&self, host: &str, path: &str, access: Access, header: &HeaderValue) {
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        headers.insert((host.to_owned(), path.to_owned(), access), header.clone());
    }

    /// Answers a challenge.
    pub(super) async fn answer(
        &self,
        http: &Http,
        refused: &Refused<'_>,
        (host, path, access): (&str, &str, Access),
    ) -> Result<HeaderValue, RegistryError> {
        let (base, what) = (refused.base, refused.what);
        let found = credential::find(host, refused.credentials).await;
        let credential = found.map_err(|why| RegistryError::Credentials {
            host: host.to_owned(),
            why,
        })?;
        let denied = |said: &[u8]| denied(host, credential.as_ref(), what, said);
        let header = match challenge(refused.headers) {
            None => return Err(denied(refused.body)),
            Some(Challenge::Basic) => {
                let basic = credential.as_ref().and_then(Credential::basic);
                let basic = basic.ok_or_else(|| denied(refused.body))?;
                sensitive("Basic", &basic)
            }
            Some(Challenge::Bearer { realm, service }) => {
                let scope = match access {
                    Access::Pull => format!("repository:{path}:pull"),
                    Access::Push => format!("repository:{path}:pull,push"),
                    Access::List => "registry:catalog:*".to_owned(),
                };
                let token = token(
                    http,
                    base,
                    host,
                    &realm,
                    &service,
                    &scope,
                    credential.as_ref(),
                );
                let token = token.await?.ok_or_else(|| denied(&[]))?;
                sensitive("Bearer", &token)
            }
        };
        let header = header.ok_or_else(|| RegistryError::Unusable {
            host: host.to_owned(),
            what: "token".to_owned(),
            why: "it holds what no header can".to_owned(),
        })?;
        self.put(host, path, access, &header);
        Ok(header)
    }
}

/// The error for who may not do something.
pub(super) fn denied(
    host: &str,
    credential: Option<&Credential>,
    what: &str,
    body: &[u8],
) -> RegistryError {
    let (who, advice) = match credential {
        Some(one) => (
            format!("`{}`", one.who()),
            "log in with an account that may".to_owned(),
        ),
        None => (
            "anybody without a login".to_owned(),
            format!(
                "log in first, as with `docker login {host}`, or put `auths` into ~/.docker/config.json"
            ),
        ),
    };
    let said = match said(body) {
        empty if empty.is_empty() => "it gives no reason".to_owned(),
        said => said,
    };
    RegistryError::Denied {
        host: host.to_owned(),
        who,
        what: what.to_owned(),
        said,
        advice,
    }
}

fn sensitive(scheme: &str, secret: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", secret.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut best = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            best.get_or_insert(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = parameter(rest, "realm")
        {
            return Some(Challenge::Bearer {
                realm,
                service: parameter(rest, "service").unwrap_or_default(),
            });
        }
    }
    best
}

/// The value of `name="value"` in a list of those.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while let Some((key, behind)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']);
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => behind.split_once(',').unwrap_or((behind, "")),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = after;
    }
    None
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// What is asked for a token: with a form by who has an identity, with a name and a password or nothing by others.
fn question<'a>(
    mut url: Url,
    host: &'a str,
    service: &str,
    scope: &str,
    credential: Option<&Credential>,
) -> Ask<'a> {
    let mut ask = Ask {
        method: Method::GET,
        url: url.clone(),
        host,
        what: "a token",
        accept: Some("application/json"),
        authorization: None,
        body: None,
        stays: true,
        limit: MAX_TOKEN,
        expected: None,
    };
    match credential {
        Some(Credential::Identity { token }) => {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "refresh_token")
                .append_pair("client_id", "crossdock")
                .append_pair("service", service)
                .append_pair("scope", scope)
                .append_pair("refresh_token", token.expose_secret())
                .finish();
            ask.method = Method::POST;
            ask.body = Some((form.into(), "application/x-www-form-urlencoded"));
        }
        other => {
            {
                let mut pairs = url.query_pairs_mut();
                if !service.is_empty() {
                    pairs.append_pair("service", service);
                }
                pairs.append_pair("scope", scope);
            }
            ask.url = url;
            let basic = other.and_then(Credential::basic);
            ask.authorization = basic.and_then(|basic| sensitive("Basic", &basic));
        }
    }
    ask
}

/// Gets a token where the registry says that there are some. `None`: not for us.
async fn token(
    http: &Http,
    base: &Url,
    host: &str,
    realm: &str,
    service: &str,
    scope: &str,
    credential: Option<&Credential>,
) -> Result<Option<SecretString>, RegistryError> {
    let unusable = |why: String| RegistryError::Unusable {
        host: host.to_owned(),
        what: "token".to_owned(),
        why,
    };
    let url = Url::parse(realm).map_err(|_| unusable(format!("`{realm}` is no URL")))?;
    // Passwords go to nobody in plain, unless the registry itself is.
    if url.scheme() != "https" && !(url.scheme() == "http" && base.scheme() == "http") {
        return Err(RegistryError::Insecure {
            host: host.to_owned(),
            to: format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        });
    }
    let ask = question(url, host, service, scope, credential);
    let answer = http.send(&ask).await?;
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
        status if !status.is_success() => return Err(refused(&ask, &answer)),
        _ => {}
    }
    let answer: TokenAnswer = serde_json::from_slice(&answer.body)
        .map_err(|_| unusable("it is not the JSON that it should be".to_owned()))?;
    let token = [answer.token, answer.access_token]
        .into_iter()
        .find(|token| !token.is_empty());
    match token {
        Some(token) => Ok(Some(token.into())),
        None => Err(unusable("there is none in the answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{Router, http::Uri, response::Redirect, routing::any};
    use bytes::Bytes;

    use super::*;

    const SECRET: &str = "refresh-secret-4478";

    /// Serves until the test ends, and gives its URL.
    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// A registry that redirects where the query says, and the requests that another host got.
    async fn redirecting() -> (String, String, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let other = Router::new().fallback(async move |uri: Uri, body: Bytes| {
            let body = String::from_utf8_lossy(&body).into_owned();
            noted.lock().unwrap().push(format!("{uri} {body}"));
            r#"{"token":"stolen"}"#
        });
        let to = async |uri: Uri| {
            let query = uri.query().unwrap_or_default().split('&').next();
            Redirect::temporary(query.unwrap_or_default().trim_start_matches("to="))
        };
        let own = Router::new()
            .route("/to", any(to))
            .fallback(async || r#"{"token":"given"}"#);
        (serve(own).await, serve(other).await, seen)
    }

    #[tokio::test]
    async fn what_is_for_a_registry_alone_is_sent_to_nobody_else() {
        let (own, other, seen) = redirecting().await;
        let http = Http::new(&[], Duration::from_secs(10)).unwrap();
        let base = Url::parse(&own).unwrap();
        let identity = Credential::Identity {
            token: SECRET.into(),
        };
        let password = Credential::Password {
            name: "ann".to_owned(),
            secret: SECRET.into(),
        };
        for credential in [&identity, &password] {
            let ask = async |to: &str| {
                let realm = format!("{own}/to?to={to}");
                token(&http, &base, "own", &realm, "", "a", Some(credential)).await
            };
            let refused = ask(&format!("{other}/x")).await.unwrap_err();
            assert!(
                matches!(&refused, RegistryError::Unusable { why, .. } if why.contains("another host")),
                "{refused}"
            );
            // At the registry itself it may be elsewhere.
            let given = ask("/there").await.unwrap().unwrap();
            assert_eq!(given.expose_secret(), "given");
        }
        let ask = |body: &'static str, method| Ask {
            method,
            url: Url::parse(&format!("{own}/to?to={other}/y")).unwrap(),
            host: "own",
            what: "blob",
            accept: None,
            authorization: None,
            body: Some((Bytes::from_static(body.as_bytes()), "text/plain")),
            stays: false,
            limit: MAX_TOKEN,
            expected: None,
        };
        assert!(http.send(&ask("upload", Method::PUT)).await.is_err());
        assert_eq!(*seen.lock().unwrap(), [""; 0]);
        // What a registry keeps elsewhere is got there.
        assert!(http.send(&ask("", Method::GET)).await.is_ok());
        assert_eq!(*seen.lock().unwrap(), ["/y "]);
    }

    #[test]
    fn challenges_are_read() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
            }
            challenge(&headers)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        let bearer = Challenge::Bearer {
            realm: "https://a.example/token?x=1,2".to_owned(),
            service: "reg".to_owned(),
        };
        let text = "Bearer realm=\"https://a.example/token?x=1,2\",service=reg, scope=\"a:b:c\"";
        assert_eq!(of(&["Basic realm=x", text]), Some(bearer));
        assert_eq!(of(&["Bearer service=\"x\"", "Digest x"]), None);
        assert_eq!(of(&["Bearer realm=\"x"]), None);
    }
}
