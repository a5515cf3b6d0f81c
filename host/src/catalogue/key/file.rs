//! Files of keys: read up to a bound, written once, private ones for their owner only.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use super::KeyError;

/// A key file is not larger than this, in bytes.
const MAX_FILE: u64 = 64 << 10;

pub(super) fn read(path: &Path) -> Result<String, KeyError> {
    let failed = |error| KeyError::io("read", path, error);
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(KeyError::not_a_key(path.display(), "it is far too large"));
    }
    String::from_utf8(bytes).map_err(|_| KeyError::not_a_key(path.display(), "it is no text"))
}

/// A new file with all of its bytes, or none.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::io("write", path, error),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        KeyError::io("write", path, error)
    })
}

/// Others than the owner can read the key. It is no error, since some platforms mount files so.
pub(super) fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!(%path, "others than its owner may read the private key: chmod 600");
        }
    }
}
