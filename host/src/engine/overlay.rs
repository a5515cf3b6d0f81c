//! Tables as the running epochs see them: what was written since the last checkpoint, over the store.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use super::stage::{TableError, TableWrite, Tables};
use crate::storage::Journal;

/// Writes that are not durable yet, over the journal's tables.
pub struct Overlay {
    journal: Arc<dyn Journal>,
    pending: RwLock<BTreeMap<(Arc<str>, String), Pending>>,
}

struct Pending {
    epoch: u64,
    value: Option<Vec<u8>>,
}

impl Overlay {
    /// Starts without pending writes.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            pending: RwLock::default(),
        }
    }

    /// Makes the writes of a successful call visible to later reads of the run.
    pub fn add(&self, epoch: u64, writes: &[TableWrite]) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            pending.insert(
                (Arc::clone(&write.table), write.key.clone()),
                Pending {
                    epoch,
                    value: write.value.clone(),
                },
            );
        }
    }

    /// Forgets what is durable: writes of this epoch and of earlier ones.
    pub fn durable(&self, epoch: u64) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, entry| entry.epoch > epoch);
    }

    /// Forgets everything that is not durable: the run is wound back.
    pub fn clear(&self) {
        self.pending
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Tables for Overlay {
    fn get_many(&self, table: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, TableError> {
        let name: Arc<str> = table.into();
        let mut found = vec![None; keys.len()];
        let mut missing = Vec::new();
        {
            let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
            for (at, key) in keys.iter().enumerate() {
                match pending.get(&(Arc::clone(&name), (*key).to_owned())) {
                    Some(entry) => {
                        if let Some(slot) = found.get_mut(at) {
                            slot.clone_from(&entry.value);
                        }
                    }
                    None => missing.push((at, *key)),
                }
            }
        }
        // Between the two reads an entry can only move from pending into the store, where the second read finds it:
        // `durable` is called after the commit.
        let keys: Vec<&str> = missing.iter().map(|(_, key)| *key).collect();
        let stored = self
            .journal
            .table_get_many(table, &keys)
            .map_err(|e| failed(table, &e))?;
        for ((at, _), value) in missing.iter().zip(stored) {
            if let Some(slot) = found.get_mut(*at) {
                *slot = value;
            }
        }
        Ok(found)
    }

    fn find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, TableError> {
        let name: Arc<str> = table.into();
        let pending: Vec<(String, Option<Vec<u8>>)> = {
            let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
            let from = if after > prefix {
                Bound::Excluded((Arc::clone(&name), after.to_owned()))
            } else {
                Bound::Included((Arc::clone(&name), prefix.to_owned()))
            };
            pending
                .range((from, Bound::Unbounded))
                .take_while(|((table, key), _)| *table == name && key.starts_with(prefix))
                .filter(|((_, key), _)| {
                    key.as_str() > after || (after.is_empty() && key.is_empty())
                })
                .map(|((_, key), entry)| (key.clone(), entry.value.clone()))
                .collect()
        };
        // Each pending removal can hide one stored entry, so ask for that many more.
        let removals = pending.iter().filter(|(_, value)| value.is_none()).count();
        let stored = self
            .journal
            .table_find(table, prefix, after, limit.saturating_add(removals))
            .map_err(|e| failed(table, &e))?;
        let mut merged: BTreeMap<String, Option<Vec<u8>>> = stored
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        merged.extend(pending);
        Ok(merged
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .take(limit)
            .collect())
    }
}

fn failed(table: &str, error: &crate::storage::StorageError) -> TableError {
    TableError {
        table: table.to_owned(),
        message: error.to_string(),
    }
}
