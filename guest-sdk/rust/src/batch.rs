//! Records of one stream that move together, in the packed layout of the contract.

use crate::bindings::host::crossdock::plugin::plugin_types as wit;
use crate::fault::{Fault, Result};
use crate::json;

/// Words per record in the index.
const WORDS: usize = 4;

/// `origin` of a record that came from none of the input batch. Also one more than the largest usable position.
pub(crate) const NO_ORIGIN: u32 = 0x00FF_FFFF;

/// What the payload of every record of a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// One JSON text per record.
    Json,
    /// Anything else: a file, an EDI interchange, an image.
    Bytes,
}

/// What a record means for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Op {
    /// The record is new or replaces the one with the same key.
    #[default]
    Upsert,
    /// The record with this key is gone.
    Delete,
}

impl Op {
    pub(crate) fn word(self) -> u32 {
        match self {
            Self::Upsert => 0,
            Self::Delete => 1,
        }
    }
}

/// Records of one stream. Its layout was checked when it was made, so reading it cannot fail.
#[derive(Debug, Clone)]
pub struct Batch {
    stream: String,
    form: Form,
    index: Vec<u32>,
    data: Vec<u8>,
}

impl Batch {
    /// An empty batch.
    pub fn empty(stream: impl Into<String>, form: Form) -> Self {
        Self {
            stream: stream.into(),
            form,
            index: Vec::new(),
            data: Vec::new(),
        }
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// What the payloads are.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.index.len() / WORDS
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of all keys, headers and payloads together.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// The record at this position.
    pub fn record(&self, position: usize) -> Option<Record<'_>> {
        (position < self.len()).then(|| self.at(position))
    }

    /// All records in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> + Clone {
        (0..self.len()).map(|position| self.at(position))
    }

    #[inline]
    fn at(&self, position: usize) -> Record<'_> {
        let word = position * WORDS;
        let start = if word == 0 {
            0
        } else {
            self.index[word - 2] as usize
        };
        let (key, headers, payload) = (
            self.index[word] as usize,
            self.index[word + 1] as usize,
            self.index[word + 2] as usize,
        );
        let flags = self.index[word + 3];
        Record {
            batch: self,
            position,
            key: &self.data[start..key],
            headers: &self.data[key..headers],
            payload: &self.data[headers..payload],
            flags,
        }
    }

    /// Takes parts that [`crate::BatchBuilder`] made.
    pub(crate) fn from_parts(stream: String, form: Form, index: Vec<u32>, data: Vec<u8>) -> Self {
        Self {
            stream,
            form,
            index,
            data,
        }
    }

    /// Takes a batch of the host. The host has checked it; checking again costs less than a nanosecond a record and
    /// keeps this type's promise independent of it.
    pub(crate) fn from_wit(batch: wit::Batch) -> Result<Self> {
        let wit::Batch {
            stream,
            form,
            index,
            data,
        } = batch;
        if let Some(problem) = layout_problem(&index, data.len()) {
            return Err(Fault::permanent(format!(
                "malformed batch of stream `{stream}`: {problem}"
            )));
        }
        let form = match form {
            wit::Form::Json => Form::Json,
            wit::Form::Bytes => Form::Bytes,
        };
        Ok(Self {
            stream,
            form,
            index,
            data,
        })
    }

    pub(crate) fn into_wit(self) -> wit::Batch {
        let form = match self.form {
            Form::Json => wit::Form::Json,
            Form::Bytes => wit::Form::Bytes,
        };
        wit::Batch {
            stream: self.stream,
            form,
            index: self.index,
            data: self.data,
        }
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        (&self.stream, self.form, &self.index, &self.data)
            == (&other.stream, other.form, &other.index, &other.data)
    }
}

impl Eq for Batch {}

/// What is wrong with the packed layout, if anything.
fn layout_problem(index: &[u32], data_len: usize) -> Option<&'static str> {
    if !index.len().is_multiple_of(WORDS) {
        return Some("the index is not four words per record");
    }
    if index.len() / WORDS > NO_ORIGIN as usize {
        return Some("it has more records than `origin` can name");
    }
    let mut before = 0;
    let mut rising = true;
    for words in index.chunks_exact(WORDS) {
        rising &= before <= words[0] && words[0] <= words[1] && words[1] <= words[2];
        before = words[2];
    }
    if !rising {
        return Some("an end lies before the one in front of it");
    }
    (before as usize != data_len).then_some("the last end is not the length of the data")
}

/// One record of a batch: a view, free to copy.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    batch: &'a Batch,
    position: usize,
    key: &'a [u8],
    headers: &'a [u8],
    payload: &'a [u8],
    flags: u32,
}

impl<'a> Record<'a> {
    /// Its position in the batch.
    pub fn index(&self) -> usize {
        self.position
    }

    /// The stream's name.
    pub fn stream(&self) -> &'a str {
        &self.batch.stream
    }

    /// What the payload is.
    pub fn form(&self) -> Form {
        self.batch.form
    }

    /// What identifies the record in its stream. Empty when the stream has no key.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The key as text, when it is UTF-8.
    pub fn key_str(&self) -> Option<&'a str> {
        crate::utf8::text(self.key)
    }

    /// A JSON object of strings, or empty.
    pub fn headers(&self) -> &'a [u8] {
        self.headers
    }

    /// The record itself.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// What the record means for its key.
    pub fn op(&self) -> Op {
        if self.flags & 0xFF == 1 {
            Op::Delete
        } else {
            Op::Upsert
        }
    }

    /// The position of the input record that this one came from, when it says so. Only batches that a transformer
    /// gave out, and receipts, carry it.
    pub fn origin(&self) -> Option<usize> {
        let origin = self.flags >> 8;
        (origin != NO_ORIGIN).then_some(origin as usize)
    }

    /// The payload as a lazy JSON object. A permanent fault when it is none.
    pub fn object(&self) -> Result<json::Object<'a>> {
        json::Object::parse(self.payload).map_err(|error| self.unreadable(&error))
    }

    /// The payload as a lazy JSON value. A permanent fault when it is no JSON.
    pub fn value(&self) -> Result<json::Value<'a>> {
        json::Value::parse(self.payload).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &json::Error) -> Fault {
        let fault = Fault::permanent(format!("the payload cannot be read: {error}"));
        match self.key_str() {
            Some(key) if !key.is_empty() => fault.at(format!("{}/{key}", self.stream())),
            _ => fault.at(self.stream()),
        }
    }
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Record")
            .field("index", &self.position)
            .field("stream", &self.stream())
            .field("key", &String::from_utf8_lossy(self.key))
            .field("headers", &String::from_utf8_lossy(self.headers))
            .field("payload", &String::from_utf8_lossy(self.payload))
            .field("op", &self.op())
            .finish()
    }
}
