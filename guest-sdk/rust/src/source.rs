//! The trait of a source and what its calls exchange.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::batch::Batch;
use crate::builder::BatchBuilder;
use crate::fault::{Fault, Result};

/// Reads records from a system.
///
/// The host opens it, reads pages, and asks for snapshots. Opened from a snapshot it must continue exactly behind the
/// last record that was read before that snapshot.
pub trait Source: Sized + 'static {
    /// Its config, read by serde. Use `#[serde(deny_unknown_fields)]`, so that a typo is found.
    type Config: DeserializeOwned;

    /// Can it be reached with this config? No side effects.
    fn check(config: Self::Config) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// What can be read with this config. No side effects.
    fn streams(config: Self::Config) -> Result<Vec<StreamInfo>> {
        let _ = config;
        Ok(Vec::new())
    }

    /// Starts. A snapshot it cannot use is a config fault.
    fn open(config: Self::Config, snapshot: Option<&[u8]>) -> Result<Self>;

    /// The next records of one stream.
    fn read(&mut self, budget: Budget) -> Result<Read>;

    /// The position behind the last record that `read` returned. At most 1 MiB.
    fn snapshot(&mut self) -> Result<Vec<u8>>;

    /// Everything up to this snapshot is durable at every sink. May come twice.
    fn committed(&mut self, snapshot: &[u8]) -> Result<()> {
        let _ = snapshot;
        Ok(())
    }

    /// The last call.
    fn close(&mut self) {}
}

/// What a source can read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamInfo {
    /// The stream's name.
    pub name: String,
    /// JSON Schema of the payload, or empty when it is not known.
    pub schema: String,
    /// Fields that identify a record, in order. Empty: the stream has no key.
    pub key: Vec<String>,
    /// Whether a later run reads only what has changed since.
    pub incremental: bool,
}

impl StreamInfo {
    /// A stream without schema or key that is read whole each time.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Sets the JSON Schema of the payload.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets the fields that identify a record.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.key = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Says that a later run reads only what has changed.
    #[must_use]
    pub fn incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }
}

/// How much one `read` may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// At most this many records.
    pub records: usize,
    /// Stop once the batch has this many bytes. One record larger than that is still returned.
    pub bytes: usize,
    /// Return what is there after about this long.
    pub time: Duration,
}

impl Budget {
    /// Whether this batch is full, by records or bytes.
    pub fn is_full(&self, batch: &BatchBuilder) -> bool {
        batch.len() >= self.records || (batch.bytes() >= self.bytes && !batch.is_empty())
    }
}

/// What the host gives by default: 1000 records, 1 MiB, one second.
impl Default for Budget {
    fn default() -> Self {
        Self {
            records: 1000,
            bytes: 1 << 20,
            time: Duration::from_secs(1),
        }
    }
}

/// What one `read` brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Records. More may follow at once.
    Page(Page),
    /// Nothing now: ask again after this long.
    Idle(Duration),
    /// There will be no more records in this run.
    End,
}

impl Read {
    /// A page of this batch.
    pub fn batch(records: Batch) -> Self {
        Self::Page(Page {
            records,
            unreadable: Vec::new(),
        })
    }
}

/// Records of one stream, and input that could not be made into records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records. May be empty when there is only unreadable input.
    pub records: Batch,
    /// Input that is no record. It counts as read and becomes dead letters.
    pub unreadable: Vec<Unreadable>,
}

/// Input that could not be made into a record at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The input as found.
    pub data: Vec<u8>,
    /// Why, and where.
    pub fault: Fault,
}
