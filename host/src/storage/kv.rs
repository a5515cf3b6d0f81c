//! What the store needs of a database: read a key, read a range, write a batch atomically and durably.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{PoisonError, RwLock},
};

use super::StorageError;

/// Changes by key; `None` removes. Applied all or not at all.
pub(super) type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A key and its value.
pub(super) type Entry = (Vec<u8>, Vec<u8>);

/// An ordered map of bytes. Reads may run on any thread at any time; `apply` is called by one thread.
pub(super) trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Up to `limit` entries whose key starts with `prefix` and is greater than `after` (empty: no lower bound), in
    /// byte order.
    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Entry>, StorageError>;

    /// Writes a batch. When it returns `Ok`, the batch survives a crash of the machine.
    fn apply(&self, batch: &Batch) -> Result<(), StorageError>;
}

/// Where a scan starts.
pub(super) fn lower_bound<'a>(prefix: &'a [u8], after: &'a [u8]) -> Bound<&'a [u8]> {
    if !after.is_empty() && after >= prefix {
        Bound::Excluded(after)
    } else {
        Bound::Included(prefix)
    }
}

/// The twin of the database for tests and for runs that keep nothing: the same promises except durability.
#[derive(Default)]
pub(super) struct MemoryKv {
    entries: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned())
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Entry>, StorageError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let range = entries.range::<[u8], _>((lower_bound(prefix, after), Bound::Unbounded));
        Ok(range
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn apply(&self, batch: &Batch) -> Result<(), StorageError> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(())
    }
}
