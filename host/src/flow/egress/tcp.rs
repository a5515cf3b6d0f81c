//! Grants of hosts and ports: for `wasi:sockets`.

use std::{fmt, str::FromStr};

use url::Host;

use super::{GrantError, host::HostGrant};

/// `db.example.com:5432`, `*.example.com:5432`, `10.0.0.7:5432`, `[::1]:5432`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpGrant {
    pub(super) host: HostGrant,
    pub(super) port: u16,
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
