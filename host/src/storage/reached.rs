//! How far the database went, noted beside it after every commit.
//!
//! sled drops the end of its log without a word when that end is torn, and goes on from the commit before. That is what
//! the host wants, but somebody has to be told. The note costs no fsync: it outlives the process, and after a loss of power
//! it is at worst too old, which is silence and never a false alarm.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// The note of one database.
pub(super) struct Reached {
    file: File,
}

fn path(database: &Path) -> PathBuf {
    database.join("crossdock-reached")
}

impl Reached {
    /// Opens the note in a database's folder, and makes it when there is none.
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path(database))?;
        Ok(Self { file })
    }

    /// The last commit that was noted; 0 when there is none, or when the note itself is torn.
    pub(super) fn read(&self) -> u64 {
        let mut bytes = [0; 12];
        match (&self.file).read_exact(&mut bytes) {
            Ok(()) => decode(&bytes).unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// Notes that this commit is there. A note that cannot be made is one message less, not an error.
    pub(super) fn note(&self, sequence: u64) {
        if let Err(error) = self.file.write_all_at(&encode(sequence), 0) {
            tracing::debug!(%error, "the last commit was not noted");
        }
    }
}

fn encode(sequence: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    let number = sequence.to_be_bytes();
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8; 12]) -> Option<u64> {
    let (number, sum) = bytes.split_at(8);
    let number: [u8; 8] = number.try_into().ok()?;
    (crc32fast::hash(&number).to_be_bytes() == sum).then(|| u64::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_again_and_a_torn_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Reached::open(dir.path()).unwrap().read(), 0);
        let note = Reached::open(dir.path()).unwrap();
        for sequence in [1, 70_000, u64::MAX, 5] {
            note.note(sequence);
            assert_eq!(Reached::open(dir.path()).unwrap().read(), sequence);
        }
        let mut bytes = std::fs::read(path(dir.path())).unwrap();
        bytes[3] ^= 1;
        std::fs::write(path(dir.path()), &bytes).unwrap();
        assert_eq!(Reached::open(dir.path()).unwrap().read(), 0);
        std::fs::write(path(dir.path()), &bytes[..5]).unwrap();
        assert_eq!(Reached::open(dir.path()).unwrap().read(), 0);
    }
}
