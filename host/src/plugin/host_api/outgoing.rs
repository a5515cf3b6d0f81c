//! `wasi:http/types`: what a guest prepares before anything is sent. It needs no grant for that, and what it prepares is
//! in the host's memory, so each part of it is small and there are not many of the larger ones.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::{
        bindings::http::types::{HostOutgoingRequest as _, Method},
        body::HostOutgoingBody,
        types::{HostOutgoingRequest, HostOutgoingResponse},
    },
};

use super::super::state::State;

/// The interface of the version that wasmtime links; older and newer 0.2 names lead to it.
const TYPES: &str = "wasi:http/types@0.2.12";
/// Bytes of a body in one piece; two pieces wait in the host.
pub(super) const PIECE: usize = 64 << 10;
/// Bodies of requests that are not sent yet.
const MAX_UNSENT: usize = 32;
/// Bytes of a method: longer ones are none.
const MAX_METHOD: usize = 64;
/// Bytes of host and port, and of path and query.
const MAX_URL: usize = 16 << 10;
/// Bytes of the headers of one message, roughly, with what the host needs to keep them.
pub(in crate::plugin) const MAX_FIELDS: usize = 32 << 10;

/// Replaces the functions that take what may be large. The rest of the interface stays wasmtime's.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.body",
        |mut store: StoreContextMut<'_, State>, (request,): (Resource<HostOutgoingRequest>,)| {
            Ok((body(store.data_mut(), request)?,))
        },
    )?;
    // There is nobody to whom a plugin could respond.
    types.func_wrap(
        "[method]outgoing-response.body",
        |_: StoreContextMut<'_, State>, _: (Resource<HostOutgoingResponse>,)| {
            Ok((Err::<Resource<HostOutgoingBody>, ()>(()),))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, State>,
         (request, method): (Resource<HostOutgoingRequest>, Method)| {
            if matches!(&method, Method::Other(name) if name.len() > MAX_METHOD) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, State>,
         (request, text): (Resource<HostOutgoingRequest>, Option<String>)| {
            if is_long(text.as_ref()) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_authority(request, text)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, State>,
         (request, text): (Resource<HostOutgoingRequest>, Option<String>)| {
            if is_long(text.as_ref()) {
                return Ok((Err(()),));
            }
            let mut http = store.data_mut().http();
            Ok((http.set_path_with_query(request, text)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn is_long(text: Option<&String>) -> bool {
    text.is_some_and(|text| text.len() > MAX_URL)
}

/// A body for a request, unless too many wait to be sent already.
fn body(
    state: &mut State,
    request: Resource<HostOutgoingRequest>,
) -> wasmtime::Result<Result<Resource<HostOutgoingBody>, ()>> {
    let mut http = state.http();
    // The table is small, see `HANDLES`.
    let unsent = http
        .table
        .iter_mut()
        .filter_map(|entry| entry.downcast_ref::<HostOutgoingRequest>())
        .filter(|request| request.body.is_some())
        .count();
    if unsent >= MAX_UNSENT {
        return Ok(Err(()));
    }
    http.body(request)
}
