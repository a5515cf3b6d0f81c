//! The host of a grant: an address, a name, or all names below one.

use std::{fmt, net::IpAddr};

use url::Host;

use super::GrantError;

/// Which hosts a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostGrant {
    /// This address.
    Address(IpAddr),
    /// This name.
    Name(String),
    /// Names below this one, with its dot: `.example.com`.
    Below(String),
}

impl HostGrant {
    /// From the host of a parsed URL: lower case, addresses in whatever form they were written are addresses.
    pub(super) fn new(host: &Host<&str>, written: &str) -> Result<Self, GrantError> {
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

    pub(super) fn covers(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Address(IpAddr::V4(granted)), Host::Ipv4(asked)) => granted == asked,
            (Self::Address(IpAddr::V6(granted)), Host::Ipv6(asked)) => granted == asked,
            (_, Host::Domain(name)) => self.covers_name(name),
            _ => false,
        }
    }

    pub(super) fn covers_name(&self, name: &str) -> bool {
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
    pub(super) fn includes(&self, other: &Self) -> bool {
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
