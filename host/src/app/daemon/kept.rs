//! Components that have run, kept in the state folder by their digest: a file that is overwritten, or gone, takes no
//! running version away, and a rollback finds what was there before.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::catalogue;

/// The folder with the components.
#[derive(Debug, Clone)]
pub(super) struct Kept(PathBuf);

impl Kept {
    pub(super) fn new(state: &Path) -> Self {
        Self(state.join("plugins"))
    }

    /// Where the component with this digest is, or would be.
    pub(super) fn path(&self, digest: &str) -> PathBuf {
        self.0.join(format!("{}.wasm", digest.replace(':', "-")))
    }

    /// Copies a component to its place. Blocks.
    ///
    /// # Errors
    /// It cannot be read or written, or the file is not what it was when its digest was taken.
    pub(super) fn keep(&self, file: &Path, digest: &str) -> io::Result<PathBuf> {
        let place = self.path(digest);
        let is_there =
            |path: &Path| fs::read(path).is_ok_and(|bytes| catalogue::digest(&bytes) == digest);
        if file == place || is_there(&place) {
            return Ok(place);
        }
        let named = |path: &Path, error: &io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let bytes = fs::read(file).map_err(|error| named(file, &error))?;
        if catalogue::digest(&bytes) != digest {
            let error = io::Error::other("it was changed while it was looked at; try again");
            return Err(named(file, &error));
        }
        let write = || {
            fs::create_dir_all(&self.0)?;
            let mut new = tempfile::NamedTempFile::new_in(&self.0)?;
            new.write_all(&bytes)?;
            new.as_file().sync_all()?;
            new.persist(&place).map_err(|error| error.error)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(|error| named(&place, &error))?;
        Ok(place)
    }

    /// The kept component with this name and version, if there is one; the newest when there are several. Blocks.
    pub(super) fn find(&self, name: &str, version: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.0).ok()?.flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .filter(|(_, path)| path.extension().is_some_and(|own| own == "wasm"))
            .collect();
        files.sort();
        files.into_iter().rev().map(|(_, path)| path).find(|path| {
            let bytes = catalogue::read_component(path).ok();
            let inspection = bytes.and_then(|bytes| catalogue::inspect(&bytes).ok());
            inspection
                .and_then(|found| found.manifest)
                .is_some_and(|manifest| manifest.name == name && manifest.version == version)
        })
    }

    /// Removes what no flow has a use for. Blocks.
    pub(super) fn tidy(&self, needed: &dyn Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(".wasm") else {
                continue;
            };
            if !needed(&stem.replacen('-', ":", 1)) {
                // What cannot be removed is in nobody's way.
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_kept_under_its_digest_and_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path());
        let file = dir.path().join("a.wasm");
        fs::write(&file, b"one").unwrap();
        let digest = catalogue::digest(b"one");
        let place = kept.keep(&file, &digest).unwrap();
        fs::write(&file, b"two").unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"one");
        assert_eq!(kept.keep(&file, &digest).unwrap(), place);

        // Damaged in its place, and the file is another one by now: nothing wrong is handed out.
        fs::write(&place, b"on").unwrap();
        let error = kept.keep(&file, &digest).unwrap_err().to_string();
        assert!(error.contains("was changed"), "{error}");
        fs::write(&file, b"one").unwrap();
        kept.keep(&file, &digest).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"one");

        assert_eq!(kept.find("a", "1.0.0"), None);
        kept.tidy(&|own| own == digest);
        assert!(place.is_file());
        kept.tidy(&|_| false);
        assert!(!place.exists());
    }
}
