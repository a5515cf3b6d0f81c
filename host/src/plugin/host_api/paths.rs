//! `wasi:filesystem`, the functions that take a path: they stay wasmtime's, and what leads out of a granted folder or
//! writes where only reading is granted is counted and put on record.

use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, Resource},
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemView},
    p2::{
        FsError,
        bindings::filesystem::types::{
            DescriptorFlags, ErrorCode, HostDescriptor, NewTimestamp, OpenFlags, PathFlags,
        },
    },
};

use super::super::state::State;

type Store<'a> = StoreContextMut<'a, State>;
type Folder = Resource<Descriptor>;

/// Replaces the functions in the interface of this name; shadowing must be allowed.
pub(super) fn link(linker: &mut Linker<State>, interface: &str) -> wasmtime::Result<()> {
    let mut types = linker.instance(interface)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: Store<'_>,
         (folder, at, path, open, flags): (
            Folder,
            PathFlags,
            String,
            OpenFlags,
            DescriptorFlags,
        )| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let room = state.room()?;
                let mut files = state.filesystem();
                let outcome = HostDescriptor::open_at(&mut files, folder, at, path, open, flags);
                let outcome = outcome.await;
                if let Ok(opened) = &outcome {
                    state.opened(opened, room)?;
                }
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    looks(&mut types)?;
    types.func_wrap_async(
        "[method]descriptor.create-directory-at",
        |mut store: Store<'_>, (folder, path): (Folder, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let mut files = state.filesystem();
                let outcome = HostDescriptor::create_directory_at(&mut files, folder, path).await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.remove-directory-at",
        |mut store: Store<'_>, (folder, path): (Folder, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let mut files = state.filesystem();
                let outcome = HostDescriptor::remove_directory_at(&mut files, folder, path).await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.unlink-file-at",
        |mut store: Store<'_>, (folder, path): (Folder, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let mut files = state.filesystem();
                let outcome = HostDescriptor::unlink_file_at(&mut files, folder, path).await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    moves(&mut types)
}

/// Those that take two paths.
fn moves(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.func_wrap_async(
        "[method]descriptor.rename-at",
        |mut store: Store<'_>, (folder, from, target, to): (Folder, String, Folder, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = format!("{from} to {to}");
                let mut files = state.filesystem();
                let outcome = HostDescriptor::rename_at(&mut files, folder, from, target, to);
                let outcome = outcome.await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.link-at",
        |mut store: Store<'_>,
         (folder, at, from, target, to): (Folder, PathFlags, String, Folder, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = format!("{from} to {to}");
                let mut files = state.filesystem();
                let outcome = HostDescriptor::link_at(&mut files, folder, at, from, target, to);
                let outcome = outcome.await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )
}

/// Those that only look at what is there, or at when it was written.
fn looks(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    types.func_wrap_async(
        "[method]descriptor.stat-at",
        |mut store: Store<'_>, (folder, at, path): (Folder, PathFlags, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let mut files = state.filesystem();
                let outcome = HostDescriptor::stat_at(&mut files, folder, at, path).await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.set-times-at",
        |mut store: Store<'_>,
         (folder, at, path, read, written): (
            Folder,
            PathFlags,
            String,
            NewTimestamp,
            NewTimestamp,
        )| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let mut files = state.filesystem();
                let outcome =
                    HostDescriptor::set_times_at(&mut files, folder, at, path, read, written);
                let outcome = outcome.await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.readlink-at",
        |mut store: Store<'_>, (folder, path): (Folder, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let mut files = state.filesystem();
                let outcome = HostDescriptor::readlink_at(&mut files, folder, path).await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.metadata-hash-at",
        |mut store: Store<'_>, (folder, at, path): (Folder, PathFlags, String)| {
            Box::new(async move {
                let state = store.data_mut();
                let named = path.clone();
                let mut files = state.filesystem();
                let outcome = HostDescriptor::metadata_hash_at(&mut files, folder, at, path).await;
                Ok((told(state, &named, outcome)?,))
            })
        },
    )
}

/// What the guest gets. The sandbox says `not-permitted`; what the system refuses is another error.
fn told<T>(
    state: &State,
    path: &str,
    outcome: Result<T, FsError>,
) -> wasmtime::Result<Result<T, ErrorCode>> {
    let outcome = super::files::given(outcome)?;
    if let Err(ErrorCode::NotPermitted) = &outcome {
        state.scope.denied("path", path);
    }
    Ok(outcome)
}
