//! `wasi:sockets`: raw TCP connections to granted hosts and ports. Nothing listens, and there is no UDP.
//!
//! Names are resolved by the host. A connection is allowed to an address that is granted as written, or that a lookup
//! of a granted name gave to this very instance; the address itself is judged when it is connected to, so a name that
//! pointed elsewhere a moment ago does not help.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p2::{
        Network, SocketError, UdpSocket,
        bindings::sockets::{
            ip_name_lookup::{Host, HostResolveAddressStream, ResolveAddressStream},
            network::{ErrorCode, IpAddress, IpAddressFamily},
        },
    },
    sockets::{SocketAddrUse, WasiSocketsView},
};

use super::super::state::{Scope, State};
use crate::flow::egress::name_may_lead_to;

/// The interface of the version that wasmtime links; older and newer 0.2 names lead to it.
const LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";
/// Where UDP sockets are made.
const UDP: &str = "wasi:sockets/udp-create-socket@0.2.12";
/// Addresses remembered per instance. The oldest are forgotten: a guest that needs them looks the name up again.
const MAX_ADDRESSES: usize = 1024;

/// What one instance has looked up.
#[derive(Debug, Clone, Default)]
pub(in crate::plugin) struct Lookups(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The name behind a stream of addresses that is being read.
    reading: BTreeMap<u32, String>,
    addresses: std::collections::VecDeque<(IpAddr, String)>,
}

impl Lookups {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reads(&self, stream: u32, name: String) {
        let mut known = self.known();
        if known.reading.len() >= MAX_ADDRESSES {
            known.reading.clear();
        }
        known.reading.insert(stream, name);
    }

    fn gave(&self, stream: u32, address: IpAddr) {
        let mut known = self.known();
        let Some(name) = known.reading.get(&stream).cloned() else {
            return;
        };
        if known.addresses.len() >= MAX_ADDRESSES {
            known.addresses.pop_front();
        }
        known.addresses.push_back((address, name));
    }

    fn names(&self, address: IpAddr) -> Vec<String> {
        let known = self.known();
        let of = known.addresses.iter().filter(|(ip, _)| *ip == address);
        of.map(|(_, name)| name.clone()).collect()
    }
}

/// Lets the sandbox connect as far as its grants go.
pub(in crate::plugin) fn allow(wasi: &mut WasiCtxBuilder, scope: &Arc<Scope>, lookups: &Lookups) {
    let granted = !scope.grants.egress.tcp.is_empty();
    // TCP is refused below, by address, so that what was tried is on record; UDP where its sockets would be made.
    wasi.allow_udp(false)
        .allow_tcp(true)
        .allow_ip_name_lookup(granted);
    let (scope, lookups) = (Arc::clone(scope), lookups.clone());
    wasi.socket_addr_check(move |address, used| {
        let allowed = match used {
            SocketAddrUse::TcpConnect => {
                let names = lookups.names(address.ip().to_canonical());
                let egress = &scope.grants.egress;
                egress.connects(address, names.iter().map(String::as_str))
            }
            // The system does this before it connects: any port, any interface.
            SocketAddrUse::TcpBind => address.port() == 0 && address.ip().is_unspecified(),
            _ => false,
        };
        if !allowed {
            scope.denied("address", &address.to_string());
        }
        Box::pin(std::future::ready(allowed))
    });
}

/// Replaces the two functions through which names become addresses.
pub(in crate::plugin) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut lookup = linker.instance(LOOKUP)?;
    lookup.func_wrap(
        "resolve-addresses",
        |store: StoreContextMut<'_, State>, (network, name): (Resource<Network>, String)| {
            Ok((resolve(store, network, name)?,))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |store: StoreContextMut<'_, State>, (stream,): (Resource<ResolveAddressStream>,)| {
            Ok((next(store, &stream)?,))
        },
    )?;
    // There is no UDP at all, whatever address it would be for.
    linker.instance(UDP)?.func_wrap(
        "create-udp-socket",
        |store: StoreContextMut<'_, State>, (_,): (IpAddressFamily,)| {
            store.data().scope.denied("socket", "udp");
            let refused: Result<Resource<UdpSocket>, ErrorCode> = Err(ErrorCode::AccessDenied);
            Ok((refused,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn resolve(
    mut store: StoreContextMut<'_, State>,
    network: Resource<Network>,
    name: String,
) -> wasmtime::Result<Result<Resource<ResolveAddressStream>, ErrorCode>> {
    let state = store.data_mut();
    // An address that is written out needs no lookup, and gives nothing away.
    let written = name.parse::<IpAddr>().is_ok();
    if !written && !state.scope.grants.egress.looks_up(&name) {
        state.scope.denied("name", &name);
        return Ok(Err(ErrorCode::AccessDenied));
    }
    match state.sockets().resolve_addresses(network, name.clone()) {
        Ok(stream) => {
            if !written {
                state.lookups.reads(stream.rep(), name);
            }
            Ok(Ok(stream))
        }
        Err(error) => code(error).map(Err),
    }
}

/// The next address that the name may lead to. Others are left out, and counted.
fn next(
    mut store: StoreContextMut<'_, State>,
    stream: &Resource<ResolveAddressStream>,
) -> wasmtime::Result<Result<Option<IpAddress>, ErrorCode>> {
    let state = store.data_mut();
    let rep = stream.rep();
    loop {
        let found = state
            .sockets()
            .resolve_next_address(Resource::new_borrow(rep));
        let address = match found {
            Ok(Some(address)) => address,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return code(error).map(Err),
        };
        let ip = ip(address);
        if name_may_lead_to(ip, state.scope.grants.egress.allow_private) {
            state.lookups.gave(rep, ip.to_canonical());
            return Ok(Ok(Some(address)));
        }
        state.scope.denied("address", &ip.to_string());
    }
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4(parts) => IpAddr::from(<[u8; 4]>::from(parts)),
        IpAddress::Ipv6(parts) => IpAddr::from(<[u16; 8]>::from(parts)),
    }
}

/// An error that the guest gets, or one that ends the call.
fn code(error: SocketError) -> wasmtime::Result<ErrorCode> {
    error.downcast()
}
