//! Which addresses may be reached, checked each time a name is resolved: a name that pointed elsewhere a moment ago does
//! not help.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// On the internet.
    Public,
    /// In a private network or on this machine.
    Private,
    /// Link-local (cloud metadata among them), multicast, unspecified, reserved: never a server for us.
    Never,
}

/// Judges an address.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // Shared address space of providers is as private as a private network.
        [100, second, ..] if (64..128).contains(&second) => Reach::Private,
        [10 | 127, ..] | [192, 168, ..] => Reach::Private,
        [172, second, ..] if (16..32).contains(&second) => Reach::Private,
        // "This network", link-local, protocol assignments, documentation, benchmarks, multicast and above.
        [0, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [198, 18 | 19, ..] => Reach::Never,
        [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => Reach::Never,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let parts = address.segments();
    let embedded =
        |high: u16, low: u16| reach_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
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

/// Whether an address may be reached.
pub(super) fn is_allowed(address: IpAddr, allow_private: bool) -> bool {
    match reach(address) {
        Reach::Public => true,
        Reach::Private => allow_private,
        Reach::Never => false,
    }
}

/// A name or literal leads to an address that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} is {address}, {kind}", kind = describe(*address))]
pub(super) struct AddressDenied {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

fn describe(address: IpAddr) -> &'static str {
    match reach(address) {
        Reach::Private => {
            "a private or loopback address: `allow-private: true` in the connection allows it"
        }
        Reach::Public | Reach::Never => {
            "a link-local, multicast or reserved address, which is never reached"
        }
    }
}

/// Resolves names with the system, and gives only allowed addresses to the one who connects.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckedResolver {
    pub(super) allow_private: bool,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let allowed = filter(host, found, allow_private)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn filter(
    host: &str,
    found: Vec<SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, Arc<AddressDenied>> {
    let denied = found
        .iter()
        .find(|found| !is_allowed(found.ip(), allow_private))
        .map(SocketAddr::ip);
    let allowed: Vec<_> = found
        .into_iter()
        .filter(|found| is_allowed(found.ip(), allow_private))
        .collect();
    match denied {
        Some(address) if allowed.is_empty() => Err(Arc::new(AddressDenied {
            host: host.to_owned(),
            address,
        })),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_name_with_one_allowed_address_leads_there_only() {
        let both: Vec<SocketAddr> =
            vec!["127.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap()];
        assert_eq!(filter("h", both.clone(), false).unwrap(), both[1..]);
        assert_eq!(filter("h", both.clone(), true).unwrap(), both);
        let denied = filter("h", both[..1].to_vec(), false).unwrap_err();
        assert!(denied.to_string().contains("h is 127.0.0.1"), "{denied}");
        assert!(denied.to_string().contains("allow-private"), "{denied}");
    }
}
