//! The database's file. redb has a backend of its own for files, which locks them; the sandbox has no locks.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    sync::{Mutex, PoisonError},
};

use redb::StorageBackend;

/// A file that redb reads and writes.
#[derive(Debug)]
pub(crate) struct DatabaseFile(Mutex<File>);

impl DatabaseFile {
    /// Opens a file, makes it when it is missing.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Self(Mutex::new(options.open(path)?)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T, io::Error> {
        // There is one thread; a panic ends the instance.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut file)
    }
}

impl StorageBackend for DatabaseFile {
    fn len(&self) -> Result<u64, io::Error> {
        self.with(|file| Ok(file.metadata()?.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.with(|file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(out)
        })
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.with(|file| file.set_len(len))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.with(|file| file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.with(|file| {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(data)
        })
    }
}
