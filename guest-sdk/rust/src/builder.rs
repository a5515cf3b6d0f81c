//! Makes batches: keys, headers and payloads are written straight into the buffer that goes to the host.

use serde::Serialize;

use crate::batch::{Batch, Form, NO_ORIGIN, Op};
use crate::fault::Result;
use crate::json::Object;
use crate::short::append;

/// All parts of a record.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordParts<'a> {
    /// What identifies it in its stream, or empty.
    pub key: &'a [u8],
    /// A JSON object of strings, or empty.
    pub headers: &'a [u8],
    /// The record itself.
    pub payload: &'a [u8],
    /// What it means for its key.
    pub op: Op,
    /// The position of the input record that it came from. Sources leave it out, [`crate::Output`] sets it.
    pub origin: Option<usize>,
}

/// Builds one [`Batch`].
///
/// ```
/// use crossdock_sdk::BatchBuilder;
/// let mut batch = BatchBuilder::json("prices");
/// batch.push(b"A-1", br#"{"sku":"A-1","price":9.90}"#);
/// batch.payload_buf().extend_from_slice(br#"{"sku":"B-2"}"#);
/// batch.end_record(b"B-2");
/// let batch = batch.finish();
/// assert_eq!(batch.record(1).unwrap().key(), b"B-2");
/// ```
///
/// A batch holds at most 4 GiB and 16,777,214 records: the contract counts in 32 and 24 bits. Going beyond is a
/// programming error and panics; keep to the budget.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    stream: String,
    form: Form,
    index: Vec<u32>,
    data: Vec<u8>,
}

/// A point to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    words: usize,
    bytes: usize,
}

impl BatchBuilder {
    /// An empty batch of this form.
    pub fn new(stream: impl Into<String>, form: Form) -> Self {
        Self {
            stream: stream.into(),
            form,
            index: Vec::new(),
            data: Vec::new(),
        }
    }

    /// An empty batch of JSON texts.
    pub fn json(stream: impl Into<String>) -> Self {
        Self::new(stream, Form::Json)
    }

    /// An empty batch of anything else.
    pub fn of_bytes(stream: impl Into<String>) -> Self {
        Self::new(stream, Form::Bytes)
    }

    /// The same with room for this many records and bytes.
    #[must_use]
    pub fn with_capacity(mut self, records: usize, bytes: usize) -> Self {
        self.index.reserve(records * 4);
        self.data.reserve(bytes);
        self
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// What the payloads are.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Adds a record.
    pub fn push(&mut self, key: &[u8], payload: &[u8]) {
        self.push_record(RecordParts {
            key,
            payload,
            ..RecordParts::default()
        });
    }

    /// Adds a record whose payload is this object.
    pub fn push_object(&mut self, key: &[u8], object: &Object<'_>) {
        self.record(key, b"", Op::Upsert, None, |buffer| object.write(buffer));
    }

    /// Adds a record whose payload is this value as JSON.
    pub fn push_value(&mut self, key: &[u8], value: &impl Serialize) -> Result<()> {
        let mark = self.mark();
        let mut result = Ok(());
        self.record(key, b"", Op::Upsert, None, |buffer| {
            result = serde_json::to_writer(buffer, value);
        });
        if result.is_err() {
            self.roll_back(mark);
        }
        Ok(result?)
    }

    /// Adds a record.
    pub fn push_record(&mut self, parts: RecordParts<'_>) {
        self.record(parts.key, parts.headers, parts.op, parts.origin, |buffer| {
            buffer.extend_from_slice(parts.payload);
        });
    }

    /// Adds a record whose payload the closure appends to the batch's own buffer. It must only append.
    pub fn push_with(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.record(key, b"", Op::Upsert, None, write);
    }

    /// The batch's own buffer: append the payload of the next record, then call [`end_record`](Self::end_record).
    /// What is already in it belongs to earlier records and must stay.
    pub fn payload_buf(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// Ends the record that was written to [`payload_buf`](Self::payload_buf). The key goes in front of the payload,
    /// which moves the payload by the length of the key: where the key is known before, `push_with` saves that.
    pub fn end_record(&mut self, key: &[u8]) {
        let start = self.end();
        self.check_append_only(start);
        self.data.extend_from_slice(key);
        self.data[start..].rotate_right(key.len());
        let key_end = start + key.len();
        self.close_record(key_end, key_end, Op::Upsert, None);
    }

    /// Forgets what was written to [`payload_buf`](Self::payload_buf) since the last record.
    pub fn discard_record(&mut self) {
        let start = self.end();
        self.data.truncate(start);
    }

    /// Adds a record, the payload written in place.
    pub(crate) fn record(
        &mut self,
        key: &[u8],
        headers: &[u8],
        op: Op,
        origin: Option<usize>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.discard_record();
        append(&mut self.data, key);
        let key_end = self.data.len();
        append(&mut self.data, headers);
        let headers_end = self.data.len();
        write(&mut self.data);
        self.check_append_only(headers_end);
        self.close_record(key_end, headers_end, op, origin);
    }

    #[allow(
        clippy::panic,
        reason = "a closure that removes other records' bytes is a bug that cannot be repaired"
    )]
    fn check_append_only(&self, start: usize) {
        assert!(
            self.data.len() >= start,
            "the payload buffer may only be appended to"
        );
    }

    fn close_record(&mut self, key_end: usize, headers_end: usize, op: Op, origin: Option<usize>) {
        let origin = origin.map_or(NO_ORIGIN, |origin| word(origin).min(NO_ORIGIN));
        let words = [
            word(key_end),
            word(headers_end),
            word(self.data.len()),
            op.word() | origin << 8,
        ];
        self.index.extend_from_slice(&words);
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.index.len() / 4
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of all keys, headers and payloads so far.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The batch. What was written to the payload buffer without an end is dropped.
    pub fn finish(mut self) -> Batch {
        self.discard_record();
        Batch::from_parts(self.stream, self.form, self.index, self.data)
    }

    /// Gives out the batch and starts the next one of the same stream.
    pub fn take(&mut self) -> Batch {
        let next = Self::new(self.stream.clone(), self.form);
        std::mem::replace(self, next).finish()
    }

    /// Where the last whole record ends.
    fn end(&self) -> usize {
        self.index
            .len()
            .checked_sub(2)
            .map_or(0, |last| self.index[last] as usize)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            words: self.index.len(),
            bytes: self.end(),
        }
    }

    pub(crate) fn roll_back(&mut self, mark: Mark) {
        self.index.truncate(mark.words);
        self.data.truncate(mark.bytes);
    }
}

#[allow(
    clippy::expect_used,
    reason = "documented limit of the contract, out of reach within any budget"
)]
fn word(length: usize) -> u32 {
    u32::try_from(length).expect("a batch holds at most 4 GiB")
}
