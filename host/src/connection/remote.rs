//! One remote system, ready to be used.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use reqwest::{
    Method, Url,
    header::{CONTENT_ENCODING, HeaderMap, HeaderName, TRANSFER_ENCODING},
};

use super::{
    Request, Response, SendError,
    address::AddressDenied,
    auth::{Auth, Credential, Problem, sensitive, within},
    client::{Call, Counters, Http, count, follow, no_room, owned_headers, shown, too_large},
    coding,
    conceal::{Forms, Hidden, Own},
    load::Beside,
    retry::{self, Failure, Policy},
    secret::is_telling,
    spec::ConnectionSpec,
    target::{self, Base},
};
use secrecy::zeroize::Zeroizing;

use crate::flow::egress::name_may_lead_to;

/// Answers out of which a secret is taken, in the life of a connection. A server that goes on is refused: each of them may
/// tell a plugin whether something that it had the server keep before is the secret.
const MAX_REPEATED: u32 = 16;

/// One remote system.
pub struct Connection {
    name: String,
    /// Where it is defined, for messages.
    place: String,
    base: Base,
    auth: Auth,
    /// Added to each request.
    headers: HeaderMap,
    /// Headers that plugins may not set.
    owned: Vec<HeaderName>,
    /// What is secret in `headers`.
    fixed: Vec<Vec<u8>>,
    /// Whether responses are searched for secrets at all.
    has_secrets: bool,
    /// Those of the last request, as they are looked for.
    forms: Mutex<Arc<Forms>>,
    /// How often the server has repeated one of them.
    repeated: AtomicU32,
    policy: Policy,
    timeout: Duration,
    max_response: u64,
    http: Http,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = shown(self.base.url());
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("base_url", &base)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Checks a definition and makes it usable. `place` is where it stands, for messages; `beside` is what
    /// stands beside it.
    pub(super) fn new(
        spec: &ConnectionSpec,
        place: &str,
        beside: &Beside,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = check_numbers(spec);
        let base = match Base::parse(&spec.base_url) {
            Ok(base) => base,
            Err(why) => {
                problems.push(("/base-url", why.to_owned(), String::new()));
                return Err(problems);
            }
        };
        problems.extend(
            check_literal(base.url(), spec.allow_private)
                .map(|why| ("/base-url", why, String::new())),
        );
        let auth = Auth::new(&spec.auth, &base, place).map_err(|problem| problems.push(problem));
        let headers = fixed_headers(spec).map_err(|problem| problems.push(problem));
        let certificates = certificates(beside).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        let identity = identity(spec, beside).map_err(|problem| problems.push(problem));
        let (Ok(auth), Ok(headers), Ok(identity)) = (auth, headers, identity) else {
            return Err(problems);
        };
        let pointer = "/auth";
        problems.extend(
            auth.token_url()
                .and_then(|url| check_literal(url, spec.allow_private))
                .map(|why| (pointer, why, String::new())),
        );
        if spec.client_certificate.is_some() && base.url().scheme() != "https" {
            let text = "is of no use without TLS".to_owned();
            let advice = "begin the `base-url` with https://".to_owned();
            problems.push(("/client-certificate", text, advice));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let uses_tls = [Some(base.url()), auth.token_url()]
            .iter()
            .flatten()
            .any(|url| url.scheme() == "https");
        let http = Http::new(spec, uses_tls, certificates, identity).map_err(|error| {
            let advice = "install the certificates of the system (package ca-certificates) or name a `ca-file`";
            vec![("/base-url", format!("cannot be reached with TLS: {error}"), advice.to_owned())]
        })?;
        let mut owned = owned_headers(&headers, auth.header());
        let fixed = fixed_secrets(&headers, &beside.secret_headers);
        let has_secrets = !auth.is_none() || !fixed.is_empty();
        if has_secrets {
            owned.extend(target::SHAPING);
        }
        Ok(Self {
            name: spec.connection.clone(),
            place: place.to_owned(),
            owned,
            fixed,
            has_secrets,
            forms: Mutex::default(),
            repeated: AtomicU32::new(0),
            base,
            auth,
            headers,
            policy: Policy::from(&spec.retry),
            timeout: spec.limits.timeout.0,
            max_response: spec.limits.max_response.0,
            http,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its base URL, which carries no secrets.
    pub fn base_url(&self) -> &str {
        self.base.url().as_str()
    }

    /// What went over it so far.
    pub fn counters(&self) -> Counters {
        self.http.tally.read()
    }

    /// Sends a request, as often as `retry` says.
    ///
    /// # Errors
    /// As [`Connections::send`](super::Connections::send).
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let own = Own::of(&request);
        // What is wrong before anything is sent is told in the plugin's own words: nothing is taken out of these.
        let call = self.call(request)?;
        let mut used = Vec::new();
        let answered = self.answer(&call, &mut used).await;
        let hidden = Hidden::new(Forms::renewed(&self.forms, self.secrets(&used)), own);
        let delivered = match answered {
            Ok(response) => self.deliver(&call, response, &hidden).await,
            Err(error) => Err(error),
        };
        // Errors tell what the server said, too: where it redirects to, say.
        delivered.map_err(|error| error.map(|text| self.told(text, &hidden)))
    }

    /// The text of an error for the plugin.
    fn told(&self, text: String, hidden: &Hidden) -> String {
        let (text, found) = hidden.text(text);
        if found && self.repeats() {
            return format!(
                "there is no answer, and why is not told: the server repeats a secret of the connection in it ({})",
                self.place
            );
        }
        text
    }

    /// Counts that the server has repeated a secret, and says whether it has done so too often.
    fn repeats(&self) -> bool {
        let connection = self.name.as_str();
        // Never back at zero: it stands still beyond the limit.
        let before = self.repeated.fetch_add(1, Ordering::Relaxed);
        if before >= MAX_REPEATED {
            self.repeated.store(MAX_REPEATED, Ordering::Relaxed);
            return true;
        }
        tracing::warn!(
            connection,
            "the server repeated a secret of the connection; it was taken out"
        );
        false
    }

    /// What the server answers, as it is. `used` are the credentials that it has seen.
    async fn answer(&self, call: &Call, used: &mut Vec<Credential>) -> Result<Response, SendError> {
        let credential = self
            .auth
            .credential(&self.http, self.policy, self.timeout, None)
            .await?;
        used.push(credential.clone());
        let mut response = self.tries(call, &credential).await?;
        if response.status == 401 && matches!(credential, Credential::Token(..)) {
            let renewed = self
                .auth
                .credential(&self.http, self.policy, self.timeout, Some(&credential))
                .await?;
            // It may be the same one, when there were new ones often enough.
            if !renewed.is_same_token(&credential) {
                drop(response);
                used.push(renewed.clone());
                count(&self.http.tally.retries, 1);
                // A 401 was not processed, so every method may be sent again.
                response = self.tries(call, &renewed).await?;
                if response.status == 401 {
                    self.auth.refused_again(&renewed).await;
                }
            }
        }
        if response.status == 401 && !self.auth.is_none() {
            return Err(SendError::Unauthenticated(format!(
                "{} refused the authentication (status 401); in {}, {}",
                shown(&call.url),
                self.place,
                self.auth.advice()
            )));
        }
        Ok(response)
    }

    /// What must not come back in a response. Invariant 7
    fn secrets(&self, used: &[Credential]) -> Vec<Vec<u8>> {
        let mut secrets: Vec<_> = used.iter().flat_map(Credential::secrets).collect();
        secrets.extend(self.auth.secrets());
        secrets.extend(self.fixed.iter().cloned());
        secrets
    }

    /// What a plugin gets of a response: all of it but the secrets that the server repeats.
    async fn deliver(
        &self,
        call: &Call,
        mut response: Response,
        hidden: &Hidden,
    ) -> Result<Response, SendError> {
        let repeated = hidden.headers(&mut response);
        if self.has_secrets && !response.body.is_empty() {
            readable(&response, &call.url)?;
        }
        let (size, body) = (response.body.len(), response.body);
        let searched = hidden.body(body.into()).await;
        let (body, found) = searched.map_err(SendError::Unreachable)?;
        response.body = body.into();
        // A key in the query stands in the links to further pages, as a rule.
        let counts = (repeated || found) && !self.auth.is_in_query();
        if counts && self.repeats() {
            return Err(SendError::Denied(format!(
                "the answer of {} is refused: a secret of the connection is in it, and the server has repeated that {MAX_REPEATED} times before ({})",
                shown(&call.url),
                self.place
            )));
        }
        // What stands in the place of a short secret is longer than that.
        let grown = response.body.len().saturating_sub(size) as u64;
        if response.body.len() as u64 > call.max_response {
            return Err(self.failed(too_large(call)));
        }
        if !call.budget.take(grown) {
            return Err(self.failed(no_room(call)));
        }
        Ok(response)
    }

    /// Whether a request carries this secret, somewhere.
    #[cfg(test)]
    pub(super) fn knows(&self, secret: &str) -> bool {
        let fixed = match &self.auth {
            Auth::Fixed(credential) => credential.secrets(),
            Auth::Token(_) => Vec::new(),
        };
        fixed.contains(&secret.as_bytes().to_vec())
            || self.headers.values().any(|value| value == secret)
    }

    /// What is taken out of responses when there is no token.
    #[cfg(test)]
    pub(super) fn hides(&self) -> Vec<Vec<u8>> {
        self.fixed.clone()
    }

    fn call(&self, request: Request) -> Result<Call, SendError> {
        let mut headers = target::headers(&request.headers, &self.owned)?;
        headers.extend(self.headers.clone());
        let url = self.base.resolve(&request.url)?;
        Ok(Call {
            method: target::method(&request.method)?,
            named: url.clone(),
            url,
            headers,
            body: request.body,
            timeout: request
                .timeout
                .filter(|timeout| !timeout.is_zero())
                .map_or(self.timeout, |t| t.min(self.timeout)),
            max_response: self.max_response,
            budget: request.budget,
        })
    }

    async fn tries(&self, call: &Call, credential: &Credential) -> Result<Response, SendError> {
        let idempotent = retry::is_idempotent(call.method.as_str());
        let admit = |_: &Method, url: Url| {
            let refusal = self.base.refusal(&url);
            let admitted = self.base.admit(url).map_err(|_| refusal);
            admitted.map(|url| (&self.http, url))
        };
        let follow = || follow(admit, &self.http, call, credential);
        let outcome = retry::run(self.policy, idempotent, follow, |retry| {
            count(&self.http.tally.retries, 1);
            if let Some(wait) = retry.asked {
                self.http.limiter.pause(wait);
            }
            let secrets = self.secrets(std::slice::from_ref(credential));
            let (reason, _) = Hidden::of(secrets).text(retry.reason.clone());
            tracing::warn!(
                connection = self.name,
                path = call.url.path(),
                attempt = retry.attempt,
                wait = ?retry.wait,
                "will try again: {reason}"
            );
        });
        outcome.await.map_err(|failure| self.failed(failure))
    }

    /// What a failure is for the plugin.
    fn failed(&self, failure: Failure) -> SendError {
        match failure {
            Failure::Denied(message) => SendError::Denied(format!("{message} ({})", self.place)),
            Failure::Unreachable { message, .. } => SendError::Unreachable(message),
            Failure::Untrusted(message) => SendError::Unreachable(format!(
                "{message}; when it has a certificate of your own authority, name it as `ca-file` in {}",
                self.place
            )),
            Failure::TooLarge(message) => SendError::TooLarge(format!(
                "{message}: `limits.max-response` in {}",
                self.place
            )),
            Failure::NoRoom(message) => SendError::TooLarge(message),
        }
    }
}

/// Refuses a body that cannot be searched for secrets: a server that packs what it repeats in a way of its own, without
/// being asked to, would hand them to a plugin that can read it. Of what the client has unpacked no header tells any more.
fn readable(response: &Response, url: &Url) -> Result<(), SendError> {
    let values = |wanted: HeaderName| {
        let headers = response.headers.iter();
        let found = headers.filter(move |(name, _)| *name == wanted.as_str());
        found.map(|(_, value)| value.as_str())
    };
    let mut codings = coding::codings(values(CONTENT_ENCODING));
    // Between the two machines; of these the client undoes the last one only.
    let transfer = coding::codings(values(TRANSFER_ENCODING));
    let is_plain = |one: &&str| one.eq_ignore_ascii_case("chunked");
    if !transfer.iter().all(is_plain) {
        codings.extend(transfer);
    }
    if codings.is_empty() {
        return Ok(());
    }
    let url = shown(url);
    let (count, most) = (codings.len(), coding::MAX_LAYERS);
    if codings.iter().all(|one| coding::is_known(one)) {
        return Err(SendError::Denied(format!(
            "the answer of {url} is packed {count} times; secrets of the connection are looked for in what is packed up to {most} times"
        )));
    }
    let named: String = codings.join(", ").escape_debug().take(40).collect();
    Err(SendError::Denied(format!(
        "{url} answered in the encoding `{named}`, in which secrets of the connection cannot be found; make the server send it plain or with gzip"
    )))
}

/// The authorities that the connection trusts beside those of the system.
fn certificates(beside: &Beside) -> Result<Vec<reqwest::Certificate>, Problem> {
    let Some(pem) = beside.authorities.as_deref() else {
        return Ok(Vec::new());
    };
    let wrong = |text: String, advice: &str| ("/ca-file", text, advice.to_owned());
    let found = reqwest::Certificate::from_pem_bundle(pem)
        .map_err(|error| wrong(format!("is not in PEM form: {error}"), ""))?;
    if found.is_empty() {
        let text = "has no certificate in it".to_owned();
        return Err(wrong(text, "it must be in PEM form"));
    }
    Ok(found)
}

/// What the connection shows to servers that ask for a certificate.
fn identity(spec: &ConnectionSpec, beside: &Beside) -> Result<Option<reqwest::Identity>, Problem> {
    let (Some(client), Some(chain)) = (&spec.client_certificate, &beside.client) else {
        return Ok(None);
    };
    let wrong = |pointer, text: &str, advice: &str| (pointer, text.to_owned(), advice.to_owned());
    let certificates = reqwest::Certificate::from_pem_bundle(chain);
    if certificates.is_ok_and(|found| found.is_empty()) {
        let (pointer, text) = ("/client-certificate/file", "has no certificate in it");
        return Err(wrong(pointer, text, "it must be in PEM form"));
    }
    let key = client.key.expose();
    if !key.contains("PRIVATE KEY-----") || key.contains("ENCRYPTED") {
        let text = "is no private key in PEM form (what is there is not shown)";
        let advice =
            "it must be one without a password: `openssl pkey -in client.key` writes it so";
        return Err(wrong("/client-certificate/key", text, advice));
    }
    let both = Zeroizing::new([chain.as_slice(), b"\n", key.as_bytes()].concat());
    // The error might quote what is there.
    reqwest::Identity::from_pem(&both).map(Some).map_err(|_| {
        let text = "cannot be used: certificate and key do not fit each other, or one is damaged";
        wrong("/client-certificate", text, "make both anew, in PEM form")
    })
}

fn check_numbers(spec: &ConnectionSpec) -> Vec<Problem> {
    let limits = &spec.limits;
    let rate_is_good = limits
        .requests_per_second
        .is_none_or(|rate| rate > 0.0 && rate.is_finite());
    let checks = [
        (limits.max_concurrent > 0, "/limits/max-concurrent"),
        (rate_is_good, "/limits/requests-per-second"),
        (!limits.timeout.0.is_zero(), "/limits/timeout"),
        (limits.max_response.0 > 0, "/limits/max-response"),
        (spec.retry.attempts > 0, "/retry/attempts"),
    ];
    let wrong = checks.into_iter().filter(|(good, _)| !good);
    wrong
        .map(|(_, pointer)| (pointer, "must be more than 0".to_owned(), String::new()))
        .collect()
}

/// Names are checked when they are resolved; an address that is written out is checked here, in whatever form it was
/// written: the URL parser has turned `2130706433` and `0x7f.1` into addresses.
fn check_literal(url: &Url, allow_private: bool) -> Option<String> {
    let address = match url.host()? {
        url::Host::Ipv4(address) => IpAddr::V4(address),
        url::Host::Ipv6(address) => IpAddr::V6(address),
        url::Host::Domain(_) => return None,
    };
    let denied = AddressDenied {
        host: url.host_str()?.to_owned(),
        address,
    };
    (!name_may_lead_to(address, allow_private)).then(|| format!("cannot be used: {denied}"))
}

/// The secrets among the headers that are added to each request: what tells so by its name, and those that are named.
fn fixed_secrets(headers: &HeaderMap, named: &[String]) -> Vec<Vec<u8>> {
    let secret = headers.iter().filter(|(name, _)| {
        let name = name.as_str();
        is_telling(name) || named.iter().any(|one| one == name)
    });
    secret
        .flat_map(|(_, value)| within(value.as_bytes()))
        .collect()
}

fn fixed_headers(spec: &ConnectionSpec) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in &spec.headers {
        let pairs = [(name.clone(), String::new())];
        let checked = target::headers(&pairs, &[])
            .map_err(|error| ("/headers", error.to_string(), String::new()))?;
        let Some(value) = sensitive(value.expose()) else {
            let message =
                format!("the value of {name} has a line break or control character in it");
            return Err((
                "/headers",
                message,
                "check for a trailing line break".to_owned(),
            ));
        };
        headers.extend(
            checked
                .into_iter()
                .filter_map(|(name, _)| name)
                .map(|name| (name, value.clone())),
        );
    }
    Ok(headers)
}
