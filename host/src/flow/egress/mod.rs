//! What a stage may reach on the network, as the operator wrote it: the one policy for `http-client`, `wasi:http` and
//! `wasi:sockets`. Nothing is reachable unless a grant covers it.
//!
//! A name that is granted may lead to any public address; to private and loopback ones only with an `allow-private` that
//! stands beside this very grant, and never to link-local, metadata of clouds, multicast and reserved ones. An address that is written out in a grant is
//! granted as it is written.
//!
//! | file | what it is |
//! |---|---|
//! | `address.rs` | which addresses a name may lead to |
//! | `host.rs` | the host of a grant |
//! | `url.rs` | grants of URLs |
//! | `tcp.rs` | grants of hosts and ports |
//! | `path.rs` | paths that every server reads in the same way |

mod address;
mod host;
mod path;
mod tcp;
#[cfg(test)]
mod tests;
mod url;

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use ::url::Url;

use self::host::HostGrant;
pub use self::{
    address::{Reach, name_may_lead_to, reach},
    path::{decode, is_plain},
    tcp::TcpGrant,
    url::UrlGrant,
};

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

/// A grant, and where the names that it is for may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<G> {
    /// What may be reached.
    pub grant: G,
    /// Whether its names may lead to private and loopback addresses. It counts for this grant only: another one for the
    /// same name does not become wider by it.
    pub allow_private: bool,
}

/// All network grants of a stage. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    /// URLs for `http-client` without a connection, and for `wasi:http`.
    pub http: Vec<Rule<UrlGrant>>,
    /// Hosts and ports for `wasi:sockets`.
    pub tcp: Vec<Rule<TcpGrant>>,
}

impl Egress {
    /// Reads grants that share one `allow-private`.
    ///
    /// # Errors
    /// The first that is none.
    pub fn parse(http: &[String], tcp: &[String], allow_private: bool) -> Result<Self, GrantError> {
        Self::rules(http, tcp, |_| allow_private)
    }

    /// Reads grants; `private` says of each whether its names may lead to private addresses.
    ///
    /// # Errors
    /// The first that is none.
    pub fn rules(
        http: &[String],
        tcp: &[String],
        private: impl Fn(&String) -> bool,
    ) -> Result<Self, GrantError> {
        Ok(Self {
            http: rules(http, &private)?,
            tcp: rules(tcp, &private)?,
        })
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.tcp.is_empty()
    }

    /// Whether a request is covered by a grant. A redirect is a request of its own.
    pub fn request(&self, method: &str, url: &Url) -> bool {
        self.covering(method, url).next().is_some()
    }

    /// Whether one of the grants that cover a request lets its name lead to private addresses.
    pub fn request_inside(&self, method: &str, url: &Url) -> bool {
        self.covering(method, url).any(|rule| rule.allow_private)
    }

    fn covering(&self, method: &str, url: &Url) -> impl Iterator<Item = &Rule<UrlGrant>> {
        self.http
            .iter()
            .filter(move |rule| rule.grant.covers(method, url))
    }

    /// Whether a name may be looked up for raw connections.
    pub fn looks_up(&self, name: &str) -> bool {
        self.naming(name).next().is_some()
    }

    /// Whether a name may lead to an address, at one of its ports at least.
    pub fn leads_to(&self, name: &str, address: IpAddr) -> bool {
        self.naming(name)
            .any(|rule| name_may_lead_to(address, rule.allow_private))
    }

    fn naming(&self, name: &str) -> impl Iterator<Item = &Rule<TcpGrant>> {
        self.tcp
            .iter()
            .filter(move |rule| rule.grant.host.covers_name(name))
    }

    /// Whether a raw connection may be made. `names` are the granted names that were resolved to this address.
    pub fn connects<'a>(
        &self,
        address: SocketAddr,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        let ip = address.ip().to_canonical();
        let of_port = || {
            let rules = self.tcp.iter();
            rules.filter(|rule| rule.grant.port == address.port())
        };
        let written = of_port()
            .any(|rule| matches!(rule.grant.host, HostGrant::Address(granted) if granted == ip));
        written
            || names.any(|name| {
                of_port().any(|rule| {
                    rule.grant.host.covers_name(name) && name_may_lead_to(ip, rule.allow_private)
                })
            })
    }
}

fn rules<G: FromStr<Err = GrantError>>(
    texts: &[String],
    private: impl Fn(&String) -> bool,
) -> Result<Vec<Rule<G>>, GrantError> {
    let rule = |text: &String| {
        Ok(Rule {
            grant: text.parse()?,
            allow_private: private(text),
        })
    };
    texts.iter().map(rule).collect()
}
