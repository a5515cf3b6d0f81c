//! What a stage may reach on the network, as the operator wrote it: the one policy for `http-client`, `wasi:http` and
//! `wasi:sockets`. Nothing is reachable unless a grant covers it.
//!
//! A name that is granted may lead to any public address; to private and loopback ones only with `allow-private`, and
//! never to link-local, metadata of clouds, multicast and reserved ones. An address that is written out in a grant is
//! granted as it is written.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use url::{Host, Url};

/// Methods that a grant may name at most.
const MAX_METHODS: usize = 16;

/// A text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// Not a URL with http or https.
    #[error(
        "`{0}` is no URL such as `https://api.example.com/v1`, with `GET,POST ` in front for some methods only"
    )]
    Url(String),
    /// A URL with parts that a grant has not.
    #[error(
        "`{0}` has a user, a query or a fragment; a grant is scheme, host, port and the beginning of a path"
    )]
    Parts(String),
    /// A path that servers read in several ways.
    #[error("`{0}` has `..` or an encoded dot in its path")]
    Path(String),
    /// A method that is no word.
    #[error(
        "`{0}` names something in front of the URL that is no list of methods such as `GET,POST`"
    )]
    Method(String),
    /// A pattern that is no name.
    #[error(
        "`{0}`: `*` may only stand for the beginning of a name with a dot in the rest, as in `*.example.com`"
    )]
    Pattern(String),
    /// A name with nothing between two dots, or nothing at all.
    #[error("`{0}` names no host: there is nothing beside a dot of it")]
    Host(String),
    /// Not a host and a port.
    #[error("`{0}` is no host with a port, such as `db.example.com:5432`")]
    Tcp(String),
}

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On the internet.
    Public,
    /// In a private network or on this machine.
    Private,
    /// Link-local, metadata of clouds, multicast, unspecified, reserved: never where a name may lead.
    Never,
}

/// Judges an address.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    // Metadata of clouds that are not at a link-local address: Alibaba, Azure.
    if matches!(address.octets(), [100, 100, 100, 200] | [168, 63, 129, 16]) {
        return Reach::Never;
    }
    match address.octets() {
        // Shared address space of providers is as private as a private network.
        [100, second, ..] if (64..128).contains(&second) => Reach::Private,
        [10 | 127, ..] | [192, 168, ..] => Reach::Private,
        [172, second, ..] if (16..32).contains(&second) => Reach::Private,
        // "This network", link-local, protocol assignments, documentation, benchmarks, multicast and above.
        [0 | 224..=255, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Never,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let parts = address.segments();
    let embedded =
        |high: u16, low: u16| reach_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    // Metadata of clouds in private ranges: AWS, Google, Scaleway.
    let metadata = [
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
        [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],
    ];
    if metadata.contains(&parts) {
        return Reach::Never;
    }
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
        // IPv4-mapped, and IPv4 behind NAT64 and 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        [first, ..] if first & 0xfe00 == 0xfc00 => Reach::Private,
        // Teredo and other protocol assignments, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => Reach::Never,
        [first, ..] if first & 0xe000 == 0x2000 => Reach::Public,
        _ => Reach::Never,
    }
}

/// Whether a name may lead to an address.
pub fn name_may_lead_to(address: IpAddr, allow_private: bool) -> bool {
    match reach(address) {
        Reach::Public => true,
        Reach::Private => allow_private,
        Reach::Never => false,
    }
}

/// Which hosts a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HostGrant {
    /// This address.
    Address(IpAddr),
    /// This name.
    Name(String),
    /// Names below this one, with its dot: `.example.com`.
    Below(String),
}

impl HostGrant {
    /// From the host of a parsed URL: lower case, addresses in whatever form they were written are addresses.
    fn new(host: &Host<&str>, written: &str) -> Result<Self, GrantError> {
        let name = match host {
            Host::Ipv4(address) => return Ok(Self::Address((*address).into())),
            Host::Ipv6(address) => return Ok(Self::Address((*address).into())),
            // One dot at the end is the root; a name with more of them is none.
            Host::Domain(name) => name.strip_suffix('.').unwrap_or(name),
        };
        let pattern = || GrantError::Pattern(written.to_owned());
        let labels = name.strip_prefix("*.").unwrap_or(name);
        if labels.split('.').any(str::is_empty) {
            return Err(GrantError::Host(written.to_owned()));
        }
        match name.strip_prefix('*') {
            None if name.contains('*') => Err(pattern()),
            None => Ok(Self::Name(name.to_owned())),
            // `*.com` would be half of the internet: two labels at least.
            Some(rest)
                if rest.starts_with('.') && rest[1..].contains('.') && !rest.contains('*') =>
            {
                Ok(Self::Below(rest.to_owned()))
            }
            Some(_) => Err(pattern()),
        }
    }

    fn covers(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Address(IpAddr::V4(granted)), Host::Ipv4(asked)) => granted == asked,
            (Self::Address(IpAddr::V6(granted)), Host::Ipv6(asked)) => granted == asked,
            (_, Host::Domain(name)) => self.covers_name(name),
            _ => false,
        }
    }

    fn covers_name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        match self {
            Self::Address(_) => false,
            Self::Name(granted) => granted.eq_ignore_ascii_case(name),
            Self::Below(suffix) => {
                name.len() > suffix.len()
                    && name.is_char_boundary(name.len() - suffix.len())
                    && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
            }
        }
    }

    /// Whether all hosts of another grant are among these.
    fn includes(&self, other: &Self) -> bool {
        match other {
            Self::Name(name) => self.covers_name(name),
            Self::Below(suffix) => match self {
                Self::Below(granted) => suffix == granted || suffix.ends_with(granted.as_str()),
                _ => false,
            },
            Self::Address(_) => self == other,
        }
    }
}

impl fmt::Display for HostGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

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

/// `db.example.com:5432`, `*.example.com:5432`, `10.0.0.7:5432`, `[::1]:5432`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpGrant {
    host: HostGrant,
    port: u16,
}

impl FromStr for TcpGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let text = text.trim();
        let wrong = || GrantError::Tcp(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let host = Host::parse(host).map_err(|_| wrong())?;
        if port == 0 {
            return Err(wrong());
        }
        let host = match &host {
            Host::Domain(name) => Host::Domain(name.as_str()),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        };
        Ok(Self {
            host: HostGrant::new(&host, text)?,
            port,
        })
    }
}

impl TcpGrant {
    /// Whether everything that another grant allows is allowed by this one.
    pub fn includes(&self, other: &Self) -> bool {
        self.port == other.port && self.host.includes(&other.host)
    }
}

impl fmt::Display for TcpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// All network grants of a stage. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    /// URLs for `http-client` without a connection, and for `wasi:http`.
    pub http: Vec<UrlGrant>,
    /// Hosts and ports for `wasi:sockets`.
    pub tcp: Vec<TcpGrant>,
    /// Whether granted names may lead to private and loopback addresses.
    pub allow_private: bool,
}

impl Egress {
    /// Reads grants.
    ///
    /// # Errors
    /// The first that is none.
    pub fn parse(http: &[String], tcp: &[String], allow_private: bool) -> Result<Self, GrantError> {
        Ok(Self {
            http: http
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, _>>()?,
            tcp: tcp
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, _>>()?,
            allow_private,
        })
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.tcp.is_empty()
    }

    /// Whether a request is covered by a grant. A redirect is a request of its own.
    pub fn request(&self, method: &str, url: &Url) -> bool {
        self.http.iter().any(|grant| grant.covers(method, url))
    }

    /// Whether a name may be looked up for raw connections.
    pub fn looks_up(&self, name: &str) -> bool {
        self.tcp.iter().any(|grant| grant.host.covers_name(name))
    }

    /// Whether a raw connection may be made. `names` are the granted names that were resolved to this address.
    pub fn connects<'a>(
        &self,
        address: SocketAddr,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        let ip = address.ip().to_canonical();
        let of_port = || self.tcp.iter().filter(|grant| grant.port == address.port());
        let written = of_port()
            .any(|grant| matches!(grant.host, HostGrant::Address(granted) if granted == ip));
        written
            || (name_may_lead_to(ip, self.allow_private)
                && names.any(|name| of_port().any(|grant| grant.host.covers_name(name))))
    }
}

/// How often a path is decoded to find dots in it: servers behind servers decode more than once.
const MAX_DECODING: usize = 4;

/// Whether a path has no dot segments, however often it is decoded.
pub fn is_plain(path: &str) -> bool {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODING {
        // Some servers take `..;x` for `..`.
        let has_dots = bytes
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(|part| matches!(part.split(|byte| *byte == b';').next(), Some(b"." | b"..")));
        if has_dots {
            return false;
        }
        let decoded = decode(&bytes);
        if decoded == bytes {
            return true;
        }
        bytes = decoded;
    }
    // Encoded more often than anything sane is.
    false
}

/// Decodes `%2e` and the like once.
pub fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(bytes.get(at + 1)), digit(bytes.get(at + 2)))
            && let Ok(value) = u8::try_from(high * 16 + low)
        {
            decoded.push(value);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(grant: &str, method: &str, url: &str) -> bool {
        let grant: UrlGrant = grant.parse().unwrap();
        Url::parse(url).is_ok_and(|url| grant.covers(method, &url))
    }

    #[test]
    fn addresses_are_what_they_are() {
        use Reach::{Never, Private, Public};
        for (text, expected) in [
            ("93.184.216.34", Public),
            ("172.15.255.255", Public),
            ("172.32.0.1", Public),
            ("100.63.0.1", Public),
            ("192.0.1.1", Public),
            ("10.1.2.3", Private),
            ("127.0.0.1", Private),
            ("127.255.0.3", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("0.0.0.0", Never),
            ("0.1.2.3", Never),
            ("169.254.169.254", Never),
            ("192.0.0.8", Never),
            ("198.18.0.1", Never),
            ("224.0.0.1", Never),
            ("255.255.255.255", Never),
            ("240.0.0.1", Never),
            ("2606:2800:220:1::1", Public),
            ("::1", Private),
            ("fc00::1", Private),
            ("fd12:3456::1", Private),
            ("::", Never),
            ("fe80::1", Never),
            ("fec0::1", Never),
            ("ff02::1", Never),
            ("2001:db8::1", Never),
            ("2001::1", Never),
            ("100::1", Never),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:169.254.169.254", Never),
            ("::ffff:8.8.8.8", Public),
            ("64:ff9b::7f00:1", Private),
            ("64:ff9b::808:808", Public),
            ("64:ff9b:1::1", Never),
            ("2002:a9fe:a9fe::", Never),
            ("2002:a00:1::", Private),
            ("::127.0.0.1", Never),
            // Where clouds tell machines their secrets, outside of the link-local range.
            ("100.100.100.200", Never),
            ("168.63.129.16", Never),
            ("fd00:ec2::254", Never),
            ("fd20:ce::254", Never),
            ("fd00:42::42", Never),
            ("::ffff:168.63.129.16", Never),
            ("64:ff9b::6464:64c8", Never),
            ("100.100.100.201", Private),
            ("168.63.129.17", Public),
            ("fd00:ec2::1", Private),
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_url_is_covered_by_method_scheme_host_port_and_path() {
        let grant = "https://api.example.com/v1";
        for url in [
            "https://api.example.com/v1",
            "https://API.example.com:443/v1/items?x=1",
            "https://api.example.com./v1/",
        ] {
            assert!(covers(grant, "POST", url), "{url}");
        }
        for url in [
            "http://api.example.com/v1",
            "https://api.example.com:8443/v1",
            "https://api.example.com.evil.org/v1",
            "https://xapi.example.com/v1",
            "https://api.example.com@evil.org/v1",
            "https://user:secret@api.example.com/v1",
            "https://api.example.com/v10",
            "https://api.example.com/v1/../admin",
            "https://api.example.com/v1/%2e%2e/admin",
            "https://api.example.com/v1/..%2fadmin",
            "https://api.example.com/v1/%252e%252e/admin",
            "https://api.example.com/v1/..;/admin",
        ] {
            assert!(!covers(grant, "GET", url), "{url}");
        }
        let some = "get,head https://a.example.org:8443/";
        assert!(covers(some, "GET", "https://a.example.org:8443/x"));
        assert!(covers(some, "HEAD", "https://a.example.org:8443"));
        assert!(!covers(some, "DELETE", "https://a.example.org:8443/x"));
        assert!(!covers(some, "GET", "https://a.example.org/x"));
    }

    #[test]
    fn a_star_stands_for_the_beginning_of_a_name_only() {
        let grant = "https://*.example.com/";
        assert!(covers(grant, "GET", "https://a.example.com/"));
        assert!(covers(grant, "GET", "https://a.b.EXAMPLE.com/x"));
        for url in [
            "https://example.com/",
            "https://evilexample.com/",
            "https://a.example.com.evil.org/",
            "https://127.0.0.1/",
        ] {
            assert!(!covers(grant, "GET", url), "{url}");
        }
        for wrong in [
            "https://*/",
            "https://*.com/",
            "https://a.*.com/",
            "https://x*.example.com/",
            "*.example.com:*",
        ] {
            assert!(wrong.parse::<UrlGrant>().is_err(), "{wrong}");
        }
        assert!("*.com:443".parse::<TcpGrant>().is_err());
    }

    #[test]
    fn an_address_is_granted_as_written_and_in_no_disguise() {
        let private = "http://127.0.0.1:8080/";
        for same in [
            "http://127.0.0.1:8080/",
            "http://2130706433:8080/",
            "http://0x7f.1:8080/",
            "http://0177.0.0.1:8080/",
        ] {
            assert!(covers(private, "GET", same), "{same}: the same address");
        }
        for other in [
            "http://127.0.0.2:8080/",
            "http://[::1]:8080/",
            "http://localhost:8080/",
            "http://127.0.0.1:8081/",
        ] {
            assert!(!covers(private, "GET", other), "{other}");
        }
        // No grant of a name covers an address, however it is written.
        for disguise in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::1]/",
            "http://0.0.0.0/",
            "http://169.254.169.254/latest/meta-data/",
            "http://localhost/",
        ] {
            assert!(
                !covers("http://api.example.com/", "GET", disguise),
                "{disguise}"
            );
            assert!(
                !covers("http://*.example.com/", "GET", disguise),
                "{disguise}"
            );
        }
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for wrong in [
            "",
            "api.example.com",
            "ftp://a.example.com/",
            "https://u:p@a.example.com/",
            "https://a.example.com/?x=1",
            "https://a.example.com/#x",
            "https://a.example.com/..%2fx",
            "G=T https://a.example.com/",
            "file:///etc/passwd",
        ] {
            assert!(wrong.parse::<UrlGrant>().is_err(), "{wrong}");
        }
        for wrong in [
            "",
            "db",
            "db:",
            ":5432",
            "db:0",
            "db:99999",
            "a b:1",
            "http://db:1",
        ] {
            assert!(wrong.parse::<TcpGrant>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grant_includes_what_is_narrower() {
        let includes = |wide: &str, narrow: &str| {
            let (wide, narrow): (UrlGrant, UrlGrant) =
                (wide.parse().unwrap(), narrow.parse().unwrap());
            wide.includes(&narrow)
        };
        assert!(includes(
            "https://a.example.com/",
            "GET https://a.example.com/v1"
        ));
        assert!(includes(
            "https://*.example.com/",
            "https://a.example.com/v1"
        ));
        assert!(includes(
            "https://*.example.com/",
            "https://*.b.example.com/"
        ));
        assert!(!includes(
            "GET https://a.example.com/",
            "https://a.example.com/"
        ));
        assert!(!includes(
            "https://a.example.com/v1",
            "https://a.example.com/"
        ));
        assert!(!includes(
            "https://a.example.com/",
            "https://*.example.com/"
        ));
        let tcp = |text: &str| text.parse::<TcpGrant>().unwrap();
        assert!(tcp("*.example.com:5432").includes(&tcp("db.example.com:5432")));
        assert!(!tcp("db.example.com:5432").includes(&tcp("db.example.com:5433")));
        for text in ["db.example.com:5432", "[::1]:5432", "*.example.com:1"] {
            assert_eq!(tcp(text).to_string(), text);
        }
        let shown: UrlGrant = "get HTTPS://A.example.com:443/v1/".parse().unwrap();
        assert_eq!(shown.to_string(), "GET https://a.example.com/v1/");
    }

    #[test]
    fn a_raw_connection_needs_the_port_and_an_address_that_a_granted_name_gave() {
        let egress = |tcp: &[&str], allow_private| Egress {
            tcp: tcp.iter().map(|text| text.parse().unwrap()).collect(),
            allow_private,
            ..Egress::default()
        };
        let connects = |egress: &Egress, address: &str, names: &[&str]| {
            egress.connects(address.parse().unwrap(), names.iter().copied())
        };
        let named = egress(&["db.example.com:5432"], false);
        assert!(named.looks_up("DB.example.com.") && !named.looks_up("other.example.com"));
        assert!(connects(&named, "8.8.8.8:5432", &["db.example.com"]));
        assert!(!connects(&named, "8.8.8.8:5433", &["db.example.com"]));
        assert!(!connects(&named, "8.8.8.8:5432", &[]));
        // Rebinding: the name was granted, the address that it gave now is not.
        for inside in [
            "127.0.0.1:5432",
            "10.0.0.1:5432",
            "169.254.169.254:5432",
            "[::1]:5432",
            "[::ffff:10.0.0.1]:5432",
        ] {
            assert!(!connects(&named, inside, &["db.example.com"]), "{inside}");
        }
        let private = egress(&["db.example.com:5432"], true);
        assert!(connects(&private, "10.0.0.1:5432", &["db.example.com"]));
        assert!(!connects(
            &private,
            "169.254.169.254:5432",
            &["db.example.com"]
        ));
        let written = egress(&["127.0.0.1:5432"], false);
        assert!(connects(&written, "127.0.0.1:5432", &[]));
        assert!(connects(&written, "[::ffff:127.0.0.1]:5432", &[]));
        assert!(!connects(&written, "127.0.0.1:5433", &[]));
        assert!(!connects(&written, "127.0.0.2:5432", &[]));
    }

    #[test]
    fn a_grant_without_a_host_is_none() {
        for text in [
            "http://.",
            "https://./v1",
            "http://..",
            "http://a..b/",
            "https://*..com/",
            "http://.a/",
        ] {
            let error = text.parse::<UrlGrant>().unwrap_err();
            assert!(
                matches!(error, GrantError::Host(_) | GrantError::Url(_)),
                "{text}: {error}"
            );
        }
        assert!(".:80".parse::<TcpGrant>().is_err() && "a..b:80".parse::<TcpGrant>().is_err());
        assert!("http://a.b./".parse::<UrlGrant>().is_ok());
    }
}
