//! What a stage may reach on the network, as the operator wrote it: the one policy for `http-client`, `wasi:http` and
//! `wasi:sockets`. Nothing is reachable unless a grant covers it.
//!
//! A name that is granted may lead to any public address; to private and loopback ones only with `allow-private`, and
//! never to link-local, metadata of clouds, multicast and reserved ones. An address that is written out in a grant is
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

use std::net::SocketAddr;

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
