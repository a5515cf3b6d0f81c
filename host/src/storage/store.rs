//! The store: one folder, one process.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{
    Checkpoint, Commit, Committed, DeadLetter, DeadLetterEdit, DeadLetterFilter, Granted, Journal,
    Retention, StorageError,
    blob::{BlobDir, sync_dir},
    checkpoint, dead_letter, key,
    kv::{Kv, MemoryKv},
    sled::SledKv,
    writer::{Shelf, Work, Writer, number},
};

/// How many entries are read at once while counting and searching.
const PAGE: usize = 256;
/// How long the process before this one may take to end, or a child that was just forked to become another program.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// Checkpoints, dead letters and tables of all flows.
///
/// Reads are synchronous: they come from a cache in memory or one read of a local file. Writes go through one thread,
/// which joins those that wait into one write. Dropping the store writes what waits, which blocks for that long.
///
/// When the disk is full, commits fail with [`StorageError::Io`] and nothing of them is there; they work again as soon as
/// there is space. When the disk refuses in the middle of a write, the database is closed and opened anew on the next
/// use, reads included: until that succeeds everything fails, and only then is it known whether the disk took the last
/// commit (all of it or nothing).
pub struct Store {
    path: Option<PathBuf>,
    pub(super) shelf: Arc<Shelf>,
    // Fields are dropped in order: the writer ends before the folder is unlocked.
    writer: Writer,
    _lock: Option<File>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a folder, makes it when there is none. One process at a time can have it.
    ///
    /// Blocks for as long as the database needs to recover.
    ///
    /// # Errors
    /// [`StorageError::InUse`]; [`StorageError::TooNew`]; [`StorageError::Io`] when the folder cannot be written;
    /// [`StorageError::Corrupt`] when the database cannot be read: it was moved aside then, and opening again gives an
    /// empty store.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StorageError> {
        let dir = dir.as_ref();
        if dir.exists() && !dir.is_dir() {
            return Err(StorageError::NoFolder(dir.to_path_buf()));
        }
        super::create_private_dir(dir)?;
        let lock = lock(dir)?;
        let kv = SledKv::open(dir.join("db"))?;
        let blobs = BlobDir::open(dir.join("blobs"))?;
        sync_dir(dir).map_err(|error| StorageError::io("write", dir, error))?;
        Self::start(
            Some(dir.to_path_buf()),
            Box::new(kv),
            Some(blobs),
            Some(lock),
        )
    }

    /// A store that is gone with the process.
    ///
    /// # Errors
    /// [`StorageError::Io`] when no thread can be started.
    pub fn memory() -> Result<Self, StorageError> {
        Self::start(None, Box::new(MemoryKv::default()), None, None)
    }

    pub(super) fn start(
        path: Option<PathBuf>,
        kv: Box<dyn Kv>,
        blobs: Option<BlobDir>,
        lock: Option<File>,
    ) -> Result<Self, StorageError> {
        let shelf = Arc::new(Shelf { kv, blobs });
        shelf.sweep()?;
        let named = path.clone().unwrap_or_else(|| PathBuf::from("memory"));
        let writer = Writer::start(named.clone(), Arc::clone(&shelf))
            .map_err(|error| StorageError::io("start the writer of", &named, error))?;
        Ok(Self {
            path,
            shelf,
            writer,
            _lock: lock,
        })
    }

    /// The folder; `None` in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Drops the checkpoint of a flow, so that its next run begins at the start. Tables and dead letters stay. Says
    /// whether there was one.
    pub async fn forget(&self, flow: &str) -> Result<bool, StorageError> {
        Ok(self.writer.run(Work::Forget(flow.to_owned())).await? > 0)
    }

    /// What a flow was granted when it last ran. Nothing when it never did.
    pub fn granted(&self, flow: &str) -> Result<Granted, StorageError> {
        let Some(json) = self.shelf.get(&key::granted(flow))? else {
            return Ok(Granted::new());
        };
        serde_json::from_slice(&json).map_err(|error| StorageError::Corrupt {
            what: format!("the last grants of flow {flow}"),
            message: error.to_string(),
        })
    }

    /// Remembers what a flow is granted.
    pub async fn set_granted(&self, flow: &str, granted: &Granted) -> Result<(), StorageError> {
        let json = serde_json::to_vec(granted).map_err(|error| StorageError::Corrupt {
            what: format!("the grants of flow {flow}"),
            message: error.to_string(),
        })?;
        let work = Work::SetGranted(flow.to_owned(), json);
        self.writer.run(work).await.map(drop)
    }

    /// Names of the flows that have a checkpoint, ordered.
    pub fn list_flows(&self) -> Result<Vec<String>, StorageError> {
        let prefix = key::checkpoints();
        let mut flows = Vec::new();
        self.each(&prefix, Vec::new(), |key, _| {
            flows.extend(key::flow_of_checkpoint(key).map(ToOwned::to_owned));
            Ok(true)
        })?;
        flows.sort_unstable();
        Ok(flows)
    }

    /// Dead letters that match, by id.
    pub fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StorageError> {
        let mut found = Vec::new();
        if filter.limit == 0 {
            return Ok(found);
        }
        let last = filter.last();
        let mut bytes = 0_u64;
        let mut take = |mut letter: DeadLetter| {
            let id = letter.id;
            if filter.matches(&letter) {
                if filter.brief {
                    (letter.headers, letter.payload) = (Vec::new(), Vec::new());
                    letter.backtrace = None;
                }
                bytes = bytes.saturating_add(letter.weight());
                if bytes > filter.bytes && !found.is_empty() {
                    return false;
                }
                found.push(letter);
            }
            found.len() < filter.limit && id < last
        };
        // Named ones are fetched, not searched.
        if !filter.ids.is_empty() {
            for &id in filter.ids.range(filter.after.saturating_add(1)..) {
                if let Some(letter) = self.dead_letter(id)?
                    && !take(letter)
                {
                    break;
                }
            }
            return Ok(found);
        }
        if let Some(flow) = &filter.flow {
            let after = key::dead_letter_of_flow(flow, filter.after);
            self.each(&key::dead_letters_of_flow(flow), after, |key, _| {
                let letter = key::id_in(key).map_or(Ok(None), |id| self.dead_letter(id))?;
                Ok(letter.is_none_or(&mut take))
            })?;
        } else {
            self.each(
                &key::dead_letters(),
                key::dead_letter(filter.after),
                |key, stored| {
                    let id = key::id_in(key).unwrap_or_default();
                    match self.shelf.resolve(key, stored)? {
                        Some(json) => Ok(take(dead_letter::parse(id, &json)?)),
                        None => Ok(true),
                    }
                },
            )?;
        }
        Ok(found)
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: u64) -> Result<Option<DeadLetter>, StorageError> {
        let json = self.shelf.get(&key::dead_letter(id))?;
        json.map(|json| dead_letter::parse(id, &json)).transpose()
    }

    /// How many dead letters each flow has. Flows without any are not named.
    pub fn count_dead_letters(&self) -> Result<BTreeMap<String, u64>, StorageError> {
        let mut counts = BTreeMap::new();
        self.each(&key::dead_letters_by_flow(), Vec::new(), |key, _| {
            if let Some(flow) = key::flow_of_dead_letter(key) {
                match counts.get_mut(flow) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(flow.to_owned(), 1);
                    }
                }
            }
            Ok(true)
        })?;
        Ok(counts)
    }

    /// Removes dead letters and says how many of them there were.
    pub async fn remove_dead_letters(&self, ids: &[u64]) -> Result<u64, StorageError> {
        self.writer.run(Work::RemoveDeadLetters(ids.to_vec())).await
    }

    /// Changes a dead letter; says whether it was there.
    pub async fn edit_dead_letter(
        &self,
        id: u64,
        edit: DeadLetterEdit,
    ) -> Result<bool, StorageError> {
        let work = Work::EditDeadLetter(id, Box::new(edit));
        Ok(self.writer.run(work).await? > 0)
    }

    /// Drops all dead letters of a flow that its retention does not keep, and says how many they were.
    pub async fn retain_dead_letters(
        &self,
        flow: &str,
        retention: Retention,
    ) -> Result<u64, StorageError> {
        let mut dropped = 0;
        loop {
            // Each write drops a limited number, so that commits of other flows need not wait for all of it.
            let now = self
                .writer
                .run(Work::Retain(flow.to_owned(), retention))
                .await?;
            dropped += now;
            if now == 0 {
                return Ok(dropped);
            }
        }
    }

    /// The id that was given last; 0 when none was.
    pub fn last_dead_letter(&self) -> Result<u64, StorageError> {
        number(
            self.shelf.kv.get(key::LAST_DEAD_LETTER)?.as_deref(),
            key::LAST_DEAD_LETTER,
        )
    }

    /// Calls `visit` with each entry below a prefix until it says `false`.
    fn each(
        &self,
        prefix: &[u8],
        mut after: Vec<u8>,
        mut visit: impl FnMut(&[u8], Vec<u8>) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        loop {
            let page = self.shelf.kv.scan(prefix, &after, PAGE)?;
            let is_last = page.len() < PAGE;
            for (key, value) in page {
                if !visit(&key, value)? {
                    return Ok(());
                }
                after = key;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Journal for Store {
    async fn commit(&self, commit: Commit) -> Result<Committed, StorageError> {
        let expired = self.writer.run(Work::Commit(Box::new(commit))).await?;
        Ok(Committed { expired })
    }

    fn checkpoint(&self, flow: &str) -> Result<Option<Checkpoint>, StorageError> {
        let json = self.shelf.get(&key::checkpoint(flow))?;
        json.map(|json| checkpoint::parse(flow, &json)).transpose()
    }

    fn table_get_many(
        &self,
        table: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        keys.iter()
            .map(|key| self.shelf.get(&key::table(table, key)))
            .collect()
    }

    fn table_find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let after = if after.is_empty() {
            Vec::new()
        } else {
            key::table(table, after)
        };
        let mut found = Vec::new();
        // An entry may be removed between the scan and the reading of its blob; then the next one takes its place.
        let prefix = key::table(table, prefix);
        if limit > 0 {
            self.each(&prefix, after, |key, stored| {
                if let (Some(name), Some(value)) = (
                    key::key_in_table(table, key),
                    self.shelf.resolve(key, stored)?,
                ) {
                    found.push((name.to_owned(), value));
                }
                Ok(found.len() < limit)
            })?;
        }
        Ok(found)
    }
}

/// Takes the folder for this process. The lock goes with the process, however it ends.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join("lock");
    let failed = |error| StorageError::io("lock", &path, error);
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    let give_up_at = Instant::now() + LOCK_PATIENCE;
    let mut locked = file.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && Instant::now() < give_up_at {
        thread::sleep(LOCK_PATIENCE / 20);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: without it the message is shorter.
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim().parse::<u32>() {
                Ok(pid) => format!(" (process {pid})"),
                Err(_) => String::new(),
            };
            return Err(StorageError::InUse {
                path: dir.to_path_buf(),
                holder,
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}
