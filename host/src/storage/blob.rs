//! Values that are too large for the database, as files named by the SHA-256 of their content.
//!
//! sled leaks disk space for values from 16 KiB on, so larger ones live here and only their names are in the database.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::StorageError;

/// SHA-256 of a blob: its name.
pub(super) type Hash = [u8; 32];

/// Larger values go into blobs.
pub(super) const MAX_INLINE: usize = 8 * 1024;

const TEMPORARY: &str = ".tmp-";

/// The folder of blobs.
pub(super) struct BlobDir {
    path: PathBuf,
}

impl BlobDir {
    /// Opens the folder, makes it when it is missing.
    pub(super) fn open(path: PathBuf) -> Result<Self, StorageError> {
        super::create_private_dir(&path)?;
        Ok(Self { path })
    }

    fn file(&self, hash: &Hash) -> PathBuf {
        self.path.join(hex::encode(hash))
    }

    /// Makes a value durable. A crash leaves it whole or leaves a temporary file that the next sweep removes.
    pub(super) fn put(&self, value: &[u8]) -> Result<Hash, StorageError> {
        let hash: Hash = Sha256::digest(value).into();
        let target = self.file(&hash);
        if fs::metadata(&target).is_ok_and(|found| found.len() == value.len() as u64) {
            return Ok(hash);
        }
        // One thread writes, so a fixed temporary name per content is free of races.
        let temporary = self.path.join(format!("{TEMPORARY}{}", hex::encode(hash)));
        let written = write_durably(&temporary, value)
            .and_then(|()| fs::rename(&temporary, &target))
            .and_then(|()| sync_dir(&self.path));
        if let Err(error) = written {
            // Best effort: what stays is swept when the store is opened.
            let _ = fs::remove_file(&temporary);
            return Err(StorageError::io("write", &target, error));
        }
        Ok(hash)
    }

    /// Reads a value; `None` when there is none.
    pub(super) fn get(&self, hash: &Hash) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.file(hash);
        let value = match fs::read(&path) {
            Ok(value) => value,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("read", &path, error)),
        };
        if Hash::from(Sha256::digest(&value)) != *hash {
            return Err(StorageError::Corrupt {
                what: path.display().to_string(),
                message:
                    "its content does not match its name: the disk or another program changed it"
                        .into(),
            });
        }
        Ok(Some(value))
    }

    /// Removes a blob. One that is already gone is no error.
    pub(super) fn remove(&self, hash: &Hash) -> Result<(), StorageError> {
        let path = self.file(hash);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StorageError::io("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes temporary files and every blob that is not used. Files with other names are left alone.
    pub(super) fn sweep(
        &self,
        used: impl Fn(&Hash) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let listing = fs::read_dir(&self.path)
            .map_err(|error| StorageError::io("list", &self.path, error))?;
        for entry in listing {
            let entry = entry.map_err(|error| StorageError::io("list", &self.path, error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let mut hash = Hash::default();
            let unused = if name.starts_with(TEMPORARY) {
                true
            } else if hex::decode_to_slice(name, &mut hash).is_ok() {
                !used(&hash)?
            } else {
                false
            };
            if unused {
                fs::remove_file(entry.path())
                    .map_err(|error| StorageError::io("remove", &entry.path(), error))?;
            }
        }
        Ok(())
    }
}

fn write_durably(path: &Path, value: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(value)?;
    file.sync_all()
}

/// Makes new and renamed files of a folder durable.
pub(super) fn sync_dir(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_stored_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobDir::open(dir.path().join("blobs")).unwrap();
        let hash = blobs.put(b"value").unwrap();
        assert_eq!(blobs.put(b"value").unwrap(), hash);
        assert_eq!(fs::read_dir(&blobs.path).unwrap().count(), 1);
        assert_eq!(blobs.get(&hash).unwrap().as_deref(), Some(&b"value"[..]));
        blobs.remove(&hash).unwrap();
        blobs.remove(&hash).unwrap();
        assert_eq!(blobs.get(&hash).unwrap(), None);
    }

    #[test]
    fn changed_content_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobDir::open(dir.path().join("blobs")).unwrap();
        let hash = blobs.put(b"value").unwrap();
        fs::write(blobs.file(&hash), b"other").unwrap();
        let error = blobs.get(&hash).unwrap_err();
        assert!(
            matches!(&error, StorageError::Corrupt { what, .. } if what.contains(&hex::encode(hash))),
            "{error}"
        );
    }

    #[test]
    fn a_sweep_removes_the_unused_and_the_unfinished_only() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobDir::open(dir.path().join("blobs")).unwrap();
        let used = blobs.put(b"used").unwrap();
        let unused = blobs.put(b"unused").unwrap();
        fs::write(blobs.path.join(".tmp-00"), b"half").unwrap();
        fs::write(blobs.path.join("README"), b"a person's file").unwrap();
        blobs.sweep(|hash| Ok(*hash == used)).unwrap();
        assert_eq!(blobs.get(&unused).unwrap(), None);
        assert!(blobs.get(&used).unwrap().is_some());
        assert!(!blobs.path.join(".tmp-00").exists());
        assert!(blobs.path.join("README").exists());
    }
}
