//! `wasi:sockets/ip-name-lookup`: names become addresses. The whole interface is the host's own, so that an address
//! that came from a lookup is known by the name that it was asked for, whatever the guest does with its handles.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    vec,
};

use futures_util::FutureExt as _;
use url::Host;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    p2::{
        Network, Pollable,
        bindings::sockets::network::{ErrorCode, IpAddress},
        subscribe,
    },
    sockets::WasiSocketsView,
};

use super::super::state::{Scope, State};
use crate::names::{Answer, NameError, Outcome};

/// The interface of the version that wasmtime links; older and newer 0.2 names lead to it.
const INTERFACE: &str = "wasi:sockets/ip-name-lookup@0.2.12";
/// Addresses remembered per instance. The oldest are forgotten: a guest that needs them looks the name up again.
const MAX_ADDRESSES: usize = 1024;
/// The longest name there is.
const MAX_NAME: usize = 255;

/// What one instance was told of granted names.
#[derive(Debug, Clone, Default)]
pub(in crate::plugin) struct Lookups(Arc<Mutex<VecDeque<(IpAddr, String)>>>);

impl Lookups {
    fn gave(&self, address: IpAddr, name: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|(ip, of)| *ip == address && of == name) {
            return;
        }
        if known.len() >= MAX_ADDRESSES {
            known.pop_front();
        }
        known.push_back((address, name.to_owned()));
    }

    /// The names that led to an address.
    pub(super) fn names(&self, address: IpAddr) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = known.iter().filter(|(ip, _)| *ip == address);
        of.map(|(_, name)| name.clone()).collect()
    }
}

/// A stream of addresses: the resource `resolve-address-stream`.
struct Lookup {
    /// `None`: the address was written out. It is no answer of anybody, so it says nothing about any name.
    name: Option<String>,
    found: Found,
}

enum Found {
    Coming(Answer),
    Here(Result<vec::IntoIter<IpAddr>, ErrorCode>),
}

impl Lookup {
    fn written(address: IpAddr) -> Self {
        Self {
            name: None,
            found: Found::Here(Ok(vec![address].into_iter())),
        }
    }

    /// It cannot be stopped once it has begun, so the stage's place is taken until it is done.
    fn coming(name: String, answer: Answer) -> Self {
        Self {
            name: Some(name),
            found: Found::Coming(answer),
        }
    }

    fn settle(&mut self, outcome: &Outcome) {
        self.found = Found::Here(match outcome {
            Ok(found) => {
                let addresses = found.iter().map(|found| found.ip().to_canonical());
                Ok(addresses.collect::<Vec<_>>().into_iter())
            }
            Err(NameError::Failed(_)) => Err(ErrorCode::NameUnresolvable),
            Err(NameError::TooMany) => Err(ErrorCode::TemporaryResolverFailure),
        });
    }

    /// The next address, when the system has answered.
    fn next(&mut self) -> Result<Option<IpAddr>, ErrorCode> {
        if let Found::Coming(asking) = &mut self.found
            && let Some(outcome) = asking.now_or_never()
        {
            self.settle(&outcome);
        }
        match &mut self.found {
            Found::Coming(_) => Err(ErrorCode::WouldBlock),
            Found::Here(Ok(addresses)) => Ok(addresses.next()),
            Found::Here(Err(code)) => Err(*code),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Found::Coming(asking) = &mut self.found {
            let outcome = asking.await;
            self.settle(&outcome);
        }
    }
}

/// Puts the interface in the place of wasmtime's.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance(INTERFACE)?;
    lookup.resource(
        "resolve-address-stream",
        ResourceType::host::<Lookup>(),
        |mut store: StoreContextMut<'_, State>, stream| {
            let stream = Resource::<Lookup>::new_own(stream);
            store.data_mut().sockets().table.delete(stream)?;
            Ok(())
        },
    )?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, State>, (network, name): (Resource<Network>, String)| {
            Ok((resolve(store.data_mut(), &network, &name)?,))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, State>, (stream,): (Resource<Lookup>,)| {
            Ok((next(store.data_mut(), &stream)?,))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, State>, (stream,): (Resource<Lookup>,)| {
            Ok((subscribe(store.data_mut().sockets().table, stream)?,))
        },
    )
}

/// What a guest means: a name in its plain form, or an address in whatever form it was written.
fn meant(name: &str) -> Option<Host> {
    if name.len() > MAX_NAME {
        return None;
    }
    match Host::parse(name) {
        Ok(host) => Some(host),
        // IPv6 without brackets.
        Err(_) => name.parse::<Ipv6Addr>().ok().map(Host::Ipv6),
    }
}

fn resolve(
    state: &mut State,
    network: &Resource<Network>,
    name: &str,
) -> wasmtime::Result<Result<Resource<Lookup>, ErrorCode>> {
    state.sockets().table.get(network)?;
    let lookup = match meant(name) {
        None => return Ok(Err(ErrorCode::InvalidArgument)),
        Some(Host::Ipv4(address)) => Lookup::written(address.into()),
        Some(Host::Ipv6(address)) => Lookup::written(address.into()),
        Some(Host::Domain(name)) => match begin(&state.scope, name) {
            Ok(lookup) => lookup,
            Err(code) => return Ok(Err(code)),
        },
    };
    Ok(Ok(state.sockets().table.push(lookup)?))
}

fn begin(scope: &Scope, name: String) -> Result<Lookup, ErrorCode> {
    if !scope.grants.egress.looks_up(&name) {
        scope.denied("name", &name);
        return Err(ErrorCode::AccessDenied);
    }
    let place = scope
        .open
        .stay()
        .ok_or(ErrorCode::TemporaryResolverFailure)?;
    let answer = scope.asker.ask(&name, Some(Box::new(place)));
    Ok(Lookup::coming(name, answer))
}

/// The next address that the name may lead to. Others are left out, and counted.
fn next(
    state: &mut State,
    stream: &Resource<Lookup>,
) -> wasmtime::Result<Result<Option<IpAddress>, ErrorCode>> {
    let (scope, lookups) = (Arc::clone(&state.scope), state.lookups.clone());
    let lookup = state.sockets().table.get_mut(stream)?;
    loop {
        let address = match lookup.next() {
            Ok(Some(address)) => address,
            Ok(None) => return Ok(Ok(None)),
            Err(code) => return Ok(Err(code)),
        };
        match &lookup.name {
            Some(name) if scope.grants.egress.leads_to(name, address) => {
                lookups.gave(address.to_canonical(), name);
            }
            Some(_) => {
                scope.denied("address", &address.to_string());
                continue;
            }
            None => {}
        }
        return Ok(Ok(Some(address.into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_known_in_whatever_form_they_are_written() {
        for written in [
            "8.8.8.8",
            "134744072",
            "0x8.8.8.8",
            "010.8.8.8",
            "::1",
            "[::1]",
        ] {
            assert!(
                !matches!(meant(written), Some(Host::Domain(_)) | None),
                "{written}"
            );
        }
        assert!(meant("").is_none() && meant("a b").is_none());
        let long = format!("{}.example.com", "a".repeat(1 << 20));
        assert!(meant(&long).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let lookups = Lookups::default();
        let address = |at: u32| IpAddr::from(at.to_be_bytes());
        for at in 0..3000 {
            lookups.gave(address(at), "db.example.com");
            lookups.gave(address(at), "db.example.com");
        }
        assert_eq!(lookups.names(address(2999)), ["db.example.com"]);
        assert!(lookups.names(address(0)).is_empty());
        assert_eq!(lookups.0.lock().unwrap().len(), MAX_ADDRESSES);
    }
}
