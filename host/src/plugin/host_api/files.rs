//! `wasi:filesystem`: granted folders only, as they are preopened; here what is written is counted against the quota
//! of the grant.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView},
    p2::{
        DynOutputStream, FsError, OutputStream, Pollable, StreamError, StreamResult,
        bindings::filesystem::types::{
            DirectoryEntry, DirectoryEntryStream, ErrorCode, HostDescriptor,
            HostDirectoryEntryStream,
        },
    },
};

use super::super::state::{Scope, State};

/// The interface of the version that wasmtime links.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

/// Bytes that a stage may still write, all its instances together.
#[derive(Debug)]
pub(in crate::plugin) struct Quota {
    left: Option<AtomicU64>,
}

impl Quota {
    pub(in crate::plugin) fn new(bytes: Option<u64>) -> Self {
        Self {
            left: bytes.map(AtomicU64::new),
        }
    }

    fn is_unlimited(&self) -> bool {
        self.left.is_none()
    }

    /// Takes bytes off, or nothing when there are not enough.
    fn take(&self, bytes: u64) -> bool {
        self.left.as_ref().is_none_or(|left| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
        })
    }

    /// Gives back what was not written after all.
    fn give(&self, bytes: u64) {
        if let Some(left) = &self.left {
            left.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Scope {
    /// Takes bytes off the quota; counts a denial when it is used up.
    fn may_write(&self, bytes: u64) -> bool {
        let granted = self.quota.take(bytes);
        if !granted {
            self.denied("quota", "files");
        }
        granted
    }
}

/// Replaces the functions that make a file longer or make links. The rest of the interface stays wasmtime's.
pub(in crate::plugin) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_async(
        "[method]descriptor.write",
        |mut store: StoreContextMut<'_, State>,
         (file, bytes, offset): (Resource<Descriptor>, Vec<u8>, u64)| {
            Box::new(async move { Ok((write(store.data_mut(), file, bytes, offset).await?,)) })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.set-size",
        |mut store: StoreContextMut<'_, State>, (file, size): (Resource<Descriptor>, u64)| {
            Box::new(async move { Ok((set_size(store.data_mut(), &file, size).await?,)) })
        },
    )?;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut store: StoreContextMut<'_, State>, (file, offset): (Resource<Descriptor>, u64)| {
            let state = store.data_mut();
            let stream = state.filesystem().write_via_stream(file, offset);
            Ok((counted(state, stream)?,))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: StoreContextMut<'_, State>, (file,): (Resource<Descriptor>,)| {
            let state = store.data_mut();
            let stream = state.filesystem().append_via_stream(file);
            Ok((counted(state, stream)?,))
        },
    )?;
    // A plugin could not follow a link out of its folders, but what an operator does with the folder later would.
    types.func_wrap_async(
        "[method]descriptor.symlink-at",
        |store: StoreContextMut<'_, State>, _: (Resource<Descriptor>, String, String)| {
            let refused: Result<(), ErrorCode> = Err(ErrorCode::NotPermitted);
            store.data().scope.denied("link", "symbolic links");
            Box::new(async move { Ok((refused,)) })
        },
    )?;
    types.func_wrap_async(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: StoreContextMut<'_, State>, (listing,): (Resource<DirectoryEntryStream>,)| {
            Box::new(async move { Ok((next_entry(store.data_mut(), &listing).await?,)) })
        },
    )?;
    super::paths::link(linker, TYPES)?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn write(
    state: &mut State,
    file: Resource<Descriptor>,
    bytes: Vec<u8>,
    offset: u64,
) -> wasmtime::Result<Result<u64, ErrorCode>> {
    let asked = bytes.len() as u64;
    if !state.scope.may_write(asked) {
        return Ok(Err(ErrorCode::Quota));
    }
    let outcome = HostDescriptor::write(&mut state.filesystem(), file, bytes, offset).await;
    let written = *outcome.as_ref().unwrap_or(&0);
    state.scope.quota.give(asked.saturating_sub(written));
    given(outcome)
}

async fn set_size(
    state: &mut State,
    file: &Resource<Descriptor>,
    size: u64,
) -> wasmtime::Result<Result<(), ErrorCode>> {
    let borrow = || Resource::new_borrow(file.rep());
    let mut growth = 0;
    if !state.scope.quota.is_unlimited() {
        let now = match HostDescriptor::stat(&mut state.filesystem(), borrow()).await {
            Ok(stat) => stat.size,
            Err(error) => return given(Err(error)),
        };
        growth = size.saturating_sub(now);
        if !state.scope.may_write(growth) {
            return Ok(Err(ErrorCode::Quota));
        }
    }
    let outcome = HostDescriptor::set_size(&mut state.filesystem(), borrow(), size).await;
    if outcome.is_err() {
        state.scope.quota.give(growth);
    }
    given(outcome)
}

/// The next entry of a folder. What was taken away between the look at its name and the look at what it is, is not
/// there: an entry less, not an error that ends the listing. Other flows write into the same folders.
async fn next_entry(
    state: &mut State,
    listing: &Resource<DirectoryEntryStream>,
) -> wasmtime::Result<Result<Option<DirectoryEntry>, ErrorCode>> {
    loop {
        let borrow = Resource::new_borrow(listing.rep());
        let mut files = state.filesystem();
        let entry = HostDirectoryEntryStream::read_directory_entry(&mut files, borrow).await;
        match given(entry)? {
            Err(ErrorCode::NoEntry) => {}
            entry => return Ok(entry),
        }
    }
}

/// An error that the guest gets, or one that ends the call.
pub(super) fn given<T>(outcome: Result<T, FsError>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(error) => error.downcast().map(Err),
    }
}

/// Puts a counter before a stream when there is a quota.
fn counted(
    state: &mut State,
    stream: Result<Resource<DynOutputStream>, FsError>,
) -> wasmtime::Result<Result<Resource<DynOutputStream>, ErrorCode>> {
    let stream = match given(stream)? {
        Ok(stream) if !state.scope.quota.is_unlimited() => stream,
        other => return Ok(other),
    };
    let scope = Arc::clone(&state.scope);
    let table = state.filesystem().table;
    let inner = table.delete(stream)?;
    let counted: DynOutputStream = Box::new(Counted { inner, scope });
    Ok(Ok(table.push(counted)?))
}

/// A stream into a file that takes what is written off the quota.
struct Counted {
    inner: DynOutputStream,
    scope: Arc<Scope>,
}

impl OutputStream for Counted {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.scope.may_write(bytes.len() as u64) {
            return self.inner.write(bytes);
        }
        let text = "the quota of the stage's file grant is used up";
        let error = io::Error::new(io::ErrorKind::QuotaExceeded, text);
        Err(StreamError::LastOperationFailed(error.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }
}

#[async_trait::async_trait]
impl Pollable for Counted {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_taken_and_given_back() {
        let quota = Quota::new(Some(10));
        assert!(quota.take(7) && !quota.take(4) && quota.take(3) && !quota.take(1));
        quota.give(2);
        assert!(quota.take(2) && !quota.take(1) && quota.take(0));
        assert!(Quota::new(None).take(u64::MAX));
    }
}
