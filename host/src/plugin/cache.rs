//! Machine code on disk, so that a component is compiled once.
//!
//! A file is named by the component's digest and by a hash over wasmtime's version, the target and the engine's
//! configuration. `Component::deserialize_file` is unsafe, since wrong machine code can do anything. What makes it
//! sound here:
//!
//! - The folder is private: it belongs to the user of this process and nobody else may enter it (0700), and nobody else
//!   can put another one into its place: whoever owns or may write a folder above it could. Otherwise it is not used at
//!   all.
//! - A file is used only when its HMAC-SHA256 over name and content is right, under a random key in the same folder
//!   (0600). So a damaged, cut, renamed or copied file is never mapped. Who can read the key is this user (or root) and
//!   could change this process anyway.
//! - A file is written under another name and renamed, and never changed afterwards, so what is mapped stays as
//!   checked. It is opened once: what was checked is what is mapped, also when another file took its name meanwhile.
//!
//! Anything off means: compile again.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;

type Tag = Hmac<Sha256>;

/// A usable cache folder, or none: then every load compiles.
pub(super) struct Cache {
    store: Option<Store>,
}

struct Store {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
}

/// Where a component's code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Compiled now.
    Compiled,
    /// Mapped from the cache.
    Cached,
}

impl Cache {
    /// Opens or creates a cache. A folder that cannot be trusted is reported and not used.
    pub(super) fn open(folder: Option<&Path>) -> Self {
        let store = folder.and_then(|folder| match Store::open(folder) {
            Ok(store) => Some(store),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "the compile cache is not used");
                None
            }
        });
        Self { store }
    }

    /// The component's machine code, when it is there. Blocks for a moment.
    pub(super) fn find(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let store = self.store.as_ref()?;
        store.load(engine, &file_name(engine, digest))
    }

    /// Loads machine code that was compiled just now, for this engine, by this process or one that it started, and keeps
    /// it. Blocks for a moment.
    pub(super) fn keep(
        &self,
        engine: &Engine,
        digest: &str,
        code: &[u8],
    ) -> wasmtime::Result<Component> {
        if let Some(store) = &self.store {
            let name = file_name(engine, digest);
            match store.keep(&name, code) {
                Ok(()) => {
                    if let Some(component) = store.load(engine, &name) {
                        return Ok(component);
                    }
                }
                Err(error) => {
                    tracing::warn!(folder = %store.folder.display(), %error, "the compiled plugin could not be kept");
                }
            }
        }
        // SAFETY: these bytes are what the compiler of this program gave, in this process or through a pipe that nobody
        // else has; wasmtime checks that they are for an engine like this one.
        #[allow(unsafe_code, reason = "see the safety argument")]
        unsafe {
            Component::deserialize(engine, code)
        }
    }
}

fn file_name(engine: &Engine, digest: &str) -> String {
    // `DefaultHasher::new` has fixed keys; another Rust version may hash differently, which only compiles once more.
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    format!("{digest}-{:016x}", hasher.finish())
}

impl Store {
    fn open(folder: &Path) -> io::Result<Self> {
        let folder = create_private(folder)?;
        let key = read_key(&folder)?;
        Ok(Self { folder, key })
    }

    fn tag(&self, name: &str, code: &[u8]) -> Tag {
        #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut tag = Tag::new_from_slice(&self.key).expect("a key of any length");
        tag.update(name.as_bytes());
        tag.update(&[0]);
        tag.update(code);
        tag
    }

    fn code_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.cwasm"))
    }

    fn tag_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.tag"))
    }

    fn load(&self, engine: &Engine, name: &str) -> Option<Component> {
        let path = self.code_path(name);
        let mut file = File::open(&path).ok()?;
        let mut code = Vec::new();
        file.read_to_end(&mut code).ok()?;
        let tag = fs::read(self.tag_path(name)).ok()?;
        if self.tag(name, &code).verify_slice(&tag).is_err() {
            tracing::warn!(file = %path.display(), "a compiled plugin in the cache was damaged: compiling again");
            return None;
        }
        drop(code);
        // SAFETY: the file was written by `keep` of this user's process for an engine of the same hash: its HMAC says
        // so, and the folder is closed to everyone else. See the module's text.
        #[allow(unsafe_code, reason = "see the safety argument")]
        let component = unsafe { Component::deserialize_file(engine, opened(&file, &path)) };
        component
            .map_err(|error| tracing::warn!(file = %path.display(), %error, "a compiled plugin does not load"))
            .ok()
    }

    /// The tag is in place before the code, so that a crash in between leaves nothing that loads.
    fn keep(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let tag = self.tag(name, code).finalize().into_bytes();
        write_private(&self.folder, &self.tag_path(name), &tag)?;
        write_private(&self.folder, &self.code_path(name), code)
    }
}

/// A path that leads to this very file, whatever has its name by now.
#[cfg(target_os = "linux")]
fn opened(file: &File, _: &Path) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn opened(_: &File, path: &Path) -> PathBuf {
    path.to_owned()
}

/// Writes under another name and renames.
fn write_private(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A temporary file is 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

fn read_key(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join(KEY_FILE);
    if let Ok(bytes) = fs::read(&path)
        && let Ok(key) = <[u8; KEY_BYTES]>::try_from(bytes)
    {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    write_private(folder, &path, &key)?;
    // Another process may have written its key at the same moment: the one on disk counts.
    let bytes = fs::read(&path)?;
    bytes
        .try_into()
        .map_err(|_| io::Error::other("the key file of the compile cache is damaged"))
}

/// Makes the folder where it is not there, and gives its path without links.
#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::Error::other("it has no folder above it"));
    };
    fs::create_dir_all(parent)?;
    let parent = fs::canonicalize(parent)?;
    let me = rustix::process::geteuid().as_raw();
    for above in parent.ancestors() {
        stays(above, me)?;
    }
    let folder = parent.join(name);
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(&folder)?;
    if !meta.is_dir() {
        Err(io::Error::other("it is not a folder"))
    } else if meta.uid() != me {
        Err(io::Error::other("it belongs to another user"))
    } else if meta.mode() & 0o077 != 0 {
        Err(io::Error::other(
            "others may enter it: its mode must be 0700",
        ))
    } else {
        Ok(folder)
    }
}

/// Whether what is in this folder keeps its name, whatever other users do: it is of this user or root, and others may not
/// write it, or only what is their own (the sticky bit). A group of the user's own, as many systems have it, is the user.
#[cfg(unix)]
fn stays(folder: &Path, me: u32) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(folder)?;
    let (shown, mode) = (folder.display(), meta.mode());
    if meta.uid() != me && meta.uid() != 0 {
        return Err(io::Error::other(format!(
            "the folder {shown} above it belongs to another user"
        )));
    }
    let own_group = meta.gid() == meta.uid();
    let others = if own_group { 0o002 } else { 0o022 };
    if mode & others != 0 && mode & 0o1000 == 0 {
        return Err(io::Error::other(format!(
            "others may write the folder {shown} above it"
        )));
    }
    Ok(())
}

#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<PathBuf> {
    // Folders of a user's profile are private by default there.
    fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_folder_that_others_can_replace_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (above, folder) = (
            dir.path().join("above"),
            dir.path().join("above/x/compiled"),
        );
        let refused = || create_private(&folder).unwrap_err().to_string();
        let mode = |mode: u32| {
            fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
        };
        create_private(&folder).unwrap();
        mode(0o777);
        assert!(refused().contains("others may write the folder"));
        mode(0o1777);
        create_private(&folder).unwrap();
        mode(0o700);
        // Only root can give a folder away; who is root sees this too.
        if rustix::process::geteuid().is_root() {
            chown(&above, Some(65534), None).unwrap();
            assert!(refused().contains("belongs to another user"));
            chown(&above, Some(0), Some(100)).unwrap();
            mode(0o770);
            assert!(refused().contains("others may write the folder"));
            chown(&above, Some(0), Some(0)).unwrap();
            create_private(&folder).unwrap();
        }
    }

    #[test]
    fn the_path_that_is_used_has_no_links() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let folder = create_private(&dir.path().join("link/compiled")).unwrap();
        assert!(folder.ends_with("real/compiled"), "{}", folder.display());
    }

    #[test]
    fn a_file_that_is_swapped_after_it_was_opened_is_not_the_one_that_is_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("x.cwasm"), dir.path().join("y"));
        fs::write(&path, b"checked").unwrap();
        let file = File::open(&path).unwrap();
        fs::write(&other, b"poison").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(fs::read(opened(&file, &path)).unwrap(), b"checked");
        assert_eq!(fs::read(&path).unwrap(), b"poison");
    }
}
