//! Components by their digest, in a folder: what is installed. A file is there whole and as its name says, or not at all.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::inspect::{digest, read_component};

/// The folder in a project's state.
const FOLDER: &str = "installed";
/// What files are called while they are written. What is left of them by a crash is removed by the next change.
const UNFINISHED: &str = ".new-";

/// A folder of components.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

impl Store {
    /// The store in a state folder. Nothing is made yet.
    pub fn of(state: &Path) -> Self {
        Self(state.join(FOLDER))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where the component with this digest is, or would be.
    pub fn path(&self, digest: &str) -> PathBuf {
        self.0.join(format!("{}.wasm", digest.replace(':', "-")))
    }

    /// Whether the component is there and is what its name says. Blocks.
    pub fn holds(&self, expected: &str) -> bool {
        read_component(&self.path(expected)).is_ok_and(|bytes| digest(&bytes) == expected)
    }

    /// Puts a component to its place. When this returns it is on the disk. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub fn put(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let digest = digest(bytes);
        let place = self.path(&digest);
        if self.holds(&digest) {
            return Ok(place);
        }
        self.write(&place, bytes)?;
        Ok(place)
    }

    /// Whole or not at all.
    fn write(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let mut new = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.0)?;
        new.write_all(bytes)?;
        // Nobody changes it any more.
        new.as_file()
            .set_permissions(fs::Permissions::from_mode(0o444))?;
        new.as_file().sync_all()?;
        new.persist(place).map_err(|error| error.error)?;
        File::open(&self.0)?.sync_all()
    }

    /// Removes every component but these, and what a crash left behind. Only who changes what is installed may do so.
    /// Blocks.
    pub fn tidy(&self, needed: &BTreeSet<String>) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let of_digest = name.strip_suffix(".wasm");
            let idle = of_digest.is_some_and(|stem| !needed.contains(&stem.replacen('-', ":", 1)));
            if idle || name.starts_with(UNFINISHED) {
                // What cannot be removed is in nobody's way.
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

/// Writes a file into the place of another one, so that either is there whole, whatever happens meanwhile, and is on the
/// disk when this returns. Only one may do so at a time: what a crash left behind is written over. Blocks.
///
/// # Errors
/// What the system says.
pub(super) fn replace(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.join(format!(".{name}.new"));
    let mut new = File::create(&unfinished)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    fs::rename(&unfinished, place)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_there_as_its_name_says_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(dir.path());
        let own = digest(b"one");
        assert!(!store.holds(&own));
        let place = store.put(b"one").unwrap();
        assert_eq!(place, store.path(&own));
        assert!(store.holds(&own));
        assert!(fs::metadata(&place).unwrap().permissions().readonly());

        // Damaged, it does not count as there, and is mended.
        fs::remove_file(&place).unwrap();
        fs::write(&place, b"on").unwrap();
        assert!(!store.holds(&own));
        store.put(b"one").unwrap();
        assert!(store.holds(&own));

        let other = store.put(b"two").unwrap();
        fs::write(store.folder().join(".new-left"), b"tw").unwrap();
        store.tidy(&BTreeSet::from([own.clone()]));
        assert!(store.holds(&own) && !other.exists());
        let left: Vec<_> = fs::read_dir(store.folder()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
