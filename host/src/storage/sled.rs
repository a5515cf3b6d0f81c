//! The database: sled 0.34, one tree.
//!
//! `flush` of sled is no fsync, so every batch is followed by `sync_data` on an own handle of the database file. sled
//! stops for good after an error of the disk; then the database is opened anew on the next use, from what is on disk.

use std::{
    any::Any,
    cell::Cell,
    fs::{self, File},
    io::{self, Write as _},
    ops::Bound,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Once, PoisonError, RwLock},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    StorageError,
    blob::sync_dir,
    key,
    kv::{Batch, Entry, Kv, lower_bound},
    reached::Reached,
    writer::number,
};

/// The newest format of the store that this host reads, and the one it writes.
pub(super) const STORE_FORMAT: u32 = 1;

/// sled's default of 1 GiB is more than a host of flows should take.
const CACHE_BYTES: u64 = 64 << 20;
/// Also drives sled's garbage collection.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Free space that is left to sled beyond the batch itself: it writes whole segments.
const RESERVE_BYTES: u64 = 8 << 20;
/// How long background threads of a database that was just closed may hold its lock.
const REOPEN_PATIENCE: Duration = Duration::from_secs(5);

struct Opened {
    db: sled::Db,
    /// Own handle of sled's file, for fsync.
    file: File,
    reached: Reached,
}

/// A database in a folder.
pub(super) struct SledKv {
    path: PathBuf,
    /// `None` after a failure: opened again on the next use.
    opened: RwLock<Option<Opened>>,
}

impl SledKv {
    /// Opens a database or makes a new one. One that cannot be read is moved aside, and that is an error: going on with
    /// an empty store is for a person to decide, by starting again.
    pub(super) fn open(path: PathBuf) -> Result<Self, StorageError> {
        let promised = read_marker(&path)?;
        let mut opened = open_patiently(&path);
        if promised.is_none() && matches!(opened, Err(Failure::Other(_))) {
            // The process was killed while it made the database: nothing was in it yet.
            fs::remove_dir_all(&path).map_err(|error| StorageError::io("remove", &path, error))?;
            opened = open_patiently(&path);
        }
        let opened = match opened {
            Ok(opened) => opened,
            Err(Failure::Io(source)) => return Err(StorageError::io("open", &path, source)),
            Err(Failure::Other(message)) => return Err(move_aside(&path, &message)),
        };
        let kv = Self {
            path,
            opened: RwLock::new(Some(opened)),
        };
        match kv.get(key::STORE_FORMAT) {
            Ok(Some(format)) => check_format(&kv.path, &format)?,
            Ok(None) if promised.is_some() => return Err(kv.give_up("all its entries are missing")),
            Ok(None) => {
                let format = STORE_FORMAT.to_be_bytes().to_vec();
                kv.apply(&Batch::from([(key::STORE_FORMAT.to_vec(), Some(format))]))?;
                kv.write_marker(0)?;
            }
            Err(StorageError::Database { message, .. }) => return Err(kv.give_up(&message)),
            Err(error) => return Err(error),
        }
        let found = kv.sequence()?;
        let promised = promised.unwrap_or(0);
        if found < promised {
            return Err(kv.give_up(&format!(
                "it ends at commit {found}, but {promised} was there before"
            )));
        }
        kv.warn_of_lost(found);
        Ok(kv)
    }

    /// Says it when commits that were there are not there any more.
    fn warn_of_lost(&self, found: u64) {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = opened.as_ref() else {
            return;
        };
        let reached = opened.reached.read();
        if reached > found {
            tracing::warn!(
                path = %self.path.display(),
                lost = reached - found,
                "The end of the state database was torn: its last commits are lost. Flows go on from the checkpoint \
                 before, and read again what came after it. Targets that cannot take back what they show may hold records twice"
            );
            opened.reached.note(found);
        }
    }

    fn sequence(&self) -> Result<u64, StorageError> {
        number(self.get(key::SEQUENCE)?.as_deref(), key::SEQUENCE)
    }

    /// Notes, outside of sled, how far the database went: sled recovers from some damage by dropping entries silently.
    fn write_marker(&self, sequence: u64) -> Result<(), StorageError> {
        let path = marker(&self.path);
        let temporary = path.with_extension("tmp");
        File::create(&temporary)
            .and_then(|mut file| write!(file, "{sequence}").and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync_dir(&self.path))
            .map_err(|error| StorageError::io("write", &path, error))
    }

    /// Closes the database and moves it aside.
    fn give_up(&self, message: &str) -> StorageError {
        // Closed first, so that dropping it does not note how little is there.
        self.close();
        move_aside(&self.path, message)
    }

    /// Runs an operation on the database, which a failure closes, and opens it first when it is closed.
    fn with<T>(
        &self,
        operation: impl Fn(&Opened) -> Result<T, Failure>,
    ) -> Result<T, StorageError> {
        let outcome = {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            opened.as_ref().map(|opened| catch(|| operation(opened)))
        };
        let outcome = if let Some(outcome) = outcome {
            outcome
        } else {
            let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
            if opened.is_none() {
                *opened = Some(open_patiently(&self.path).map_err(|failure| self.error(failure))?);
            }
            match opened.as_ref() {
                Some(opened) => catch(|| operation(opened)),
                None => Err(Failure::Other("it is closed".into())),
            }
        };
        outcome.map_err(|failure| {
            self.close();
            self.error(failure)
        })
    }

    /// What sled holds in memory after a failure is not what is on disk: forget it.
    fn close(&self) {
        let old = self
            .opened
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if catch(|| {
            drop(old);
            Ok(())
        })
        .is_err()
        {
            tracing::debug!(path = %self.path.display(), "the state database failed again while it was closed");
        }
    }

    fn error(&self, failure: Failure) -> StorageError {
        match failure {
            Failure::Io(source) => StorageError::io("write or read", &self.path, source),
            Failure::Other(message) => StorageError::Database {
                path: self.path.clone(),
                message,
            },
        }
    }

    /// Refuses a batch that may not fit before sled sees it, because sled stops for good when the disk is full.
    fn check_space(&self, batch: &Batch) -> Result<(), StorageError> {
        let bytes: usize = batch
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 64)
            .sum();
        room(&self.path, 2 * bytes as u64 + RESERVE_BYTES)
            .map_err(|source| StorageError::io("write", &self.path, source))
    }
}

impl Kv for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.with(|opened| Ok(opened.db.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Entry>, StorageError> {
        self.with(|opened| {
            let mut entries = Vec::new();
            let range = opened
                .db
                .range::<&[u8], _>((lower_bound(prefix, after), Bound::Unbounded));
            for entry in range.take(limit) {
                let (key, value) = entry?;
                if !key.starts_with(prefix) {
                    break;
                }
                entries.push((key.to_vec(), value.to_vec()));
            }
            Ok(entries)
        })
    }

    fn apply(&self, batch: &Batch) -> Result<(), StorageError> {
        self.check_space(batch)?;
        self.with(|opened| {
            let mut changes = sled::Batch::default();
            for (key, value) in batch {
                match value {
                    Some(value) => changes.insert(key.as_slice(), value.as_slice()),
                    None => changes.remove(key.as_slice()),
                }
            }
            opened.db.apply_batch(changes)?;
            opened.db.flush()?;
            opened.file.sync_data()?;
            if let Some(Some(sequence)) = batch.get(key::SEQUENCE)
                && let Ok(sequence) = number(Some(sequence), key::SEQUENCE)
            {
                opened.reached.note(sequence);
            }
            Ok(())
        })
    }
}

impl Drop for SledKv {
    fn drop(&mut self) {
        let is_open = self
            .opened
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if is_open
            && let Err(error) = self
                .sequence()
                .and_then(|sequence| self.write_marker(sequence))
        {
            tracing::debug!(%error, "the state database was not marked as closed");
        }
        self.close();
    }
}

/// Opens a database that was perhaps closed a moment ago.
fn open_patiently(path: &Path) -> Result<Opened, Failure> {
    let give_up_at = Instant::now() + REOPEN_PATIENCE;
    loop {
        match catch(|| open_sled(path)) {
            // Threads of the old database may still hold its lock, which sled reports as an I/O error without a kind.
            Err(Failure::Io(error))
                if error.kind() == io::ErrorKind::Other && Instant::now() < give_up_at =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
}

/// Whether so many bytes are free.
fn room(path: &Path, needed: u64) -> io::Result<()> {
    // A file system that cannot say how much is free is left to the write itself.
    match fs4::available_space(path) {
        Ok(free) if free < needed => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "{free} bytes are free, {needed} are needed; nothing was written: free some space and run again"
            ),
        )),
        _ => Ok(()),
    }
}

/// Removes snapshots that sled did not finish, being killed or out of space. It would take one for its newest snapshot,
/// which it cannot read then, and give up the whole database: it looks for names with another ending than it writes.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn open_sled(path: &Path) -> Result<Opened, Failure> {
    // sled writes while it opens, and what it cannot write whole then it does not read again: all that was there is lost.
    // Where there is no folder yet, its place is asked.
    let place = path.ancestors().find(|place| place.exists());
    room(place.unwrap_or(path), RESERVE_BYTES)?;
    remove_unfinished(path)?;
    // Everything outside of the default tree is sled's own.
    let db = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(
            u64::try_from(FLUSH_EVERY.as_millis()).unwrap_or(u64::MAX),
        ))
        .open()?;
    let file = File::open(path.join("db"))?;
    // What recovery found may not have reached the disk yet: it must, before anybody acts on it.
    db.flush()?;
    file.sync_data()?;
    sync_dir(path)?;
    let reached = Reached::open(path)?;
    Ok(Opened { db, file, reached })
}

fn marker(path: &Path) -> PathBuf {
    path.join("crossdock-sequence")
}

/// The last commit that must be there; `None` when the database was never complete.
fn read_marker(path: &Path) -> Result<Option<u64>, StorageError> {
    let marker = marker(path);
    match fs::read_to_string(&marker) {
        // A marker that is no number still says that there was a database.
        Ok(text) => Ok(Some(text.trim().parse().unwrap_or(0))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", &marker, error)),
    }
}

fn check_format(path: &Path, format: &[u8]) -> Result<(), StorageError> {
    let what = format!("the state database in {}", path.display());
    let Ok(format) = <[u8; 4]>::try_from(format) else {
        let message = "its format entry is damaged; start with another --state folder".into();
        return Err(StorageError::Corrupt { what, message });
    };
    let found = u32::from_be_bytes(format);
    if found > STORE_FORMAT {
        return Err(StorageError::TooNew {
            what,
            found,
            known: STORE_FORMAT,
        });
    }
    Ok(())
}

/// Renames a database that cannot be read, so that the next start makes a new one and nothing is lost for a repair.
pub(super) fn move_aside(path: &Path, message: &str) -> StorageError {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let aside = path.with_extension(format!("corrupt-{}", now.as_millis()));
    let advice = match fs::rename(path, &aside) {
        Ok(()) => format!(
            "it was moved to {}; start again to go on with an empty store: flows then start from the beginning",
            aside.display()
        ),
        Err(error) => {
            format!("it could not be moved aside ({error}); move it away and start again")
        }
    };
    StorageError::Corrupt {
        what: format!("the state database in {}", path.display()),
        message: format!("{message}; {advice}"),
    }
}

/// Why sled failed.
enum Failure {
    Io(io::Error),
    Other(String),
}

impl From<sled::Error> for Failure {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// sled panics on some damaged files. Such a panic is a failure like any other, and prints nothing.
fn catch<T>(operation: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    QUIET.set(true);
    // The database is closed after a panic, so no broken state is seen.
    let outcome = panic::catch_unwind(AssertUnwindSafe(operation));
    QUIET.set(false);
    outcome.unwrap_or_else(|panic| Err(Failure::Other(text_of(panic.as_ref()))))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("sled panicked: {}", text.unwrap_or("no message"))
}
