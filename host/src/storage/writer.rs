//! The one thread that writes. It takes all commits that wait, writes them as one batch with one fsync, and answers each.

mod letters;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Checkpoint, Commit, DeadLetterEdit, Retention, StorageError,
    blob::{BlobDir, Hash, MAX_INLINE},
    key,
    kv::{Batch, Kv},
};

/// Commits that may wait for the thread; more wait in their senders.
const QUEUE: usize = 64;

/// In front of a value that is stored as it is.
const INLINE: u8 = 0;
/// In front of the hash of a value that is a blob.
const BLOB: u8 = 1;

/// A change of the store.
pub(super) enum Work {
    Commit(Box<Commit>),
    /// Drops the checkpoint of a flow.
    Forget(String),
    /// Remembers what a flow is granted, as JSON.
    SetGranted(String, Vec<u8>),
    /// Drops dead letters; the answer says how many there were.
    RemoveDeadLetters(Vec<u64>),
    /// Changes a dead letter; the answer says whether it was there.
    EditDeadLetter(u64, Box<DeadLetterEdit>),
    /// Drops some dead letters of a flow that are over its retention; the answer says how many.
    Retain(String, Retention),
}

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<u64, StorageError>>,
}

/// Values by key, wherever they are.
pub(super) struct Shelf {
    pub(super) kv: Box<dyn Kv>,
    /// `None`: all values are in the database.
    pub(super) blobs: Option<BlobDir>,
}

impl Shelf {
    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.kv.get(key)? {
            Some(stored) => self.resolve(key, stored),
            None => Ok(None),
        }
    }

    /// The value behind what is stored under a key. `None` when it was removed meanwhile.
    pub(super) fn resolve(
        &self,
        key: &[u8],
        mut stored: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        loop {
            let Some(hash) = hash_in(&stored) else {
                return match stored.split_first() {
                    Some((&INLINE, value)) => Ok(Some(value.to_vec())),
                    _ => Err(damaged(key, "an unknown kind of value")),
                };
            };
            let value = match &self.blobs {
                Some(blobs) => blobs.get(&hash)?,
                None => None,
            };
            if value.is_some() {
                return Ok(value);
            }
            // The writer replaces values and then removes their blobs: look again, and only a key that still names the
            // missing blob is damage.
            match self.kv.get(key)? {
                Some(now) if now != stored => stored = now,
                Some(_) => {
                    return Err(damaged(
                        key,
                        &format!("blob {} is missing", hex::encode(hash)),
                    ));
                }
                None => return Ok(None),
            }
        }
    }

    fn is_used(&self, hash: &Hash) -> Result<bool, StorageError> {
        Ok(!self.kv.scan(&key::blob_uses(hash), &[], 1)?.is_empty())
    }

    /// Removes blobs that nothing names.
    pub(super) fn sweep(&self) -> Result<(), StorageError> {
        match &self.blobs {
            Some(blobs) => blobs.sweep(|hash| self.is_used(hash)),
            None => Ok(()),
        }
    }

    /// Removes those of the blobs that nothing names. What cannot be removed now is swept when the store is opened.
    fn release(&self, hashes: &[Hash]) {
        let Some(blobs) = &self.blobs else { return };
        for hash in hashes {
            let removed = self
                .is_used(hash)
                .and_then(|used| if used { Ok(()) } else { blobs.remove(hash) });
            if let Err(error) = removed {
                tracing::debug!(%error, "an unused blob stays until the store is opened again");
            }
        }
    }
}

fn hash_in(stored: &[u8]) -> Option<Hash> {
    match stored.split_first() {
        Some((&BLOB, hash)) => hash.try_into().ok(),
        _ => None,
    }
}

fn damaged(key: &[u8], message: &str) -> StorageError {
    let what = format!("the entry {} of the state database", key.escape_ascii());
    StorageError::Corrupt {
        what,
        message: message.into(),
    }
}

/// The number under a key; 0 when there is none.
pub(super) fn number(stored: Option<&[u8]>, key: &[u8]) -> Result<u64, StorageError> {
    match stored.map(<[u8; 8]>::try_from) {
        None => Ok(0),
        Some(Ok(bytes)) => Ok(u64::from_be_bytes(bytes)),
        Some(Err(_)) => Err(damaged(key, "not a number")),
    }
}

/// Hands work to the thread. Dropping it ends the thread after everything that waits is written.
pub(super) struct Writer {
    path: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread; `path` is for messages.
    pub(super) fn start(path: PathBuf, shelf: Arc<Shelf>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("crossdock-store".into())
            .spawn(move || work(&shelf, queue))?;
        Ok(Self {
            path,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Does the work and waits until it is durable. A caller that stops waiting does not stop the work.
    pub(super) async fn run(&self, work: Work) -> Result<u64, StorageError> {
        let (answer, answered) = oneshot::channel();
        let sent = match &self.jobs {
            Some(jobs) => jobs.send(Job { work, answer }).await.is_ok(),
            None => false,
        };
        if !sent {
            return Err(self.stopped());
        }
        answered.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> StorageError {
        StorageError::Database {
            path: self.path.clone(),
            message: "its writer has stopped".into(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the state database panicked");
        }
    }
}

fn work(shelf: &Shelf, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(QUEUE);
    let mut weights = Weights::default();
    while let Some(first) = queue.blocking_recv() {
        jobs.push(first);
        while jobs.len() < QUEUE
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        write_group(shelf, &mut weights, jobs.drain(..));
    }
}

/// Bytes of all dead letters per flow, as far as they were asked for. Counted once; kept true by every write after.
type Weights = HashMap<String, u64>;

/// Writes several jobs as one batch. A job that cannot be prepared fails alone; a batch that fails, fails for all.
fn write_group(shelf: &Shelf, weights: &mut Weights, jobs: impl Iterator<Item = Job>) {
    let mut group = match Group::new(shelf, weights) {
        Ok(group) => group,
        Err(error) => {
            jobs.for_each(|job| answer(job.answer, Err(error.again())));
            return;
        }
    };
    let mut prepared = Vec::new();
    for job in jobs {
        match group.add(job.work) {
            Ok(count) => prepared.push((job.answer, count)),
            Err(error) => answer(job.answer, Err(error)),
        }
    }
    let outcome = group.write();
    for (to, count) in prepared {
        answer(
            to,
            outcome
                .as_ref()
                .map(|()| count)
                .map_err(StorageError::again),
        );
    }
}

fn answer(to: oneshot::Sender<Result<u64, StorageError>>, outcome: Result<u64, StorageError>) {
    // Nobody waits any more: the work stays done.
    let _ = to.send(outcome);
}

/// Changes of several jobs that become one batch.
struct Group<'a> {
    shelf: &'a Shelf,
    sequence: u64,
    changes: Batch,
    /// Blobs that were made for this group.
    made: Vec<Hash>,
    /// Blobs that lose a user with this group.
    left: Vec<Hash>,
    weights: &'a mut Weights,
}

impl<'a> Group<'a> {
    fn new(shelf: &'a Shelf, weights: &'a mut Weights) -> Result<Self, StorageError> {
        let sequence = number(shelf.kv.get(key::SEQUENCE)?.as_deref(), key::SEQUENCE)? + 1;
        Ok(Self {
            shelf,
            sequence,
            changes: Batch::new(),
            made: Vec::new(),
            left: Vec::new(),
            weights,
        })
    }

    /// Prepares a job; when that fails, nothing of it is in the group.
    fn add(&mut self, work: Work) -> Result<u64, StorageError> {
        let mut stage = Stage {
            group: self,
            changes: Batch::new(),
            made: Vec::new(),
            left: Vec::new(),
            gained: BTreeMap::new(),
        };
        let prepared = match work {
            Work::Commit(commit) => stage.commit(*commit),
            Work::Forget(flow) => stage.remove(key::checkpoint(&flow)).map(u64::from),
            Work::SetGranted(flow, json) => stage.put(key::granted(&flow), &json).map(|()| 0),
            Work::RemoveDeadLetters(ids) => stage.remove_dead_letters(&ids),
            Work::EditDeadLetter(id, edit) => stage.edit_dead_letter(id, *edit),
            Work::Retain(flow, retention) => stage.retain(&flow, retention),
        };
        let Stage {
            changes,
            mut made,
            left,
            gained,
            ..
        } = stage;
        if prepared.is_ok() {
            for (flow, (more, less)) in gained {
                // Only flows that somebody asked for are counted.
                if let Some(weight) = self.weights.get_mut(&flow) {
                    *weight = weight.saturating_add(more).saturating_sub(less);
                }
            }
            self.changes.extend(changes);
            self.made.extend(made);
            self.left.extend(left);
        } else {
            made.retain(|hash| !self.made.contains(hash));
            self.shelf.release(&made);
        }
        prepared
    }

    fn write(mut self) -> Result<(), StorageError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.changes.insert(
            key::SEQUENCE.to_vec(),
            Some(self.sequence.to_be_bytes().to_vec()),
        );
        let outcome = self.shelf.kv.apply(&self.changes).or_else(|error| {
            // The disk may have taken the batch although the write failed. The database is read anew from the disk here,
            // so that the answer is the truth.
            let found = self
                .shelf
                .kv
                .get(key::SEQUENCE)
                .and_then(|found| number(found.as_deref(), key::SEQUENCE));
            if found.is_ok_and(|found| found == self.sequence) {
                Ok(())
            } else {
                Err(error)
            }
        });
        if outcome.is_err() {
            // What is stored now is counted anew when somebody asks.
            self.weights.clear();
            self.shelf.release(&self.made);
        }
        self.shelf.release(&self.left);
        outcome
    }
}

/// Changes of one job.
struct Stage<'g, 'a> {
    group: &'g mut Group<'a>,
    changes: Batch,
    made: Vec<Hash>,
    left: Vec<Hash>,
    /// Bytes of dead letters that each flow gets and loses.
    gained: BTreeMap<String, (u64, u64)>,
}

impl Stage<'_, '_> {
    /// What is stored under a key after everything prepared so far.
    fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self
            .changes
            .get(key)
            .or_else(|| self.group.changes.get(key))
        {
            Some(change) => Ok(change.clone()),
            None => self.group.shelf.kv.get(key),
        }
    }

    /// Says how many dead letters the retention has dropped.
    fn commit(&mut self, commit: Commit) -> Result<u64, StorageError> {
        let mut flow = None;
        if let Some(checkpoint) = commit.checkpoint {
            self.put_checkpoint(&checkpoint)?;
            flow = Some(checkpoint.flow);
        }
        self.remove_dead_letters(&commit.removed_dead_letters)?;
        if !commit.dead_letters.is_empty() {
            let mut id = number(
                self.stored(key::LAST_DEAD_LETTER)?.as_deref(),
                key::LAST_DEAD_LETTER,
            )?;
            for mut letter in commit.dead_letters {
                id += 1;
                letter.id = id;
                self.put_dead_letter(&letter)?;
            }
            self.changes.insert(
                key::LAST_DEAD_LETTER.to_vec(),
                Some(id.to_be_bytes().to_vec()),
            );
        }
        for change in commit.table_changes {
            let key = key::table(&change.table, &change.key);
            match change.value {
                Some(value) => self.put(key, &value)?,
                None => {
                    self.remove(key)?;
                }
            }
        }
        flow.map_or(Ok(0), |flow| self.retain(&flow, commit.retention))
    }

    fn put_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let what = || format!("the checkpoint of flow {}", checkpoint.flow);
        self.put(
            key::checkpoint(&checkpoint.flow),
            &to_json(checkpoint, what)?,
        )
    }

    fn put(&mut self, key: Vec<u8>, value: &[u8]) -> Result<(), StorageError> {
        self.release_old(&key)?;
        let stored = match &self.group.shelf.blobs {
            Some(blobs) if value.len() > MAX_INLINE => {
                let hash = blobs.put(value)?;
                self.made.push(hash);
                self.changes
                    .insert(key::blob_use(&hash, &key), Some(Vec::new()));
                [&[BLOB], hash.as_slice()].concat()
            }
            _ => [&[INLINE], value].concat(),
        };
        self.changes.insert(key, Some(stored));
        Ok(())
    }

    /// Removes a key; says whether it was there.
    fn remove(&mut self, key: Vec<u8>) -> Result<bool, StorageError> {
        let existed = self.release_old(&key)?;
        self.changes.insert(key, None);
        Ok(existed)
    }

    /// Unlinks the blob that a key names; says whether there was a value.
    fn release_old(&mut self, key: &[u8]) -> Result<bool, StorageError> {
        let stored = self.stored(key)?;
        if let Some(hash) = stored.as_deref().and_then(hash_in) {
            self.changes.insert(key::blob_use(&hash, key), None);
            self.left.push(hash);
        }
        Ok(stored.is_some())
    }
}

fn to_json<T: serde::Serialize>(
    value: &T,
    what: impl Fn() -> String,
) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(value).map_err(|error| StorageError::Corrupt {
        what: what(),
        message: error.to_string(),
    })
}
