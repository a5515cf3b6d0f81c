//! Addresses: which of them a name may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    // Metadata of clouds that are not at a link-local address.
    let metadata = [
        // Alibaba, Volcano Engine, UCloud.
        [100, 100, 100, 200],
        [100, 96, 0, 96],
        [100, 80, 80, 80],
        // Azure.
        [168, 63, 129, 16],
    ];
    if metadata.contains(&address.octets()) {
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
    // Metadata of clouds in private ranges. All that AWS has there serves its own machines: instances (::254), pods of EKS
    // (::23), names, time.
    let metadata = [
        // Google, Scaleway, Oracle, Linode, Alibaba.
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
        [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],
        [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe],
        [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1],
        [0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200],
    ];
    if matches!(parts, [0xfd00, 0xec2, ..]) || metadata.contains(&parts) {
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
