//! `wasi:sockets`: raw TCP connections to granted hosts and ports. Nothing listens, and there is no UDP.
//!
//! Names are resolved by the host, see `lookup.rs`. A connection is allowed to an address that is granted as written, or
//! that a lookup of a granted name gave to this very instance; the address itself is judged when it is connected to, so
//! a name that pointed elsewhere a moment ago does not help.

use std::sync::Arc;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p2::{
        UdpSocket,
        bindings::sockets::{
            network::{ErrorCode, IpAddressFamily},
            tcp::{HostTcpSocket, TcpSocket},
            tcp_create_socket::Host as _,
        },
    },
    sockets::{SocketAddrUse, WasiSocketsView},
};

pub(in crate::plugin) use super::lookup::Lookups;
use super::{
    super::state::{Scope, State},
    lookup,
};

/// The interfaces of the version that wasmtime links; older and newer 0.2 names lead to them.
const TCP: &str = "wasi:sockets/tcp@0.2.12";
const CREATE: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const CREATE_UDP: &str = "wasi:sockets/udp-create-socket@0.2.12";

/// Lets the sandbox connect as far as its grants go.
pub(in crate::plugin) fn allow(wasi: &mut WasiCtxBuilder, scope: &Arc<Scope>, lookups: &Lookups) {
    // TCP is refused below, by address, so that what was tried is on record; UDP where its sockets would be made.
    wasi.allow_udp(false).allow_tcp(true);
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

/// Replaces what makes and drops sockets, so that they are counted, and the lookup of names.
pub(in crate::plugin) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    lookup::link(linker)?;
    linker.instance(CREATE)?.func_wrap(
        "create-tcp-socket",
        |mut store: StoreContextMut<'_, State>, (family,): (IpAddressFamily,)| {
            Ok((create(store.data_mut(), family)?,))
        },
    )?;
    linker.instance(TCP)?.resource(
        "tcp-socket",
        ResourceType::host::<TcpSocket>(),
        |mut store: StoreContextMut<'_, State>, socket| {
            let state = store.data_mut();
            HostTcpSocket::drop(&mut state.sockets(), Resource::new_own(socket))?;
            // After the socket itself: a place is free when the system's socket is closed.
            state.sockets_open.remove(&socket);
            Ok(())
        },
    )?;
    // There is no UDP at all, whatever address it would be for.
    linker.instance(CREATE_UDP)?.func_wrap(
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

fn create(
    state: &mut State,
    family: IpAddressFamily,
) -> wasmtime::Result<Result<Resource<TcpSocket>, ErrorCode>> {
    let Some(place) = state.scope.open.stay() else {
        return Ok(Err(ErrorCode::NewSocketLimit));
    };
    // Each is a file of the process, too.
    let room = state.room()?;
    match state.sockets().create_tcp_socket(family) {
        Ok(socket) => {
            state.sockets_open.insert(socket.rep(), place);
            state.handles.connects(socket.rep(), room);
            Ok(Ok(socket))
        }
        // An error that the guest gets, or one that ends the call.
        Err(error) => error.downcast().map(Err),
    }
}
