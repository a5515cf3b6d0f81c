//! What a plugin asks for, checked: method, URL and headers.

use reqwest::{
    Method, Url,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE},
};

use super::SendError;
use crate::flow::egress::is_plain;

/// A URL longer than this is a mistake.
const MAX_URL: usize = 16 * 1024;
/// More headers than this are a mistake.
const MAX_HEADERS: usize = 200;

/// Headers that frame the message or belong to the connection: a plugin that sets them could smuggle a second request.
const RESERVED: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
];

/// Headers by which who asks chooses the form of the answer. Where the answer is searched for secrets they are the
/// host's: compressed in a way that only the guest reads, or cut into ranges, a repeated secret would not be found.
pub(super) const SHAPING: [HeaderName; 4] = [
    ACCEPT_ENCODING,
    RANGE,
    IF_RANGE,
    HeaderName::from_static("a-im"),
];

/// The part of the web that a connection may reach.
#[derive(Debug, Clone)]
pub(super) struct Base {
    url: Url,
}

impl Base {
    /// Takes a base URL. The error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut url =
            Url::parse(text.trim()).map_err(|_| "is not a URL such as https://pim.example.com")?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("must start with https:// or http:// and name a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user name or password; they belong under `auth`");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not have a query (?) or a fragment (#)");
        }
        if !is_plain(url.path()) {
            return Err("has a path with `..` or encoded dots in it");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self { url })
    }

    /// The base itself.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// `https://host:port` for messages.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The URL that a plugin means: a path below the base, or an absolute URL there.
    pub(super) fn resolve(&self, text: &str) -> Result<Url, SendError> {
        let invalid = |what: &str| Err(SendError::Invalid(format!("the URL {what}")));
        check_text(text)?;
        let parsed = if is_absolute(text) {
            Url::parse(text)
        } else if text.starts_with("//") {
            return invalid("starts with //; write a path or a whole URL");
        } else {
            let base = self.url.as_str().trim_end_matches('/');
            let joint = if text.is_empty() || text.starts_with(['/', '?']) {
                ""
            } else {
                "/"
            };
            Url::parse(&format!("{base}{joint}{text}"))
        };
        match parsed {
            Ok(url) => self.admit(url),
            Err(error) => invalid(&format!("is malformed: {error}")),
        }
    }

    /// Why a redirect is not followed, without what the server named but for a host.
    pub(super) fn refusal(&self, to: &Url) -> String {
        if to.origin() != self.url.origin() {
            // Numbers become addresses when they are read: as these they could not be told to be a secret.
            let whom = match to.host() {
                Some(url::Host::Domain(name)) => name,
                _ => "another origin",
            };
            return format!(
                "{whom} is not this connection, which is {}; other hosts need a connection of their own",
                self.origin()
            );
        }
        let base = self.url.path().trim_end_matches('/');
        format!(
            "the path is not below {}{base}/, the base URL of this connection, or the URL has a user name in it",
            self.origin()
        )
    }

    /// Checks that a URL is at the origin and below the path of the base.
    pub(super) fn admit(&self, mut url: Url) -> Result<Url, SendError> {
        if url.origin() != self.url.origin() {
            let asked = url.origin().ascii_serialization();
            return Err(SendError::Denied(format!(
                "{asked} is not this connection, which is {}; other hosts need a connection of their own",
                self.origin()
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SendError::Invalid(
                "the URL contains a user name or password".into(),
            ));
        }
        let base = self.url.path().trim_end_matches('/');
        let below = url
            .path()
            .strip_prefix(base)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !below || !is_plain(url.path()) {
            return Err(SendError::Denied(format!(
                "the path is not below {}{base}/, the base URL of this connection",
                self.origin()
            )));
        }
        url.set_fragment(None);
        Ok(url)
    }
}

/// A URL is not longer than it should be, and has nothing in it that a parser drops or turns: what is checked must be
/// what was written.
fn check_text(text: &str) -> Result<(), SendError> {
    let invalid = |what: &str| Err(SendError::Invalid(format!("the URL {what}")));
    if text.len() > MAX_URL {
        return invalid("is longer than 16 KiB");
    }
    if text
        .bytes()
        .any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\')
    {
        return invalid("contains a space, a control character or a backslash; encode it");
    }
    Ok(())
}

/// A whole URL of a plugin, for requests without a connection.
pub(super) fn absolute(text: &str) -> Result<Url, SendError> {
    check_text(text)?;
    let mut url = Url::parse(text)
        .map_err(|error| SendError::Invalid(format!("the URL is malformed: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(SendError::Invalid(
            "the URL must start with https:// or http:// and name a host".into(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SendError::Invalid(
            "the URL contains a user name or password".into(),
        ));
    }
    url.set_fragment(None);
    Ok(url)
}

fn is_absolute(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
    })
}

/// The method of a request.
pub(super) fn method(text: &str) -> Result<Method, SendError> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) => Err(SendError::Invalid(format!(
            "the method {text} is not supported"
        ))),
        Ok(method) => Ok(method),
        Err(_) => Err(SendError::Invalid(format!(
            "`{}` is no HTTP method",
            text.escape_debug()
        ))),
    }
}

/// The headers of a request. `owned` are those that the connection sets itself.
pub(super) fn headers(
    given: &[(String, String)],
    owned: &[HeaderName],
) -> Result<HeaderMap, SendError> {
    raw_headers(given, owned)
}

/// The same for values that may be no text.
pub(super) fn raw_headers(
    given: &[(String, impl AsRef<[u8]>)],
    owned: &[HeaderName],
) -> Result<HeaderMap, SendError> {
    if given.len() > MAX_HEADERS {
        return Err(SendError::Invalid(format!(
            "{} headers are more than {MAX_HEADERS}",
            given.len()
        )));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(SendError::Invalid(format!(
                "`{}` is no header name",
                name.escape_debug()
            )));
        };
        if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
            return Err(SendError::Invalid(format!(
                "the header {name} is set by the host"
            )));
        }
        if owned.contains(&name) {
            return Err(SendError::Invalid(format!(
                "the header {name} is set by the connection"
            )));
        }
        let Ok(value) = HeaderValue::from_bytes(value.as_ref()) else {
            return Err(SendError::Invalid(format!(
                "the value of the header {name} has control characters in it"
            )));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::egress::decode;

    fn base(text: &str) -> Base {
        Base::parse(text).unwrap()
    }

    #[test]
    fn paths_and_urls_below_the_base_are_found() {
        for (base_url, text, expected) in [
            (
                "https://a.example",
                "/api/x?limit=1",
                "https://a.example/api/x?limit=1",
            ),
            ("https://a.example/", "api/x", "https://a.example/api/x"),
            (
                "https://a.example/shop/",
                "/api",
                "https://a.example/shop/api",
            ),
            ("https://a.example/shop", "", "https://a.example/shop"),
            (
                "https://a.example/shop",
                "?page=2",
                "https://a.example/shop?page=2",
            ),
            ("https://a.example", "?page=2", "https://a.example/?page=2"),
            (
                "https://a.example/shop",
                "https://A.example:443/shop/x#top",
                "https://a.example/shop/x",
            ),
            (
                "http://a.example:8080",
                "http://a.example:8080/x",
                "http://a.example:8080/x",
            ),
            (
                "https://a.example",
                "/x?q={\"a\":[1]}&u=http://b.example/",
                "https://a.example/x?q={%22a%22:[1]}&u=http://b.example/",
            ),
            (
                "https://a.example",
                "/code%2Fwith%20slash",
                "https://a.example/code%2Fwith%20slash",
            ),
            ("https://a.example", "/100%25", "https://a.example/100%25"),
            ("https://a.example", "/a/../b", "https://a.example/b"),
            (
                "https://a.example",
                "javascript:alert(1)",
                "https://a.example/javascript:alert(1)",
            ),
            (
                "https://a.example",
                "@evil.example/",
                "https://a.example/@evil.example/",
            ),
            (
                "https://a.example",
                ".evil.example/",
                "https://a.example/.evil.example/",
            ),
            ("https://a.example", ":99/x", "https://a.example/:99/x"),
        ] {
            let found = base(base_url).resolve(text).map(String::from);
            assert_eq!(found.as_deref(), Ok(expected), "{base_url} {text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let denied = [
            "https://evil.example/shop/x",
            "http://a.example/shop/x",
            "https://a.example:8443/shop/x",
            "https://a.example.evil.example/shop",
            "https://a.example/other",
            "https://a.example/shopping",
            "https://a.example/shop/../admin",
            "/../admin",
            "/%2e%2e/admin",
            "/%2E%2E/admin",
            "/..%2fadmin",
            "/x%2f..%2f..%2fadmin",
            "/..%5cadmin",
            "/..;/admin",
            "/..%3bx/admin",
            "/%252e%252e/admin",
            "/%25252e%25252e%25252fadmin",
            "/%2525252525252e/x",
            "/.%2e/admin",
            "ftp://a.example/shop",
            "file:///etc/passwd",
        ];
        for text in denied {
            let found = base("https://a.example/shop").resolve(text);
            assert!(
                matches!(found, Err(SendError::Denied(_))),
                "{text}: {found:?}"
            );
        }
        let invalid = [
            "//evil.example/x",
            "/x y",
            "/x\r\nHost: evil",
            "\\\\evil.example\\x",
            "/\\evil.example",
            "ht\ttps://evil.example",
            "https://user:pw@a.example/shop/x",
            "https://user@a.example/shop/x",
            "https://",
            "https://a.example:99999/",
        ];
        for text in invalid {
            let found = base("https://a.example/shop").resolve(text);
            assert!(
                matches!(found, Err(SendError::Invalid(_))),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn a_base_url_is_http_and_nothing_more() {
        for wrong in [
            "",
            "a.example",
            "/x",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://a.example/..%2f",
        ] {
            assert!(Base::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_that_frame_or_authenticate_are_refused() {
        let owned = [HeaderName::from_static("authorization")];
        let check =
            |name: &str, value: &str| headers(&[(name.to_owned(), value.to_owned())], &owned);
        assert_eq!(check("X-A", "b").unwrap()["x-a"], "b");
        assert_eq!(
            check("X-A", "caf\u{e9}").unwrap()["x-a"].as_bytes(),
            "caf\u{e9}".as_bytes()
        );
        for (name, value) in [
            ("Host", "evil"),
            ("content-length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("CONNECTION", "close"),
            ("Proxy-Authorization", "x"),
            ("Authorization", "x"),
            ("", "x"),
            ("X A", "x"),
            ("X\r\nY", "x"),
            ("X-A", "a\r\nY: b"),
            ("X-A", "a\nb"),
            ("X-A", "a\0b"),
        ] {
            assert!(
                matches!(check(name, value), Err(SendError::Invalid(_))),
                "{name}: {value}"
            );
        }
        let many = vec![("x".to_owned(), String::new()); MAX_HEADERS + 1];
        assert!(headers(&many, &[]).is_err());
    }

    #[test]
    fn methods_are_words() {
        assert_eq!(method("PATCH").unwrap(), Method::PATCH);
        for wrong in ["", "GET /x", "GET\r\n", "CONNECT", "TRACE"] {
            assert!(method(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_is_below_the_base(
            text in "(/|https://a.example/shop/|https?://[a-z.@:0-9]{0,12}|)([./%2eEfF5cC\\\\a@:?#-]|%2e|%2f|%5c|%25){0,16}"
        ) {
            if let Ok(url) = base("https://a.example/shop").resolve(&text) {
                prop_assert_eq!(url.origin().ascii_serialization(), "https://a.example");
                prop_assert!(url.path() == "/shop" || url.path().starts_with("/shop/"), "{}", url);
                let mut decoded = url.path().as_bytes().to_vec();
                for _ in 0..6 {
                    decoded = decode(&decoded);
                    prop_assert!(!decoded.split(|b| *b == b'/' || *b == b'\\').any(|part| part == b".."));
                }
            }
        }
    }
}
