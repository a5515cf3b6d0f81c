//! Keyed maps that flows share: entity mapping, lookups, what a later record needs of an earlier one.
//!
//! Keys are texts up to 512 bytes, values JSON texts up to 64 KiB. Writes are seen by later reads of the same run at
//! once and become durable with the checkpoint that covers the batch. One call for many keys costs about as much as
//! one call for one: look up a whole batch at a time.

use crate::bindings::host::crossdock::plugin::plugin_types::Packed;
use crate::bindings::host::crossdock::plugin::tables as wit;
use crate::fault::Fault;
use crate::imports;

/// The most entries that one [`Table::find`] gives.
pub const MAX_FOUND: usize = 1000;

/// Why a table could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The table was not granted; the text says what to add.
    #[error("{0}")]
    Denied(String),
    /// A key or value is too large, or the host's answer is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error("{0}")]
    Failed(String),
}

impl From<wit::TableError> for Error {
    fn from(error: wit::TableError) -> Self {
        match error {
            wit::TableError::Denied(text) => Self::Denied(text),
            wit::TableError::Invalid(text) => Self::Invalid(text),
            wit::TableError::Failed(text) => Self::Failed(text),
        }
    }
}

/// Denied is the operator's turn, a failed store may work later.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(text) => Self::config(text),
            Error::Invalid(text) => Self::permanent(text),
            Error::Failed(text) => Self::transient(text),
        }
    }
}

/// A table by its name. Making one asks nothing of the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    name: String,
}

impl Table {
    /// The table with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.get_many(&[key])?.pop().flatten())
    }

    /// The values of many keys, in the order asked.
    pub fn get_many(&self, keys: &[impl AsRef<str>]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let found = imports::get_many(
            &self.name,
            &pack(keys.iter().map(|key| key.as_ref().as_bytes())),
        )?;
        let values: Vec<_> = unpack(&found)?
            .map(|value| (!value.is_empty()).then(|| value.to_vec()))
            .collect();
        if values.len() == keys.len() {
            Ok(values)
        } else {
            Err(malformed())
        }
    }

    /// Up to `limit` (at most [`MAX_FOUND`]) entries whose key starts with `prefix` and is greater than `after`, in
    /// byte order. Page through a table with the last key as the next `after`.
    pub fn find(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let limit = u32::try_from(limit.min(MAX_FOUND)).unwrap_or(u32::MAX);
        let found = imports::find(&self.name, prefix, after, limit)?;
        let items: Vec<&[u8]> = unpack(&found)?.collect();
        if !items.len().is_multiple_of(2) {
            return Err(malformed());
        }
        items
            .chunks_exact(2)
            .map(|pair| match std::str::from_utf8(pair[0]) {
                Ok(key) => Ok((key.to_owned(), pair[1].to_vec())),
                Err(_) => Err(malformed()),
            })
            .collect()
    }

    /// Stores one entry. The value is a JSON text; an empty one removes the entry.
    pub fn put(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.put_many([(key, value)])
    }

    /// Stores entries.
    pub fn put_many<K: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        let mut packed = Packed {
            ends: Vec::new(),
            data: Vec::new(),
        };
        for (key, value) in entries {
            append(&mut packed, key.as_ref().as_bytes());
            append(&mut packed, value.as_ref());
        }
        if packed.ends.is_empty() {
            Ok(())
        } else {
            Ok(imports::put(&self.name, &packed)?)
        }
    }

    /// Removes an entry.
    pub fn remove(&self, key: impl AsRef<str>) -> Result<(), Error> {
        self.put(key, b"")
    }
}

fn malformed() -> Error {
    Error::Invalid("the host's answer is malformed".to_owned())
}

fn append(packed: &mut Packed, item: &[u8]) {
    packed.data.extend_from_slice(item);
    packed
        .ends
        .push(u32::try_from(packed.data.len()).unwrap_or(u32::MAX));
}

pub(crate) fn pack<'i>(items: impl IntoIterator<Item = &'i [u8]>) -> Packed {
    let mut packed = Packed {
        ends: Vec::new(),
        data: Vec::new(),
    };
    for item in items {
        append(&mut packed, item);
    }
    packed
}

/// The items of a packed list, checked before the first is given out.
pub(crate) fn unpack(packed: &Packed) -> Result<impl Iterator<Item = &[u8]>, Error> {
    let rising = packed.ends.is_sorted();
    if !rising || packed.ends.last().copied().unwrap_or(0) as usize != packed.data.len() {
        return Err(malformed());
    }
    let mut start = 0;
    Ok(packed.ends.iter().map(move |end| {
        let item = &packed.data[start..*end as usize];
        start = *end as usize;
        item
    }))
}
