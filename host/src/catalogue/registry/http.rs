//! Requests to registries, with everything bounded: time, tries, redirects, and the bytes of every answer.
//!
//! The libraries that speak this protocol read answers of any size, wait for any time and follow what they are told to; a
//! registry is a stranger. So this is its own, small, on the HTTP client that the host has anyway.

use std::{error::Error as _, path::PathBuf, sync::OnceLock, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
        RETRY_AFTER,
    },
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::RegistryError;

/// Tries of one request, the first one included.
const TRIES: u32 = 4;
/// Wait before the second try; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait between two tries, also when the registry asks for a longer one.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// A redirect after this many is refused.
const MAX_REDIRECTS: usize = 5;
/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// A body that comes slower than this many bytes in a second is given up, beyond the time for an answer.
const SLOWEST: u64 = 64 << 10;
/// What a registry says about a failure is shown up to here.
const MAX_SAID: u64 = 64 << 10;
const MAX_SHOWN: usize = 200;

/// One request.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The registry, for messages.
    pub(super) host: &'a str,
    /// What is asked for, for messages: `manifest 1.2.0 of shop/akeneo`.
    pub(super) what: &'a str,
    pub(super) accept: Option<&'static str>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: Option<(Bytes, &'a str)>,
    /// Nobody but this origin may answer: a redirect to another one is refused.
    pub(super) stays: bool,
    /// Largest body of the answer.
    pub(super) limit: u64,
    /// The size that the body must have, when that is known.
    pub(super) expected: Option<u64>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Where the answer came from, after redirects.
    pub(super) url: Url,
}

/// What may be better at another try.
enum Attempt {
    /// With the wait that was asked for.
    Again(RegistryError, Option<Duration>),
    Final(RegistryError),
}

/// Sends requests.
pub(super) struct Http {
    plain: reqwest::Client,
    /// Made when it is needed: without TLS the system's certificates need not be there.
    tls: OnceLock<Result<reqwest::Client, String>>,
    certificates: Vec<reqwest::Certificate>,
    patience: Duration,
}

impl Http {
    pub(super) fn new(paths: &[PathBuf], patience: Duration) -> Result<Self, RegistryError> {
        // Whoever installs a provider first wins; a second attempt is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut certificates = Vec::new();
        for path in paths {
            let wrong = |why: String| RegistryError::Certificate {
                path: path.clone(),
                why,
            };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let read = reqwest::Certificate::from_pem_bundle(&pem);
            let read = read.map_err(|error| wrong(error.to_string()))?;
            if read.is_empty() {
                return Err(wrong("there is none in it".to_owned()));
            }
            certificates.extend(read);
        }
        let plain = Self::builder(patience)
            .tls_certs_only(Vec::new())
            .build()
            .map_err(|error| RegistryError::Tls(error.to_string()))?;
        Ok(Self {
            plain,
            tls: OnceLock::new(),
            certificates,
            patience,
        })
    }

    fn builder(patience: Duration) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .user_agent(concat!("crossdock/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            // Each step is looked at.
            .redirect(reqwest::redirect::Policy::none())
            // A digest is that of the bytes as they are, and their number is known before.
            .no_gzip()
            .connect_timeout(patience.min(CONNECT))
    }

    fn client(&self, url: &Url) -> Result<&reqwest::Client, RegistryError> {
        if url.scheme() == "http" {
            return Ok(&self.plain);
        }
        let make = || {
            Self::builder(self.patience)
                .tls_certs_merge(self.certificates.iter().cloned())
                .build()
                .map_err(|error| error.to_string())
        };
        let made = self.tls.get_or_init(make).as_ref();
        made.map_err(|why| RegistryError::Tls(why.clone()))
    }

    /// Sends a request until there is an answer that another try would not better, and reads its whole body.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (error, asked_for) = match self.follow(ask).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Again(error, wait)) => (error, wait),
            };
            if tries >= TRIES {
                return Err(error);
            }
            let usual = FIRST_WAIT * 2_u32.pow(tries - 1);
            let jitter = usual.mul_f64(fastrand::f64() / 2.0);
            let wait = asked_for.unwrap_or(usual + jitter).min(MAX_WAIT);
            tracing::debug!(target: "registry", host = ask.host, what = ask.what, ?wait, "{error}; trying again");
            sleep(wait).await;
        }
    }

    /// One try, through redirects.
    async fn follow(&self, ask: &Ask<'_>) -> Result<Answer, Attempt> {
        let mut ask = ask.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (status, headers, response) = self.once(&ask).await?;
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let body = self.body(&ask, status, response).await?;
                return judged(&ask, status, headers, body);
            }
            let unusable = |why: &str| {
                Attempt::Final(RegistryError::Unusable {
                    host: ask.host.to_owned(),
                    what: ask.what.to_owned(),
                    why: why.to_owned(),
                })
            };
            let location = headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to = location.ok_or_else(|| unusable("it redirects to nowhere"))?;
            let to = ask.url.join(to);
            let to = to.map_err(|_| unusable("it redirects to what is no URL"))?;
            if ask.url.scheme() == "https" && to.scheme() != "https" {
                return Err(Attempt::Final(RegistryError::Insecure {
                    host: ask.host.to_owned(),
                    to: format!("{}://{}", to.scheme(), to.host_str().unwrap_or_default()),
                }));
            }
            if !matches!(to.scheme(), "http" | "https") {
                return Err(unusable("it redirects to what is no HTTP"));
            }
            // Credentials are for the registry, and for nobody to whom it sends us. So are bodies: there may be a secret in
            // one, and no upload needs it, since the place of those is told in an answer that is no redirect.
            if to.origin() != ask.url.origin() {
                let sends = ask.body.as_ref().is_some_and(|(body, _)| !body.is_empty());
                if sends || ask.stays {
                    return Err(unusable(
                        "it redirects to another host what is for it alone",
                    ));
                }
                ask.authorization = None;
            }
            ask.url = to;
        }
        Err(Attempt::Final(RegistryError::Redirects {
            host: ask.host.to_owned(),
            what: ask.what.to_owned(),
            limit: MAX_REDIRECTS,
        }))
    }

    /// One request, up to the head of its answer.
    async fn once(
        &self,
        ask: &Ask<'_>,
    ) -> Result<(StatusCode, HeaderMap, reqwest::Response), Attempt> {
        let client = self.client(&ask.url).map_err(Attempt::Final)?;
        let mut request = client.request(ask.method.clone(), ask.url.clone());
        if let Some(accept) = ask.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = &ask.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let mut sent = 0;
        if let Some((body, kind)) = &ask.body {
            sent = body.len() as u64;
            request = request
                .header(CONTENT_TYPE, *kind)
                .header(CONTENT_LENGTH, sent)
                .body(body.clone());
        }
        let limit = self.patience + Duration::from_secs(sent / SLOWEST);
        let response = match timeout(limit, request.send()).await {
            Err(_) => return Err(Attempt::Again(too_slow(ask, "answer", limit), None)),
            Ok(Err(error)) => return Err(Attempt::Again(unreachable(ask, &error), None)),
            Ok(Ok(response)) => response,
        };
        Ok((response.status(), response.headers().clone(), response))
    }

    /// The whole body, as far as it may be long and may take.
    async fn body(
        &self,
        ask: &Ask<'_>,
        status: StatusCode,
        mut response: reqwest::Response,
    ) -> Result<Bytes, Attempt> {
        if ask.method == Method::HEAD {
            return Ok(Bytes::new());
        }
        let limit = if status.is_success() {
            ask.limit
        } else {
            MAX_SAID
        };
        let too_large = || {
            Attempt::Final(RegistryError::TooLarge {
                host: ask.host.to_owned(),
                what: ask.what.to_owned(),
                limit,
            })
        };
        let announced = response.content_length();
        if status.is_success() && announced.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        let time = self.patience + Duration::from_secs(limit / SLOWEST);
        let end = Instant::now() + time;
        loop {
            // The shorter of the two: a pause that is too long, or all of it.
            let pause = Instant::now() + self.patience;
            let piece = match timeout_at(end.min(pause), response.chunk()).await {
                Err(_) if pause < end => {
                    return Err(Attempt::Again(
                        too_slow(ask, "go on sending", self.patience),
                        None,
                    ));
                }
                Err(_) => return Err(Attempt::Final(too_slow(ask, "send it all", time))),
                Ok(Err(error)) => {
                    let expected = ask.expected.or(announced);
                    let found = body.len() as u64;
                    let error = match expected {
                        Some(expected) if expected > found => truncated(ask, expected, found),
                        _ => unreachable(ask, &error),
                    };
                    return Err(Attempt::Again(error, None));
                }
                Ok(Ok(None)) => break,
                Ok(Ok(Some(piece))) => piece,
            };
            if (body.len() + piece.len()) as u64 > limit {
                // Of what it says about a failure the beginning is enough.
                if status.is_success() {
                    return Err(too_large());
                }
                break;
            }
            body.extend_from_slice(&piece);
        }
        let found = body.len() as u64;
        match ask.expected {
            Some(expected) if status.is_success() && found < expected => {
                Err(Attempt::Again(truncated(ask, expected, found), None))
            }
            _ => Ok(body.freeze()),
        }
    }
}

/// An answer is final, or a reason to try again.
fn judged(
    ask: &Ask<'_>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, Attempt> {
    let answer = Answer {
        status,
        headers,
        body,
        url: ask.url.clone(),
    };
    if matches!(status.as_u16(), 408 | 429) || status.is_server_error() {
        let wait = answer.headers.get(RETRY_AFTER);
        let seconds = wait.and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
        let wait = seconds.map(Duration::from_secs);
        return Err(Attempt::Again(refused(ask, &answer), wait));
    }
    Ok(answer)
}

/// The error of an answer that is none of those that were hoped for.
pub(super) fn refused(ask: &Ask<'_>, answer: &Answer) -> RegistryError {
    RegistryError::Status {
        host: ask.host.to_owned(),
        status: answer.status.as_u16(),
        what: format!("{} {}", ask.method, ask.what),
        said: said(&answer.body),
    }
}

/// What a registry says about a failure, on one line: the message of the form that registries agreed on, else nothing.
pub(super) fn said(body: &[u8]) -> String {
    let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let first = &parsed["errors"][0];
    let parts = [first["code"].as_str(), first["message"].as_str()];
    let text: Vec<&str> = parts.into_iter().flatten().collect();
    let text = text.join(": ");
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MAX_SHOWN).collect()
}

fn truncated(ask: &Ask<'_>, expected: u64, found: u64) -> RegistryError {
    RegistryError::Truncated {
        host: ask.host.to_owned(),
        what: ask.what.to_owned(),
        expected,
        found,
    }
}

fn too_slow(ask: &Ask<'_>, what: &'static str, limit: Duration) -> RegistryError {
    RegistryError::TooSlow {
        host: ask.host.to_owned(),
        what,
        limit,
    }
}

/// The innermost cause says most; the address is in our own words already.
fn unreachable(ask: &Ask<'_>, error: &reqwest::Error) -> RegistryError {
    let mut why = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        why = inner.to_string();
        cause = inner.source();
    }
    if why.is_empty() {
        why = error.to_string();
    }
    let plain = ask.url.scheme() == "https" && why.contains("InvalidContentType");
    RegistryError::Unreachable {
        host: ask.host.to_owned(),
        why,
        plain,
    }
}
