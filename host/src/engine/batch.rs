//! Records of one stream, packed as they cross the sandbox boundary, and the checks that make a foreign one safe.
//!
//! The layout is the one of `wit/v0.1/types.wit`: four words per record (end of key, end of headers, end of payload,
//! op and origin) and one byte buffer. Between two stages a batch is moved, never parsed.

use std::sync::Arc;

/// Words per record in [`Batch::index`].
pub const WORDS: usize = 4;
/// The origin of a record that came from none of the input batch (held back earlier, say).
pub const NO_ORIGIN: u32 = 0x00FF_FFFF;
/// More records than the origin bits can name are refused.
pub const MAX_RECORDS: usize = NO_ORIGIN as usize;

/// What a batch takes beside its records and its name: itself, its counts of owners, four allocations.
const OVERHEAD: usize = 256;

/// What the payloads of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// One JSON text per record.
    Json,
    /// Anything else.
    Bytes,
}

/// What a record asks of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Make it so.
    Upsert,
    /// Remove it.
    Delete,
}

/// Records of one stream that move together. Always valid: see [`Batch::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    stream: Arc<str>,
    form: Form,
    index: Vec<u32>,
    data: Vec<u8>,
}

/// Why bytes from a plugin are no batch. The plugin broke the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The index is not a multiple of four words.
    #[error("the index has {0} words, which is not a multiple of 4")]
    Ragged(usize),
    /// Ends decrease or pass the end of the data.
    #[error("record {record} ends at {end}, but must end between {from} and {len}")]
    OutOfBounds {
        /// Position of the record.
        record: usize,
        /// The offending end.
        end: u32,
        /// Where it may start.
        from: u32,
        /// Length of the data.
        len: usize,
    },
    /// Bytes after the last record.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
    /// More than [`MAX_RECORDS`] records, or data beyond 4 GiB.
    #[error("the batch is too large: {0} records")]
    TooLarge(usize),
    /// The stream has no usable name.
    #[error("the stream name {0:?} is empty, longer than 200 bytes or has control characters")]
    StreamName(String),
}

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its key, possibly empty.
    pub key: &'a [u8],
    /// Its headers: a JSON object of strings, or empty.
    pub headers: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// Op in bits 0-7, origin in bits 8-31.
    pub flags: u32,
}

impl Record<'_> {
    /// What it asks of the target.
    pub fn op(&self) -> Op {
        if self.flags & 0xFF == 1 {
            Op::Delete
        } else {
            Op::Upsert
        }
    }

    /// The position of the input record that it came from, or [`NO_ORIGIN`].
    pub fn origin(&self) -> u32 {
        self.flags >> 8
    }
}

impl Batch {
    /// A batch from parts that a plugin gave: everything is checked, in one pass over the index.
    pub fn new(
        stream: impl Into<Arc<str>>,
        form: Form,
        index: Vec<u32>,
        data: Vec<u8>,
    ) -> Result<Self, BatchError> {
        let stream = stream.into();
        if stream.is_empty() || stream.len() > 200 || stream.contains(char::is_control) {
            return Err(BatchError::StreamName(stream.chars().take(40).collect()));
        }
        if !index.len().is_multiple_of(WORDS) {
            return Err(BatchError::Ragged(index.len()));
        }
        let records = index.len() / WORDS;
        if records >= MAX_RECORDS || u32::try_from(data.len()).is_err() {
            return Err(BatchError::TooLarge(records));
        }
        let mut from = 0_u32;
        for (record, words) in index.chunks_exact(WORDS).enumerate() {
            if let [key, headers, payload, _] = *words {
                if from > key || key > headers || headers > payload || payload as usize > data.len()
                {
                    return Err(BatchError::OutOfBounds {
                        record,
                        end: payload,
                        from,
                        len: data.len(),
                    });
                }
                from = payload;
            }
        }
        if from as usize != data.len() {
            return Err(BatchError::Trailing(data.len() - from as usize));
        }
        Ok(Self {
            stream,
            form,
            index,
            data,
        })
    }

    /// A batch without records.
    pub fn empty(stream: impl Into<Arc<str>>, form: Form) -> Self {
        Self {
            stream: stream.into(),
            form,
            index: Vec::new(),
            data: Vec::new(),
        }
    }

    /// The stream's name.
    pub fn stream(&self) -> &Arc<str> {
        &self.stream
    }

    /// What the payloads are.
    pub fn form(&self) -> Form {
        self.form
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.index.len() / WORDS
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes that it keeps in memory, for bounds.
    pub fn weight(&self) -> usize {
        self.data.capacity() + self.index.capacity() * 4 + self.stream.len() + OVERHEAD
    }

    /// The packed words.
    pub fn index(&self) -> &[u32] {
        &self.index
    }

    /// The packed bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The record at a position.
    pub fn record(&self, at: usize) -> Option<Record<'_>> {
        let words = self.index.get(at * WORDS..(at + 1) * WORDS)?;
        let start = if at == 0 {
            0
        } else {
            *self.index.get(at * WORDS - 2)? as usize
        };
        let &[key, headers, payload, flags] = words else {
            return None;
        };
        Some(Record {
            key: self.data.get(start..key as usize)?,
            headers: self.data.get(key as usize..headers as usize)?,
            payload: self.data.get(headers as usize..payload as usize)?,
            flags,
        })
    }

    /// All records in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|at| self.record(at))
    }

    /// The records at these positions, in this order. Positions out of range are a broken contract.
    pub fn select(&self, positions: &[u32]) -> Option<Self> {
        let mut builder = Builder::new(Arc::clone(&self.stream), self.form);
        for &at in positions {
            builder.push(self.record(at as usize)?);
        }
        Some(builder.build())
    }

    /// The first `at` records and the rest.
    pub fn split(&self, at: usize) -> (Self, Self) {
        let mut first = Builder::new(Arc::clone(&self.stream), self.form);
        let mut rest = Builder::new(Arc::clone(&self.stream), self.form);
        for (position, record) in self.records().enumerate() {
            if position < at {
                first.push(record);
            } else {
                rest.push(record);
            }
        }
        (first.build(), rest.build())
    }
}

/// Builds a batch record by record, on the host's side.
#[derive(Debug)]
pub struct Builder {
    batch: Batch,
}

impl Builder {
    /// Starts an empty one.
    pub fn new(stream: impl Into<Arc<str>>, form: Form) -> Self {
        Self {
            batch: Batch::empty(stream, form),
        }
    }

    /// Adds a copy of a record. A batch holds less than 4 GiB: batches that are joined or selected stay below what
    /// [`Batch::new`] allowed, and built-in stages are bounded by their budget.
    pub fn push(&mut self, record: Record<'_>) {
        let batch = &mut self.batch;
        for part in [record.key, record.headers, record.payload] {
            batch.data.extend_from_slice(part);
            batch
                .index
                .push(u32::try_from(batch.data.len()).unwrap_or(u32::MAX));
        }
        batch.index.push(record.flags);
    }

    /// How many records so far.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The batch.
    pub fn build(self) -> Batch {
        self.batch
    }
}
