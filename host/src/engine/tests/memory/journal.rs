//! The journal.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;

use crate::storage::{Checkpoint, Commit, Committed, DeadLetter, Journal, StorageError};

#[derive(Default)]
pub(in crate::engine::tests) struct MemoryJournal {
    pub(in crate::engine::tests) checkpoint: Mutex<Option<Checkpoint>>,
    pub(in crate::engine::tests) dead: Mutex<Vec<DeadLetter>>,
    pub(in crate::engine::tests) removed: Mutex<Vec<u64>>,
    pub(in crate::engine::tests) tables: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    pub(in crate::engine::tests) fail_after: Mutex<Option<u64>>,
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn commit(&self, commit: Commit) -> Result<Committed, StorageError> {
        tokio::task::yield_now().await;
        if let Some(left) = self.fail_after.lock().unwrap().as_mut() {
            if *left == 0 {
                return Err(StorageError::Database {
                    path: "memory".into(),
                    message: "no space".into(),
                });
            }
            *left -= 1;
        }
        if let Some(checkpoint) = commit.checkpoint {
            *self.checkpoint.lock().unwrap() = Some(checkpoint);
        }
        self.dead.lock().unwrap().extend(commit.dead_letters);
        self.removed
            .lock()
            .unwrap()
            .extend(commit.removed_dead_letters);
        let mut tables = self.tables.lock().unwrap();
        for change in commit.table_changes {
            let key = (change.table, change.key);
            match change.value {
                Some(value) => drop(tables.insert(key, value)),
                None => drop(tables.remove(&key)),
            }
        }
        Ok(Committed::default())
    }

    fn checkpoint(&self, _flow: &str) -> Result<Option<Checkpoint>, StorageError> {
        Ok(self.checkpoint.lock().unwrap().clone())
    }

    fn table_get_many(
        &self,
        table: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let tables = self.tables.lock().unwrap();
        Ok(keys
            .iter()
            .map(|key| tables.get(&(table.to_owned(), (*key).to_owned())).cloned())
            .collect())
    }

    fn table_find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let tables = self.tables.lock().unwrap();
        Ok(tables
            .iter()
            .filter(|((t, key), _)| t == table && key.starts_with(prefix) && key.as_str() > after)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .take(limit)
            .collect())
    }
}
