//! The three traits that the engine moves records through. Components implement them in `plugin`, built-ins natively,
//! tests in memory.
//!
//! Every call is on one instance, never two at a time. A call that is dropped (cancelled) leaves the instance unusable:
//! the engine only drops a call together with its instance.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{batch::Batch, fault::Fault};

/// The bytes from which a stage can be opened again exactly where it was.
pub type Snapshot = Vec<u8>;

/// How much one read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// At most this many records.
    pub records: u32,
    /// About this many bytes.
    pub bytes: u32,
    /// Return what is there after about this long.
    pub time: Duration,
}

/// Input that is no record: a dead letter of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The input as found.
    pub data: Vec<u8>,
    /// Why, and where.
    pub fault: Fault,
}

/// What one read brought.
#[derive(Debug)]
pub enum Read {
    /// Records of one stream, and input that is none.
    Page {
        /// The records.
        records: Batch,
        /// Input that is no record.
        unreadable: Vec<Unreadable>,
    },
    /// Nothing now: ask again after this long.
    Idle(Duration),
    /// No more records in this run.
    End,
}

/// One input record that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Position in the input batch.
    pub index: u32,
    /// Why.
    pub fault: Fault,
}

/// What a dead letter takes beside its record and what the stage said: itself, and what it is labelled with.
const LETTER: usize = 1024;

impl Rejection {
    /// Bytes that it keeps in memory, and the dead letter that comes of it beside its record, for bounds.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + 2 * self.fault.weight() + LETTER
    }
}

/// Why records were filtered, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The reason, as the plugin words it.
    pub reason: String,
    /// How many records.
    pub count: u32,
}

/// What a transformer gives on.
#[derive(Debug)]
pub enum Output {
    /// The input batch, unchanged.
    Pass,
    /// These input records, in this order.
    Select(Vec<u32>),
    /// These batches instead, with origins.
    Replace(Vec<Batch>),
}

/// What a transformer did with one batch.
#[derive(Debug)]
pub struct Applied {
    /// What goes on.
    pub output: Output,
    /// Records that failed.
    pub rejected: Vec<Rejection>,
    /// Reasons for the records that are gone.
    pub filtered: Vec<Tally>,
}

/// What a sink did with one batch.
#[derive(Debug, Default)]
pub struct Written {
    /// Records that it refused; all others are written.
    pub rejected: Vec<Rejection>,
    /// What the target answered.
    pub receipts: Option<Batch>,
}

/// How a transformer may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Several instances at the same time.
    Stateless,
    /// One instance, batches in order.
    Stateful,
}

/// One write to a table. `None` removes the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableWrite {
    /// The table.
    pub table: Arc<str>,
    /// The key.
    pub key: String,
    /// A JSON text.
    pub value: Option<Vec<u8>>,
}

impl TableWrite {
    /// Bytes that it keeps in memory, here and in the overlay, for bounds.
    pub fn weight(&self) -> usize {
        2 * (self.key.len() + self.value.as_ref().map_or(0, Vec::len)) + 256
    }
}

/// How much an instance has been used, so that the engine can recycle it (DESIGN §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wear {
    /// Records that went through it.
    pub records: u64,
    /// Bytes of memory that it holds.
    pub memory: u64,
}

/// What every stage's instance can be asked.
pub trait Instance: Send {
    /// Table writes of the calls since the last time, in order. Dropped by the engine when the call failed.
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        Vec::new()
    }

    /// How worn it is.
    fn wear(&self) -> Wear {
        Wear::default()
    }

    /// Whether its answers depend on nothing but its config, its snapshot and its input, so that the same batches give
    /// the same answers again. Not so when it can see the time, random numbers, tables or other systems.
    fn repeats(&self) -> bool {
        true
    }
}

/// Reads records.
#[async_trait]
pub trait Source: Instance {
    /// The next records of one stream.
    async fn read(&mut self, budget: Budget) -> Result<Read, Fault>;
    /// The position behind the last record read.
    async fn snapshot(&mut self) -> Result<Snapshot, Fault>;
    /// Everything up to this snapshot is durable. May be called again.
    async fn committed(&mut self, snapshot: &[u8]) -> Result<(), Fault>;
    /// The last call.
    async fn close(&mut self);
}

/// Changes records.
#[async_trait]
pub trait Transformer: Instance {
    /// How it may be run with its config.
    fn mode(&self) -> Mode;
    /// Works on one batch.
    async fn apply(&mut self, batch: &Batch) -> Result<Applied, Fault>;
    /// The input has ended: what was held back.
    async fn finish(&mut self) -> Result<Vec<Batch>, Fault>;
    /// What a new instance needs to continue.
    async fn snapshot(&mut self) -> Result<Snapshot, Fault>;
    /// The last call.
    async fn close(&mut self);
}

/// Writes records.
#[async_trait]
pub trait Sink: Instance {
    /// Takes the records of one batch.
    async fn write(&mut self, batch: &Batch) -> Result<Written, Fault>;
    /// The input has ended: the next commit puts the result in place.
    async fn finish(&mut self) -> Result<(), Fault>;
    /// Makes everything written so far durable.
    async fn snapshot(&mut self) -> Result<Snapshot, Fault>;
    /// Makes everything up to this snapshot visible. Idempotent.
    async fn commit(&mut self, snapshot: &[u8]) -> Result<(), Fault>;
    /// The last call.
    async fn close(&mut self);
}

/// What is behind a stage, as shown to people and stored with checkpoints and dead letters.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// `sha256:…` of the component, empty for a built-in.
    pub digest: String,
    /// `sha256:…` of the config it is opened with.
    pub config_digest: String,
}

/// Makes instances of one stage: plugin, config and grants are in it. A swap is another opener.
#[async_trait]
pub trait Opener<S: ?Sized + Send>: Send + Sync {
    /// A new instance, continuing from a snapshot when there is one.
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<S>, Fault>;
    /// What is behind it.
    fn identity(&self) -> &Identity;
}

/// Reads of tables, including what the running epoch has written. Implemented over the store by the engine (`overlay`), and
/// in memory for what runs without a store (`tables`).
pub trait Tables: Send + Sync {
    /// Values by key, in the order asked.
    fn get_many(&self, table: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, TableError>;
    /// Up to `limit` entries whose key starts with `prefix` and is greater than `after`, in byte order.
    fn find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, TableError>;
}

/// The store behind a table failed.
#[derive(Debug, thiserror::Error)]
#[error("table {table}: {message}")]
pub struct TableError {
    /// The table.
    pub table: String,
    /// What happened.
    pub message: String,
}
