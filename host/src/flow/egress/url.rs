//! Grants of URLs: for `http-client` without a connection, and for `wasi:http`.

use std::{fmt, str::FromStr};

use url::Url;

use super::{GrantError, host::HostGrant, path::is_plain};

/// Methods that a grant may name at most.
const MAX_METHODS: usize = 16;

/// `https://api.example.com/v1`, `GET,POST https://*.example.com:8443/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlGrant {
    /// All when it is empty.
    methods: Vec<String>,
    https: bool,
    host: HostGrant,
    port: u16,
    /// Without a slash at the end.
    path: String,
}

impl FromStr for UrlGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let text = text.trim();
        let (methods, url) = match text.rsplit_once(char::is_whitespace) {
            Some((methods, url)) => (Self::methods(methods, text)?, url),
            None => (Vec::new(), text),
        };
        let wrong = || GrantError::Url(text.to_owned());
        let url = Url::parse(url).map_err(|_| wrong())?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(wrong());
        };
        let parts = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        if parts {
            return Err(GrantError::Parts(text.to_owned()));
        }
        if !is_plain(url.path()) {
            return Err(GrantError::Path(text.to_owned()));
        }
        Ok(Self {
            methods,
            https,
            host: HostGrant::new(&host, text)?,
            port,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl UrlGrant {
    fn methods(list: &str, text: &str) -> Result<Vec<String>, GrantError> {
        let methods: Vec<String> = list
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|method| !method.is_empty())
            .map(str::to_ascii_uppercase)
            .collect();
        let word = |method: &String| method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
        if methods.is_empty() || methods.len() > MAX_METHODS || !methods.iter().all(word) {
            return Err(GrantError::Method(text.to_owned()));
        }
        Ok(methods)
    }

    /// Whether a request is covered: method, scheme, host, port, and a path at or below the granted one.
    pub fn covers(&self, method: &str, url: &Url) -> bool {
        let below = url
            .path()
            .strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.allows_method(method)
            && url.scheme() == if self.https { "https" } else { "http" }
            && url.host().is_some_and(|host| self.host.covers(&host))
            && url.port_or_known_default() == Some(self.port)
            && url.username().is_empty()
            && url.password().is_none()
            && below
            && is_plain(url.path())
    }

    fn allows_method(&self, method: &str) -> bool {
        self.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|only| only.eq_ignore_ascii_case(method))
    }

    /// Whether it is for HTTPS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether everything that another grant allows is allowed by this one.
    pub fn includes(&self, other: &Self) -> bool {
        let below = other
            .path
            .strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty() && other.methods.iter().all(|m| self.allows_method(m)));
        methods
            && self.https == other.https
            && self.port == other.port
            && self.host.includes(&other.host)
            && below
    }
}

impl fmt::Display for UrlGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join(","))?;
        }
        let (scheme, known) = if self.https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != known {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "{}/", self.path)
    }
}
