//! `wasi:filesystem`: granted folders only, as they are preopened; here what is written is counted against the quota
//! of the grant.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Once,
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

/// Files that are looked at for the quota of their folders. With more of them it counts as used up.
const COUNTED: u64 = 5_000_000;
/// What an entry of a listing takes beside its name.
const ENTRY_BYTES: usize = 96;

/// Bytes that a stage may still write, all its instances together.
///
/// What lies in the folders when the first instance is opened counts, so that a plugin that is started again, or replaced,
/// does not get the quota once more.
#[derive(Debug)]
pub(in crate::plugin) struct Quota {
    left: Option<AtomicU64>,
    counted: Once,
}

impl Quota {
    pub(in crate::plugin) fn new(bytes: Option<u64>) -> Self {
        Self {
            left: bytes.map(AtomicU64::new),
            counted: Once::new(),
        }
    }

    /// Takes off what lies in the granted folders, once. It looks at every file, so it must be called where that may take
    /// a moment.
    pub(in crate::plugin) fn begin(&self, project: &Path, folders: &[String]) {
        let Some(left) = &self.left else {
            return;
        };
        self.counted.call_once(|| {
            let folders: Vec<PathBuf> = folders.iter().map(|folder| project.join(folder)).collect();
            let held = held(&folders, left.load(Ordering::Relaxed));
            let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(held))
            });
        });
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

/// Bytes of all files in folders, or `most` when there are more. Links are not followed. What cannot be looked into may
/// hold anything: a plugin can make folders that lie too deep for a path.
fn held(folders: &[PathBuf], most: u64) -> u64 {
    let inside_another = |folder: &&PathBuf| {
        folders
            .iter()
            .any(|other| *folder != other && folder.starts_with(other))
    };
    let mut rest: Vec<PathBuf> = folders
        .iter()
        .filter(|folder| !inside_another(folder))
        .cloned()
        .collect();
    rest.sort();
    rest.dedup();
    let (mut bytes, mut files) = (0_u64, 0_u64);
    while let Some(folder) = rest.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // What is taken away meanwhile is not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return unknown(&folder, &error, most),
        };
        for entry in entries {
            let (meta, entry) = match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return unknown(&folder, &error, most),
            };
            if meta.is_dir() {
                rest.push(entry.path());
            } else if meta.is_file() {
                bytes = bytes.saturating_add(meta.len());
            }
            files += 1;
            if bytes >= most || files > COUNTED {
                return most;
            }
        }
    }
    bytes
}

/// A quota that counts as used up.
fn unknown(folder: &Path, error: &io::Error, most: u64) -> u64 {
    let text = folder.display().to_string();
    let shown: String = text.chars().take(200).collect();
    tracing::warn!(
        folder = shown,
        %error,
        "the quota of a file grant counts as used up: a folder in it cannot be looked into"
    );
    most
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
            let rep = file.rep();
            let stream = state.filesystem().write_via_stream(file, offset);
            Ok((counted(state, stream, Some((rep, offset)))?,))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut store: StoreContextMut<'_, State>, (file,): (Resource<Descriptor>,)| {
            let state = store.data_mut();
            let stream = state.filesystem().append_via_stream(file);
            Ok((counted(state, stream, None)?,))
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
        "[method]descriptor.read-directory",
        |mut store: StoreContextMut<'_, State>, (folder,): (Resource<Descriptor>,)| {
            Box::new(async move { Ok((list(store.data_mut(), folder).await?,)) })
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
    let mut size = offset;
    if !state.scope.quota.is_unlimited() {
        let borrow = Resource::new_borrow(file.rep());
        size = match HostDescriptor::stat(&mut state.filesystem(), borrow).await {
            Ok(stat) => stat.size,
            Err(error) => return given(Err(error)),
        };
    }
    let asked = growth(size, offset, bytes.len() as u64);
    if !state.scope.may_write(asked) {
        return Ok(Err(ErrorCode::Quota));
    }
    let outcome = HostDescriptor::write(&mut state.filesystem(), file, bytes, offset).await;
    let taken = match &outcome {
        Ok(written) => growth(size, offset, *written),
        Err(_) => 0,
    };
    state.scope.quota.give(asked.saturating_sub(taken));
    given(outcome)
}

/// What writing takes off the quota: what is written, and the hole that it leaves behind the end of the file, which counts
/// with the file's size when its folder is looked at again.
fn growth(size: u64, offset: u64, bytes: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let end = offset.saturating_add(bytes);
    bytes.max(end.saturating_sub(size))
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

/// Lists a folder. The listing is held as a whole until it is dropped, so that all that are open count together against
/// what a call may hand over.
async fn list(
    state: &mut State,
    folder: Resource<Descriptor>,
) -> wasmtime::Result<Result<Resource<DirectoryEntryStream>, ErrorCode>> {
    state.sweep();
    let room = state
        .scope
        .limits
        .output
        .saturating_sub(state.handles.listed());
    let mut files = state.filesystem();
    let dir = match files.table.get(&folder)? {
        Descriptor::Dir(dir) => Arc::clone(&dir.dir),
        Descriptor::File(_) => return Ok(Err(ErrorCode::NotDirectory)),
    };
    let measured = tokio::task::spawn_blocking(move || listing_bytes(&dir, room)).await;
    let Some(bytes) = measured.map_err(wasmtime::Error::new)? else {
        return Ok(Err(ErrorCode::InsufficientMemory));
    };
    let listing = given(HostDescriptor::read_directory(&mut files, folder).await)?;
    if let Ok(listing) = &listing {
        state.handles.lists(listing.rep(), bytes);
    }
    Ok(listing)
}

/// What the listing of a folder takes; `None` when it is more than there is room for. A folder that cannot be read is
/// as good as empty: reading it says why.
#[cfg(unix)]
fn listing_bytes(folder: &fs::File, room: usize) -> Option<usize> {
    use rustix::fs::{Dir, Mode, OFlags, openat};
    // The folder itself may be open for nothing but being looked into.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = openat(folder, ".", flags, Mode::empty()).and_then(Dir::new);
    let mut bytes = 0_usize;
    for entry in entries.into_iter().flatten().flatten() {
        bytes += entry.file_name().count_bytes() + ENTRY_BYTES;
        if bytes > room {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(not(unix))]
fn listing_bytes(_: &fs::File, _: usize) -> Option<usize> {
    Some(0)
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

/// Puts a counter before a stream when there is a quota. `at` is the file and the place that it writes to, unless that is
/// the end.
fn counted(
    state: &mut State,
    stream: Result<Resource<DynOutputStream>, FsError>,
    at: Option<(u32, u64)>,
) -> wasmtime::Result<Result<Resource<DynOutputStream>, ErrorCode>> {
    let stream = match given(stream)? {
        Ok(stream) if !state.scope.quota.is_unlimited() => stream,
        other => return Ok(other),
    };
    let scope = Arc::clone(&state.scope);
    let table = state.filesystem().table;
    let at = match at {
        Some((rep, offset)) => match table.get(&Resource::<Descriptor>::new_borrow(rep))? {
            Descriptor::File(file) => Some((Arc::clone(&file.file), offset)),
            // There is no stream into a folder.
            Descriptor::Dir(_) => None,
        },
        None => None,
    };
    let inner = table.delete(stream)?;
    let counted: DynOutputStream = Box::new(Counted { inner, scope, at });
    Ok(Ok(table.push(counted)?))
}

/// A stream into a file that takes what is written off the quota.
struct Counted {
    inner: DynOutputStream,
    scope: Arc<Scope>,
    /// The file and where the next bytes go; `None`: to its end.
    at: Option<(Arc<fs::File>, u64)>,
}

impl Counted {
    /// What writing takes off the quota. It asks for the size of an open file, which is quick.
    fn growth(&self, bytes: u64) -> io::Result<u64> {
        match &self.at {
            Some((file, offset)) => Ok(growth(file.metadata()?.len(), *offset, bytes)),
            None => Ok(bytes),
        }
    }
}

impl OutputStream for Counted {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let written = bytes.len() as u64;
        let growth = self
            .growth(written)
            .map_err(|error| StreamError::LastOperationFailed(error.into()))?;
        if self.scope.may_write(growth) {
            if let Some((_, offset)) = &mut self.at {
                *offset = offset.saturating_add(written);
            }
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

    #[test]
    fn what_lies_in_the_folders_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("out/sub")).unwrap();
        fs::write(dir.path().join("out/a"), [0; 60]).unwrap();
        fs::write(dir.path().join("out/sub/b"), [0; 30]).unwrap();
        let folders = ["out", "out/sub", "none"].map(str::to_owned);
        let quota = Quota::new(Some(100));
        quota.begin(dir.path(), &folders);
        quota.begin(dir.path(), &folders);
        assert!(quota.take(10) && !quota.take(1));
        let full = Quota::new(Some(80));
        full.begin(dir.path(), &folders);
        assert!(!full.take(1));
        assert_eq!(held(&[dir.path().to_owned()], u64::MAX), 90);
    }

    #[test]
    fn a_hole_counts_like_what_is_written() {
        assert_eq!(growth(100, 50, 10), 10);
        assert_eq!(growth(100, 100, 10), 10);
        assert_eq!(growth(100, 95, 10), 10);
        assert_eq!(growth(100, 4196, 1), 4097);
        assert_eq!(growth(0, 8 << 40, 1), (8 << 40) + 1);
        assert_eq!(growth(0, u64::MAX, 2), u64::MAX);
        assert_eq!(growth(0, 8 << 40, 0), 0);
    }

    #[test]
    #[cfg(unix)]
    fn what_lies_too_deep_to_be_looked_at_uses_the_quota_up() {
        use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
        let dir = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut deepest = open(dir.path(), flags, Mode::empty()).unwrap();
        let name = "d".repeat(200);
        for _ in 0..30 {
            mkdirat(&deepest, &name, Mode::RWXU).unwrap();
            deepest = openat(&deepest, &name, flags, Mode::empty()).unwrap();
        }
        assert_eq!(held(&[dir.path().to_owned()], 100), 100);
        assert_eq!(held(&[dir.path().join("none")], 100), 0);
    }

    #[test]
    #[cfg(unix)]
    fn a_listing_is_measured_before_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        for at in 0..100 {
            fs::write(dir.path().join(format!("{at:04}")), "").unwrap();
        }
        let folder = fs::File::open(dir.path()).unwrap();
        let bytes = listing_bytes(&folder, usize::MAX).unwrap();
        assert!((100 * 100..102 * 100).contains(&bytes), "{bytes}");
        assert_eq!(listing_bytes(&folder, bytes), Some(bytes));
        assert_eq!(listing_bytes(&folder, bytes - 1), None);
    }
}
